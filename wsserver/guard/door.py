"""What a request is judged by before anybody is asked: its proxies, the host that it names, the page it comes from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import HandshakeError
from .host import host_of, is_loopback
from .origin import Origins
from .proxies import Proxies

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..config import Config
    from .proxies import Client


class Door:
    """Raises `ConfigError` where `config` names origins or proxies that cannot be."""

    def __init__(self, config: Config) -> None:
        self.proxies = Proxies(config.forwarded_allow_ips)
        self._origins = Origins(config.origin)
        self._names = self._origins.hosts | {name.strip().lower() for name in config.host.split(",")}

    def check(self, client: Client, headers: Mapping[str, str], *, is_local: bool) -> None:
        """Raises `HandshakeError` 403 for a page or a name that is foreign.

        `is_local`: it came to where only this machine connects. A page that got here by a name of its own (DNS
        rebinding) says that name. A trusted proxy passes on the name that its clients use, which may be any.
        """
        host = headers.get("host", "")
        if is_local and not client.trusted and not self._is_ours(host):
            raise HandshakeError(
                403,
                "Host names no loopback address: allow it by --origin, or the proxy by --forwarded-allow-ips",
                reason="host",
            )
        if client.trusted:
            host = headers.get("x-forwarded-host", "").rpartition(",")[2].strip() or host
        origin = headers.get("origin")
        # Programs send none: only a browser is used by pages without the knowledge of its person.
        if origin is not None and not self._origins.allows(origin, host):
            raise HandshakeError(403, "pages of this Origin are not let in: allow them by --origin", reason="origin")

    def _is_ours(self, header: str) -> bool:
        host = host_of(header)
        return host is not None and (is_loopback(host) or host in self._names)
