"""The chat page, wsserver.js and the description of the protocol, as they are answered: read once, with their headers.

Nothing on the page comes from elsewhere, nothing of it runs but its own files, and nobody may frame it: the policy
holds what the code promises, that a server's text is never taken for HTML.
"""

from __future__ import annotations

from hashlib import sha256
from html import escape
from importlib.resources import files
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_PACKAGE = __package__.partition(".")[0]
_INDEX = "index.html"

_TYPES = {
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "ts": "text/plain; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "svg": "image/svg+xml",
    "json": "application/json",
}

#: What the page may do (CSP level 3). `'self'` includes the WebSocket of the same host and port.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)

#: Where index.html, and the description, say where the WebSocket is.
_PATH_IN_INDEX = b'content="./ws/chat"'
_PATH_IN_DESCRIPTION = b'"address": "/ws/chat"'

#: The protocol as AsyncAPI has it.
DESCRIPTION = "asyncapi.json"


class Page(NamedTuple):
    """One file, and the headers that go with it."""

    body: bytes
    headers: Sequence[tuple[str, str]]
    etag: str

    def is_known(self, tags: Sequence[str]) -> bool:
        """Whether a client with these tags in `If-None-Match` has it already (RFC 9110, section 13.1.2)."""
        return any(tag == "*" or tag.removeprefix("W/") == self.etag for tag in tags)


def load(websocket_path: str) -> Mapping[str, Page]:
    """The files by their paths; `/` is the page itself, which will look for its WebSocket at `websocket_path`."""
    folder = files(_PACKAGE) / "client" / "web"
    pages = {f"/{DESCRIPTION}": _page(description(websocket_path), _TYPES["json"])}
    for file in folder.iterdir():
        kind = _TYPES.get(file.name.rpartition(".")[2])
        if kind is not None:
            body = file.read_bytes()
            if file.name == _INDEX:
                # Relative, so that the page also works where a proxy serves it under a path of its own.
                relative = escape("./" + quote(websocket_path[1:]))
                body = body.replace(_PATH_IN_INDEX, b'content="%b"' % relative.encode())
            pages["/" if file.name == _INDEX else f"/{file.name}"] = _page(body, kind)
    return pages


def description(websocket_path: str) -> bytes:
    """The AsyncAPI document of a server whose WebSocket is there."""
    body = (files(_PACKAGE) / DESCRIPTION).read_bytes()
    return body.replace(_PATH_IN_DESCRIPTION, b'"address": "%b"' % websocket_path.encode())


def _page(body: bytes, content_type: str) -> Page:
    etag = f'"{sha256(body).hexdigest()[:32]}"'
    headers = (
        ("Content-Type", content_type),
        ("Content-Security-Policy", POLICY),
        ("X-Content-Type-Options", "nosniff"),
        ("Referrer-Policy", "no-referrer"),
        ("Cache-Control", "no-cache"),
        ("ETag", etag),
    )
    return Page(body, headers, etag)
