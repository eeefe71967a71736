"""Which Host a request may name (against DNS rebinding: a name of the attacker's that leads to this machine)."""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit

_LOOPBACK_NAMES = frozenset(("localhost",))


def host_of(header: str) -> str | None:
    """The host of a Host header, lower case and without its port; None where it is none."""
    try:
        parts = urlsplit(f"//{header}")
        if parts.path or parts.query or parts.fragment or parts.username is not None:
            return None
        _ = parts.port  # raises where it is no number
        return parts.hostname
    except ValueError:
        return None


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


def is_loopback(bound: str) -> bool:
    """Whether nobody but this machine reaches what is bound to this address or name."""
    if bound.lower() in _LOOPBACK_NAMES:
        return True
    try:
        return ip_address(bound).is_loopback
    except ValueError:
        return False
