"""Addresses as limits see them."""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network, ip_address
from sys import intern

#: What one customer of a provider is given, at least (RFC 6177): whoever has one address there has them all.
_NETWORK_BITS = 64


def limit_key(address: str) -> str:
    """What connections from `address` are counted under: an IPv4 address, or the /64 network of an IPv6 address.

    An IPv4 address that is mapped into IPv6 (RFC 4291, section 2.5.5.2) is the IPv4 address. Raises `ValueError` for
    what is no address. All connections of one share its text.
    """
    if ":" not in address:
        return intern(address)
    parsed = ip_address(address.partition("%")[0])
    assert isinstance(parsed, IPv6Address)
    if parsed.ipv4_mapped is not None:
        return intern(str(parsed.ipv4_mapped))
    return intern(str(IPv6Network((parsed, _NETWORK_BITS), strict=False)))
