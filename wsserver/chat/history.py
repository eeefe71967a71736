"""What a session remembers of its conversation: who said what, bounded in bytes, oldest first to go."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from . import envelope
from .pool import Pool

if TYPE_CHECKING:
    from collections.abc import Iterable

#: What an entry costs beside its content, roughly, in bytes: in memory, and on its way to a client.
ENTRY_OVERHEAD = 256

_ROLES = frozenset(("user", "assistant", "system", "tool"))

_STATUSES = frozenset(("completed", "stopped", "interrupted", "failed"))


class Said(NamedTuple):
    """One entry. `turn` is 0 where the application brought it along."""

    turn: int
    role: str
    content: bytes  # as JSON: the objects that it makes take up to twenty times its size, and may be changed
    status: str
    truncated: bool = False

    @property
    def size(self) -> int:
        return len(self.content) + ENTRY_OVERHEAD

    def packed(self) -> bytes:
        """As it is stored."""
        return envelope.encode_kept([self.turn, self.role, self.status, self.truncated, envelope.as_json(self.content)])

    @classmethod
    def unpacked(cls, entry: bytes) -> Said:
        """What was packed."""
        turn, role, status, truncated, content = envelope.decode_value(entry)
        return cls(turn, role, envelope.encode_kept(content), status, truncated)

    def view(self) -> dict[str, Any]:
        """As a callback sees it."""
        return {"role": self.role, "content": envelope.decode_value(self.content), "status": self.status}

    def item(self) -> dict[str, Any]:
        """As a client sees it: to be encoded, the content being JSON already."""
        # Made into objects it would take up to twenty times its size, and fifty milliseconds for a MiB.
        content = envelope.as_json(self.content)
        item = {"turn": self.turn, "role": self.role, "content": content, "status": self.status}
        return {**item, "truncated": True} if self.truncated else item


class History:
    """The entries of one session, `limit` bytes of them at most; `pool` counts them too."""

    __slots__ = ("_entries", "_limit", "_pool", "_size")

    def __init__(self, limit: int, pool: Pool) -> None:
        self._limit = limit
        self._pool = pool
        self._size = 0
        self._entries: list[Said] = []

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def last(self) -> Said | None:
        """What was said last."""
        return self._entries[-1] if self._entries else None

    def since(self, said: Said | None) -> list[Said]:
        """What was said after `said`, a very entry of this history; all, where that is not there."""
        entries = self._entries
        index = len(entries)
        while index and entries[index - 1] is not said:
            index -= 1
        return entries[index:]

    def add(self, said: Said) -> None:
        """What is oldest goes where it grows beyond its limit."""
        self._entries.append(said)
        self._size += said.size
        self._pool.add(said.size)
        self.trim(self._limit)

    def trim(self, limit: int) -> None:
        """Forgets what is oldest, down to so many bytes."""
        before, gone = self._size, 0
        while self._size > limit:
            self._size -= self._entries[gone].size
            gone += 1
        del self._entries[:gone]
        self._pool.add(self._size - before)

    def replace(self, items: Iterable[Mapping[str, Any]]) -> None:
        """The conversation that an application brings along, as `{"role", "content"}` and perhaps `"status"`.

        Raises `ValueError` or `TypeError` for what is no such item, and keeps what was there.
        """
        entries = [_said(item) for item in items]
        self._pool.add(-self._size)
        self._size = 0
        self._entries = []
        for said in entries:
            self.add(said)

    def leave_pool(self) -> None:
        """What it holds, or will hold, is no longer counted."""
        self._pool.add(-self._size)
        self._pool = Pool()

    def view(self) -> list[dict[str, Any]]:
        """Oldest first, as a callback sees it; a copy."""
        return [said.view() for said in self._entries]

    def items(self) -> list[dict[str, Any]]:
        """Oldest first, as a client sees it; to be encoded."""
        return [said.item() for said in self._entries]


def _said(item: Mapping[str, Any]) -> Said:
    if not isinstance(item, Mapping):
        raise TypeError(f"an item of the history is a mapping, not {type(item).__name__}")
    role, content, status = item.get("role"), item.get("content"), item.get("status", "completed")
    if role not in _ROLES or status not in _STATUSES or content is None:
        raise ValueError(
            f"an item of the history has a role, one of {', '.join(sorted(_ROLES))}, a content, and perhaps a status,"
            f" one of {', '.join(sorted(_STATUSES))}"
        )
    return Said(0, str(role), envelope.encode_shown(content), str(status))
