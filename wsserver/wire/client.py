"""The client's side of a WebSocket connection: bytes in and out, and its state (RFC 6455).

::

    CONNECTING ──101, checked──▶ OPEN ──send_close──▶ CLOSING ──peer's Close──▶ CLOSED
      │                            ├────────peer's Close, answered───────────────▶
      │                            └────────fail: a protocol error───────────────▶
      └──refused, or no answer that RFC 6455 knows───────────────────────────────▶

Knows no sockets, no clock and no application. h11 reads the answer to the opening handshake, wsproto the frames; a
client has one connection and needs no lanes. Nothing follows a Close: what is sent after it is dropped.
"""

from __future__ import annotations

from base64 import b64encode
from enum import Enum
from io import StringIO
from os import urandom
from typing import TYPE_CHECKING

import h11
from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Ping, TextMessage

from ..errors import ConfigError, HandshakeError, ProtocolError
from .close import CloseCode
from .handshake import accept_token, joined

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wsproto.events import Event

#: Why nothing was opened, where the other side closed without a byte.
NO_ANSWER = "no answer came"

_HTTP = b"HTTP/"
_MAX_ANSWER_SIZE = 2**16
_MAX_REFUSAL_SIZE = 2**12

#: What the handshake itself says; another value beside it would only break it.
_OWN_HEADERS = frozenset(("host", "upgrade", "connection", "content-length", "transfer-encoding"))
_OWN_PREFIX = "sec-websocket-"


class State(Enum):
    """Of the connection, from the opening handshake on (RFC 6455, sections 4 and 7)."""

    CONNECTING = "connecting"
    OPEN = "open"
    CLOSING = "closing"
    CLOSED = "closed"


class Opening:
    """The opening handshake: `request` goes out, `receive_data` judges the answer (section 4.1).

    Raises `ConfigError` for a header that cannot be sent.
    """

    __slots__ = ("_accept", "_body", "_connection", "_refused", "_size", "_start", "_subprotocol", "request")

    def __init__(self, host: str, target: str, headers: Sequence[tuple[str, str]], subprotocols: Sequence[str]) -> None:
        for name, _ in headers:
            if name.lower() in _OWN_HEADERS or name.lower().startswith(_OWN_PREFIX):
                raise ConfigError(f"the header {name} belongs to the opening handshake: leave it out")
        self._subprotocol = subprotocols[0]
        key = b64encode(urandom(16))
        self._accept = accept_token(key.decode())
        self._connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=_MAX_ANSWER_SIZE)
        self._size = 0
        self._start = b""
        self._refused: h11.Response | None = None
        self._body = bytearray()
        try:
            request = h11.Request(
                method="GET",
                target=target,
                headers=[
                    ("Host", host),
                    ("Upgrade", "websocket"),
                    ("Connection", "Upgrade"),
                    ("Sec-WebSocket-Key", key.decode()),
                    ("Sec-WebSocket-Version", "13"),
                    ("Sec-WebSocket-Protocol", ", ".join(subprotocols)),
                    *headers,
                ],
            )
        except (h11.LocalProtocolError, UnicodeEncodeError) as exc:
            raise ConfigError("a header or the address holds what HTTP cannot send") from exc
        self.request: bytes = self._connection.send(request) or b""
        self._connection.send(h11.EndOfMessage())

    def receive_data(self, data: bytes) -> bytes | None:
        """The bytes behind the answer once it has opened the connection; no `data` means the end of all bytes.

        Raises `HandshakeError` where the server refuses, its message being the first line of a plain text body, and
        `ProtocolError` for what is no answer to a WebSocket handshake.
        """
        self._start = (self._start + data)[: len(_HTTP)]
        if not _HTTP.startswith(self._start):
            # h11 would wait for the end of a line that may never come: a mail server has said its name and listens.
            raise ProtocolError(CloseCode.PROTOCOL_ERROR, "the answer is not HTTP")
        self._size += len(data)
        try:
            self._connection.receive_data(data)
            while (event := self._connection.next_event()) is not h11.NEED_DATA:
                if isinstance(event, h11.InformationalResponse):
                    if event.status_code == 101:
                        self._check(event)
                        return self._connection.trailing_data[0]
                elif isinstance(event, h11.Response):
                    self._refused = event
                elif isinstance(event, h11.Data) and len(self._body) < _MAX_REFUSAL_SIZE:
                    self._body += event.data
                else:
                    raise self._refusal()
        except h11.RemoteProtocolError as exc:
            # A refusal whose body is cut is one all the same.
            raise self._refusal() from exc
        if self._size > _MAX_ANSWER_SIZE:
            raise self._refusal()
        return None

    def _check(self, answer: h11.InformationalResponse) -> None:
        headers = joined(answer)
        options = [option.strip().lower() for option in headers.get("connection", "").split(",")]
        if headers.get("upgrade", "").lower() != "websocket" or "upgrade" not in options:
            raise ProtocolError(CloseCode.PROTOCOL_ERROR, "the answer is no upgrade to WebSocket")
        if headers.get("sec-websocket-accept", "") != self._accept:
            raise ProtocolError(CloseCode.PROTOCOL_ERROR, "Sec-WebSocket-Accept does not fit the key")
        # "If ... the use of an extension that was not present in the client's handshake" (section 4.1): we offer none.
        if headers.get("sec-websocket-extensions"):
            raise ProtocolError(CloseCode.PROTOCOL_ERROR, "the server uses an extension that nobody offered")
        if headers.get("sec-websocket-protocol") != self._subprotocol:
            raise ProtocolError(CloseCode.PROTOCOL_ERROR, f"the server does not speak {self._subprotocol}")

    def _refusal(self) -> HandshakeError | ProtocolError:
        answer = self._refused
        if answer is None:
            text = "the answer is not HTTP" if self._size else NO_ANSWER
            return ProtocolError(CloseCode.PROTOCOL_ERROR, text)
        headers = [(name.decode("ascii"), value.decode("latin-1")) for name, value in answer.headers]
        text = answer.reason.decode("latin-1")
        if dict(headers).get("content-type", "").startswith("text/plain"):
            text = self._body[:_MAX_REFUSAL_SIZE].decode(errors="replace").strip().partition("\n")[0] or text
        return HandshakeError(answer.status_code, text, headers)


class Client:
    """One connection, its opening handshake included; the request is the first that `data_to_send` gives.

    `host` is the value of the Host header, `target` the path and query, `headers` go along. `subprotocols` are offered;
    the server must select the first, what stands beside it only goes along. `limit` is the largest incoming message in
    bytes. `opening_error` says why there is no connection: `HandshakeError` where the server refused, `ProtocolError`
    where its answer cannot be. Raises `ConfigError` for a header that cannot be sent.
    """

    __slots__ = (
        "_connection",
        "_limit",
        "_opening",
        "_outgoing",
        "_size",
        "_text",
        "close_code",
        "close_reason",
        "opening_error",
        "state",
    )

    def __init__(
        self,
        host: str,
        target: str,
        headers: Sequence[tuple[str, str]] = (),
        *,
        subprotocols: Sequence[str],
        limit: int,
    ) -> None:
        self.state = State.CONNECTING
        self.close_code: int = CloseCode.ABNORMAL  # the peer's, or ours where we failed the connection
        self.close_reason = ""
        self.opening_error: HandshakeError | ProtocolError | None = None
        self._limit = limit
        self._opening = Opening(host, target, headers, subprotocols)
        self._connection = Connection(ConnectionType.CLIENT)
        self._outgoing: list[bytes] = [self._opening.request]
        self._text = StringIO()  # of the message under way
        self._size = 0  # its bytes

    def __repr__(self) -> str:
        return f"<Client {self.state.value}>"

    def receive_data(self, data: bytes) -> list[str]:
        """The text messages that `data` completes. Pings are answered, Closes acted on; raises nothing.

        Watch `state` afterwards: where it is CLOSED, `opening_error`, or `close_code` and `close_reason`, say why.
        """
        messages: list[str] = []
        try:
            frames = self._open(data) if self.state is State.CONNECTING else data
            if frames and self.state is not State.CLOSED:
                self._connection.receive_data(frames)
                for event in self._connection.events():
                    self._handle(event, messages)
        except ProtocolError as exc:
            self.fail(exc.code, exc.reason)
        return messages

    def receive_eof(self) -> None:
        """The peer's bytes have ended: without its Close the connection was closed abnormally (section 7.1.5)."""
        if self.state is State.CONNECTING:
            self.receive_data(b"")
        self.state = State.CLOSED

    def send_text(self, text: str) -> None:
        """A whole message. Raises `UnicodeEncodeError` for lone surrogates."""
        if self.state is State.OPEN:
            self._send(TextMessage(text))

    def send_ping(self) -> None:
        """Asks for a sign of life: whatever is received next is one (section 5.5.2)."""
        if self.state is State.OPEN:
            self._send(Ping())

    def send_close(self, code: int = CloseCode.NORMAL, reason: str = "") -> None:
        """Begins the closing handshake (section 7.1.2); before there is a connection, just ends."""
        if self.state is State.OPEN:
            self._send(CloseConnection(code, reason))
            self.state = State.CLOSING
        elif self.state is State.CONNECTING:
            self.state = State.CLOSED

    def fail(self, code: int, reason: str) -> None:
        """_Fail the WebSocket Connection_ (section 7.1.7): say why if there is one, and read no more."""
        self.send_close(code, reason)
        self.state = State.CLOSED
        self.close_code, self.close_reason = code, reason

    def data_to_send(self) -> bytes:
        """All bytes that wait for the transport."""
        data = b"".join(self._outgoing)
        self._outgoing.clear()
        return data

    def _open(self, data: bytes) -> bytes:
        try:
            frames = self._opening.receive_data(data)
        except (HandshakeError, ProtocolError) as exc:
            self.state, self.opening_error = State.CLOSED, exc
            return b""
        if frames is None:
            return b""
        self.state = State.OPEN
        return frames

    def _send(self, event: Event) -> None:
        self._outgoing.append(self._connection.send(event))

    def _handle(self, event: Event, messages: list[str]) -> None:
        if isinstance(event, CloseConnection):
            self._accept_close(event)
        elif self.state is not State.OPEN:
            # "An endpoint ... discards any further data received" after its Close (section 1.4).
            return
        elif isinstance(event, TextMessage):
            self._size += len(event.data.encode())
            if self._size > self._limit:
                raise ProtocolError(CloseCode.MESSAGE_TOO_BIG, "message over the limit")
            self._text.write(event.data)
            if event.message_finished:
                messages.append(self._text.getvalue())
                self._text, self._size = StringIO(), 0
        elif isinstance(event, BytesMessage):
            raise ProtocolError(CloseCode.UNSUPPORTED_DATA, "only text is understood here")
        elif isinstance(event, Ping):
            self._send(event.response())

    def _accept_close(self, event: CloseConnection) -> None:
        code, reason = int(event.code), event.reason or ""
        if self._connection.state is ConnectionState.REMOTE_CLOSING:
            self._send(event.response())
        elif self._connection.state is not ConnectionState.CLOSED:
            # No Close frame came: this is how wsproto tells that it cannot go on.
            raise ProtocolError(code, reason)
        self.state = State.CLOSED
        self.close_code, self.close_reason = code, reason
