"""Letters to one process: a stream that it reads on a connection of its own."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from .port import INBOX_SIZE
from .scripts import Command, run

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .lane import Lanes

#: Seconds after the last letter until an inbox that nobody reads is gone.
INBOX_TTL = 60.0

#: Letters that are taken at once.
_COUNT = 256

#: Senders whose last letter is remembered.
_SENDERS = 4096


class Outbox:
    """What one process sends: each letter has a number, by which it is known if it arrives twice."""

    def __init__(self, lanes: Lanes, process: str, prefix: str) -> None:
        self._lanes = lanes
        self._process = process
        self._prefix = prefix
        self._number = 0

    async def post(self, letters: Iterable[tuple[str, bytes]]) -> None:
        """As `Store.post`."""
        words: dict[str, list[bytes | str]] = {}
        for process, letter in letters:
            self._number += 1
            words.setdefault(process, []).extend((f"{self._process}:{self._number}", letter))
        limits = (INBOX_SIZE, round(INBOX_TTL * 1000))
        await asyncio.gather(
            *(
                self._lanes.call(run("post", [inbox_key(self._prefix, process)], *limits, *sent))
                for process, sent in words.items()
            )
        )


class Inbox:
    """What one process receives. `patience` is how long Redis may keep it waiting for an answer, in seconds."""

    def __init__(self, lanes: Lanes, key: str, patience: float) -> None:
        self._lanes = lanes
        self._key = key
        self._patience = round(patience * 1000)
        self._last: bytes | str = "0-0"
        self._numbers: dict[bytes, int] = {}

    async def receive(self) -> list[bytes]:
        """As `Store.receive`."""
        letters: list[bytes] = []
        while not letters:
            # What has been read is dropped, whole blocks of memory at a time.
            trim = Command(self._key, ("XTRIM", self._key, "MINID", "~", self._last))
            words = ("XREAD", "COUNT", _COUNT, "BLOCK", self._patience, "STREAMS", self._key, self._last)
            _, found = await asyncio.gather(self._lanes.call(trim), self._lanes.call(Command(self._key, words)))
            for _, entries in found or ():
                for entry, fields in entries:
                    self._last = entry
                    letters += [letter for name, letter in fields.items() if self._is_new(name)]
        return letters

    def _is_new(self, name: bytes) -> bool:
        """Whether a letter of that name did not arrive before: a pipeline that broke is sent again, in its order."""
        sender, _, number = name.rpartition(b":")
        last = self._numbers.pop(sender, 0)
        self._numbers[sender] = max(last, int(number))
        if len(self._numbers) > _SENDERS:
            del self._numbers[next(iter(self._numbers))]
        return int(number) > last


def inbox_key(prefix: str, process: str) -> str:
    """The stream of letters to a process."""
    return f"{prefix}inbox:{{{process}}}"
