"""A session out of its copy is the session that was copied."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.clock import run_virtually
from tests.net.sharing.journals import CONFIG, Desk, begin, made, say
from wsserver import Reset
from wsserver.chat.copied import CopiedLog
from wsserver.chat.log import Cursor, Log
from wsserver.chat.pool import Pool
from wsserver.net.sharing.revival import Templates, append, revive
from wsserver.store.memory import Hub, MemoryStore
from wsserver.store.port import Batch, Piece

if TYPE_CHECKING:
    from wsserver.chat.session import Session
    from wsserver.net.sharing.journal import Journal
    from wsserver.store.port import Copy


async def stored(store: MemoryStore, journal: Journal) -> None:
    [outcome] = await store.write([journal.next_write(0.0)])
    journal.settle(outcome)


async def taken(hub: Hub, session: Session) -> Copy:
    store = MemoryStore(hub)
    await store.open()
    record = await store.find(session.id)
    assert record is not None
    copy = await store.take(session.id, record.fence, lost=True)
    assert copy is not None
    return copy


def test_all_of_it_comes_back() -> None:
    async def main() -> None:
        hub = Hub(asyncio.get_running_loop().time)
        store = MemoryStore(hub)
        await store.open()
        session, journal = made(Desk())
        await stored(store, journal)
        say(session, journal, "first", "m1")
        await stored(store, journal)
        turn = begin(session)
        for text in ("a", 'ü"\n', "c"):
            turn.publish(text)
            await stored(store, journal)
        session.state.replace({"seen": [1, 2.5, None]})
        session.state.save()
        turn.complete("completed")
        session.turn = None
        await stored(store, journal)
        say(session, journal, "second", "m2")
        running = begin(session)
        running.publish("lost")
        say(session, journal, "third", "m3")
        await stored(store, journal)

        copy = await taken(hub, session)
        again = revive(session.id, copy, CopiedLog(CONFIG.max_log_size), CONFIG, Pool(), Desk(), 60.0).session
        assert (again.id, again.user, again.token_digest) == (session.id, "ann", session.token_digest)
        assert (again.begins, again.last_turn) == ((0, session.log.head), 3)
        before = Cursor(session.log, 0).read(10**6)
        events = Cursor(again.log, 0).read(10**6)
        assert events[: len(before)] == before
        assert [b'"turn_lost"' in event for event in events[len(before) :]] == [True, True]
        assert again.state.saved == session.state.saved
        assert again.memory.taken == {"m1": 1, "m2": 2, "m3": 3}
        assert [(said["role"], said["content"], said["status"]) for said in again.history.view()] == [
            ("user", "first", "completed"),
            ("assistant", 'aü"\nc', "completed"),
            ("user", "second", "completed"),
            ("assistant", "lost", "failed"),
        ]
        assert not again.busy

    run_virtually(main())


def test_what_a_reset_voided_does_not_come_back() -> None:
    async def main() -> None:
        hub = Hub(asyncio.get_running_loop().time)
        store = MemoryStore(hub)
        await store.open()
        session, journal = made(Desk())
        say(session, journal, "first", "m1")
        turn = begin(session)
        turn.publish("wrong")
        turn.publish(Reset())
        turn.publish("right")
        await stored(store, journal)
        copy = await taken(hub, session)
        again = revive(session.id, copy, CopiedLog(CONFIG.max_log_size), CONFIG, Pool(), Desk(), 60.0).session
        assert again.history.view()[-1] == {"role": "assistant", "content": "right", "status": "failed"}

    run_virtually(main())


def test_of_a_batch_only_what_is_new_is_appended() -> None:
    tokens = Piece(1, (b"a", b"b", b"c"))
    batch = Batch(4, (Piece(None, (b'{"event":"start"}',)), tokens))
    for known in range(5):
        log, templates = Log(10**6), Templates("s_1")
        log.begin_behind(known)
        append(log, templates, batch)
        assert log.head == 4
        assert len(Cursor(log, known).read(10**6)) == 4 - known
