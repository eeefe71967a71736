"""What a callback holds: what it shows, and how its turn ends."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any

import pytest

from tests.chat.person import Gate, GivenUp, Person, SlowReader, line, person, run
from wsserver.chat.events import Answer, Custom, Reset, Source, Status, Token, Tool
from wsserver.chat.pool import Pool
from wsserver.errors import ClientError

if TYPE_CHECKING:
    from collections.abc import Coroutine

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

    def test_the_content_is_a_copy_at_each_look(self, somebody: Person) -> None:
        """As objects it takes up to twenty times its size: nobody holds it but the callback."""
        turn = somebody.asks({"a": [1]})
        turn.content["a"].append(2)
        assert turn.content == {"a": [1]}
        assert turn.content is not turn.content

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

    def test_a_reader_that_is_behind_goes_without_a_status(self, somebody: Person, turn: Turn) -> None:
        somebody.full = True
        turn.publish(Status("Thinking…"))
        assert somebody.told() == []

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
    gate = somebody.session.gate = Gate()
    turn.complete("stopped")
    assert gate.opened == 1
    assert somebody.session.gate is None


class TestAsking:
    def test_waits_for_the_answer(self, somebody: Person, turn: Turn) -> None:
        asking = asks(turn, "Shall I?", {"type": "boolean"})
        (event,) = somebody.events()
        call_id = event["data"]["call_id"]
        assert event["data"] == {"call_id": call_id, "message": "Shall I?", "schema": {"type": "boolean"}}
        assert (event["event"], event["turn"]) == ("ask", 1)
        asking.send(None)
        somebody.session.answer(Answer(call_id, True))
        assert result(asking) is True
        assert somebody.shown == []

    def test_without_a_schema_anything_is_an_answer(self, somebody: Person, turn: Turn) -> None:
        asking = asks(turn, "What is it?")
        (event,) = somebody.events()
        assert event["data"]["schema"] == {}
        turn.answer(event["data"]["call_id"], {"x": [None]})
        assert result(asking) == {"x": [None]}

    def test_a_misfit_is_refused_and_the_question_stays_open(self, somebody: Person, turn: Turn) -> None:
        asking = asks(turn, "Which?", {"enum": ["red", "green"]})
        call_id = somebody.events()[0]["data"]["call_id"]
        assert not_taken(somebody, Answer(call_id, "blue", "a1")) == (
            "bad_message",
            "the answer must be one of the choices",
            "a1",
        )
        turn.answer(call_id, "green")
        assert result(asking) == "green"

    def test_only_the_first_answer_counts(self, somebody: Person, turn: Turn) -> None:
        asking = asks(turn, "?")
        call_id = somebody.events()[0]["data"]["call_id"]
        turn.answer(call_id, 1)
        assert not_taken(somebody, Answer(call_id, 2, "a2")) == ("not_active", "this question is not open", "a2")
        assert result(asking) == 1
        assert not_taken(somebody, Answer(call_id, 3)) == ("not_active", "this question is not open", None)

    def test_a_question_that_nobody_asked(self, somebody: Person, turn: Turn) -> None:
        assert not_taken(somebody, Answer("c_x", 1, "a1")) == ("not_active", "this question is not open", "a1")
        turn.complete("completed")
        assert not_taken(somebody, Answer("c_x", 1, "a1")) == ("not_active", "this question is not open", "a1")

    def test_several_at_a_time(self, somebody: Person, turn: Turn) -> None:
        first, second = asks(turn, "a"), asks(turn, "b")
        one, other = (event["data"]["call_id"] for event in somebody.events())
        turn.answer(other, 2)
        turn.answer(one, 1)
        assert (result(first), result(second)) == (1, 2)

    def test_somebody_who_comes_back_sees_what_is_open(self, somebody: Person, turn: Turn) -> None:
        given_up, flow = asks(turn, "a"), turn.flow
        answered, still = asks(turn, "b"), asks(turn, "c", {"type": "string"})
        open_questions = [event["data"] for event in somebody.events()]
        assert turn.shown()["asks"] == open_questions
        # Their callbacks have not noticed yet.
        assert isinstance(flow, SlowReader)
        flow.waiters[0].cancel()
        turn.answer(open_questions[1]["call_id"], 2)
        assert turn.shown()["asks"] == open_questions[2:]
        assert not_taken(somebody, Answer(open_questions[0]["call_id"], 1))[0] == "not_active"
        assert result(answered) == 2
        with pytest.raises(GivenUp):
            given_up.send(None)
        somebody.session.tell_history()
        assert somebody.told()[0]["data"]["active"] == {"turn": 1, "text": "", "asks": open_questions[2:]}
        turn.answer(open_questions[2]["call_id"], "yes")
        assert result(still) == "yes"

    def test_where_none_is_open_nothing_is_said_of_it(self, somebody: Person, turn: Turn) -> None:
        asking = asks(turn, "?")
        turn.answer(somebody.events()[0]["data"]["call_id"], 1)
        assert turn.shown() == {"turn": 1, "text": ""}
        assert result(asking) == 1
        assert turn.shown() == {"turn": 1, "text": ""}
        assert not turn._questions

    def test_the_end_of_the_turn_ends_the_wait(self, somebody: Person, turn: Turn) -> None:
        asking = asks(turn, "?")
        call_id = somebody.events()[0]["data"]["call_id"]
        turn.complete("stopped")
        assert not_taken(somebody, Answer(call_id, 1))[0] == "not_active"
        with pytest.raises(GivenUp):
            asking.send(None)

    def test_an_answer_that_came_before_the_end_is_not_taken_back(self, somebody: Person, turn: Turn) -> None:
        asking = asks(turn, "?")
        turn.answer(somebody.events()[0]["data"]["call_id"], 1)
        turn.complete("stopped")
        assert result(asking) == 1

    def test_after_the_end_nobody_is_asked(self, somebody: Person, turn: Turn) -> None:
        turn.complete("stopped")
        somebody.events()
        turn.flow = SlowReader()
        asking = turn.ask("?")
        with pytest.raises(GivenUp):
            asking.send(None)
        assert somebody.shown == []

    def test_a_question_that_cannot_be_asked_is_not_open(self, somebody: Person, turn: Turn) -> None:
        turn.flow = SlowReader()
        with pytest.raises(TypeError, match="the data of the event 'ask' cannot be written"):
            turn.ask("?", {"x": object()}).send(None)
        with pytest.raises(ValueError, match="the type of an answer"):
            turn.ask("?", {"type": "date"}).send(None)
        assert (somebody.shown, turn.shown()) == ([], {"turn": 1, "text": ""})


def asks(turn: Turn, message: str, schema: dict[str, Any] | None = None) -> Coroutine[Any, Any, Any]:
    """A callback that waits for the answer to a question."""
    turn.flow = SlowReader()
    asking = turn.ask(message, schema)
    asking.send(None)
    return asking


def result(asking: Coroutine[Any, Any, Any]) -> Any:
    with pytest.raises(StopIteration) as stop:
        asking.send(None)
    return stop.value.value


def not_taken(somebody: Person, answer: Answer) -> tuple[str, str, str | None]:
    with pytest.raises(ClientError) as caught:
        somebody.session.answer(answer)
    assert not caught.value.retryable
    return caught.value.code, caught.value.message, caught.value.ref


class TestWhatBecameOfIt:
    def test_nothing_yet(self, turn: Turn) -> None:
        assert (turn.status, turn.error, turn.traceparent) == ("", None, None)

    @pytest.mark.parametrize("status", ["completed", "stopped", "interrupted"])
    def test_complete(self, turn: Turn, status: str) -> None:
        turn.complete(status)
        turn.fail("turn_timeout", "too late")
        assert (turn.status, turn.error) == (status, None)

    def test_failed(self, turn: Turn) -> None:
        turn.fail("out_of_tea", "there is none")
        turn.complete("completed")
        assert (turn.status, turn.error) == ("failed", "out_of_tea")


class TestMemory:
    """What a turn holds is counted by the pool of its session."""

    def test_a_message_that_waits(self, somebody: Person) -> None:
        pool = somebody.session.log.pool
        somebody.asks("first")
        before = pool.used
        waiting, dropped = somebody.says("x" * 1000), somebody.says("y" * 1000)
        assert waiting and dropped
        assert pool.used - before == pool.waiting > 2000
        somebody.session.drop(dropped)
        dropped.complete("stopped")
        log = somebody.session.log
        assert pool.used == log.size + somebody.session.history._size + waiting._held
        assert pool.waiting == waiting._held > 1000

    def test_begun_it_stands_in_the_history(self, somebody: Person) -> None:
        turn = somebody.asks("x" * 1000)
        assert turn._held == somebody.session.log.pool.waiting == 0
        assert somebody.session.log.pool.used == somebody.session.log.size + somebody.session.history._size

    def test_the_text_of_an_answer_that_goes_on(self, somebody: Person, turn: Turn) -> None:
        for _ in range(100):
            turn.publish("x" * 100)
        assert 10_000 <= turn._held <= 10_000 + 2 * 4096
        turn.publish(Reset())
        assert turn._held == 0
        turn.publish("again")
        turn.complete("completed")
        assert turn._held == 0
        somebody.session.log.seal()
        assert somebody.session.log.pool.used == somebody.session.log.size + somebody.session.history._size

    def test_where_memory_is_short_a_long_one_is_shown_but_kept_no_more(self, somebody: Person, turn: Turn) -> None:
        turn.publish("x" * 5000)
        turn.stop_growing(100_000)
        turn.publish("y" * 5000)
        turn.stop_growing(1000)
        turn.publish("z" * 5000)
        assert turn.text == "x" * 5000 + "y" * 5000
        assert turn.shown()["truncated"] is True
        assert len(somebody.events()) == 3
        turn.complete("completed")
        turn.stop_growing(0)
        item = somebody.session.history.items()[-1]
        assert item["truncated"] is True


def test_a_pool_is_full_beyond_its_limit_or_where_half_of_it_waits() -> None:
    pool = Pool(10)
    pool.add(10)
    pool.waiting = 5
    assert not pool.is_full
    pool.waiting = 6
    assert pool.is_full
    pool.waiting = 0
    pool.add(1)
    assert pool.is_full


def test_a_turn_that_is_given_up_says_nothing_more(somebody: Person, turn: Turn) -> None:
    turn.publish("half an answer")
    seen = somebody.session.log.head
    turn.give_up()
    turn.publish("more")
    turn.complete("completed")
    assert turn.over
    assert turn.text == ""
    assert somebody.session.log.head == seen
