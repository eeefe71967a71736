"""A turn as those hold it who build a pipeline of Kotaemon for it: what it was asked is known, and waits for nobody."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .kotaemon_conversation import question
from .sync_turn import SyncSession, SyncTurn

if TYPE_CHECKING:
    from ..chat.turn import Turn
    from .sync_turn import Bridge


class KotaemonTurn(SyncTurn):
    """`message` is the text that is asked, `conversation` the name that the pipeline is told of the conversation.

    Unlike in any `SyncTurn`, `history` and `session.state` are there at once; what asks or shows, waits.
    """

    def __init__(self, turn: Turn, bridge: Bridge) -> None:
        """Raises `TurnError` for a message that asks nothing, `asyncio.CancelledError` if the turn is over."""
        super().__init__(turn, bridge)

        async def known() -> tuple[list[dict[str, Any]], dict[str, Any]]:
            return turn.history, turn.session.state

        self.message = question(turn.content)
        self.session = _KnownSession(turn, bridge, *bridge.call(known))
        self.conversation = self.session.id


class _KnownSession(SyncSession):
    def __init__(self, turn: Turn, bridge: Bridge, history: list[dict[str, Any]], state: dict[str, Any]) -> None:
        super().__init__(turn, bridge)
        self._history = history
        self._state = state

    @property
    def state(self) -> dict[str, Any]:
        """An object of your own, saved at the end of each turn; see `SessionView.state`."""
        return self._state

    @property
    def history(self) -> list[dict[str, Any]]:
        """The conversation so far, oldest first."""
        return self._history
