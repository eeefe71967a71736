"""One connection of a chat: from the address to the first event, and what ended it in words."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, Self

from ..errors import ConfigError, HandshakeError
from ..wire.client import NO_ANSWER, Client
from ..wire.handshake import SUBPROTOCOL
from .address import Address
from .errors import ConnectError, ConnectionLost
from .inbox import MiB
from .link import Link

if TYPE_CHECKING:
    from collections.abc import Sequence

#: The largest message that is taken from a server, in bytes.
MAX_MESSAGE_SIZE = 16 * MiB
#: OpenSSL's X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH.
_OTHER_NAME = (62, 64)


@dataclass(slots=True)
class Target:
    """Where to connect, and as whom; `open_timeout` in seconds, 0 for none."""

    url: str
    address: Address
    headers: Sequence[tuple[str, str]]
    token: str | None
    context: ssl.SSLContext | None
    uds: str | None
    open_timeout: float

    @classmethod
    def parse(
        cls,
        url: str,
        *,
        headers: Sequence[tuple[str, str]] = (),
        token: str | None = None,
        context: ssl.SSLContext | None = None,
        uds: str | None = None,
        open_timeout: float = 10.0,
    ) -> Self:
        """Raises `ConfigError` for what does not fit together."""
        address = Address.parse(url)
        if context is not None and not address.secure:
            raise ConfigError(f"{url!r} is not encrypted: write wss, or leave ssl out")
        if token is not None and any(name.lower() == "authorization" for name, _ in headers):
            raise ConfigError("the token goes into the header Authorization: give one of them")
        return cls(url, address, headers, token, context, uds, open_timeout)

    def client(self, resume: str | None) -> Client:
        """The wire of a new connection. `resume` is the subprotocol that asks for a session."""
        headers = list(self.headers)
        if self.token is not None:
            headers.append(("Authorization", f"Bearer {self.token}"))
        return Client(
            self.address.host_header,
            self.address.target,
            headers,
            # Beside the subprotocol, not in the query: addresses get into logs.
            subprotocols=(SUBPROTOCOL, resume) if resume else (SUBPROTOCOL,),
            limit=MAX_MESSAGE_SIZE,
        )


class User(Protocol):
    """Whose connection it is."""

    def received(self, text: str) -> None:
        """A message has come. Raises `ProtocolError` where the connection must fail."""

    def dropped(self, loss: ConnectionLost) -> None:
        """It is over; called once, and only if it had begun."""


class Connection:
    """One connection to `target`. It has begun once its user says so, with the server's first event."""

    def __init__(self, target: Target, user: User, resume: str | None = None) -> None:
        self.link = Link(target.client(resume), self)
        self.began_at = 0.0
        self._loop = asyncio.get_running_loop()
        self._target = target
        self._user = user
        self._opened: asyncio.Future[None] = self._loop.create_future()

    async def open(self) -> None:
        """Connects and waits until it has begun. Raises `ConnectError`."""
        target = self._target
        deadline = asyncio.timeout(target.open_timeout or None)
        try:
            async with deadline:
                await self.link.open(target.address, target.context, target.uds)
                await self._opened
        except BaseException as exc:
            self._opened.cancel()
            self.link.abort()
            if not isinstance(exc, OSError):
                raise
            if deadline.expired():
                text = f"{target.url} did not answer within {target.open_timeout:g} s: is this a wsserver?"
            elif isinstance(exc, ssl.SSLCertVerificationError) and exc.verify_code in _OTHER_NAME:
                text = f"the certificate of {target.url} is for another name: {exc.verify_message.rstrip('.')}"
            elif isinstance(exc, ssl.SSLCertVerificationError):
                text = (
                    f"the certificate of {target.url} is not trusted ({exc.verify_message}): name the file of its"
                    " authority, or its own, in SSL_CERT_FILE"
                )
            elif isinstance(exc, ssl.SSLError):
                text = f"no secure connection to {target.url}: {exc.reason or exc.strerror or exc}"
            else:
                where = f"{target.url} on {target.uds}" if target.uds else target.url
                text = f"nothing answers at {where}: start it with `wsserver serve`, or check the address"
            raise ConnectError(text) from exc

    def begin(self, ping_interval: float) -> None:
        """The server's first event was there; `ping_interval` in seconds, 0 where the server does not ping."""
        self.began_at = self._loop.time()
        self.link.expect_life(ping_interval)
        self._opened.set_result(None)

    @property
    def age(self) -> float:
        """Seconds since it has begun."""
        return self._loop.time() - self.began_at

    # -- called by the link --------------------------------------------------------------------------------------

    def received(self, text: str) -> None:
        # What comes after its time was up has come too late.
        if not self._opened.cancelled():
            self._user.received(text)

    def ended(self) -> None:
        if not self._opened.done():
            self._opened.set_exception(self._connect_error())
        elif not self._opened.cancelled():
            wire = self.link.wire
            self._user.dropped(ConnectionLost(int(wire.close_code), wire.close_reason))

    def _connect_error(self) -> ConnectError:
        wire, url = self.link.wire, self._target.url
        error = wire.opening_error
        if isinstance(error, HandshakeError):
            return ConnectError.refused(url, error)
        if error is not None:
            text = f"what answers at {url} is no wsserver: {error.reason}"
            if error.reason == NO_ANSWER and not self._target.address.secure:
                text += "; where it speaks TLS, write wss"
            return ConnectError(text)
        return ConnectError.closed(url, int(wire.close_code), wire.close_reason)
