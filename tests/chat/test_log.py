"""The log of a session: numbers without gaps, runs of tokens, cursors, trimming, memory."""

from __future__ import annotations

import json
import tracemalloc
from typing import TYPE_CHECKING

import pytest

from tests.chat.person import EVERYTHING, finish, line, person
from wsserver.chat.envelope import encode_event, encode_value, token_template
from wsserver.chat.log import MERGE_ABOVE, Cursor, Log
from wsserver.chat.pool import Pool
from wsserver.chat.tokens import BLOCK_OVERHEAD, Run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

FIRST, SECOND = token_template("s_x", 1), token_template("s_x", 2)


def say(log: Log, *texts: str, template: bytes = FIRST) -> None:
    for text in texts:
        log.append_token(template, encode_value(text)[1:-1])


def note(log: Log, turn: int = 1) -> None:
    log.append(encode_event("note", {}, "s_x", turn, log.head + 1))


def lines(payloads: Iterable[bytes]) -> list[str]:
    return [line(json.loads(payload)) for payload in payloads]


def log_of(*steps: Callable[[Log], None], limit: int = 2**20) -> tuple[Log, Cursor]:
    """A log in which all that was done, and a cursor before it."""
    log = Log(limit)
    cursor = Cursor(log)
    for step in steps:
        step(log)
    return log, cursor


def cursor_at(log: Log, seq: int, position: int) -> Cursor:
    cursor = Cursor(log)
    cursor.seq, cursor.position = seq, position
    return cursor


class TestWhatIsCounted:
    def test_tokens_are_told_from_other_events(self) -> None:
        log, _ = log_of(note, lambda log: say(log, "a", "b"), note, lambda log: say(log, "c", template=SECOND))
        assert (log.head, log.tokens) == (5, 3)
        log.drop()
        assert log.tokens == 3

    def test_the_first_token_is_told_once(self) -> None:
        log = Log(2**20)
        heads: list[int] = []
        log.on_token = lambda: heads.append(log.head)
        note(log)
        assert heads == []
        say(log, "a", "b")
        note(log)
        say(log, "c", template=SECOND)
        assert heads == [1]

    def test_every_turn_has_a_first_one(self) -> None:
        log, _ = log_of(lambda log: say(log, "a"))
        heads: list[int] = []
        log.on_token = lambda: heads.append(log.head)
        say(log, "b", template=SECOND)
        assert heads == [1]


class TestNumbers:
    def test_tokens_and_events_count_as_one(self) -> None:
        log, cursor = log_of(
            note,
            lambda log: say(log, "a", "b"),
            note,
            lambda log: say(log, "c"),
            lambda log: say(log, "d", template=SECOND),
        )
        assert log.head == 6
        assert lines(cursor.read(EVERYTHING)) == [
            "1 1 note",
            "2 1 token value=a",
            "3 1 token value=b",
            "4 1 note",
            "5 1 token value=c",
            "6 2 token value=d",
        ]

    def test_an_empty_log(self) -> None:
        log, cursor = log_of()
        assert (log.head, log.start, log.written, log.run) == (0, 0, 0, None)
        assert cursor.read(EVERYTHING) == []
        log.seal()
        log.trim(0)
        assert (log.head, log.start) == (0, 0)

    def test_idle_logs_share_nothing_that_grows(self) -> None:
        log, _ = log_of(note)
        _, other = log_of()
        assert log.head == 1
        assert other.read(EVERYTHING) == []

    def test_sealing_changes_nothing_that_is_read(self) -> None:
        live, of_live = log_of(lambda log: say(log, "a", "界", "", '"\\'))
        sealed, of_sealed = log_of(lambda log: say(log, "a", "界", "", '"\\'), Log.seal, Log.seal)
        assert live.run is not None and sealed.run is None
        assert of_live.read(EVERYTHING) == of_sealed.read(EVERYTHING)
        assert (live.head, live.written) == (sealed.head, sealed.written)

    @pytest.mark.parametrize("size", [252, 253, 254, 70_000], ids=["254 bytes", "255", "256", "more than 64 KiB"])
    def test_tokens_of_any_length_survive_sealing(self, size: int) -> None:
        texts = ["a", "x" * size, "b"]
        _, cursor = log_of(lambda log: say(log, *texts), Log.seal)
        payloads = [payload for limit in (1, 1, 1) for payload in cursor.read(limit)]
        assert [json.loads(payload)["data"]["value"] for payload in payloads] == texts

    def test_a_run_does_not_grow_for_ever(self) -> None:
        log, _ = log_of(lambda log: say(log, *["x" * 1000] * 200))
        assert log.run is not None and len(log.run) < 100


class TestCursor:
    def test_begins_at_the_head(self) -> None:
        log, _ = log_of(note, lambda log: say(log, "before"))
        cursor = Cursor(log)
        assert (cursor.seq, cursor.position, cursor.behind) == (2, log.written, 0)
        say(log, "after")
        assert lines(cursor.read(EVERYTHING)) == ["3 1 token value=after"]

    @pytest.mark.parametrize("sealed", [True, False])
    def test_begins_at_any_place_that_is_held(self, sealed: bool) -> None:
        log, all_along = log_of(note, lambda log: say(log, "a", "b" * 300, "c"), note, lambda log: say(log, *"def"))
        if sealed:
            log.seal()
        for seq in range(log.head + 1):
            cursor = Cursor(log, seq)
            assert (cursor.seq, cursor.position) == (seq, all_along.position)
            assert [text.split()[0] for text in lines(cursor.read(EVERYTHING))] == list(
                map(str, range(seq + 1, log.head + 1))
            )
            assert cursor.position == log.written
            all_along.read(1)

    def test_begins_where_older_events_are_gone(self) -> None:
        log, all_along = log_of(note, lambda log: say(log, *"abc"), note, limit=0)
        all_along.read(1)
        all_along.read(1)
        log.trim(1)
        cursor = Cursor(log, 2)
        assert (log.start, cursor.position) == (1, all_along.position)
        assert lines(cursor.read(1)) == ["3 1 token value=b"]
        assert lines(Cursor(log, 1).read(EVERYTHING))[0] == "2 1 token value=a"

    def test_reads_each_token_as_it_comes(self) -> None:
        log, cursor = log_of()
        for number, text in enumerate("hello", 1):
            say(log, text)
            assert lines(cursor.read(EVERYTHING)) == [f"{number} 1 token value={text}"]
            assert cursor.read(EVERYTHING) == []
            assert cursor.position == log.written

    @pytest.mark.parametrize("sealed", [True, False])
    @pytest.mark.parametrize("limit", [0, 1, 80, 100, 250, 10_000])
    def test_any_limit_gives_each_event_once_and_in_order(self, limit: int, sealed: bool) -> None:
        log, cursor = log_of(
            note,
            lambda log: say(log, *"abcdefgh"),
            lambda log: say(log, "i", template=SECOND),
            note,
            lambda log: say(log, *"jkl", template=SECOND),
        )
        if sealed:
            log.seal()
        seen: list[str] = []
        while payloads := cursor.read(limit):
            seen += lines(payloads)
            assert cursor.behind == log.written - cursor.position
        everything = lines(cursor_at(log, 0, 0).read(EVERYTHING))
        assert seen == everything and len(seen) == 14
        assert (cursor.seq, cursor.position) == (log.head, log.written)

    def test_about_as_many_bytes_as_were_asked_for(self) -> None:
        log, cursor = log_of(lambda log: say(log, *"abcdef"))
        one = log.written // 6
        assert len(cursor.read(one)) == 1
        assert len(cursor.read(one + 1)) == 2

    def test_two_readers_do_not_disturb_each_other(self) -> None:
        log, slow = log_of(lambda log: say(log, *"abc"))
        quick = cursor_at(log, 0, 0)
        assert len(quick.read(EVERYTHING)) == 3
        assert lines(slow.read(1)) == ["1 1 token value=a"]
        note(log)
        assert lines(quick.read(EVERYTHING)) == ["4 1 note"]
        assert len(slow.read(EVERYTHING)) == 3


class TestMerging:
    """Adjacent tokens of one turn become one, for a reader that is more than `MERGE_ABOVE` behind."""

    def fill(self, log: Log, behind: int) -> None:
        """Tokens of which exactly so many bytes wait."""
        frame = len(FIRST) + 1
        count, rest = divmod(behind, frame)
        say(log, *"x" * (count - 1), "y" * (rest + 1))
        assert log.written == behind

    def test_not_at_the_limit(self) -> None:
        log, cursor = log_of(lambda log: self.fill(log, MERGE_ABOVE), Log.seal)
        assert len(cursor.read(EVERYTHING)) == log.head

    def test_one_byte_above_it(self) -> None:
        log, cursor = log_of(lambda log: self.fill(log, MERGE_ABOVE + 1), Log.seal)
        texts = [json.loads(payload)["data"]["value"] for payload in cursor_at(log, 0, MERGE_ABOVE).read(EVERYTHING)]
        merged = [json.loads(payload) for payload in cursor.read(EVERYTHING)]
        assert len(merged) < 5 < len(texts)
        assert "".join(event["data"]["value"] for event in merged) == "".join(texts)
        assert merged[0]["data"]["from_seq"] == 1
        assert [event["data"]["from_seq"] for event in merged[1:]] == [event["seq"] + 1 for event in merged[:-1]]
        assert merged[-1]["seq"] == log.head
        assert set(merged[0]) == {"event", "data", "session_id", "turn", "seq"}
        assert cursor.position == log.written

    def test_also_in_the_run_that_still_grows(self) -> None:
        log, cursor = log_of(lambda log: say(log, "a", "b" * MERGE_ABOVE))
        assert log.run is not None
        (merged,) = cursor.read(MERGE_ABOVE)
        assert json.loads(merged)["data"] == {"value": "a" + "b" * MERGE_ABOVE, "from_seq": 1}

    def test_never_across_another_event_or_turn(self) -> None:
        _, cursor = log_of(
            lambda log: say(log, "a", "b"),
            note,
            lambda log: say(log, "c", "d"),
            lambda log: say(log, "e", "f", template=SECOND),
            note,
            lambda log: say(log, "g", template=SECOND),
            lambda log: log.append(b'{"event":"big","data":{},"turn":2,"pad":"%b"}' % (b"x" * MERGE_ABOVE)),
        )
        assert lines(cursor.read(EVERYTHING)) == [
            "2 1 token value=ab from_seq=1",
            "3 1 note",
            "5 1 token value=cd from_seq=4",
            "7 2 token value=ef from_seq=6",
            "8 1 note",
            "9 2 token value=g",
            "- 2 big",
        ]

    def test_the_text_is_the_same_whatever_it_holds(self) -> None:
        texts = ['"', "\\", "\\n", "\n", "\x00", "界", "👩‍👩‍👧", "%b %d %%", "\u2028", "", "}"]
        _, cursor = log_of(lambda log: say(log, *texts, "x" * MERGE_ABOVE))
        (payload,) = cursor.read(MERGE_ABOVE)
        assert json.loads(payload)["data"]["value"] == "".join(texts) + "x" * MERGE_ABOVE

    def test_begins_where_the_reader_was(self) -> None:
        _, cursor = log_of(lambda log: say(log, *"abc", "x" * MERGE_ABOVE, "d"), Log.seal)
        assert lines(cursor.read(1)) == ["1 1 token value=a"]
        (payload,) = cursor.read(MERGE_ABOVE)
        assert line(json.loads(payload)) == f"4 1 token value=bc{'x' * MERGE_ABOVE} from_seq=2"
        assert lines(cursor.read(1)) == ["5 1 token value=d"]

    def test_ends_at_the_limit(self) -> None:
        _, cursor = log_of(lambda log: say(log, *"abc", "x" * MERGE_ABOVE))
        frame = len(FIRST) + 1
        assert lines(cursor.read(2 * frame)) == ["2 1 token value=ab from_seq=1"]
        assert cursor.position == 2 * frame

    def test_a_finished_answer_is_replayed_without_an_object_for_each_token(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        texts = [chr(97 + number % 26) for number in range(5000)]
        log, _ = log_of(lambda log: say(log, *texts), Log.seal)
        # It takes a tenth of a second for a MiB of them, in which nobody else is served.
        monkeypatch.setattr(Run, "since", None)
        cursor = Cursor(log, 3)
        payloads: list[bytes] = []
        while cursor.behind > MERGE_ABOVE:
            payloads += cursor.read(1000)
        tokens = [json.loads(payload) for payload in payloads]
        assert tokens[0]["data"]["from_seq"] == 4
        assert [token["seq"] + 1 for token in tokens[:-1]] == [token["data"]["from_seq"] for token in tokens[1:]]
        assert "".join(token["data"]["value"] for token in tokens) == "".join(texts[3 : cursor.seq])
        assert cursor.position == Cursor(log, cursor.seq).position

    def test_a_finished_token_larger_than_all_room_comes_by_itself(self) -> None:
        log, cursor = log_of(lambda log: say(log, "x" * MERGE_ABOVE, "y", "z"), Log.seal)
        (payload,) = cursor.read(1000)
        assert "from_seq" not in json.loads(payload)["data"]
        assert (cursor.seq, json.loads(payload)["data"]["value"]) == (1, "x" * MERGE_ABOVE)


class TestTrimming:
    def test_under_its_limit_everything_stays(self) -> None:
        log, _ = log_of(note, note)
        log.trim(log.head)
        assert log.start == 0

    def test_the_oldest_goes_first(self) -> None:
        log, _ = log_of(note, note, note, limit=2 * BLOCK_OVERHEAD + 200)
        log.trim(log.head)
        assert log.start == 1
        assert lines(cursor_at(log, 1, 0).read(EVERYTHING)) == ["2 1 note", "3 1 note"]

    def test_nothing_unread_is_dropped(self) -> None:
        log, _ = log_of(note, lambda log: say(log, *"abc"), note, note, limit=0)
        for read, start in [(0, 0), (1, 1), (2, 1), (3, 1), (4, 4), (5, 5)]:
            log.trim(read)
            assert log.start == start

    def test_a_run_goes_as_a_whole_and_only_once_it_is_sealed(self) -> None:
        log, _ = log_of(note, lambda log: say(log, *"abc"), limit=0)
        log.trim(log.head)
        assert log.start == 1
        log.seal()
        log.trim(log.head)
        assert log.start == log.head == 4

    def test_to_another_limit(self) -> None:
        log, _ = log_of(note, note, note)
        log.trim(log.head, 2 * BLOCK_OVERHEAD + 200)
        assert (log.start, log.limit) == (1, 2**20)
        log.trim(2, 0)
        assert log.start == 2

    def test_dropping_takes_what_nobody_read_too(self) -> None:
        log, _ = log_of(note, lambda log: say(log, *"abc"), note, lambda log: say(log, *"de"))
        log.drop()
        # The run that still grows stays: it is not counted before it is sealed.
        assert (log.start, log.head, log.size) == (5, 7, 0)
        assert lines(Cursor(log, 5).read(EVERYTHING)) == ["6 1 token value=d", "7 1 token value=e"]
        say(log, "f")
        log.seal()
        log.drop()
        assert (log.start, log.head, log.size) == (8, 8, 0)
        log.drop()
        assert Cursor(log, 8).read(EVERYTHING) == []

    def test_dropping_nothing(self) -> None:
        log, _ = log_of()
        log.drop()
        assert (log.start, log.head) == (0, 0)

    def test_an_emptied_log_goes_on(self) -> None:
        log, cursor = log_of(note, note, limit=0)
        cursor.read(EVERYTHING)
        log.trim(cursor.seq)
        assert log.start == 2
        note(log)
        say(log, "a")
        assert lines(cursor.read(EVERYTHING)) == ["3 1 note", "4 1 token value=a"]


class TestPool:
    def test_counts_what_all_hold(self) -> None:
        pool = Pool()
        logs = [Log(2**20, pool), Log(2**20, pool)]
        for log in logs:
            note(log)
            say(log, *"abc")
            log.seal()
        assert pool.used == sum(log.size for log in logs) > 4 * BLOCK_OVERHEAD
        logs[0].drop()
        assert pool.used == logs[1].size

    def test_a_log_has_one_of_its_own(self) -> None:
        one, other = Log(0), Log(0)
        note(one)
        assert (one.pool.used, other.pool.used) == (one.size, 0)


class TestMemory:
    def test_a_finished_turn_costs_a_few_kib(self) -> None:
        writer = person()

        def turn() -> None:
            now = writer.asks("?")
            for number in range(256):
                now.publish(f" {number:03}")
            writer.events()
            now.complete("completed")
            finish(writer.session)

        turn()
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(10):
            turn()
        cost = (tracemalloc.get_traced_memory()[0] - before) / 10
        tracemalloc.stop()
        assert cost < 5 * 1024  # 1024 characters of text, held twice: by the log and by the history

    def test_a_running_turn_keeps_little_more_than_its_text(self) -> None:
        turn = person().asks("?")
        tracemalloc.start()
        for number in range(256):
            turn.publish(f" {number:03}")
        cost = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        assert cost < 256 * 150

    def test_a_million_tokens_are_held_within_the_limit(self) -> None:
        log = Log(2**18)
        cursor = Cursor(log)
        value = b"tok "
        peaks = []
        tracemalloc.start()
        for _ in range(10):
            for _ in range(100_000 // 50):
                for _ in range(50):
                    log.append_token(FIRST, value)
                cursor.read(2**16)
                log.trim(cursor.seq)
            peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert cursor.seq == log.head == 1_000_000
        assert max(peaks) < 1.2 * peaks[0] and max(peaks) < 2 * log.limit
        assert log.head - log.start > 10_000
