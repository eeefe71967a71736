"""Whom a request comes from, and whether its page and its Host are let in: `guard/door.py` and what it stands on."""

from __future__ import annotations

import re
from ipaddress import ip_address, ip_network
from urllib.parse import urlsplit

from tests.fuzz.source import Source, seed
from wsserver import Config
from wsserver.errors import HandshakeError
from wsserver.guard.address import limit_key, plain
from wsserver.guard.door import Door
from wsserver.guard.host import authority, host_of, is_allowed, is_loopback
from wsserver.wire.handshake import Request

_NETWORK = "10.0.0.0/8,192.0.2.7,2001:db8::/32,unix:"
_ORIGINS = "https://chat.example, http://[::1]:8080"

CONFIGS = (
    Config(),
    Config(forwarded_allow_ips=_NETWORK),
    Config(origin=_ORIGINS),
    Config(origin=_ORIGINS, forwarded_allow_ips="*", host="0.0.0.0"),
    Config(origin="*", forwarded_allow_ips="unix:"),
)
_DOORS = [Door(config) for config in CONFIGS]

#: What the kernel may say of a peer, in the form that `plain` gives; None on a UNIX socket.
PEERS = ("127.0.0.1", "10.1.2.3", "192.0.2.7", "203.0.113.9", "2001:db8::9", "fe80::1", None)


def _request(config: int, peer: int, local: int, *lines: bytes) -> bytes:
    return seed(config, peer, local, b"\n".join(lines))


SEEDS = [
    _request(0, 0, 1, b"localhost:8765", b"http://localhost:8765"),
    _request(0, 0, 1, b"evil.example"),
    _request(0, 3, 0, b"chat.example", b"https://chat.example:443"),
    _request(1, 1, 0, b"chat.example", b"", b"203.0.113.9, 10.9.9.9"),
    _request(1, 6, 1, b"x", b"", b'[2001:db8::1]:80,"_hidden", 192.0.2.1:9', b"a, chat.example"),
    _request(1, 3, 0, b"x", b"", b"1.2.3.4"),
    _request(2, 0, 1, b"[::1]:8080", b"http://[0:0:0:0:0:0:0:1]:8080"),
    _request(3, 4, 0, b"other", b"https://CHAT.example", b"::ffff:1.2.3.4", b"third"),
    _request(3, 6, 0, b"a:99999", b"null", b"", b"b:65535"),
    _request(0, 3, 0, b"a.example", b"http://b.example", b"", b"b.example"),
    _request(1, 1, 0, b"a.example", b"http://b.example", b"10.0.0.1, 8.8.8.8, [10.0.0.2]:1", b"b.example"),
    _request(0, 3, 0, b"a.example:65536", b"http://a.example:65536"),
    _request(4, 6, 1, b"LOCALHOST", b"file://", b"fe80::1%eth0"),
    _request(0, 0, 1, b"127.1", b"http://127.0.0.1@evil.example"),
]


def _host(authority: str) -> str | None:
    """The host by Python's own reader, addresses in one form."""
    try:
        host = urlsplit(f"//{authority}").hostname
        return str(ip_address(host)) if host and ":" in host else host
    except ValueError:
        return None


def _is_trusted(config: Config, peer: str | None) -> bool:
    words = config.forwarded_allow_ips.split(",")
    if "*" in words:
        return True
    if peer is None:
        return "unix:" in words
    networks = [ip_network(word) for word in words if re.match(r"[0-9]", word)]
    return any(ip_address(peer) in network for network in networks)


def _client(config: Config, peer: str | None, said: list[str]) -> str | None:
    """Who the client is: from the right, as long as it was a trusted one that said so."""
    found = peer
    for element in reversed(said):
        if not _is_trusted(config, found):
            break
        if element.startswith("["):
            host = element[1:].partition("]")[0]
        else:
            host = element.partition(":")[0] if element.count(":") == 1 else element
        found = plain(host)
    return found


def one(data: bytes) -> None:
    """Whatever headers come, the client is an address that can be counted, and another one than the peer only where the
    peer is trusted; a page gets in only from the host that it calls or an allowed one, and only by a loopback name to
    what is this machine's own; only `HandshakeError` 403 is raised.
    """
    source = Source(data)
    number = source.number(len(CONFIGS) - 1)
    config, door = CONFIGS[number], _DOORS[number]
    peer, is_local = source.choose(PEERS), source.choose((False, True))
    values = source.rest().decode("latin-1").replace("\r", "").split("\n")
    names = ("host", "origin", "x-forwarded-for", "x-forwarded-host")
    headers = {name: value.strip(" \t") for name, value in zip(names, values, strict=False) if value}
    request = Request("GET", "/", "", headers, "1.1")

    client = door.proxies.client(peer, request.elements("x-forwarded-for"))
    trusted = _is_trusted(config, peer)
    assert door.proxies.trusts(peer) == trusted
    assert client.address == peer or (trusted and client.trusted)
    assert not client.trusted or trusted
    if client.trusted:
        assert client.address == _client(config, peer, request.elements("x-forwarded-for"))
    if client.address is not None:
        assert plain(client.address) == client.address and limit_key(client.address)
    key = door.proxies.socket_key(peer)
    assert (key is None) == (peer is None or trusted)

    host = headers.get("host", "")
    assert not is_allowed(host, "127.0.0.1") or host_of(host) is not None
    found = authority(host)
    assert found is None or found[1] is None or found[1] <= 0xFFFF
    try:
        door.check(client, headers, is_local=is_local)
    except HandshakeError as exc:
        assert exc.status == 403 and "\n" not in exc.message
        return
    ours = {config.host, "chat.example", "::1"} if config.origin.startswith("https") else {config.host}
    if is_local and not client.trusted:
        name = _host(host)
        assert name is not None and (is_loopback(name) or name in ours)
    if "origin" in headers and config.origin != "*":
        if client.trusted:
            host = headers.get("x-forwarded-host", "").split(",")[-1].strip() or host
        page = urlsplit(headers["origin"])
        assert page.scheme and not page.path and not page.query
        assert _host(page.netloc) in {_host(host), *(ours - {config.host})} - {None}
