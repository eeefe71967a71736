"""The files of the browser, as they are served: on the port of the WebSocket, with the headers that hold them in."""

from __future__ import annotations

import importlib.resources
import re
from typing import TYPE_CHECKING

import pytest

from tests.clock import run_virtually
from tests.peer import Peer
from wsserver import Config, Server, Turn
from wsserver.net import pages

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

TYPES = {
    "/": "text/html; charset=utf-8",
    "/wsserver.js": "text/javascript; charset=utf-8",
    "/wsserver.d.ts": "text/plain; charset=utf-8",
    "/chat.js": "text/javascript; charset=utf-8",
    "/turn.js": "text/javascript; charset=utf-8",
    "/ask.js": "text/javascript; charset=utf-8",
    "/format.js": "text/javascript; charset=utf-8",
    "/chat.css": "text/css; charset=utf-8",
    "/favicon.svg": "image/svg+xml",
    "/asyncapi.json": "application/json",
}


async def answer(turn: Turn) -> AsyncIterator[str]:
    yield "hello"


def got(path: str, *headers: str, method: str = "GET", config: Config | None = None) -> tuple[str, bytes]:
    """Head and body of the answer."""

    async def main() -> tuple[str, bytes]:
        async with Server(answer, config or Config(port=0)) as server, Peer.socket(server.urls[0]) as peer:
            lines = [f"{method} {path} HTTP/1.1", "Host: localhost", *headers]
            await peer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
            head, _, body = (await peer.reader.read()).partition(b"\r\n\r\n")
            return head.decode() + "\r\n", body

    return run_virtually(main())


@pytest.fixture(scope="module")
def loaded() -> dict[str, pages.Page]:
    return dict(pages.load("/ws/chat"))


def test_all_files_are_served(loaded: dict[str, pages.Page]) -> None:
    folder = importlib.resources.files("wsserver") / "client" / "web"
    names = {"/" if file.name == "index.html" else f"/{file.name}" for file in folder.iterdir()}
    assert set(loaded) == {*names, "/asyncapi.json"} == set(TYPES)


@pytest.mark.parametrize("path", TYPES)
def test_a_file_and_its_headers(path: str, loaded: dict[str, pages.Page]) -> None:
    head, body = got(path)
    assert head.startswith("HTTP/1.1 200 OK\r\n")
    assert body == loaded[path].body
    for line in (
        f"Content-Type: {TYPES[path]}",
        f"Content-Length: {len(body)}",
        "Connection: close",
        "Cache-Control: no-cache",
        "X-Content-Type-Options: nosniff",
        "Referrer-Policy: no-referrer",
        f"ETag: {loaded[path].etag}",
    ):
        assert f"\r\n{line}\r\n" in head
    for directive in ("default-src 'none'", "script-src 'self'", "base-uri 'none'", "frame-ancestors 'none'"):
        assert directive in head
    assert "unsafe" not in head


def test_head_has_no_body(loaded: dict[str, pages.Page]) -> None:
    head, body = got("/chat.js", method="HEAD")
    assert head.startswith("HTTP/1.1 200 ")
    assert f"Content-Length: {len(loaded['/chat.js'].body)}\r\n" in head
    assert body == b""


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("tags", ['"other", {}', "W/{}", "*", "{}"])
def test_what_is_known_is_not_sent_again(tags: str, method: str, loaded: dict[str, pages.Page]) -> None:
    etag = loaded["/chat.css"].etag
    head, body = got("/chat.css", f"If-None-Match: {tags.format(etag)}", method=method)
    assert head.startswith("HTTP/1.1 304 Not Modified\r\n")
    assert f"ETag: {etag}\r\n" in head
    assert body == b""


def test_what_has_changed_is() -> None:
    assert got("/chat.css", 'If-None-Match: "other"')[0].startswith("HTTP/1.1 200 ")


def test_other_methods() -> None:
    head, _ = got("/", method="DELETE")
    assert head.startswith("HTTP/1.1 405 ")
    assert "Allow: GET, HEAD\r\n" in head


@pytest.mark.parametrize("path", ["/index.html", "/../pyproject.toml", "/%2e%2e/app.py", "/web/chat.js", "//chat.js"])
def test_nothing_else_is_served(path: str) -> None:
    assert got(path)[0].startswith("HTTP/1.1 404 ")


@pytest.mark.parametrize("path", ["/", "/wsserver.js"])
def test_no_page(path: str) -> None:
    assert got(path, config=Config(port=0, page=False))[0].startswith("HTTP/1.1 404 ")


@pytest.mark.parametrize(
    "path, shown",
    [
        ("/ws/chat", "./ws/chat"),
        ('/a"><script>', "./a%22%3E%3Cscript%3E"),
        ("//example.org/ws", ".//example.org/ws"),
        ("/a&b?c", "./a%26b%3Fc"),
        ("/聊天", "./%E8%81%8A%E5%A4%A9"),
    ],
)
def test_the_page_knows_where_the_websocket_is(path: str, shown: str) -> None:
    page = pages.load(path)["/"].body.decode()
    assert re.findall(r'<meta name="wsserver-path" content="([^"]*)">', page) == [shown]


def test_nothing_comes_from_elsewhere_and_nothing_is_inline(loaded: dict[str, pages.Page]) -> None:
    page = loaded["/"].body.decode()
    used = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert {f"/{name}" for name in used} <= set(TYPES)
    assert not re.search(r"<style|style=|\son\w+=|javascript:", page)
    assert all("src=" in script for script in re.findall(r"<script[^>]*>", page))
    for path in ("/chat.js", "/turn.js", "/ask.js", "/format.js", "/wsserver.js"):
        source = loaded[path].body.decode()
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function", source)
        assert {f"/{name}" for name in re.findall(r'from "\./([^"]*)"', source)} <= set(TYPES)
    assert "url(" not in loaded["/chat.css"].body.decode()
