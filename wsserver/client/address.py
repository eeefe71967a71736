"""Where a server is: a WebSocket URL, taken apart (RFC 6455, section 3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self
from urllib.parse import quote, urlsplit

from ..errors import ConfigError

_PORTS = {"ws": 80, "wss": 443}
_EXAMPLE = "write it like ws://127.0.0.1:8765/ws/chat"

#: What may stand in a path or a query as it is; `%` because it is taken to be encoded already.
_UNQUOTED = "/?%:@!$&'()*+,;=-._~"


@dataclass(frozen=True, slots=True)
class Address:
    """`host` and `port` to connect to, with TLS if `secure`; `target` and `host_header` for the request."""

    host: str
    port: int
    secure: bool
    target: str
    host_header: str

    @classmethod
    def parse(cls, url: str) -> Self:
        """Takes a ws or wss URL apart; raises `ConfigError` that says how to write one."""
        try:
            parts = urlsplit(url)
            port = parts.port
            host = parts.hostname or ""
            if ":" not in host:
                host = host.encode("idna").decode("ascii")
        except ValueError as exc:
            raise ConfigError(f"{url!r} is no address: {_EXAMPLE}") from exc
        if parts.scheme not in _PORTS or not host:
            raise ConfigError(f"{url!r} is no WebSocket address: {_EXAMPLE}")
        if "@" in parts.netloc or parts.fragment:
            raise ConfigError(f"{url!r} holds a user or a fragment, which no WebSocket address has: leave it out")
        shown = f"[{host}]" if ":" in host else host
        target = parts.path or "/"
        if parts.query:
            target = f"{target}?{parts.query}"
        default = _PORTS[parts.scheme]
        return cls(
            host=host,
            port=default if port is None else port,
            secure=parts.scheme == "wss",
            target=quote(target, safe=_UNQUOTED),
            host_header=shown if port in (None, default) else f"{shown}:{port}",
        )
