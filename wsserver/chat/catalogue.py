"""Every event of the protocol: who sends it, its data, and whether it is kept.

What callbacks show and what clients ask for are the classes of `events`; what only the server says is described here.
The AsyncAPI document is made from this table.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, NamedTuple, NotRequired, TypedDict, get_args

from . import events


class SessionData(TypedDict):
    """The first frame of every connection."""

    resumed: Annotated[bool, "whether this is the session that the client has named"]
    recovered: Annotated[bool, "whether all that was missed will be sent; else ask for `history`"]
    resumable: Annotated[bool, "whether the session will wait for its client at all"]
    epoch: Annotated[int, "to be named in a resume"]
    seq: Annotated[int, "of the last event kept, 0 if none"]
    resume_token: Annotated[str, "secret"]
    resume_ttl: Annotated[float, "seconds that the session waits for its client"]
    ping_interval: Annotated[float, "seconds between pings, 0 for none"]
    max_message_size: Annotated[int, "bytes, 0 for no limit"]
    active_turn: Annotated[int | None, "the turn that is being answered"]


class AckData(TypedDict):
    """A client event with an `id` has been taken."""

    ref: NotRequired[Annotated[str, "the `id` of that event"]]
    turn: NotRequired[Annotated[int, "the turn that a message has become"]]
    queued: NotRequired[Annotated[int, "how many turns come before it"]]
    duplicate: NotRequired[Annotated[bool, "whether that message had been taken before"]]


class StartData(TypedDict):
    """A turn begins."""

    ref: NotRequired[Annotated[str, "the `id` of its message"]]


class AskData(TypedDict):
    """The turn waits for the person's `answer`."""

    call_id: str
    message: str
    schema: Annotated[dict[str, Any], "a JSON Schema of the answer"]


class CompleteData(TypedDict):
    """The end of a turn that was not an error."""

    final: Literal[True]
    status: Literal["completed", "stopped", "interrupted"]
    ref: NotRequired[Annotated[str, "the `id` of its message"]]
    usage: NotRequired[Annotated[dict[str, Any], "what the application says of its cost"]]


class ErrorData(TypedDict):
    """A turn has failed, where it is final; else a client event was refused, and all goes on."""

    code: Annotated[str, "one of `x-error-codes`, or the application's own"]
    message: str
    retryable: Annotated[bool, "whether the same may be sent again"]
    final: bool
    ref: NotRequired[Annotated[str, "the `id` of what it answers"]]
    retry_after: NotRequired[Annotated[float, "seconds"]]


class Said(TypedDict):
    """What was said in one turn by one side."""

    turn: Annotated[int, "0 for what the application brought along"]
    role: Literal["user", "assistant", "system", "tool"]
    content: Annotated[Any, "text, or the JSON value that the client sent"]
    status: Literal["completed", "stopped", "interrupted", "failed"]
    truncated: NotRequired[Literal[True]]


class Active(TypedDict):
    """The answer that is under way."""

    turn: int
    text: str
    asks: NotRequired[Annotated[list[AskData], "the questions that are open"]]
    truncated: NotRequired[Literal[True]]


class HistoryData(TypedDict):
    """What the person was shown so far."""

    items: list[Said]
    active: Active | None
    seq: Annotated[int, "of the last event kept: what follows is not in it"]
    waiting: NotRequired[Annotated[list[int], "the turns that have not begun"]]


class ReplayedData(TypedDict):
    """What was missed has been sent, what follows is live."""

    count: int
    seq: int


class DrainData(TypedDict):
    """The server is going away."""

    reconnect_in: Annotated[float, "seconds"]


class AuthExpiringData(TypedDict):
    """The connection is about to be closed with 4005, unless an `auth` comes first."""

    expires_in: Annotated[float, "seconds"]


class Merged(TypedDict):
    """Of a token that several were merged into, for a reader far behind."""

    from_seq: NotRequired[Annotated[int, "the first of them, `seq` being the last"]]


class Anything(TypedDict):
    """What the `ping` carried."""


class Sent(NamedTuple):
    """An event of the server. `data` is a class of `events` or of this module; fields of `more` stand beside its own.

    `turn` and `kept` say whether it belongs to a turn, and whether it has a `seq`; None: now so, now otherwise.
    """

    event: str
    data: type
    turn: bool | None
    kept: bool | None
    more: type | None = None


SENT = (
    Sent("session", SessionData, turn=False, kept=False),
    Sent("ack", AckData, turn=False, kept=False),
    Sent("start", StartData, turn=True, kept=True),
    Sent("token", events.Token, turn=True, kept=True, more=Merged),
    Sent("tool", events.Tool, turn=True, kept=True),
    Sent("source", events.Source, turn=True, kept=True),
    Sent("ask", AskData, turn=True, kept=True),
    Sent("status", events.Status, turn=True, kept=False),
    Sent("reset", events.Reset, turn=True, kept=True),
    Sent("complete", CompleteData, turn=True, kept=True),
    Sent("error", ErrorData, turn=None, kept=None),
    Sent("history", HistoryData, turn=False, kept=False),
    Sent("replayed", ReplayedData, turn=False, kept=False),
    Sent("drain", DrainData, turn=False, kept=False),
    Sent("auth_expiring", AuthExpiringData, turn=False, kept=False),
    Sent("pong", Anything, turn=False, kept=False),
)
"""All that the server says, beside the application's own events."""

HEARD: tuple[type, ...] = get_args(events.ClientEvent)
"""All that a client may ask: the classes of its events."""


class ErrorCode(NamedTuple):
    """Whether an `error` of this code ends its turn, and whether the same may be sent again; in most cases."""

    final: bool
    retryable: bool


ERROR_CODES = {
    "bad_message": ErrorCode(final=False, retryable=False),
    "turn_active": ErrorCode(final=False, retryable=True),
    "queue_full": ErrorCode(final=False, retryable=True),
    "overloaded": ErrorCode(final=False, retryable=True),
    "not_active": ErrorCode(final=False, retryable=False),
    "rate_limited": ErrorCode(final=False, retryable=True),
    "invalid_token": ErrorCode(final=False, retryable=False),
    "server_shutdown": ErrorCode(final=True, retryable=True),
    "turn_timeout": ErrorCode(final=True, retryable=True),
    "turn_lost": ErrorCode(final=True, retryable=True),
    "generation_failed": ErrorCode(final=True, retryable=False),
}
"""Beside those of the application."""
