"""The envelope as a client sees it: events in, requests out, both as JSON text."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from math import inf
from typing import Any

from ..errors import ProtocolError
from ..wire.close import CloseCode
from .retry import LONGEST_WAIT


@dataclass(frozen=True, slots=True)
class Event:
    """Something the server tells. `turn` and `seq` are None where the event has none.

    What the client tells by itself, such as `gap` and what it has from the history, has no `session_id` and no `seq`.
    """

    name: str
    data: dict[str, Any] = field(default_factory=dict)
    turn: int | None = None
    seq: int | None = None
    session_id: str | None = None

    @property
    def final(self) -> bool:
        """Whether its turn is over with it."""
        return self.data.get("final") is True


def decode(text: str) -> Event:
    """The event that a message holds; raises `ProtocolError` for what is none."""
    try:
        envelope = json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise ProtocolError(CloseCode.INVALID_PAYLOAD, "a message is not JSON") from exc
    name = envelope.get("event") if isinstance(envelope, dict) else None
    data = envelope.get("data", {}) if isinstance(envelope, dict) else None
    if not isinstance(name, str) or not isinstance(data, dict):
        raise ProtocolError(CloseCode.INVALID_PAYLOAD, "a message is no event of this protocol")
    turn, seq, session_id = envelope.get("turn"), envelope.get("seq"), envelope.get("session_id")
    return Event(
        name,
        data,
        turn if isinstance(turn, int) else None,
        seq if isinstance(seq, int) else None,
        session_id if isinstance(session_id, str) else None,
    )


def encode(name: str, data: dict[str, Any], ref: str) -> str:
    """A request under the name `ref`. Raises `TypeError` or `ValueError` for what JSON, or UTF-8, cannot hold."""
    text = json.dumps({"event": name, "data": data, "id": ref}, ensure_ascii=False, allow_nan=False)
    text.encode()
    return text


def seconds(value: object) -> float:
    """A time that the server gives, a day at most: nobody waits longer. Nonsense is none."""
    return float(min(value, LONGEST_WAIT)) if isinstance(value, int | float) and 0 < value < inf else 0.0
