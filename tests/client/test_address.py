"""WebSocket URLs, taken apart."""

from __future__ import annotations

import pytest

from wsserver.client.address import Address
from wsserver.errors import ConfigError


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("ws://127.0.0.1:8765/ws/chat", Address("127.0.0.1", 8765, False, "/ws/chat", "127.0.0.1:8765")),
        ("ws://example.com", Address("example.com", 80, False, "/", "example.com")),
        ("WSS://Example.com/a?b=c", Address("example.com", 443, True, "/a?b=c", "example.com")),
        ("wss://example.com:443/", Address("example.com", 443, True, "/", "example.com")),
        ("wss://example.com:80/", Address("example.com", 80, True, "/", "example.com:80")),
        ("ws://[::1]/", Address("::1", 80, False, "/", "[::1]")),
        ("ws://[2001:db8::1]:8765/", Address("2001:db8::1", 8765, False, "/", "[2001:db8::1]:8765")),
        ("ws://bücher.example/", Address("xn--bcher-kva.example", 80, False, "/", "xn--bcher-kva.example")),
        ("ws://h/ü b?q=%20ü&x=/?", Address("h", 80, False, "/%C3%BC%20b?q=%20%C3%BC&x=/?", "h")),
    ],
)
def test_a_url_says_where_and_what(url: str, address: Address) -> None:
    assert Address.parse(url) == address


@pytest.mark.parametrize(
    "url",
    ["", "localhost:8765", "http://h/", "ws:///path", "ws://h:99999/", "ws://h:x/", "ws://[::1/", "ws://" + "x" * 70],
)
def test_what_is_no_address_says_how_to_write_one(url: str) -> None:
    with pytest.raises(ConfigError, match="write it like ws://127.0.0.1:8765/ws/chat"):
        Address.parse(url)


@pytest.mark.parametrize("url", ["ws://me:secret@h/", "ws://h/#part"])
def test_what_a_websocket_address_cannot_hold_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="leave it out"):
        Address.parse(url)
