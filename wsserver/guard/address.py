"""Addresses as limits see them."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

#: What one customer of a provider is given, at least (RFC 6177): whoever has one address there has them all.
_NETWORK_BITS = 64


# To read an address costs more than all else that is done with it, and most come again.
@lru_cache(2**12)
def plain(address: str) -> str:
    """The one text of an address, whatever form it came in: without a zone, and as IPv4 where it is that.

    An IPv4 address that is mapped into IPv6 (RFC 4291, section 2.5.5.2) is the IPv4 address. Raises `ValueError` for
    what is no address.
    """
    return str(_parse(address))


# So connections of one address share its text. Interned, it would never be forgotten by some Pythons.
@lru_cache(2**12)
def limit_key(address: str) -> str:
    """What connections from `address` are counted under: an IPv4 address, or the /64 network of an IPv6 address.

    Raises `ValueError` for what is no address.
    """
    parsed = _parse(address)
    if isinstance(parsed, IPv4Address):
        return str(parsed)
    return str(IPv6Network((parsed, _NETWORK_BITS), strict=False))


def _parse(address: str) -> IPv4Address | IPv6Address:
    parsed = ip_address(address.partition("%")[0])
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is not None:
        return parsed.ipv4_mapped
    return parsed
