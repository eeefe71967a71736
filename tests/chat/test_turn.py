"""What a callback holds: what it shows, and how its turn ends."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any

import pytest

from tests.chat.person import Person, SlowReader, line, person, run
from wsserver.chat.events import Custom, Reset, Source, Status, Token, Tool

if TYPE_CHECKING:
    from wsserver.chat.turn import Turn


class Word(StrEnum):
    HELLO = "hello"


def remembered(somebody: Person) -> tuple[Any, str]:
    """The answer as the history has it, and its status."""
    said = somebody.session.history.view()[-1]
    assert said["role"] == "assistant"
    return said["content"], said["status"]


class TestShowing:
    def test_what_it_knows(self, somebody: Person, turn: Turn) -> None:
        assert (turn.id, turn.content, turn.ref, turn.cause, turn.usage) == (1, "hello", "m1", None, None)
        assert (turn.session.id, turn.session.user) == (somebody.session.id, "ada")
        assert turn.history == [{"role": "user", "content": "hello", "status": "completed"}]
        turn.history.clear()
        assert len(turn.history) == 1

    def test_every_item(self, somebody: Person, turn: Turn) -> None:
        for item in (
            "a",
            Token("b"),
            Word.HELLO,
            Tool("c_1", "orders"),
            Source("Terms", extra={"page": 3}),
            Custom("weather", {"sun": True}),
            Reset("sources"),
            Reset(),
        ):
            turn.publish(item)
        assert somebody.shown == [
            "2 1 token value=a",
            "3 1 token value=b",
            "4 1 token value=hello",
            "5 1 tool call_id=c_1 name=orders status=started",
            "6 1 source page=3 title=Terms",
            "7 1 weather sun=True",
            "8 1 reset channel=sources",
            "9 1 reset channel=answer",
        ]
        assert somebody.told() == []

    def test_the_reader_hears_of_every_event(self, somebody: Person, turn: Turn) -> None:
        woken = somebody.woken
        turn.publish("a")
        turn.publish(Token("b"))
        turn.publish(Source("c"))
        assert somebody.woken == woken + 3

    def test_a_status_is_shown_in_passing(self, somebody: Person, turn: Turn) -> None:
        turn.publish(Status("Thinking…"))
        assert list(map(line, somebody.told())) == ["- 1 status message=Thinking…"]
        assert somebody.shown == []

    def test_nothing_is_no_token(self, somebody: Person, turn: Turn) -> None:
        turn.publish("")
        turn.publish(Token(""))
        assert somebody.shown == []

    def test_without_a_reader(self, somebody: Person, turn: Turn) -> None:
        somebody.session.reader = None
        turn.publish("a")
        turn.publish(Status("b"))
        assert somebody.shown == ["2 1 token value=a"]

    @pytest.mark.parametrize("item", [None, 7, b"x", ["x"], {"value": "x"}, object(), Token])
    def test_what_is_no_item(self, somebody: Person, turn: Turn, item: Any) -> None:
        text = f"a turn shows str, Token, Tool, Source, Status, Reset or Custom, not {type(item).__name__}$"
        with pytest.raises(TypeError, match=text):
            turn.publish(item)
        assert (somebody.shown, turn.over) == ([], False)

    @pytest.mark.parametrize(
        "item",
        [
            "\ud83d",
            Token("\ud83d"),
            Tool("c_1", "x", input={1}),
            Source(extra={"x": object()}),
            Custom("x", {"y": 2**64}),
        ]
        + [Status("\ud83d")],
    )
    def test_what_json_cannot_hold(self, somebody: Person, turn: Turn, item: Any) -> None:
        with pytest.raises(TypeError):
            turn.publish(item)
        turn.publish("next")
        assert (somebody.shown, somebody.told()) == (["2 1 token value=next"], [])
        assert turn.text == "next"

    def test_sending_is_the_same_as_yielding(self, somebody: Person, turn: Turn) -> None:
        run(turn.send("a"))
        assert somebody.shown == ["2 1 token value=a"]

    def test_sending_waits_for_a_slow_reader(self, somebody: Person, turn: Turn) -> None:
        turn.flow = pace = SlowReader()
        sending = turn.send("a")
        sending.send(None)
        assert (somebody.shown, pace.pauses) == (["2 1 token value=a"], 1)
        with pytest.raises(StopIteration):
            sending.send(None)
        pace.pausing = False
        run(turn.send("b"))
        assert pace.pauses == 1


class TestEnding:
    def test_completed(self, somebody: Person, turn: Turn) -> None:
        turn.publish("a")
        turn.publish("b")
        turn.usage = {"tokens": 2}
        turn.complete("completed")
        assert somebody.shown == [
            "2 1 token value=a",
            "3 1 token value=b",
            "4 1 complete status=completed usage={'tokens': 2} final=True ref=m1",
        ]
        assert remembered(somebody) == ("ab", "completed")

    def test_failed(self, somebody: Person, turn: Turn) -> None:
        turn.publish("a")
        turn.usage = {"tokens": 1}
        turn.fail("quota", "come back tomorrow", retryable=True)
        assert somebody.shown == [
            "2 1 token value=a",
            "3 1 error code=quota message=come back tomorrow retryable=True final=True ref=m1",
        ]
        assert remembered(somebody) == ("a", "failed")

    def test_without_an_id(self, somebody: Person) -> None:
        somebody.asks("hello").complete("completed")
        assert somebody.shown == ["1 1 start", "2 1 complete status=completed final=True"]

    @pytest.mark.parametrize("first", ["complete", "stop", "fail"])
    @pytest.mark.parametrize("second", ["complete", "stop", "fail"])
    def test_whoever_is_first_ends_it(self, somebody: Person, turn: Turn, first: str, second: str) -> None:
        ends = {
            "complete": lambda: turn.complete("completed"),
            "stop": lambda: turn.complete("stopped"),
            "fail": lambda: turn.fail("generation_failed", "sorry"),
        }
        ends[first]()
        ends[second]()
        status = {"complete": "completed", "stop": "stopped", "fail": "failed"}[first]
        (event,) = somebody.events()
        assert event["data"]["final"] is True
        assert remembered(somebody) == ("", status)
        assert len(somebody.session.history.view()) == 2

    def test_nothing_follows_the_final_event(self, somebody: Person, turn: Turn) -> None:
        turn.publish("shown")
        turn.complete("stopped")
        last = somebody.shown[-1]
        assert last == "3 1 complete status=stopped final=True ref=m1"
        for item in ("a", Token("b"), Tool("c", "d"), Source(), Status("e"), Reset(), Custom("f")):
            turn.publish(item)
        run(turn.send("g"))
        assert (somebody.shown, somebody.told()) == ([], [])
        assert remembered(somebody) == ("shown", "stopped")

    def test_stopped_while_it_waits(self, somebody: Person, turn: Turn) -> None:
        waiting = somebody.says("next", "m2")
        assert waiting is not None
        waiting.complete("stopped")
        assert somebody.shown == ["2 2 complete status=stopped final=True ref=m2"]
        assert [said["content"] for said in somebody.session.history.view()] == ["hello"]

    def test_usage_that_cannot_be_written_is_an_error_of_the_callback(self, somebody: Person, turn: Turn) -> None:
        turn.usage = {"tokens": object()}
        with pytest.raises(TypeError, match="the data of the event 'complete' cannot be written as JSON"):
            turn.complete("completed")
        assert (somebody.shown, turn.over) == ([], False)
        turn.fail("generation_failed", "sorry")
        assert turn.over

    def test_but_keeps_nobody_from_ending_it(self, somebody: Person, turn: Turn) -> None:
        turn.publish("a")
        turn.usage = {"tokens": object()}
        turn.cause = "stopped"
        turn.complete("stopped")
        assert somebody.shown[-1] == "3 1 complete status=stopped final=True ref=m1"
        assert remembered(somebody) == ("a", "stopped")

    @pytest.mark.parametrize(
        "message, shown", [("half \ud83d", "half ?"), (ValueError("boom"), "boom"), (None, "None"), ("界", "界")]
    )
    def test_it_can_always_fail(self, somebody: Person, turn: Turn, message: Any, shown: str) -> None:
        turn.fail(message, message, retryable=message)
        (event,) = somebody.events()
        assert (event["data"]["code"], event["data"]["message"]) == (shown, shown)
        assert event["data"]["retryable"] is (message is not None)


class TestReset:
    def test_voids_the_text(self, somebody: Person, turn: Turn) -> None:
        turn.publish("wrong")
        turn.publish(Reset())
        assert turn.text == ""
        turn.publish("right")
        turn.complete("completed")
        assert remembered(somebody) == ("right", "completed")

    def test_of_the_sources_voids_no_text(self, somebody: Person, turn: Turn) -> None:
        turn.publish("text")
        turn.publish(Reset("sources"))
        assert turn.text == "text"

    def test_gives_back_the_room_for_the_answer(self) -> None:
        somebody = person(max_history=1000)
        turn = somebody.asks("?")
        turn.publish("x" * 5000)
        assert turn.text == ""
        turn.publish(Reset())
        turn.publish("right")
        turn.complete("completed")
        somebody.session.tell_history()
        item = somebody.told()[0]["data"]["items"][-1]
        assert (item["content"], "truncated" in item) == ("right", False)


def test_its_end_lets_go_who_waits_for_the_reader(somebody: Person, turn: Turn) -> None:
    class Gate:
        opened = 0

        def set(self) -> None:
            self.opened += 1

        async def wait(self) -> None:
            """Nobody comes here."""

    gate = somebody.session.gate = Gate()
    turn.complete("stopped")
    assert gate.opened == 1
    assert somebody.session.gate is None
