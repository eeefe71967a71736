"""A session and its reader: when a callback waits, when it goes on, what is dropped, what it takes in memory."""

from __future__ import annotations

from typing import Any

from tests.chat.person import Gate, Person, person
from wsserver.chat import envelope
from wsserver.chat.history import ENTRY_OVERHEAD, Said
from wsserver.chat.log import Cursor
from wsserver.chat.pool import Pool
from wsserver.chat.session import _DETACHED_STEP, Session
from wsserver.config import Config


def reading(**settings: Any) -> tuple[Person, Session]:
    """Somebody whose reader keeps its session informed."""
    somebody = person(**settings)
    somebody.session.attach(somebody, somebody.cursor)
    return somebody, somebody.session


def publish(session: Session, size: int) -> None:
    session.publish("news", {"x": "x" * size})


def waiting(session: Session) -> Gate:
    """A callback that waits for the reader."""
    gate = session.gate = Gate()
    return gate


class TestPace:
    def test_a_callback_waits_above_the_soft_limit(self) -> None:
        somebody, session = reading(soft_limit=1000)
        publish(session, 1000 - len(envelope.encode_event("news", {"x": ""}, session.id, None, 1)))
        assert (session.log.written, session.must_wait) == (1000, False)
        publish(session, 0)
        assert session.must_wait

    def test_and_goes_on_when_its_reader_has_caught_up(self) -> None:
        somebody, session = reading(soft_limit=1000)
        for _ in range(3):
            publish(session, 900)
        gate = waiting(session)
        somebody.cursor.read(1)
        session.was_read(somebody.cursor)
        assert (gate.opened, session.gate, session.must_wait) == (0, gate, True)
        somebody.cursor.read(1)
        session.was_read(somebody.cursor)
        assert (gate.opened, session.gate, session.must_wait) == (1, None, False)
        somebody.cursor.read(1)
        session.was_read(somebody.cursor)
        assert gate.opened == 1

    def test_what_is_read_goes_only_above_the_limit(self) -> None:
        somebody, session = reading(max_log_size=5000)
        for _ in range(3):
            publish(session, 1000)
        somebody.events()
        session.was_read(somebody.cursor)
        assert session.log.start == 0
        for _ in range(3):
            publish(session, 1000)
        session.was_read(somebody.cursor)
        assert session.log.start == 3
        assert session.log.size <= 5000

    def test_who_waits_looks_again_when_the_reader_is_lost(self) -> None:
        somebody, session = reading(soft_limit=1000)
        publish(session, 2000)
        gate = waiting(session)
        session.detach()
        assert (session.reader, session.gate, gate.opened, session.must_wait) == (None, None, 1, False)

    def test_nobody_waits_nobody_is_let_go(self) -> None:
        _, session = reading()
        session.detach()
        session.open_gate()
        assert session.gate is None

    def test_unread_a_callback_runs_until_the_log_is_full(self) -> None:
        somebody, session = reading(soft_limit=1000, max_log_size=50_000)
        session.detach()
        while not session.must_wait:
            publish(session, 500)
        assert session.log.start == 0
        assert 50_000 < session.log.size < 50_000 + 2 * _DETACHED_STEP

    def test_what_was_read_makes_room(self) -> None:
        somebody, session = reading(soft_limit=1000, max_log_size=50_000)
        for _ in range(40):
            publish(session, 1000)
        somebody.events()
        session.was_read(somebody.cursor)
        session.detach()
        while not session.must_wait:
            publish(session, 500)
        assert session.log.start == session.read == 40
        assert session.holds_after(session.read, 1)

    def test_a_log_that_is_just_full_still_gives_up_what_was_read(self) -> None:
        _, like_it = reading()
        publish(like_it, 2000)
        somebody, session = reading(soft_limit=1000, max_log_size=like_it.log.size)
        publish(session, 2000)
        session.read = 1
        session.detach()
        assert session.log.size == session.log.limit
        assert not session.must_wait

    def test_without_a_log_it_waits_for_a_reader(self) -> None:
        somebody, session = reading(soft_limit=1000, max_log_size=0)
        # A run that still grows is not counted yet.
        somebody.asks("?").publish("x" * 2000)
        somebody.cursor.read(1)
        session.was_read(somebody.cursor)
        session.detach()
        assert (session.log.size, session.must_wait) == (0, True)
        session.attach(somebody, somebody.cursor)
        somebody.events()
        session.was_read(somebody.cursor)
        assert not session.must_wait

    def test_a_new_reader_is_measured_by_its_own_place(self) -> None:
        somebody, session = reading(soft_limit=1000)
        session.detach()
        for _ in range(5):
            publish(session, 1000)
        assert not session.must_wait
        session.attach(somebody, somebody.cursor)
        assert session.must_wait
        session.attach(somebody, Cursor(session.log))
        assert not session.must_wait


class TestPool:
    def counted(self, pool: Pool, **settings: Any) -> Session:
        return Person(Session(Config(**settings), None, pool)).session

    def test_all_sessions_share_it(self) -> None:
        pool = Pool()
        one, other = self.counted(pool), self.counted(pool)
        publish(one, 10)
        publish(other, 1000)
        one.history.add(Said(1, "user", b'"x"', "completed"))
        assert pool.used == one.log.size + other.log.size + ENTRY_OVERHEAD + 3
        one.leave_pool()
        assert pool.used == other.log.size
        other.leave_pool()
        assert pool.used == 0

    def test_what_comes_after_the_end_is_not_counted(self) -> None:
        pool = Pool()
        session = self.counted(pool)
        publish(session, 10)
        session.leave_pool()
        session.leave_pool()
        publish(session, 1000)
        session.log.drop()
        session.history.add(Said(1, "user", b'"x"', "completed"))
        assert (pool.used, session.log.head) == (0, 2)

    def test_a_turn_that_is_under_way_at_the_end(self) -> None:
        pool = Pool()
        session = self.counted(pool)
        turn = Person(session).asks("hello")
        turn.publish("Hi")
        turn.complete("stopped")
        session.leave_pool()
        turn.session.history = [{"role": "user", "content": "late"}]
        assert pool.used == 0
