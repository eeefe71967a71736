"""The log against a model that is a plain list: whatever is appended, read, sealed, trimmed, dropped in any order."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tests.chat.person import EVERYTHING
from wsserver.chat.envelope import encode_event, encode_kept, encode_value, token_template
from wsserver.chat.history import ENTRY_OVERHEAD, History, Said
from wsserver.chat.log import MERGE_ABOVE, Cursor, Log
from wsserver.chat.pool import Pool

if TYPE_CHECKING:
    from collections.abc import Sequence

TEMPLATES = {turn: token_template("s_x", turn) for turn in (1, 2)}

# Long ones too, or nobody would ever be far enough behind for a merge.
TEXTS = st.text(max_size=5) | st.integers(10_000, 40_000).map(lambda size: "界" * size)


class Entry(NamedTuple):
    """One event of the model: its text if it is a token of `turn`, and what it costs a reader."""

    turn: int
    text: str | None
    cost: int


class LogMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.pool = Pool()
        # Others fill the same pool.
        self.other = Log(5_000, self.pool)
        self.history = History(50_000, self.pool)
        self.log = Log(20_000, self.pool)
        self.entries: list[Entry] = []
        self.readers = [Cursor(self.log), Cursor(self.log)]

    @rule(turn=st.sampled_from([1, 2]), texts=st.lists(TEXTS, min_size=1, max_size=5))
    def tokens(self, turn: int, texts: list[str]) -> None:
        for text in texts:
            value = encode_value(text)[1:-1]
            self.log.append_token(TEMPLATES[turn], value)
            self.entries.append(Entry(turn, text, len(TEMPLATES[turn]) + len(value)))

    @rule(turn=st.sampled_from([1, 2]), size=st.sampled_from([0, 5, 30_000]))
    def event(self, turn: int, size: int) -> None:
        payload = encode_event("note", {"x": "x" * size}, "s_x", turn, self.log.head + 1)
        self.log.append(payload)
        self.entries.append(Entry(turn, None, len(payload)))

    @rule()
    def seal(self) -> None:
        self.log.seal()

    @rule()
    def trim(self) -> None:
        read = min(reader.seq for reader in self.readers)
        self.log.trim(read)
        if read == self.log.head:
            assert self.log.size <= self.log.limit

    @rule(limit=st.sampled_from([0, 1, 1000, 30_000, 10**9]))
    def trim_to_another_limit(self, limit: int) -> None:
        read, before = min(reader.seq for reader in self.readers), self.log.start
        self.log.trim(read, limit)
        assert read >= self.log.start >= before
        if read == self.log.head:
            assert self.log.size <= limit

    @rule()
    def drop(self) -> None:
        """Where memory is short and nobody reads; who comes back begins at what is left."""
        self.log.drop()
        assert self.log.size == 0
        assert self.log.start == (self.log.run.first - 1 if self.log.run else self.log.head)
        for number, reader in enumerate(self.readers):
            if reader.seq < self.log.start:
                self.readers[number] = Cursor(self.log, self.log.start)

    @rule(number=st.sampled_from([0, 1]), data=st.data())
    def come_back(self, number: int, data: st.DataObject) -> None:
        """Somebody goes on reading at any place that is still held."""
        self.readers[number] = Cursor(self.log, data.draw(st.integers(self.log.start, self.log.head)))

    @rule(size=st.integers(0, 3000), drop=st.booleans())
    def others_go_on(self, size: int, drop: bool) -> None:
        self.other.append(encode_event("note", {"x": "x" * size}, "s_y", 1, self.other.head + 1))
        self.other.append_token(TEMPLATES[1], b"x" * size)
        self.history.add(Said(1, "user", encode_kept("x" * size), "completed"))
        if drop:
            self.other.drop()
            self.history.replace([])

    @rule(number=st.sampled_from([0, 1]), limit=st.integers(0, 500) | st.integers(500, 200_000))
    def read(self, number: int, limit: int) -> None:
        reader = self.readers[number]
        first, behind = reader.seq, reader.behind
        payloads = reader.read(limit)
        taken = self.entries[first : reader.seq]
        check(payloads, taken, first + 1, may_merge=behind > MERGE_ABOVE)
        # As much as was asked for, and no event more than that takes.
        costs = [entry.cost for entry in taken]
        assert sum(costs) >= min(limit, behind)
        assert sum(costs[:-1]) < max(limit, 1)
        assert bool(taken) == (behind > 0)

    @rule(data=st.data())
    def replay(self, data: st.DataObject) -> None:
        """Somebody comes back to any place that is still held."""
        cursor = Cursor(self.log, data.draw(st.integers(self.log.start, self.log.head)))
        assert cursor.position == sum(entry.cost for entry in self.entries[: cursor.seq])
        first, behind = cursor.seq, cursor.behind
        check(cursor.read(EVERYTHING), self.entries[first:], first + 1, may_merge=behind > MERGE_ABOVE)
        assert (cursor.seq, cursor.position) == (self.log.head, self.log.written)

    @invariant()
    def positions_are_sums_of_what_was_read(self) -> None:
        assert self.log.head == len(self.entries)
        for reader in self.readers:
            assert reader.position == sum(entry.cost for entry in self.entries[: reader.seq])
        assert self.log.written == sum(entry.cost for entry in self.entries)

    @invariant()
    def the_pool_counts_what_all_logs_and_histories_hold(self) -> None:
        said = sum(len(encode_kept(item["content"])) + ENTRY_OVERHEAD for item in self.history.view())
        assert self.pool.used == self.log.size + self.other.size + said

    @invariant()
    def nothing_unread_is_gone(self) -> None:
        assert self.log.size >= 0
        assert self.log.start <= min(reader.seq for reader in self.readers)


def check(payloads: list[bytes], taken: Sequence[Entry], seq: int, *, may_merge: bool) -> None:
    """What was read is exactly `taken`, the first of which has number `seq`."""
    end = seq + len(taken)
    for event in map(json.loads, payloads):
        start, entry = seq, taken[seq - end]
        assert event["turn"] == entry.turn
        if entry.text is None:
            assert (event["event"], event["seq"]) == ("note", seq)
        else:
            assert event["event"] == "token"
            assert event["data"].get("from_seq", event["seq"]) == seq
            merged = taken[seq - end : event["seq"] + 1 - end or None]
            assert may_merge or len(merged) == 1
            assert {(other.turn, other.text is None) for other in merged} == {(entry.turn, False)}
            assert event["data"]["value"] == "".join(other.text or "" for other in merged)
            seq = event["seq"]
            assert ("from_seq" in event["data"]) == (seq > start)
        seq += 1
    assert seq == end


TestLogModel = LogMachine.TestCase
TestLogModel.settings = settings(deadline=None, max_examples=150, stateful_step_count=40)
