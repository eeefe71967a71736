"""What processes write to each other: one line that says what it is about, and payloads as they travel to a client.

A letter may be lost, or come twice. Whoever needs more counts its letters, and asks again.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, NamedTuple

from ...chat import envelope
from ...errors import StoreError
from ...store.port import Batch, Piece

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ...store.port import Store

logger = logging.getLogger(__name__)

#: Letters that wait to be posted; of more, the oldest go.
_MOST_WAITING = 20_000

#: After a failure nothing is read for so long, in seconds.
_PAUSE = 0.5

#: What waits at the end is given so long to be posted, in seconds.
_LAST_POST = 2.0


class Letter(NamedTuple):
    """`fields` are what JSON can hold; `body` is bytes."""

    kind: str
    fields: Mapping[str, Any]
    body: bytes = b""

    def sealed(self) -> bytes:
        """As it travels."""
        return envelope.encode_value({**self.fields, "kind": self.kind}) + b"\n" + self.body

    @classmethod
    def opened(cls, sealed: bytes) -> Letter:
        """What was sealed. Raises `ValueError` or `KeyError` for what is no letter."""
        head, _, body = sealed.partition(b"\n")
        fields = envelope.decode_value(head)
        return cls(fields.pop("kind"), fields, body)


def events(link: str, before: int, batch: Batch) -> Letter:
    """The events of a log behind number `before`."""
    pieces = [(piece.turn, len(piece.values)) for piece in batch.pieces]
    body = b"\n".join(value for piece in batch.pieces for value in piece.values)
    return Letter("events", {"link": link, "before": before, "last": batch.last, "pieces": pieces}, body)


def batch_of(letter: Letter) -> Batch:
    """What `events` holds."""
    values = iter(letter.body.split(b"\n"))
    pieces = [Piece(turn, tuple(next(values) for _ in range(count))) for turn, count in letter.fields["pieces"]]
    return Batch(letter.fields["last"], tuple(pieces))


class Post:
    """Letters in and out. `received` is called with each that comes."""

    def __init__(self, store: Store, loop: asyncio.AbstractEventLoop, received: Callable[[Letter], None]) -> None:
        self._store = store
        self._received = received
        self._waiting: list[tuple[str, bytes]] = []
        self._wake = asyncio.Event()
        self._posted = asyncio.Event()
        self._posted.set()
        self._tasks = [loop.create_task(self._post()), loop.create_task(self._read())]

    def send(self, process: str, letter: Letter) -> None:
        """Posts it to a process, behind what was posted before."""
        if len(self._waiting) >= _MOST_WAITING:
            del self._waiting[: _MOST_WAITING // 2]
        self._waiting.append((process, letter.sealed()))
        self._posted.clear()
        self._wake.set()

    async def stop(self) -> None:
        """Posts and reads no more, after what waits has been posted, if the store can be reached."""
        try:
            async with asyncio.timeout(_LAST_POST):
                await self._posted.wait()
        except TimeoutError:
            logger.debug("%d letters are not posted", len(self._waiting))
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)

    async def _post(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                letters, self._waiting = self._waiting, []
                try:
                    await self._store.post(letters)
                except StoreError as exc:
                    # Twice would be as bad: whoever waits for them notices.
                    logger.debug("%d letters were not posted: %s", len(letters), exc)
            self._posted.set()

    async def _read(self) -> None:
        while True:
            try:
                letters = await self._store.receive()
            except StoreError:
                await asyncio.sleep(_PAUSE)
                continue
            for sealed in letters:
                try:
                    self._received(Letter.opened(sealed))
                except Exception:
                    logger.exception("a letter of another process could not be handled")
            # A crowd of letters must not hold the loop.
            await asyncio.sleep(0)
