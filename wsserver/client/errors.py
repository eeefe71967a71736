"""What can go wrong between a client and its server; the text of each says what to do.

::

    WsserverError
    └── ChatError
        ├── ConnectError       no conversation came about: status or close code, as known
        ├── ConnectionLost     it is over: close code and reason
        └── RequestRefused     the server did not take one request; the conversation goes on
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from ..errors import WsserverError

if TYPE_CHECKING:
    from ..errors import HandshakeError

_ADVICE = {
    401: "log in with a token, in the header Authorization",
    403: "this is not for you, or not from here",
    404: "check the path, which is /ws/chat unless the server was told otherwise",
    429: "close another connection, or try again later",
    503: "try again later",
}


class ChatError(WsserverError):
    """The base of all exceptions of the client."""


class ConnectError(ChatError):
    """No conversation came about.

    `status` is the HTTP status of a refusal; `code` the close code, where the server accepted and closed at once. Both
    are None where nothing answered, or nothing that speaks this protocol.
    """

    def __init__(self, message: str, *, status: int | None = None, code: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code

    @classmethod
    def refused(cls, url: str, error: HandshakeError) -> Self:
        """The server answered with another status than 101."""
        text = f"{url} refused with {error.status} {error.message}"
        advice = _ADVICE.get(error.status)
        return cls(f"{text}: {advice}" if advice else text, status=error.status)


class ConnectionLost(ChatError):
    """The connection is over, with this close code (RFC 6455, section 7.4; 1006 where it just broke) and reason."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{code} {reason}".strip())
        self.code = code
        self.reason = reason


class RequestRefused(ChatError):
    """The server did not take a request: its error `code` and `message`, and whether to try the same again."""

    def __init__(self, code: str, message: str, *, retryable: bool = False) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.retryable = retryable
