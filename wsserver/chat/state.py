"""The JSON object that an application keeps in a session, bounded, at rest as its bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import envelope

if TYPE_CHECKING:
    from collections.abc import Mapping

_EMPTY = b"{}"


class State:
    """One object of at most `limit` bytes. Between two turns only its JSON is held."""

    __slots__ = ("_limit", "_open", "saved")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._open: dict[str, Any] | None = None
        self.saved = _EMPTY

    def open(self) -> dict[str, Any]:
        """The object, to be read and changed until it is saved."""
        if self._open is None:
            self._open = envelope.decode_value(self.saved)
        return self._open

    def replace(self, value: Mapping[str, Any]) -> None:
        """Another object instead."""
        self._open = dict(value)

    def save(self) -> None:
        """Keeps what it is now. Raises `TypeError` or `ValueError` where that cannot be; then the one before stays."""
        changed, self._open = self._open, None
        if changed is None:
            return
        try:
            saved = envelope.encode_kept(changed)
        except TypeError as exc:
            raise TypeError(f"session.state holds what JSON cannot: {exc}") from exc
        if len(saved) > max(self._limit, len(_EMPTY)):
            raise ValueError(
                f"session.state takes {len(saved)} bytes, more than --max-state allows ({self._limit}): keep less in it"
            )
        self.saved = saved
