"""What a session that is used remembers, beside the log of its events."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .history import History
from .state import State

if TYPE_CHECKING:
    from ..config import Config
    from .pool import Pool

#: How many ids of messages a session remembers, to know one that is sent again.
REMEMBERED_IDS = 256


class Memory:
    """Its history, the application's state, and in `taken` the turns of its last messages by their ids."""

    __slots__ = ("history", "state", "taken")

    def __init__(self, config: Config, pool: Pool) -> None:
        self.history = History(config.max_history, pool)
        self.state = State(config.max_state)
        self.taken: dict[str, int] = {}

    def remember(self, ref: str, turn: int) -> None:
        """The message of this id was taken as this turn; the oldest id goes where there are too many."""
        self.taken[ref] = turn
        if len(self.taken) > REMEMBERED_IDS:
            del self.taken[next(iter(self.taken))]
