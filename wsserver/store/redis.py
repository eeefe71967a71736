"""A store on Redis, 6.2 or newer, or Valkey: one server, one behind sentinels, or a cluster.

Of a session there are, all in one slot of a cluster::

    wsserver:{s_…}           hash: user, token (SHA-256), begins (of epochs), writer, fence, number, start, head, turn;
                             and until when the others are kept, without being renewed with each write
    wsserver:{s_…}:log       stream: an entry for each batch, its id the last seq in it
    wsserver:{s_…}:facts     hash: what is replaced by name, such as the application's state
    wsserver:{s_…}:history   list, the newest entry last
    wsserver:{s_…}:turns     hash: what was accepted and is not finished, by turn
    wsserver:{s_…}:letters   list: what was left for its next writer

Of a process::

    wsserver:inbox:{…}                  stream of letters
    wsserver:process:{seats}:…          hash: its lease is how long that lives; its places, by seat, and what it counts
    wsserver:processes:{seats}          sorted set of all processes, by the end of their leases

Every key has a time to live, and Redis alone says when that is over.
"""

from __future__ import annotations

import asyncio
import logging
from secrets import token_hex
from typing import TYPE_CHECKING, Any

from ..errors import StoreError
from . import address, batches, checks
from .inbox import Inbox, Outbox, inbox_key
from .lane import Lanes
from .port import LETTERS_LEFT, NOTHING, Copy, Outcome, Record, Write
from .scripts import Command, run, text
from .seating import Seating

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from .port import Batch, Count, Seat

logger = logging.getLogger(__name__)

_FIELDS = ("user", "token", "begins", "writer", "fence", "start", "head", "turn")


class RedisStore:
    """A `Store` at an address as `address` describes it, as one process sees it; `lease` is in seconds.

    A program that is no server, and only has something to say to sessions, need not `open` it.
    """

    def __init__(self, url: str, *, lease: float = 15.0) -> None:
        where = address.parse(url)
        self.process = token_hex(8)
        self.lease = lease
        self._address = where
        self._client = where.client()
        self._flushes, self._calls, self._inboxes = (Lanes(self._client, where.shown) for _ in range(3))
        self._outbox = Outbox(self._calls, self.process, where.prefix)
        self._inbox = Inbox(self._inboxes, inbox_key(where.prefix, self.process), where.timeout / 2)
        self._seating = Seating(self._calls, self.process, where.prefix, lease)

    def __repr__(self) -> str:
        return f"<RedisStore {self.process} at {self._address.shown}>"

    async def open(self) -> None:
        await checks.check(self._client, self._address.shown)
        await self._seating.renew(NOTHING)

    async def close(self) -> None:
        try:
            await self._seating.close()
            inbox = inbox_key(self._address.prefix, self.process)
            farewell = [*self._seating.farewell(), Command(inbox, ("DEL", inbox))]
            await asyncio.gather(*map(self._calls.call, farewell))
        except StoreError as exc:
            logger.debug("a lease could not be given back, and ends by itself: %s", exc)
        finally:
            for lanes in (self._flushes, self._calls, self._inboxes):
                await lanes.close()
            await address.close(self._client)

    async def renew(self, own: Count = NOTHING) -> None:
        await self._seating.renew(own)

    async def is_alive(self, process: str) -> bool:
        return await self._seating.is_alive(process)

    async def count(self) -> Count:
        return await self._seating.count()

    # -- sessions ----------------------------------------------------------------------------------------------------

    async def find(self, session_id: str) -> Record | None:
        key = self._keys(session_id)[0]
        return _record(dict(zip(_FIELDS, await self._calls.call(Command(key, ("HMGET", key, *_FIELDS))), strict=True)))

    async def take(self, session_id: str, fence: int, *, lost: bool) -> Copy | None:
        found = await self._calls.call(run("take", self._keys(session_id), self.process, fence, "lost" if lost else ""))
        if found is None:
            return None
        known, log, facts, history, turns, letters = found
        record = _record({name.decode(): value for name, value in _pairs(known)})
        assert record is not None, "what was taken is known"
        return Copy(
            record,
            tuple(batches.decode(entry, value) for entry, (_, value) in log),
            {name.decode(): value for name, value in _pairs(facts)},
            tuple(history),
            {int(turn): entry for turn, entry in _pairs(turns)},
            tuple(letters),
        )

    def lane(self, session_id: str) -> str:
        return self._flushes.node(self._keys(session_id)[0])

    async def write(self, writes: Iterable[Write]) -> list[Outcome]:
        process = self.process.encode()
        sent = [
            self._flushes.call(run("write", self._keys(write.session_id), process, *_changes(write)))
            for write in writes
        ]
        return [Outcome(answer.decode()) for answer in await asyncio.gather(*sent)]

    async def read(self, session_id: str, after: int, count: int) -> list[Batch]:
        record, log, *_ = self._keys(session_id)
        known, found = await asyncio.gather(
            self._calls.call(Command(record, ("HEXISTS", record, "token"))),
            self._calls.call(Command(log, ("XRANGE", log, f"({after}", "+", "COUNT", count))),
        )
        return [batches.decode(entry, fields[b""]) for entry, fields in found] if known else []

    # -- letters -----------------------------------------------------------------------------------------------------

    async def post(self, letters: Iterable[tuple[str, bytes]]) -> None:
        await self._outbox.post(letters)

    async def receive(self) -> list[bytes]:
        return await self._inbox.receive()

    async def leave(self, session_id: str, letter: bytes) -> bool:
        keys = self._keys(session_id)
        dead = ""
        while True:
            answer = await self._calls.call(run("leave", [keys[0], keys[5]], letter, dead, LETTERS_LEFT))
            if isinstance(answer, int):
                return bool(answer)
            # Whether its writer lives is known elsewhere in a cluster.
            dead = answer.decode()
            if await self._seating.is_alive(dead):
                return False

    # -- seats -------------------------------------------------------------------------------------------------------

    async def sit(self, seats: Mapping[Seat, int]) -> Seat | None:
        return await self._seating.sit(seats)

    async def stand(self, seats: Iterable[Seat]) -> None:
        await self._seating.stand(seats)

    def _keys(self, session_id: str) -> list[bytes]:
        record = text(f"{self._address.prefix}{{{session_id}}}")
        return [record, *(record + part for part in (b":log", b":facts", b":history", b":turns", b":letters"))]


def _record(found: Mapping[str, Any]) -> Record | None:
    """The record of a hash; None where there is none, or it is the rest of a session that has ended."""
    if found.get("token") is None:
        return None
    user = found.get("user")
    return Record(
        None if user is None else user.decode("utf-8", "surrogatepass"),
        found["token"],
        tuple(map(int, found["begins"].split(b","))),
        found["writer"].decode(),
        int(found["fence"]),
        int(found["start"]),
        int(found["head"]),
        int(found["turn"]),
    )


def _pairs(flat: Sequence[Any]) -> Iterable[tuple[Any, Any]]:
    return zip(flat[::2], flat[1::2], strict=True)


def _changes(write: Write) -> list[bytes]:
    """The arguments of the script after the process."""
    words = [b"%d" % write.fence, b"%d" % write.number, b"%d" % round(write.ttl * 1000)]
    before = b"%d" % write.before
    if write.created is not None:
        user, token, begins = write.created
        words += (b"created", before, token, b",".join(b"%d" % begin for begin in begins))
        words += (b"0",) if user is None else (b"1", text(user))
    if write.anew:
        words += (b"anew", before)
    if write.batch is not None:
        words += (b"log", before, b"%d" % write.batch.last, batches.encode(write.batch))
    if write.trim:
        words += (b"trim", b"%d" % write.trim, b"%d" % (write.trim + 1))
    if write.facts:
        words += (b"facts", b"%d" % len(write.facts))
        for name, value in write.facts.items():
            words += (name.encode(), value)
    if write.last_turn is not None:
        words += (b"turn", b"%d" % write.last_turn)
    if write.history:
        words += (b"history", b"%d" % len(write.history), *write.history)
    if write.history_length is not None:
        words += (b"keep", b"%d" % write.history_length)
    if write.accepted:
        words += (b"accepted", b"%d" % len(write.accepted))
        for turn, entry in write.accepted.items():
            words += (b"%d" % turn, entry)
    if write.finished:
        words += (b"finished", b"%d" % len(write.finished), *(b"%d" % turn for turn in write.finished))
    if write.released:
        words.append(b"released")
    if write.ended:
        words.append(b"ended")
    return words
