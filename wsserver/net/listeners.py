"""Where a server listens: on TCP addresses, on a UNIX socket, or on sockets that somebody else has opened."""

from __future__ import annotations

import errno
import logging
import os
import socket
import stat
import sys
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import ConfigError
from ..guard.host import is_loopback
from .arrivals import Arrivals
from .tls import server_options

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Sequence

    from ..config import Config
    from .arrivals import Arrival
    from .house import House

logger = logging.getLogger(__name__)

#: How many accepted connections may wait for the loop. The kernel cuts it to its own maximum.
_BACKLOG = 4096

#: The kernel's own queue would hold megabytes that a slow reader has not taken, and "stop" would come behind them.
_NOTSENT_LOWAT = 2**14

#: The first descriptor that systemd hands over (sd_listen_fds(3)).
_FIRST_INHERITED = 3

#: None where there are no UNIX sockets.
_UNIX = getattr(socket, "AF_UNIX", None)
_FAMILIES = (socket.AF_INET, socket.AF_INET6, _UNIX)

#: Loops of Python 3.13 and later would remove the file of a UNIX socket, also one that systemd goes on listening on.
_UNIX_OPTIONS: dict[str, Any] = {"cleanup_socket": False} if sys.version_info >= (3, 13) else {}

_ADVICE = {
    errno.EADDRINUSE: "another --port, or 0 for a free one",
    errno.EADDRNOTAVAIL: "a --host that is an address of this machine",
    errno.EACCES: "a --port of 1024 or more",
}


class MakeOpening(Protocol):
    """Makes the protocol of a connection.

    `is_local`: only this machine connects to where it came. `arrival` is what it was before the loop had it.
    """

    def __call__(self, is_local: bool, arrival: Arrival | None = None) -> asyncio.Protocol: ...


class Listeners:
    """The listening sockets of one server: those that were `given`, else those that `config` asks for.

    Given sockets must be bound stream sockets, TCP or UNIX; `close` closes them too. Raises `ConfigError` for others.
    """

    def __init__(self, config: Config, given: Sequence[socket.socket] = ()) -> None:
        for listener in given:
            if listener.type != socket.SOCK_STREAM or listener.family not in _FAMILIES:
                raise ConfigError(f"{listener} cannot be served: hand in stream sockets, TCP or UNIX")
        self.urls: list[str] = []
        self._config = config
        self._given = given
        self._servers: list[asyncio.AbstractServer | Arrivals] = []
        self._closed: list[Arrivals] = []  # or about to be
        self._file: tuple[str, os.stat_result] | None = None  # of the UNIX socket that is ours

    async def open(self, house: House, opening: MakeOpening) -> None:
        """Serves every connection with what `opening` makes. Raises `ConfigError`, and then listens nowhere."""
        tls = server_options(self._config)
        scheme = "wss" if tls else "ws"
        sockets = list(self._given) or await self._bind(house.loop)
        try:
            for listener in sockets:
                self._servers.append(await self._serve(listener, house, opening, tls))
                self.urls.append(_url(listener, scheme, self._config.path))
        except BaseException as exc:
            self.close()
            await self.wait_closed()
            for listener in sockets:
                listener.close()
            if isinstance(exc, OSError):
                raise ConfigError(f"cannot listen on the socket that was handed in: {exc.strerror}") from exc
            raise

    async def _serve(
        self, listener: socket.socket, house: House, opening: MakeOpening, tls: dict[str, Any]
    ) -> asyncio.AbstractServer | Arrivals:
        if listener.family != _UNIX:
            _tune(listener)
        # What comes by a proxy comes from elsewhere, and no page sends a preamble.
        by_proxy = self._config.proxy_protocol
        accept = partial(opening, not by_proxy and listener.family != _UNIX and is_loopback(listener.getsockname()[0]))
        if tls or by_proxy:
            listener.listen(_BACKLOG)
            return Arrivals(house, listener, accept, tls)
        if listener.family == _UNIX:
            return await house.loop.create_unix_server(accept, sock=listener, backlog=_BACKLOG, **_UNIX_OPTIONS)
        return await house.loop.create_server(accept, sock=listener, backlog=_BACKLOG)

    def close(self) -> None:
        """Listens no more. What was accepted stays open."""
        if self._file is not None:
            path, ours = self._file
            self._file = None
            with suppress(FileNotFoundError):
                # Another server may have taken the path over.
                if os.path.samestat(os.lstat(path), ours):
                    os.unlink(path)
        for server in self._servers:
            server.close()
        self._closed += [server for server in self._servers if isinstance(server, Arrivals)]
        self._servers.clear()

    async def wait_closed(self) -> None:
        """Returns once nobody can be accepted any more; `close` was called."""
        for arrivals in self._closed:
            await arrivals.wait_closed()

    async def _bind(self, loop: asyncio.AbstractEventLoop) -> list[socket.socket]:
        config = self._config
        if not config.uds:
            return await _bind_tcp(loop, config.host.split(","), config.port)
        try:
            return [self._bind_unix(config.uds)]
        except OSError as exc:
            self.close()
            reason = exc.strerror or exc
            raise ConfigError(f"cannot listen on --uds {config.uds}: {reason}; choose another path") from exc

    def _bind_unix(self, path: str) -> socket.socket:
        if _UNIX is None:
            raise ConfigError("--uds needs UNIX sockets, which this system does not have: choose --host and --port")
        if "\0" in path:
            raise ConfigError("--uds takes the path of a file: abstract names are not served")
        _remove_stale(path)
        listener = socket.socket(_UNIX, socket.SOCK_STREAM)
        try:
            listener.bind(path)
            # The current directory may be another one when it is removed.
            self._file = os.path.abspath(path), os.lstat(path)
            listener.listen(_BACKLOG)
        except OSError:
            listener.close()
            raise
        return listener


def inherited() -> list[socket.socket]:
    """The listening sockets that systemd has opened for this process (sd_listen_fds(3)); none where it has not.

    The variables that tell of them are gone afterwards, and no child inherits the sockets. Raises `ConfigError` for
    descriptors that nobody can connect to.
    """
    process, count = os.environ.pop("LISTEN_PID", ""), os.environ.pop("LISTEN_FDS", "")
    os.environ.pop("LISTEN_FDNAMES", None)
    if process != str(os.getpid()):
        return []
    if not count.isdecimal():
        raise ConfigError(f"LISTEN_FDS takes a whole number, not {count!r}")
    sockets: list[socket.socket] = []
    for descriptor in range(_FIRST_INHERITED, _FIRST_INHERITED + int(count)):
        try:
            os.set_inheritable(descriptor, False)
            sockets.append(socket.socket(fileno=descriptor))
            listens = sockets[-1].type == socket.SOCK_STREAM and sockets[-1].getsockopt(
                socket.SOL_SOCKET, socket.SO_ACCEPTCONN
            )
        except OSError:
            listens = False
        if not listens:
            for listener in sockets:
                listener.close()
            raise ConfigError(
                f"descriptor {descriptor} of LISTEN_FDS is no listening stream socket: in the .socket unit, write"
                " ListenStream= and leave Accept= away"
            )
    return sockets


async def _bind_tcp(loop: asyncio.AbstractEventLoop, hosts: list[str], port: int) -> list[socket.socket]:
    """One socket for each address; with port 0 the first one chooses, and the others take the same port."""
    addresses: list[tuple[int, tuple[Any, ...]]] = []
    for host in map(str.strip, hosts):
        try:
            infos = await loop.getaddrinfo(
                host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE | socket.AI_ADDRCONFIG
            )
        except (socket.gaierror, UnicodeError) as exc:
            reason = exc.strerror if isinstance(exc, OSError) else exc
            raise ConfigError(f"--host {host} is no address of this machine ({reason})") from exc
        addresses += [(family, tuple(address)) for family, _, _, _, address in infos]
    sockets: list[socket.socket] = []
    for family, (host, _, *scope) in dict.fromkeys(addresses):
        try:
            # It sets SO_REUSEADDR where that is safe, and keeps the sockets of IPv6 to IPv6.
            sockets.append(socket.create_server((host, port, *scope), family=family, backlog=_BACKLOG))
        except OSError as exc:
            for bound in sockets:
                bound.close()
            reason = os.strerror(exc.errno) if exc.errno else str(exc)
            advice = _ADVICE.get(exc.errno or 0, "another --host or --port")
            raise ConfigError(f"cannot listen on {host} port {port}: {reason}; choose {advice}") from exc
        port = sockets[0].getsockname()[1]
    return sockets


def _remove_stale(path: str) -> None:
    """Removes a socket file that nobody listens on: a server that was killed has left it behind."""
    with suppress(FileNotFoundError):
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise ConfigError(f"--uds {path} is a file that is no socket: remove it, or choose another path")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            # One whose backlog is full would make it wait.
            probe.setblocking(False)
            if probe.connect_ex(path) == errno.ECONNREFUSED:
                os.unlink(path)


def _tune(listener: socket.socket) -> None:
    """Connections inherit these options from the socket that accepts them."""
    # asyncio sets it only on sockets that were made with a protocol number, and those of `create_server` have none.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if hasattr(socket, "TCP_NOTSENT_LOWAT"):
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _NOTSENT_LOWAT)


def _url(listener: socket.socket, scheme: str, path: str) -> str:
    address = listener.getsockname()
    if listener.family == _UNIX:
        # In the form that Node's `ws` takes; an abstract name, which systemd may have bound, begins with a zero byte.
        return f"{scheme}+unix:{os.fsdecode(address).replace(chr(0), '@')}:{path}"
    host, port = address[:2]
    shown = f"[{host}]" if listener.family == socket.AF_INET6 else host
    return f"{scheme}://{shown}:{port}{path}"
