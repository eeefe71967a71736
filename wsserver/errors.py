"""Every exception that wsserver raises, each carrying the answer it stands for.

::

    WsserverError
    ├── ConfigError        a setting that cannot work; the text says what to do
    ├── HandshakeError     the opening handshake is refused: status and headers
    ├── ProtocolError      the peer broke RFC 6455: close code and reason
    ├── ClientError        a client event that cannot be served: error code
    ├── TurnError          raised by the application to end its turn with an error
    ├── SessionNotFound    no session of this name, or none any more
    └── StoreError         what instances share is out of reach

What a peer did wrong and what we did wrong are never one class: none of these stands for a bug of ours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence


class WsserverError(Exception):
    """The base of all exceptions of this package."""


class ConfigError(WsserverError, ValueError):
    """A setting that cannot work. The text names it and says what to do."""


class HandshakeError(WsserverError):
    """The opening handshake is refused with an HTTP answer (RFC 6455, section 4.2.2).

    `status` is the HTTP status code, `headers` are added to the answer, and the text is its body. `reason` is what the
    metrics count it by, one of `counters.REASONS`.
    """

    def __init__(
        self, status: int, message: str, headers: Sequence[tuple[str, str]] = (), *, reason: str = "application"
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = tuple(headers)
        self.reason = reason


class ProtocolError(WsserverError):
    """The peer broke the protocol; the connection fails with this close code (RFC 6455, section 7.1.7)."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class ClientError(WsserverError):
    """A client event that cannot be served: answered by a non-final `error`, the connection stays.

    `retry_after` is in seconds, `ref` the `id` of the event.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        retryable: bool = False,
        ref: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.retryable = retryable
        self.ref = ref
        self.retry_after = retry_after

    def data(self) -> dict[str, Any]:
        """As the client is told."""
        data: dict[str, Any] = {
            "code": self.code,
            "message": self.message,
            "retryable": self.retryable,
            "final": False,
        }
        if self.ref is not None:
            data["ref"] = self.ref
        if self.retry_after is not None:
            data["retry_after"] = round(self.retry_after, 3)
        return data


class TurnError(WsserverError):
    """Raised by a callback to end its turn with an `error` of its own.

    `code` is a short name for programs, `message` is shown to the person, and `retryable` says whether the
    same message may be sent again.
    """

    def __init__(self, code: str, message: str, retryable: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.retryable = retryable


class SessionNotFound(WsserverError, LookupError):
    """There is no session of this name: it never was, or it has ended."""

    def __init__(self, session_id: str) -> None:
        super().__init__(f"there is no session {session_id!r}, or none any more")
        self.session_id = session_id


class StoreError(WsserverError):
    """What instances share is out of reach, or does not work as it must; the text says what to do."""
