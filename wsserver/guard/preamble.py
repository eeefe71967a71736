"""The preamble of the PROXY protocol, versions 1 and 2: by it a proxy says whose connection it hands on.

From "The PROXY protocol, versions 1 & 2" of HAProxy. It stands before the first byte of the client, also before TLS, so
not one byte may be read beyond it: `missing` says how many more are certain to belong to it.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

from .address import plain

_V1 = b"PROXY "
_V2 = b"\r\n\r\n\0\r\nQUIT\n"

#: The shortest of version 1, "PROXY UNKNOWN\r\n", and the longest.
_MIN_V1, _MAX_V1 = 15, 107
#: The shortest that name addresses, which is known once the shortest of all has been read.
_MIN_TCP = {b"TCP4": 32, b"TCP6": 22}
#: Signature, command, family and length.
_V2_HEAD = 16
#: What of version 2 is taken, all additions (TLVs) included.
_MAX_V2 = 4096

_LOCAL, _PROXY = 0x20, 0x21
#: Family and transport → the size of two addresses and two ports, and what the addresses are.
_V2_FAMILIES: dict[int, tuple[int, type[IPv4Address | IPv6Address]]] = {
    0x11: (12, IPv4Address),
    0x21: (36, IPv6Address),
}

#: Families and transports that have a meaning; those above must be refused.
_MAX_FAMILY, _MAX_TRANSPORT = 3, 2


class PreambleError(ValueError):
    """This is no preamble: whoever sends it is not the proxy that was expected, and is not answered."""


def missing(data: bytes) -> int:
    """How many bytes behind `data`, the beginning of a preamble, belong to it for certain; 0 once it is whole.

    Raises `PreambleError` as soon as it can be none.
    """
    if data[:1] == _V2[:1]:
        return _missing_v2(data)
    return _missing_v1(data)


def source(data: bytes) -> str | None:
    """The client's address that a whole preamble names.

    None where it names none: the proxy speaks for itself, or for a client that is not on TCP. Raises `PreambleError`.
    """
    return _source_v2(data) if data[:1] == _V2[:1] else _source_v1(data)


def _missing_v1(data: bytes) -> int:
    if not data.startswith(_V1[: len(data)]):
        raise PreambleError("no preamble of the PROXY protocol")
    if data.endswith(b"\r\n"):
        return 0
    if len(data) >= _MAX_V1:
        raise PreambleError("the preamble does not end")
    shortest = _MIN_TCP.get(data[6:10], _MIN_V1) if len(data) >= _MIN_V1 else _MIN_V1
    return max(shortest - len(data), 1 if data.endswith(b"\r") or len(data) == _MAX_V1 - 1 else 2)


def _missing_v2(data: bytes) -> int:
    if not data.startswith(_V2[: len(data)]):
        raise PreambleError("no preamble of the PROXY protocol")
    if len(data) < _V2_HEAD:
        return _V2_HEAD - len(data)
    size = _V2_HEAD + int.from_bytes(data[14:16], "big")
    if data[12] not in (_LOCAL, _PROXY) or size > _MAX_V2:
        raise PreambleError("the preamble has an unknown version or command, or is too large")
    return size - len(data)


def _source_v1(data: bytes) -> str | None:
    words = data[len(_V1) : -2].split(b" ")
    if words[0] == b"UNKNOWN":
        return None
    if b"%" in data:
        # `ipaddress` takes any text for the zone of an address, also one with spaces of other kinds and ends of lines.
        raise PreambleError("the preamble names addresses with zones")
    try:
        family, client, server, *ports = (word.decode("ascii") for word in words)
        address = {"TCP4": IPv4Address, "TCP6": IPv6Address}[family]
        address(server)
        found = plain(str(address(client)))
    except (ValueError, LookupError) as exc:
        raise PreambleError("the preamble names no addresses") from exc
    if len(ports) != 2 or not all(port.isdecimal() and int(port) <= 0xFFFF for port in ports):
        raise PreambleError("the preamble names no ports")
    return found


def _source_v2(data: bytes) -> str | None:
    if data[12] == _LOCAL:
        return None
    if data[13] >> 4 > _MAX_FAMILY or data[13] & 0xF > _MAX_TRANSPORT:
        raise PreambleError("the preamble has an unknown family or transport")
    if data[13] not in _V2_FAMILIES:
        return None
    size, address = _V2_FAMILIES[data[13]]
    addresses = data[_V2_HEAD : _V2_HEAD + size]
    if len(addresses) < size:
        raise PreambleError("the preamble names no addresses")
    return plain(str(address(addresses[: size // 2 - 2])))
