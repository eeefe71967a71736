"""Proxies that are trusted to say who their client is, and what they say: `X-Forwarded-For`."""

from __future__ import annotations

import re
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, NamedTuple

from ..errors import ConfigError
from .address import limit_key, plain

if TYPE_CHECKING:
    from collections.abc import Sequence

_ALL = "*"
_UNIX = "unix:"

#: An address with a port, as some proxies write it.
_WITH_PORT = re.compile(r"(?:\[([^\]]*)\]|([^:]*))(?::[0-9]{1,5})?", re.ASCII)


class Client(NamedTuple):
    """Who sent a request: the address, None for a UNIX peer, and whether what its headers say of the way counts."""

    address: str | None
    trusted: bool


class Proxies:
    """Those whose addresses or networks are `allowed`: separated by commas, `unix:` for UNIX peers, `*` for all.

    Addresses are in the form that `plain` gives, None for UNIX peers. Raises `ConfigError` for what is neither address
    nor network.
    """

    def __init__(self, allowed: str) -> None:
        words = [word.strip() for word in allowed.split(",")] if allowed else []
        self.none = not words
        self._all = _ALL in words
        self._unix = self._all or _UNIX in words
        try:
            self._networks = [ip_network(word) for word in words if word not in (_ALL, _UNIX)]
        except ValueError as exc:
            raise ConfigError(
                f"--forwarded-allow-ips takes addresses and networks separated by commas, {_UNIX} for UNIX sockets, or"
                f" {_ALL}: {exc}"
            ) from exc

    def trusts(self, address: str | None) -> bool:
        """Whether a peer with this address is one of them."""
        if address is None:
            return self._unix
        if self._all:
            return True
        parsed = ip_address(address) if self._networks else None
        return any(parsed in network for network in self._networks)

    def socket_key(self, address: str | None) -> str | None:
        """What an open socket of this peer is counted under, None where it is not: a proxy has those of its clients."""
        return None if address is None or self.trusts(address) else limit_key(address)

    def client(self, peer: str | None, forwarded_for: Sequence[str]) -> Client:
        """Who sent a request that came from `peer` with these elements of X-Forwarded-For.

        Each proxy adds, on the right, whom it got the request from. So they are read from there, as long as it was a
        trusted one that said so. Where one is no address nothing counts, and the peer itself is the client.
        """
        if not self.trusts(peer):
            return Client(peer, trusted=False)
        address = peer
        for element in reversed(forwarded_for):
            try:
                address = _address_of(element)
            except ValueError:
                return Client(peer, trusted=False)
            if not self.trusts(address):
                break
        return Client(address, trusted=True)


def _address_of(element: str) -> str:
    match = _WITH_PORT.fullmatch(element)
    return plain((match[1] or match[2] or "") if match is not None else element)
