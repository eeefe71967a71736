"""Logs that are copied: they mark their copier once a copy, and a strict one shows nothing before it is copied."""

from __future__ import annotations

import pytest

from wsserver.chat import envelope
from wsserver.chat.copied import CopiedLog, StrictLog
from wsserver.chat.log import Cursor

FIRST, SECOND = (envelope.token_template("s_1", turn) for turn in (1, 2))


class Copier:
    """Counts how often it was marked."""

    def __init__(self, log: CopiedLog) -> None:
        self.marks = 0
        log.copier = self

    def mark(self) -> None:
        self.marks += 1


def filled(log: CopiedLog) -> CopiedLog:
    log.append(b'{"event":"start"}')
    for number in range(3):
        log.append_token(FIRST, b"a%d" % number)
    log.append(b'{"event":"complete"}')
    log.append_token(SECOND, b"b")
    return log


def test_pieces_are_adjacent_tokens_of_a_turn_or_one_event() -> None:
    log = filled(CopiedLog(10**6))
    assert list(log.pieces(0)) == [
        (None, (b'{"event":"start"}',)),
        (1, (b"a0", b"a1", b"a2")),
        (None, (b'{"event":"complete"}',)),
        (2, (b"b",)),
    ]
    assert list(log.pieces(3))[0] == (1, (b"a2",))
    assert list(log.pieces(6)) == []


def test_the_first_token_after_a_copy_marks_and_no_other() -> None:
    log = CopiedLog(10**6)
    copier = Copier(log)
    for _ in range(3):
        for _ in range(10):
            log.append_token(FIRST, b"token")
        assert copier.marks == 1
        list(log.pieces(0))
        copier.marks = 0


def test_every_other_event_marks() -> None:
    log = CopiedLog(10**6)
    copier = Copier(log)
    log.append(b"{}")
    log.append(b"{}")
    assert copier.marks == 2


def test_a_copy_between_tokens_does_not_cut_their_run() -> None:
    log, plain = CopiedLog(10**6), CopiedLog(10**6)
    for number in range(3000):
        for one in (log, plain):
            one.append_token(FIRST, b"%d" % number)
        if number % 7 == 0:
            list(log.pieces(number))
    for one in (log, plain):
        one.seal()
    assert log.size == plain.size
    assert log.cursor(0).read(10**9) == plain.cursor(0).read(10**9)


class TestStrict:
    def test_a_reader_sees_what_is_copied_and_no_more(self) -> None:
        log = filled(StrictLog(10**6))
        cursor = log.cursor(0)
        assert cursor.read(10**6) == []
        seen: list[bytes] = []
        for durable in range(7):
            log.durable = durable
            assert log.shown == durable
            seen += cursor.read(10**6)
            assert (len(seen), cursor.seq) == (durable, durable)
        assert seen == Cursor(log, 0).read(10**6)
        assert cursor.behind == 0

    @pytest.mark.parametrize("limit", [1, 100, 1000])
    def test_in_pieces_it_is_the_same(self, limit: int) -> None:
        log = filled(StrictLog(10**6))
        log.durable = 5
        cursor, seen = log.cursor(0), []
        while payloads := cursor.read(limit):
            seen += payloads
        assert seen == Cursor(log, 0).read(10**6)[:5]

    def test_who_comes_late_begins_with_what_is_shown(self) -> None:
        log = filled(StrictLog(10**6))
        log.durable = 4
        assert log.cursor().seq == 4

    def test_where_memory_was_short_nobody_waits_for_what_is_gone(self) -> None:
        log = filled(StrictLog(10**6))
        log.durable = 2
        log.seal()
        log.drop()
        assert log.start == 6
        cursor = log.cursor()
        assert cursor.read(100) == []
        log.durable = 6
        log.append(b'{"event":"start"}')
        log.durable = 7
        assert cursor.read(100) == [b'{"event":"start"}']


def test_a_log_may_begin_later() -> None:
    log = CopiedLog(10**6)
    log.begin_behind(41)
    log.append(b"{}")
    assert (log.start, log.durable, log.head) == (41, 41, 42)
    assert list(log.pieces(41)) == [(None, (b"{}",))]


def test_the_turn_of_an_envelope() -> None:
    assert envelope.turn_of(envelope.token_template('s_"turn":7', 12)) == 12
