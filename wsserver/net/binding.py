"""Binds the addresses that the settings ask for: TCP or a UNIX socket, for one process or for several."""

from __future__ import annotations

import errno
import os
import socket
import stat
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError

if TYPE_CHECKING:
    import asyncio

    from ..config import Config

#: How many accepted connections may wait for the loop. The kernel cuts it to its own maximum.
BACKLOG = 4096

#: None where there are no UNIX sockets.
UNIX = getattr(socket, "AF_UNIX", None)

#: Elsewhere several sockets may have one address too, but nobody spreads what comes there over them.
_SPREADS = sys.platform == "linux"

_ADVICE = {
    errno.EADDRINUSE: "another --port, or 0 for a free one",
    errno.EADDRNOTAVAIL: "a --host that is an address of this machine",
    errno.EACCES: "a --port of 1024 or more",
}


class Binding:
    """What one process has bound for `config`; who bound a UNIX socket removes its file in the end."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._file: tuple[str, os.stat_result] | None = None  # of the UNIX socket that is ours

    async def bind(self, loop: asyncio.AbstractEventLoop, processes: int = 1) -> list[list[socket.socket]]:
        """For each of so many processes a listening socket an address; raises `ConfigError`, and then none is left.

        Linux spreads new connections over the sockets of all processes (SO_REUSEPORT). Elsewhere, and where it is a
        UNIX socket, they share one.
        """
        config = self._config
        if not config.uds:
            return await _bind_tcp(loop, config.host.split(","), config.port, processes)
        try:
            return [[self._bind_unix(config.uds)]] * processes
        except OSError as exc:
            self.remove_file()
            reason = exc.strerror or exc
            raise ConfigError(f"cannot listen on --uds {config.uds}: {reason}; choose another path") from exc

    def remove_file(self) -> None:
        """Removes the file of the UNIX socket, if it is still ours."""
        if self._file is not None:
            path, ours = self._file
            self._file = None
            with suppress(FileNotFoundError):
                # Another server may have taken the path over.
                if os.path.samestat(os.lstat(path), ours):
                    os.unlink(path)

    def _bind_unix(self, path: str) -> socket.socket:
        if UNIX is None:
            raise ConfigError("--uds needs UNIX sockets, which this system does not have: choose --host and --port")
        if "\0" in path:
            raise ConfigError("--uds takes the path of a file: abstract names are not served")
        _remove_stale(path)
        listener = socket.socket(UNIX, socket.SOCK_STREAM)
        try:
            listener.bind(path)
            # The current directory may be another one when it is removed.
            self._file = os.path.abspath(path), os.lstat(path)
            listener.listen(BACKLOG)
        except OSError:
            listener.close()
            raise
        return listener


def url_of(listener: socket.socket, scheme: str, path: str) -> str:
    """Where clients find `path` on this socket."""
    address = listener.getsockname()
    if listener.family == UNIX:
        # In the form that Node's `ws` takes; an abstract name, which systemd may have bound, begins with a zero byte.
        return f"{scheme}+unix:{os.fsdecode(address).replace(chr(0), '@')}:{path}"
    host, port = address[:2]
    shown = f"[{host}]" if listener.family == socket.AF_INET6 else host
    return f"{scheme}://{shown}:{port}{path}"


async def _bind_tcp(
    loop: asyncio.AbstractEventLoop, hosts: list[str], port: int, processes: int
) -> list[list[socket.socket]]:
    """With port 0 the first address chooses, and the others take the same port."""
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
    by_address: list[list[socket.socket]] = []
    for family, (host, _, *scope) in dict.fromkeys(addresses):
        try:
            by_address.append(_bind_address(family, (host, port, *scope), processes))
        except OSError as exc:
            for bound in by_address:
                _close(bound)
            reason = os.strerror(exc.errno) if exc.errno else str(exc)
            advice = _ADVICE.get(exc.errno or 0, "another --host or --port")
            raise ConfigError(f"cannot listen on {host} port {port}: {reason}; choose {advice}") from exc
        port = by_address[0][0].getsockname()[1]
    return [list(sockets) for sockets in zip(*by_address, strict=True)]


def _bind_address(family: int, address: tuple[Any, ...], processes: int) -> list[socket.socket]:
    """The sockets of one address, one a process."""
    if processes == 1 or not _SPREADS:
        # It sets SO_REUSEADDR where that is safe, and keeps the sockets of IPv6 to IPv6.
        return [socket.create_server(address, family=family, backlog=BACKLOG)] * processes
    # Sockets of one user share a port without a word: a second server would get half of the clients of the first.
    with socket.socket(family) as alone:
        alone.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            alone.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        alone.bind(address)
    sockets: list[socket.socket] = []
    try:
        for _ in range(processes):
            sockets.append(socket.create_server(address, family=family, backlog=BACKLOG, reuse_port=True))
            address = sockets[0].getsockname()
    except OSError:
        _close(sockets)
        raise
    return sockets


def _close(sockets: list[socket.socket]) -> None:
    for bound in sockets:
        bound.close()


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
