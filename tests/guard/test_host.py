"""Which Host a request may name."""

from __future__ import annotations

import pytest

from wsserver.guard.host import authority, host_of, is_allowed, is_loopback


@pytest.mark.parametrize(
    ("header", "host"),
    [
        ("localhost", "localhost"),
        ("LocalHost:8765", "localhost"),
        ("127.0.0.1:1", "127.0.0.1"),
        ("[::1]:8765", "::1"),
        ("[::1]", "::1"),
        ("example.com", "example.com"),
        ("", None),
        ("a:b", None),
        ("a:99999999", None),
        ("a/b", None),
        ("a?b", None),
        ("a#b", None),
        ("user@a", None),
        ("[::1", None),
        ("[1.2.3.4]", None),
        ("[:::]", None),
        ("::1", None),
        ("a:65536", None),
        ("a:", None),
        ("local\thost", None),
        ("localhost\n", None),
        ("a b", None),
        ("localhost,evil.example", None),
        ("\u217dhat.example", None),
        ("[0:0::1]:80", "::1"),
    ],
)
def test_the_host_of_a_header(header: str, host: str | None) -> None:
    assert host_of(header) == host


@pytest.mark.parametrize(
    ("text", "found"), [("A:0", ("a", 0)), ("a", ("a", None)), ("[::1]:65535", ("::1", 65535)), ("a:65536", None)]
)
def test_the_port_of_a_header(text: str, found: tuple[str, int | None] | None) -> None:
    assert authority(text) == found


@pytest.mark.parametrize("bound", ["127.0.0.1", "localhost", "::1", "127.8.8.8"])
def test_what_only_this_machine_reaches_is_called_by_a_loopback_name(bound: str) -> None:
    assert is_loopback(bound)
    for header in ("localhost:1", "127.0.0.1", "[::1]:1", bound if ":" not in bound else f"[{bound}]"):
        assert is_allowed(header, bound)
    for header in (
        "rebound.example",
        "rebound.example:8765",
        "10.0.0.1",
        "",
        "localhost.rebound.example",
        "x@localhost",
    ):
        assert not is_allowed(header, bound)


@pytest.mark.parametrize("bound", ["0.0.0.0", "::", "10.0.0.1", "chat.example"])
def test_elsewhere_any_address_will_do_and_its_own_name(bound: str) -> None:
    assert not is_loopback(bound)
    for header in ("localhost", "127.0.0.1", "10.0.0.1:9", "[2001:db8::1]:9"):
        assert is_allowed(header, bound)
    assert not is_allowed("rebound.example", bound)
    assert is_allowed("Chat.Example:9", bound) is (bound == "chat.example")
