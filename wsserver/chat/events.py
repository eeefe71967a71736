"""What a turn may yield, and what a client may ask.

Plain values that know their name and their data, and neither JSON nor the session they travel in. What a client said is
not in their `repr`, by which it would come into a log.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Names that the protocol gives a meaning; an application's own events must have other ones.
RESERVED = frozenset(
    "session ack start token tool source ask status reset complete error history replayed drain auth_expiring"
    " pong message stop answer auth ping end".split()
)

ToolStatus = Literal["started", "progress", "finished", "failed"]


def _known(**data: Any) -> dict[str, Any]:
    """Only the fields that have a value: on the wire what is unknown is absent."""
    return {name: value for name, value in data.items() if value is not None}


def _refuse_final(data: Mapping[str, Any]) -> None:
    """A turn is over where an event says `final`: only the server may say it."""
    if "final" in data:
        raise ValueError("the field 'final' ends a turn: choose another name")


@dataclass(frozen=True, slots=True)
class Token:
    """Text to append to the answer. Yielding the bare `str` is the same."""

    event: ClassVar[str] = "token"

    value: str

    def __post_init__(self) -> None:
        if not isinstance(self.value, str):
            raise TypeError(f"a token is text, not {type(self.value).__name__}")

    def data(self) -> dict[str, Any]:
        return {"value": self.value}


@dataclass(frozen=True, slots=True)
class Tool:
    """A step of the work: `call_id` joins the events of one call. `Turn.tool` makes these by itself."""

    event: ClassVar[str] = "tool"

    call_id: str
    name: str
    status: ToolStatus = "started"
    message: str | None = None
    input: Any = None
    output: Any = None
    error: str | None = None

    def data(self) -> dict[str, Any]:
        return _known(
            call_id=self.call_id,
            name=self.name,
            status=self.status,
            message=self.message,
            input=self.input,
            output=self.output,
            error=self.error,
        )


@dataclass(frozen=True, slots=True)
class Source:
    """A citation. Fields of your own go into `extra` and travel beside the others."""

    event: ClassVar[str] = "source"

    title: str | None = None
    text: str | None = None
    url: str | None = None
    score: float | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _refuse_final(self.extra)

    def data(self) -> dict[str, Any]:
        return {**self.extra, **_known(title=self.title, text=self.text, url=self.url, score=self.score)}


@dataclass(frozen=True, slots=True)
class Status:
    """What is going on during a long silence. Shown if somebody looks, never kept."""

    event: ClassVar[str] = "status"

    message: str

    def data(self) -> dict[str, Any]:
        return {"message": self.message}


@dataclass(frozen=True, slots=True)
class Reset:
    """What this turn showed so far of its answer, or of its sources, is void; what follows replaces it."""

    event: ClassVar[str] = "reset"

    channel: Literal["answer", "sources"] = "answer"

    def __post_init__(self) -> None:
        if self.channel not in ("answer", "sources"):
            raise ValueError(f"a reset voids 'answer' or 'sources', not {self.channel!r}")

    def data(self) -> dict[str, Any]:
        return {"channel": self.channel}


@dataclass(frozen=True, slots=True)
class Custom:
    """An event of the application's own: any name that the protocol does not use, any JSON object."""

    event: str
    body: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not (self.event and isinstance(self.event, str)) or self.event in RESERVED:
            raise ValueError(f"an event of your own needs a name that the protocol does not use, not {self.event!r}")
        _refuse_final(self.body)

    def data(self) -> dict[str, Any]:
        return dict(self.body)


Item = str | Token | Tool | Source | Status | Reset | Custom
"""What a callback may yield or send."""


# What a client asks for is not frozen: it is made for every message, and frozen it would take three times as long.


@dataclass(slots=True)
class Message:
    """The person says something. `id` is the client's own name for it."""

    event: ClassVar[str] = "message"

    content: Any = field(repr=False)
    id: str | None = None


@dataclass(slots=True)
class Stop:
    """End a turn by its number, or by the `id` of its message; neither: all that runs or waits."""

    event: ClassVar[str] = "stop"

    turn: int | None = None
    ref: str | None = None
    id: str | None = None


@dataclass(slots=True)
class Answer:
    """What the person answers to an `ask`: any JSON value."""

    event: ClassVar[str] = "answer"

    call_id: str
    value: Any = field(repr=False)
    id: str | None = None


@dataclass(slots=True)
class Ping:
    """A heartbeat for clients that cannot send native pings, such as browsers."""

    event: ClassVar[str] = "ping"

    data: Any = field(default=None, repr=False)
    id: str | None = None


@dataclass(slots=True)
class History:
    """Show again what the person was shown so far."""

    event: ClassVar[str] = "history"

    id: str | None = None


@dataclass(slots=True)
class Auth:
    """A fresh token of the same user."""

    event: ClassVar[str] = "auth"

    token: str = field(repr=False)
    id: str | None = None


@dataclass(slots=True)
class End:
    """The session is over."""

    event: ClassVar[str] = "end"

    id: str | None = None


ClientEvent = Message | Stop | Answer | Ping | History | Auth | End
