"""Which pages may connect."""

from __future__ import annotations

import pytest

from wsserver.errors import ConfigError
from wsserver.guard.origin import Origin, Origins, parse


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ("https://chat.example", ("https", "chat.example", 443)),
        ("HTTPS://Chat.Example", ("https", "chat.example", 443)),
        ("http://chat.example", ("http", "chat.example", 80)),
        ("http://chat.example:8080", ("http", "chat.example", 8080)),
        ("https://[2001:DB8::1]:8443", ("https", "2001:db8::1", 8443)),
        ("https://[2001:db8:0:0::1]", ("https", "2001:db8::1", 443)),
        ("http://127.0.0.1:1", ("http", "127.0.0.1", 1)),
        ("chrome-extension://abcdefgh", ("chrome-extension", "abcdefgh", None)),
        ("tauri://localhost", ("tauri", "localhost", None)),
    ],
)
def test_an_origin(text: str, origin: tuple[str, str, int | None]) -> None:
    assert parse(text) == Origin(*origin)


#: What is no origin, or has something in front of it or behind.
GARBAGE = [
    "",
    "null",
    "*",
    "chat.example",
    "https:",
    "https://",
    "https:chat.example",
    "//chat.example",
    "://chat.example",
    "9p://chat.example",
    "https://chat.example/",
    "https://chat.example/path",
    "https://chat.example?query",
    "https://chat.example#fragment",
    "https://chat.example ",
    " https://chat.example",
    "https://chat.example\t",
    "https://chat.example\n",
    "https://chat\t.example",
    "https://chat.example, https://evil.example",
    "https://chat.example,https://evil.example",
    "https://chat.example:",
    "https://chat.example:65536",
    "https://chat.example:-1",
    "https://chat.example:443x",
    "https://chat.example:\u0664\u0664\u0663",
    "https://user@chat.example",
    "https://evil.example\\@chat.example",
    "https://[::1",
    "https://::1",
    "https://[]",
    "https://[1.2.3.4]",
    "https://[::1%25lo]",
    "https://ch\u00e4t.example",
    "https://chat.example\0",
]


@pytest.mark.parametrize("text", GARBAGE)
def test_what_is_none(text: str) -> None:
    assert parse(text) is None
    assert not Origins("https://chat.example").allows(text, "chat.example")
    assert Origins("*").allows(text, "chat.example")


@pytest.mark.parametrize(
    ("origin", "host", "allowed"),
    [
        ("https://chat.example", "chat.example", True),
        ("http://chat.example", "chat.example", True),
        ("HTTPS://CHAT.example", "Chat.Example", True),
        ("https://chat.example", "chat.example:443", True),
        ("https://chat.example:443", "chat.example", True),
        ("http://localhost:8765", "localhost:8765", True),
        ("http://[::1]:8765", "[::1]:8765", True),
        ("http://[0:0::1]:8765", "[::1]:8765", True),
        ("https://chat.example", "chat.example:80", False),
        ("https://chat.example:8443", "chat.example", False),
        ("http://chat.example", "chat.example:443", False),
        ("http://localhost:8765", "localhost:8766", False),
        ("http://localhost:8765", "localhost", False),
        ("http://localhost", "127.0.0.1", False),
        ("https://evil.example", "chat.example", False),
        ("https://chat.example.evil.example", "chat.example", False),
        ("https://evilchat.example", "chat.example", False),
        ("https://sub.chat.example", "chat.example", False),
        ("ftp://chat.example", "chat.example", False),
        ("ws://chat.example", "chat.example", False),
        ("https://chat.example", "", False),
        ("https://chat.example", "chat.example,chat.example", False),
        ("null", "null", False),
    ],
)
def test_the_servers_own_host(origin: str, host: str, allowed: bool) -> None:
    assert Origins("").allows(origin, host) is allowed


def test_those_of_the_list_and_no_others() -> None:
    origins = Origins("https://Chat.example:443, http://[::1]:3000,app://chat")
    for allowed in ("https://chat.example", "HTTPS://CHAT.EXAMPLE:443", "http://[0::1]:3000", "app://chat"):
        assert origins.allows(allowed, "elsewhere.example")
    for refused in ("http://chat.example", "https://chat.example:444", "http://[::1]", "app://chat:1", "null"):
        assert not origins.allows(refused, "elsewhere.example")
    assert origins.hosts == {"chat.example", "::1", "chat"}
    assert origins.allows("https://elsewhere.example", "elsewhere.example")


def test_all() -> None:
    origins = Origins("https://chat.example,*")
    assert origins.allows("https://evil.example", "chat.example")
    assert origins.allows("null", "chat.example")
    assert origins.hosts == {"chat.example"}


@pytest.mark.parametrize("text", ["chat.example", "https://chat.example/", "null", "https://*.example", ",", " "])
def test_a_setting_that_cannot_be(text: str) -> None:
    with pytest.raises(ConfigError, match=r"--origin takes origins like https://chat\.example"):
        Origins(text)
