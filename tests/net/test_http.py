"""Plain requests on the port of the WebSocket."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pytest

from wsserver.config import HEALTH, READINESS
from wsserver.net.http import answer
from wsserver.wire.handshake import Request

if TYPE_CHECKING:
    from wsserver.net.pages import Page


class Site(NamedTuple):
    draining: bool
    pages: dict[str, Page]


def asked(path: str, method: str = "GET", *, ready: bool = True) -> tuple[int, list[bytes], bytes]:
    """Status, headers and body of the answer."""
    head, separator, body = answer(Request(method, path, "", {}, "1.1"), Site(not ready, {})).partition(b"\r\n\r\n")
    assert separator
    line, *headers = head.split(b"\r\n")
    assert b"Connection: close" in headers and b"Cache-Control: no-store" in headers
    return int(line.split()[1]), headers, body


@pytest.mark.parametrize("ready", [True, False])
def test_the_process_lives(ready: bool) -> None:
    assert asked(HEALTH, ready=ready)[::2] == (200, b"alive\n")


def test_it_wants_clients_until_it_goes_away() -> None:
    assert asked(READINESS)[::2] == (200, b"ready\n")
    assert asked(READINESS, ready=False)[::2] == (503, b"going away\n")


@pytest.mark.parametrize("path", ["/", "/healthz/", "/HEALTHZ", "/healthz/readyz", "*", ""])
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
def test_nothing_else_is_served(path: str, method: str) -> None:
    assert asked(path, method)[::2] == (404, b"nothing is served at this path\n")


@pytest.mark.parametrize("path", [HEALTH, READINESS])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "head"])
def test_other_methods(path: str, method: str) -> None:
    status, headers, body = asked(path, method)
    assert (status, body) == (405, b"only GET and HEAD are served here\n")
    assert b"Allow: GET, HEAD" in headers


@pytest.mark.parametrize("path, ready", [(HEALTH, True), (READINESS, True), (READINESS, False), ("/", True)])
def test_head_is_told_the_same_without_a_body(path: str, ready: bool) -> None:
    status, headers, body = asked(path, ready=ready)
    assert asked(path, "HEAD", ready=ready) == (status, headers, b"")
    assert b"Content-Length: %d" % len(body) in headers
