"""Which pages may connect: a browser says by `Origin` which one asks (RFC 6455, section 10.2; RFC 6454, section 7)."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from ..errors import ConfigError
from .host import authority

_DEFAULT_PORTS = {"http": 80, "https": 443}
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*", re.ASCII)
_ALL = "*"

#: So many origins are remembered: few pages lead to a server.
_REMEMBERED = 64


class Origin(NamedTuple):
    """The parts of an origin in lower case; `port` is None only where the scheme has no default."""

    scheme: str
    host: str
    port: int | None


@lru_cache(_REMEMBERED)
def parse(text: str) -> Origin | None:
    """The origin that is written `scheme://host[:port]`; None for anything else, also `null`."""
    scheme, _, rest = text.lower().partition("://")
    found = authority(rest)
    if found is None or not _SCHEME.fullmatch(scheme):
        return None
    host, port = found
    return Origin(scheme, host, port or _DEFAULT_PORTS.get(scheme))


class Origins:
    """The server's own host, and those that are `allowed`: separated by commas, `*` for all.

    Raises `ConfigError` for what is no origin.
    """

    def __init__(self, allowed: str) -> None:
        words = [word.strip() for word in allowed.split(",")] if allowed else []
        self._allows_all = _ALL in words
        self._allowed = frozenset(_configured(word) for word in words if word != _ALL)
        self.hosts = frozenset(origin.host for origin in self._allowed)

    def allows(self, header: str, host: str) -> bool:
        """Whether a page of the origin in this `Origin` header may connect to what it calls `host`, a `Host` header.

        Of `host` the scheme is not known: without a port it has the default one of the origin's scheme.
        """
        if self._allows_all:
            return True
        origin = parse(header)
        if origin is None:
            return False
        if origin in self._allowed:
            return True
        own = authority(host)
        default = _DEFAULT_PORTS.get(origin.scheme)
        return default is not None and own is not None and (own[0], own[1] or default) == (origin.host, origin.port)


def _configured(text: str) -> Origin:
    origin = parse(text)
    if origin is None:
        raise ConfigError(f"--origin takes origins like https://chat.example, without a path, or *, not {text!r}")
    return origin
