"""What a session remembers of its conversation, bounded, and counted where all sessions share their memory."""

from __future__ import annotations

from collections import UserDict
from enum import StrEnum
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.chat.person import person
from wsserver.chat import envelope
from wsserver.chat.envelope import encode_kept
from wsserver.chat.history import ENTRY_OVERHEAD, History, Said
from wsserver.chat.pool import Pool


class Role(StrEnum):
    USER = "user"


def history_of(*contents: Any, limit: int = 2**20) -> tuple[History, Pool]:
    pool = Pool()
    history = History(limit, pool)
    for turn, content in enumerate(contents, 1):
        history.add(Said(turn, "user", encode_kept(content), "completed"))
    return history, pool


def contents(history: History) -> list[Any]:
    return [item["content"] for item in history.view()]


def as_sent(history: History) -> Any:
    return envelope.decode_value(envelope.encode_value(history.items()))


def size(*contents: Any) -> int:
    return sum(len(encode_kept(content)) + ENTRY_OVERHEAD for content in contents)


def nested(depth: int) -> Any:
    value: Any = "x"
    for _ in range(depth):
        value = [value]
    return value


class TestAdding:
    def test_callbacks_and_clients_see_it_differently(self) -> None:
        history, _ = history_of("hello")
        history.add(Said(1, "assistant", b'"Hi"', "stopped", truncated=True))
        assert history.view() == [
            {"role": "user", "content": "hello", "status": "completed"},
            {"role": "assistant", "content": "Hi", "status": "stopped"},
        ]
        assert as_sent(history) == [
            {"turn": 1, "role": "user", "content": "hello", "status": "completed"},
            {"turn": 1, "role": "assistant", "content": "Hi", "status": "stopped", "truncated": True},
        ]

    def test_what_a_client_is_shown_is_not_made_into_objects_first(self, monkeypatch: pytest.MonkeyPatch) -> None:
        history, _ = history_of([[]] * 10)
        # A MiB of such would take fifty milliseconds of everybody's, each time that somebody asks.
        monkeypatch.setattr(envelope, "decode_value", None)
        assert b'"content":[[],[],[],' in envelope.encode_value(history.items())

    def test_what_is_seen_is_a_copy(self) -> None:
        history, _ = history_of({"x": [1]})
        history.view()[0]["content"]["x"].append(2)
        assert contents(history) == [{"x": [1]}]

    def test_the_oldest_goes_as_far_as_room_is_needed(self) -> None:
        history, pool = history_of("a", "b", "c", limit=size("a", "b", "cc"))
        assert contents(history) == ["a", "b", "c"]
        history.add(Said(4, "user", encode_kept("x" * 2), "completed"))
        assert contents(history) == ["b", "c", "xx"]
        history.add(Said(5, "user", encode_kept("y" * (ENTRY_OVERHEAD + 20)), "completed"))
        assert contents(history) == ["y" * (ENTRY_OVERHEAD + 20)]
        assert pool.used == size("y" * (ENTRY_OVERHEAD + 20))

    def test_it_can_be_made_to_forget(self) -> None:
        history, pool = history_of("a", "b", "c")
        history.trim(size("b", "c"))
        assert (contents(history), pool.used) == (["b", "c"], size("b", "c"))
        history.trim(0)
        assert (contents(history), pool.used) == ([], 0)

    def test_what_is_too_large_by_itself_leaves_nothing(self) -> None:
        history, pool = history_of("a", "x" * 1000, limit=1000)
        assert (contents(history), pool.used) == ([], 0)

    def test_a_limit_of_0_keeps_nothing(self) -> None:
        history, pool = history_of("", "b", limit=0)
        assert (contents(history), pool.used) == ([], 0)


class TestReplacing:
    def test_by_what_an_application_brings_along(self) -> None:
        history, pool = history_of("a", "b")
        history.replace(
            [
                {"role": "system", "content": "be kind"},
                MappingProxyType({"role": "user", "content": {"file": 1}, "status": "interrupted"}),
                UserDict({"role": "assistant", "content": "", "status": "stopped", "more": object(), "turn": "7"}),
                {"role": Role.USER, "content": 0},
            ]
        )
        assert as_sent(history) == [
            {"turn": 0, "role": "system", "content": "be kind", "status": "completed"},
            {"turn": 0, "role": "user", "content": {"file": 1}, "status": "interrupted"},
            {"turn": 0, "role": "assistant", "content": "", "status": "stopped"},
            {"turn": 0, "role": "user", "content": 0, "status": "completed"},
        ]
        assert pool.used == size("be kind", {"file": 1}, "", 0)

    def test_by_part_of_itself(self) -> None:
        history, pool = history_of("a", "b", "c")
        history.replace(history.view()[-2:])
        assert (contents(history), pool.used) == (["b", "c"], size("b", "c"))

    def test_by_nothing(self) -> None:
        history, pool = history_of("a")
        history.replace(())
        assert (contents(history), pool.used) == ([], 0)

    def test_by_more_than_it_may_hold(self) -> None:
        history, pool = history_of(limit=size("8", "9"))
        history.replace({"role": "user", "content": str(number)} for number in range(10))
        assert (contents(history), pool.used) == (["8", "9"], size("8", "9"))

    @pytest.mark.parametrize(
        "item",
        [
            {},
            {"role": "user"},
            {"role": "user", "content": None},
            {"content": "x"},
            {"role": "User", "content": "x"},
            {"role": None, "content": "x"},
            {"role": [], "content": "x"},
            {"role": "user", "content": object()},
            {"role": "user", "content": "\ud83d"},
            {"role": "user", "content": {1: 2}},
            {"role": "user", "content": nested(251)},
            {"role": "user", "content": "x", "status": None},
            {"role": "user", "content": "x", "status": "\ud83d"},
            {"role": "user", "content": "x", "status": "x" * 100_000},
            {"role": "user", "content": "x", "status": {}},
            "user",
            ("user", "x"),
            None,
            7,
        ],
        ids=lambda item: repr(item)[:40],
    )
    def test_by_what_is_no_item_changes_nothing(self, item: Any) -> None:
        history, pool = history_of("a")
        with pytest.raises((TypeError, ValueError)):
            history.replace([{"role": "user", "content": "fine"}, item])
        assert (contents(history), pool.used) == (["a"], size("a"))

    def test_by_what_is_no_list(self) -> None:
        history, _ = history_of("a")
        nothing: Any = None
        with pytest.raises(TypeError):
            history.replace(nothing)
        assert contents(history) == ["a"]

    def test_whatever_is_taken_can_be_shown(self) -> None:
        somebody = person()
        for depth in range(240, 256):
            try:
                somebody.session.history.replace([{"role": "user", "content": nested(depth)}])
            except TypeError:
                continue
            somebody.session.tell_history()
            assert somebody.told()[0]["data"]["items"][0]["content"] == nested(depth)


class TestPool:
    def test_what_has_left_is_counted_no_more(self) -> None:
        history, pool = history_of("a", "b")
        assert pool.used == size("a", "b")
        history.leave_pool()
        assert pool.used == 0
        # The session has ended, but its callback, or `on_close`, still holds it.
        history.replace([{"role": "user", "content": "c"}])
        history.add(Said(1, "user", b'"d"', "completed"))
        history.leave_pool()
        assert (contents(history), pool.used) == (["c", "d"], 0)

    @given(
        st.lists(st.integers(0, 600) | st.lists(st.integers(0, 600), max_size=5), max_size=30),
        st.integers(0, 3000),
    )
    def test_the_count_is_always_what_is_held(self, steps: list[int | list[int]], limit: int) -> None:
        history, pool = history_of(limit=limit)
        for step in steps:
            if isinstance(step, int):
                history.add(Said(1, "user", encode_kept("x" * step), "completed"))
            else:
                history.replace({"role": "user", "content": "x" * length} for length in step)
            assert pool.used == size(*contents(history)) <= limit
        history.leave_pool()
        assert pool.used == 0


class TestCopies:
    def test_an_entry_is_packed_with_all_that_it_says(self) -> None:
        for said in (
            Said(1, "user", encode_kept({"text": "früher"}), "completed"),
            Said(2, "assistant", encode_kept("cut off"), "stopped", True),
        ):
            assert Said.unpacked(said.packed()) == said

    def test_what_came_since_an_entry(self) -> None:
        history, _ = history_of("one", "two", "three")
        first, second, third = history.since(None)
        assert history.since(first) == [second, third]
        assert history.since(third) == []
        # The very entry counts, not one that is equal.
        assert history.since(Said(*first)) == [first, second, third]

    def test_what_was_said_last(self) -> None:
        history, _ = history_of("one", "two")
        assert len(history) == 2
        assert history.last is not None and history.last.content == encode_kept("two")
        assert history_of()[0].last is None
