"""Where a server listens: on TCP addresses, on a UNIX socket, or on sockets that somebody else has opened."""

from __future__ import annotations

import logging
import os
import socket
import sys
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

from ..config import KiB, MiB
from ..errors import ConfigError
from ..guard.host import is_loopback
from .arrivals import Arrivals
from .binding import BACKLOG, UNIX, Binding, url_of
from .tls import server_options

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence

    from ..config import Config
    from .arrivals import Arrival
    from .house import House

logger = logging.getLogger(__name__)

#: The kernel's own queue would hold megabytes that a slow reader has not taken, and "stop" would come behind them.
_NOTSENT_LOWAT = 2**14

#: The kernel holds about one message of a client that is read later; where messages may be larger it is left to choose.
_MAX_RECEIVE_BUFFER = MiB
_MIN_RECEIVE_BUFFER = 8 * KiB

#: The first descriptor that systemd hands over (sd_listen_fds(3)).
_FIRST_INHERITED = 3

_FAMILIES = (socket.AF_INET, socket.AF_INET6, UNIX)

#: Loops of Python 3.13 and later would remove the file of a UNIX socket, also one that systemd goes on listening on.
_UNIX_OPTIONS: dict[str, Any] = {"cleanup_socket": False} if sys.version_info >= (3, 13) else {}


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
        self._adopt: list[Callable[[socket.socket], None]] = []  # by the number of the socket
        self._binding = Binding(config)

    async def open(self, house: House, opening: MakeOpening) -> None:
        """Serves every connection with what `opening` makes. Raises `ConfigError`, and then listens nowhere."""
        tls = server_options(self._config)
        scheme = "wss" if tls else "ws"
        sockets = list(self._given) or (await self._binding.bind(house.loop))[0]
        try:
            for listener in sockets:
                self._servers.append(await self._serve(listener, house, opening, tls))
                self.urls.append(url_of(listener, scheme, self._config.path))
        except BaseException as exc:
            self.close()
            for listener in sockets:
                listener.close()
            if isinstance(exc, OSError):
                raise ConfigError(f"cannot listen on the socket that was handed in: {exc.strerror}") from exc
            raise

    async def _serve(
        self, listener: socket.socket, house: House, opening: MakeOpening, tls: dict[str, Any]
    ) -> asyncio.AbstractServer | Arrivals:
        if listener.family != UNIX:
            _tune(listener, self._config.max_message_size)
        # What comes by a proxy comes from elsewhere, and no page sends a preamble.
        by_proxy = self._config.proxy_protocol
        accept = partial(opening, not by_proxy and listener.family != UNIX and is_loopback(listener.getsockname()[0]))
        if tls or by_proxy:
            listener.listen(BACKLOG)
            arrivals = Arrivals(house, listener, accept, tls)
            self._adopt.append(arrivals.adopt)
            return arrivals
        self._adopt.append(partial(_take_in, house.loop, accept))
        if listener.family == UNIX:
            return await house.loop.create_unix_server(accept, sock=listener, backlog=BACKLOG, **_UNIX_OPTIONS)
        return await house.loop.create_server(accept, sock=listener, backlog=BACKLOG)

    def adopt(self, number: int, sock: socket.socket) -> None:
        """Serves a connection that came to the socket of this number, in the order of `urls`, of another process."""
        if not self._servers:
            sock.close()
            return
        if sock.family != UNIX:
            _tune(sock, self._config.max_message_size)
        self._adopt[number](sock)

    def warn_of_open_doors(self) -> None:
        """Says so where others than this machine's programs are let in, whoever they are."""
        hosts = [urlsplit(url).hostname for url in self.urls]  # None of a UNIX socket
        public = [host for host in hosts if host and not is_loopback(host)]
        if public:
            logger.warning(
                "everybody who reaches %s is let in: ask for tokens (--jwt-secret and its like),"
                " bring `authenticate`, or put a proxy in front that decides",
                ", ".join(public),
            )

    def close(self) -> None:
        """Listens no more. What was accepted stays open."""
        self._binding.remove_file()
        for server in self._servers:
            server.close()
        self._servers.clear()


def _take_in(loop: asyncio.AbstractEventLoop, accept: Callable[[], asyncio.Protocol], sock: socket.socket) -> None:
    def failed(task: asyncio.Task[Any]) -> None:
        if not task.cancelled() and (exc := task.exception()) is not None:
            logger.debug("a connection that was handed over came to nothing: %s", exc)
            sock.close()

    task = loop.create_task(loop.connect_accepted_socket(accept, sock))
    task.add_done_callback(failed)


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


def _tune(listener: socket.socket, message_size: int) -> None:
    """Connections inherit these options from the socket that accepts them."""
    if 0 < message_size <= _MAX_RECEIVE_BUFFER:
        # It would grow to megabytes for whoever floods us, and each read with it. Linux doubles what it is told.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, max(message_size, _MIN_RECEIVE_BUFFER) // 2)
    # asyncio sets it only on sockets that were made with a protocol number, and those of `create_server` have none.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if hasattr(socket, "TCP_NOTSENT_LOWAT"):
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _NOTSENT_LOWAT)
