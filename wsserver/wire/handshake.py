"""The opening handshake: bytes → Request, and the answer (RFC 6455, section 4.2).

h11 reads and checks the request; what makes it an upgrade to WebSocket is judged here. Knows no application: which
paths, origins and people are let in is for others to say, by a `HandshakeError`.
"""

from __future__ import annotations

import binascii
from base64 import b64encode
from dataclasses import dataclass, field
from hashlib import sha1
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import h11

from ..errors import HandshakeError
from . import requests
from .close import encode_close
from .frames import CLOSE, encode

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

#: The only subprotocol that is ever selected. Credentials may be offered beside it, never without it.
SUBPROTOCOL = "wsserver.v1"
_CREDENTIALS = ("bearer.", "bearer64.", "resume.")

_MAX_HEADER_SIZE = 2**14
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_VERSION = "13"
_ACCEPTED = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
_PHRASES = {status.value: status.phrase for status in HTTPStatus}

#: What ends a header field, or a text for some who read it (RFC 9110, section 5.5).
_NO_BREAKS = dict.fromkeys(map(ord, "\r\n\0"), " ")


@dataclass(frozen=True, slots=True)
class Request:
    """A request line and its headers. `path` is decoded, `query` as it came and without its question mark.

    `headers` maps lower-case names to values; several fields of one name are joined by commas (RFC 9110, 5.3).
    `client` is the address that it came from, as far as trusted proxies say; None on a UNIX socket.
    """

    method: str
    path: str
    # They hold tokens, which are not to be in a log.
    query: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    http_version: str
    client: str | None = None

    def elements(self, name: str) -> list[str]:
        """The elements of a list-valued header, empty where it is missing."""
        value = self.headers.get(name)
        if value is None:
            return []
        return [element for part in value.split(",") if (element := part.strip())]

    def lists(self, name: str, option: str) -> bool:
        """Whether a list-valued header has this element, whatever its case."""
        value = self.headers.get(name, "").lower()
        return value == option or option in map(str.strip, value.split(","))


@dataclass(frozen=True, slots=True)
class Upgrade:
    """What a well-formed request for a WebSocket connection asks for."""

    key: str
    subprotocols: Sequence[str] = field(repr=False)  # they hold tokens
    extensions: Sequence[str]

    @property
    def subprotocol(self) -> str | None:
        """The one to select, if it was offered."""
        return SUBPROTOCOL if SUBPROTOCOL in self.subprotocols else None


class RequestReader:
    """Reads one request and holds what came behind it."""

    __slots__ = ("_connection", "_lines", "_size", "_trailing_data")

    def __init__(self) -> None:
        self._connection: h11.Connection | None = None
        self._lines: requests.Lines | None = None
        self._size = 0
        self._trailing_data = b""

    @property
    def trailing_data(self) -> bytes:
        """Bytes behind the request: a client need not wait for the 101 before its first frame."""
        return self._connection.trailing_data[0] if self._connection is not None else self._trailing_data

    def receive_data(self, data: bytes) -> Request | None:
        """The request, once it is whole. Raises `HandshakeError` 400 or 431."""
        if self._connection is None:
            taken = requests.decode(data, _MAX_HEADER_SIZE)
            if taken is not None:
                target, headers, end = taken
                self._trailing_data = data[end:]
                return _request("GET", target, headers, "1.1")
            self._connection = h11.Connection(h11.SERVER, max_incomplete_event_size=_MAX_HEADER_SIZE)
            self._lines = requests.Lines()
        assert self._lines is not None
        self._size += len(data)
        if not self._lines.receive_data(data):
            raise _malformed() if self._size <= _MAX_HEADER_SIZE else _too_large()
        if self._lines.count > requests.MAX_FIELDS + 2:
            raise _too_large()
        try:
            self._connection.receive_data(data)
            event = self._connection.next_event()
            if event is h11.NEED_DATA:
                return None
        except h11.RemoteProtocolError as exc:
            if exc.error_status_hint == 431:
                raise _too_large() from exc
            raise _malformed() from exc
        if not isinstance(event, h11.Request):
            raise _malformed()
        if self._size - len(self.trailing_data) > _MAX_HEADER_SIZE:
            raise _too_large()
        headers = joined(event)
        if event.method == b"GET" and ("transfer-encoding" in headers or headers.get("content-length", "").strip("0")):
            # A body would be taken for frames, or frames for a body: none is allowed, not even an empty chunked one.
            raise HandshakeError(400, "a request for this server has no body", reason="malformed")
        return _request(
            event.method.decode("ascii"), event.target.decode("latin-1"), headers, event.http_version.decode("ascii")
        )


def _malformed() -> HandshakeError:
    # What the peer sent may stand in the text of h11's exception: it is not sent back.
    return HandshakeError(400, "malformed HTTP request", reason="malformed")


def _too_large() -> HandshakeError:
    return HandshakeError(431, "request headers too large", reason="malformed")


def _request(method: str, target: str, headers: Mapping[str, str], http_version: str) -> Request:
    if not target.startswith("/"):
        # RFC 6455 allows an absolute URI, "which, when parsed, has a /resource name/" (4.2.1).
        try:
            parts = urlsplit(target)
        except ValueError as exc:
            raise HandshakeError(400, "malformed request target", reason="malformed") from exc
        if parts.scheme not in ("http", "https", "ws", "wss") or not parts.netloc:
            raise HandshakeError(400, "malformed request target", reason="malformed")
        # "MUST ignore the received Host header field" (RFC 9112, section 3.2.2): the target says it, for all to read.
        headers = {**headers, "host": parts.netloc}
        target = f"{parts.path or '/'}?{parts.query}"
    path, _, query = target.partition("?")
    return Request(method, unquote(path), query, headers, http_version)


def parse_upgrade(request: Request) -> Upgrade:
    """What the request asks for; raises `HandshakeError` 400, 405 or 426 where it is no upgrade."""
    if request.method != "GET":
        # The answer to HEAD has no body (RFC 9110, section 9.3.2).
        text = "" if request.method == "HEAD" else "only GET is served here"
        raise HandshakeError(405, text, [("Allow", "GET")], reason="no_upgrade")
    is_upgrade = request.lists("upgrade", "websocket") and request.lists("connection", "upgrade")
    if not is_upgrade or request.http_version != "1.1":
        raise HandshakeError(426, "this address speaks WebSocket", [("Upgrade", "websocket")], reason="no_upgrade")
    if request.headers.get("sec-websocket-version") != _VERSION:
        raise HandshakeError(
            426,
            "only version 13 of WebSocket is spoken here",
            [("Upgrade", "websocket"), ("Sec-WebSocket-Version", _VERSION)],
            reason="no_upgrade",
        )
    key = request.headers.get("sec-websocket-key", "")
    if not _is_key(key):
        raise HandshakeError(400, "Sec-WebSocket-Key must be 16 bytes in base64", reason="malformed")
    subprotocols = request.elements("sec-websocket-protocol")
    is_ours = SUBPROTOCOL in subprotocols
    if subprotocols and not is_ours and any(offered.startswith(_CREDENTIALS) for offered in subprotocols):
        raise HandshakeError(400, f"offer the subprotocol {SUBPROTOCOL} beside your credentials", reason="credentials")
    return Upgrade(key, subprotocols, request.elements("sec-websocket-extensions"))


def _is_key(key: str) -> bool:
    try:
        return len(binascii.a2b_base64(key, strict_mode=True)) == 16
    except (binascii.Error, ValueError):
        return False


def joined(message: h11.Request | h11.InformationalResponse) -> dict[str, str]:
    """Header fields by lower-case name, several of one name joined by commas (RFC 9110, section 5.3)."""
    headers: dict[str, str] = {}
    for raw_name, raw_value in message.headers.raw_items():
        name, value = raw_name.decode("ascii").lower(), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]},{value}" if name in headers else value
    return headers


def accept_token(key: str) -> str:
    """The `Sec-WebSocket-Accept` that answers a `Sec-WebSocket-Key` (section 4.2.2)."""
    return b64encode(sha1(key.encode() + _GUID, usedforsecurity=False).digest()).decode()


def accept(upgrade: Upgrade, extensions: str | None = None) -> bytes:
    """The answer that opens the connection (section 4.2.2)."""
    answer = f"{_ACCEPTED}{accept_token(upgrade.key)}\r\n"
    if upgrade.subprotocol:
        answer += f"Sec-WebSocket-Protocol: {SUBPROTOCOL}\r\n"
    if extensions:
        answer += f"Sec-WebSocket-Extensions: {extensions}\r\n"
    return f"{answer}\r\n".encode("ascii")


def refuse(error: HandshakeError) -> bytes:
    """The answer that turns the client away, after which the connection is closed; no body where nothing is said."""
    body = f"{error.message}\n".encode(errors="replace") if error.message else b""
    return respond(error.status, body, error.headers)


def accept_and_close(upgrade: Upgrade, code: int, reason: str) -> bytes:
    """The answer that opens the connection, and the Close that ends it at once: a browser shows its page no other."""
    return accept(upgrade) + encode(CLOSE, encode_close(code, reason))


def respond(status: int, body: bytes, headers: Sequence[tuple[str, str]] = (), *, head_only: bool = False) -> bytes:
    """An HTTP answer behind which the connection is closed; text unless `headers` say otherwise.

    `head_only` leaves the body out, for HEAD (RFC 9110, section 9.3.2).
    """
    names = {name.lower() for name, _ in headers}
    fields = [] if "content-type" in names else [("Content-Type", "text/plain; charset=utf-8")]
    fields.append(("Content-Length", str(len(body))))
    fields.append(("Connection", "close, Upgrade" if "upgrade" in names else "close"))
    return _head(status, (*fields, *headers)) + (b"" if head_only else body)


def _head(status: int, headers: Iterable[tuple[str, str]]) -> bytes:
    # An application refuses with what it likes: its text must not become a header, nor its status no answer at all.
    phrase = _PHRASES.get(status, "")
    lines = [f"HTTP/1.1 {status} {phrase}", *(f"{name}: {value}".translate(_NO_BREAKS) for name, value in headers)]
    return "\r\n".join((*lines, "\r\n")).encode("latin-1", errors="replace")
