"""Which Host a request may name (against DNS rebinding: a name of the attacker's that leads to this machine)."""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import IPv6Address, ip_address

_LOOPBACK_NAMES = frozenset(("localhost",))

#: So many names are remembered: a server is called by few.
_REMEMBERED = 64

#: A name, an IPv4 address or an IPv6 address in brackets, and perhaps a port (RFC 3986, section 3.2).
_AUTHORITY = re.compile(r"(?:\[([0-9a-f:.]+)\]|([a-z0-9._~-]+))(?::([0-9]{1,5}))?", re.IGNORECASE | re.ASCII)


@lru_cache(_REMEMBERED)
def authority(text: str) -> tuple[str, int | None] | None:
    """Host and port of `host[:port]`: the host in lower case, without brackets; the whole is None where it is none."""
    match = _AUTHORITY.fullmatch(text)
    if match is None:
        return None
    address, name, digits = match.groups()
    port = int(digits) if digits else None
    if port is not None and port > 0xFFFF:
        return None
    try:
        return str(IPv6Address(address)) if address else name.lower(), port
    except ValueError:
        return None


def host_of(header: str) -> str | None:
    """The host of a Host header, lower case and without its port; None where it is none."""
    found = authority(header)
    return found[0] if found is not None else None


def is_allowed(header: str, bound: str) -> bool:
    """Whether a request to what is bound to the address `bound` may name this host.

    What can be reached by nobody but this machine must be called by a loopback name or address, or as it was bound.
    Elsewhere any address will do, but no name save its own: a browser sent here by a foreign name says that name.
    """
    host = host_of(header)
    if host is None:
        return False
    if host == bound.lower() or host in _LOOPBACK_NAMES:
        return True
    try:
        address = ip_address(host)
    except ValueError:
        return False
    return address.is_loopback if is_loopback(bound) else True


@lru_cache(_REMEMBERED)
def is_loopback(bound: str) -> bool:
    """Whether nobody but this machine reaches what is bound to this address or name."""
    if bound.lower() in _LOOPBACK_NAMES:
        return True
    try:
        return ip_address(bound).is_loopback
    except ValueError:
        return False
