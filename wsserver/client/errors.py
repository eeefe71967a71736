"""What can go wrong between a client and its server; the text of each says what to do.

::

    WsserverError
    └── ChatError
        ├── ConnectError       no conversation came about: status or close code, as known
        ├── ConnectionLost     it is over: close code and reason
        ├── SessionLost        the server has forgotten what was under way; the chat goes on in a new session
        └── RequestRefused     the server did not take one request; the conversation goes on
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from ..errors import WsserverError
from ..wire.close import CloseCode
from .retry import retry_after

if TYPE_CHECKING:
    from ..errors import HandshakeError

_LOG_IN = "log in with a token: `connect(…, token=…)`, or --token of `wsserver chat`"
_ADVICE = {
    401: _LOG_IN,
    403: "this is not for you, or not from here",
    404: "check the path, which is /ws/chat unless the server was told otherwise",
    429: "close another connection, or try again later",
    503: "try again later",
    # The same, where the server accepted first, so that browsers hear of it.
    CloseCode.UNAUTHORIZED: _LOG_IN,
    CloseCode.FORBIDDEN: "this is not for you, or not from here",
    CloseCode.TOO_MANY: "close another connection, or try again later",
    CloseCode.INTERNAL_ERROR: "look into the log of the server",
    CloseCode.TRY_AGAIN_LATER: "try again later",
}


class ChatError(WsserverError):
    """The base of all exceptions of the client."""


class ConnectError(ChatError):
    """No conversation came about.

    `status` is the HTTP status of a refusal; `code` the close code, where the server accepted and closed at once. Both
    are None where nothing answered, or nothing that speaks this protocol. `retry_after` is how many seconds the server
    wants to be left alone (RFC 9110, section 10.2.3), 0.0 where it did not say.
    """

    def __init__(
        self, message: str, *, status: int | None = None, code: int | None = None, retry_after: float = 0.0
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.retry_after = retry_after

    @classmethod
    def closed(cls, url: str, code: int, reason: str) -> Self:
        """The server accepted and closed at once."""
        text = f"{url} closed the connection at once: {code} {reason}".rstrip()
        advice = _ADVICE.get(code)
        return cls(f"{text}: {advice}" if advice else text, code=code)

    @classmethod
    def refused(cls, url: str, error: HandshakeError) -> Self:
        """The server answered with another status than 101."""
        text = f"{url} refused with {error.status} {error.message}"
        advice = _ADVICE.get(error.status)
        return cls(
            f"{text}: {advice}" if advice else text,
            status=error.status,
            retry_after=retry_after(dict(error.headers)),
        )


class ConnectionLost(ChatError):
    """The chat is over, with this close code (RFC 6455, section 7.4; 1006 where the connection just broke) and reason.

    Where it tried to come back and could not, the `ConnectError` of the last attempt is its `__cause__`.
    """

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{code} {reason}".strip())
        self.code = code
        self.reason = reason


class SessionLost(ChatError):
    """The session is gone, with the turns that were under way in it; the chat itself goes on in a new one."""


class RequestRefused(ChatError):
    """The server did not take a request: its error `code` and `message`, and whether to try the same again.

    `retry_after` is in how many seconds, 0.0 where the server did not say.
    """

    def __init__(self, code: str, message: str, *, retryable: bool = False, retry_after: float = 0.0) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.retryable = retryable
        self.retry_after = retry_after
