"""What the application sees of a session."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .session import Session


class SessionView:
    """One conversation, as `on_open`, `on_close` and every callback are given it."""

    __slots__ = ("_session",)

    def __init__(self, session: Session) -> None:
        self._session = session

    def __repr__(self) -> str:
        return repr(self._session)

    @property
    def id(self) -> str:
        """The public name of the session."""
        return self._session.id

    @property
    def user(self) -> str | None:
        """Whose session it is, None where nobody logs in."""
        return self._session.user

    @property
    def state(self) -> dict[str, Any]:
        """An object of your own, of what JSON can hold, `max_state` bytes of it at most.

        It is saved where `on_open` returns and at the end of each turn; what cannot be saved fails the turn.
        """
        return self._session.state.open()

    @state.setter
    def state(self, value: Mapping[str, Any]) -> None:
        self._session.state.replace(value)

    @property
    def history(self) -> list[dict[str, Any]]:
        """The conversation so far, oldest first, as `{"role", "content", "status"}`; a copy.

        Set it in `on_open` to bring along what was said before; `status` may be left out. Raises `ValueError` or
        `TypeError` for what is no such list.
        """
        return self._session.history.view()

    @history.setter
    def history(self, items: Iterable[Mapping[str, Any]]) -> None:
        self._session.history.replace(items)
