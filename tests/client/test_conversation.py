"""A conversation over several connections, without one: events in, messages out."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from wsserver.client import ChatError, ConnectionLost, Event, RequestRefused, SessionLost
from wsserver.client import hole as hole_module
from wsserver.client.conversation import Conversation
from wsserver.client.inbox import EVENT_OVERHEAD
from wsserver.errors import ProtocolError

if TYPE_CHECKING:
    from wsserver.client.inbox import Inbox, Question


class Stage:
    """A conversation, and a server that says what the test writes down."""

    def __init__(self, *, connected: bool = True, lasting: bool = True) -> None:
        self._sent: list[str] = []
        self.talk = Conversation(self._sent.append, lasting=lasting)
        self.results: dict[str, Any] = {}
        if connected:
            self.session(resumed=False)

    def session(self, *, session_id: str = "s_1", **data: Any) -> None:
        known = {"resumable": True, "resume_token": "s_1.secret", "epoch": 1, "seq": 0, **data}
        self.talk.receive(Event("session", known, session_id=session_id), 0)

    def tell(self, name: str, turn: int | None = None, seq: int | None = None, /, **data: Any) -> None:
        self.talk.receive(Event(name, data, turn, seq, "s_1"), 10)

    def tokens(self, turn: int, first: int, text: str) -> None:
        for seq, value in enumerate(text, first):
            self.tell("token", turn, seq, value=value)

    def cut(self, **data: Any) -> None:
        """Another connection."""
        self.talk.disconnected()
        self.session(**{"resumed": True, "recovered": True, "seq": self.talk.seq, **data})

    def request(self, name: str, **data: Any) -> None:
        def settle(result: Any) -> None:
            assert name not in self.results
            self.results[name] = result

        self.talk.request(name, data, settle)

    def sent(self) -> list[tuple[str, str]]:
        """Names and ids of what was sent since the last time."""
        requests = [json.loads(text) for text in self._sent]
        self._sent.clear()
        return [(request["event"], request["id"]) for request in requests]

    def begun(self, text: str = "") -> Question:
        """A question whose turn, number 1, has begun, up to number 1 + the length of the text."""
        question = self.talk.ask("hi")
        self.tell("ack", ref="c1", turn=1)
        self.tell("start", 1, 1, ref="c1")
        self.tokens(1, 2, text)
        taken(question)
        self.sent()
        return question


def taken(inbox: Inbox) -> list[tuple[str, dict[str, Any]]]:
    events = []
    while inbox.arrived.is_set() and (event := inbox.take()) is not None:
        events.append((event.name, event.data))
    return events


def names(inbox: Inbox) -> list[str]:
    return [name for name, _ in taken(inbox)]


def error_of(inbox: Inbox) -> ChatError:
    with pytest.raises(ChatError) as caught:
        taken(inbox)
    return caught.value


def text_of(events: list[tuple[str, dict[str, Any]]]) -> str:
    text = ""
    for name, data in events:
        text = "" if name == "reset" else text + data["value"] if name == "token" else text
    return text


class TestOrder:
    def test_a_connection_begins_with_session(self) -> None:
        stage = Stage(connected=False)
        with pytest.raises(ProtocolError, match="begins with the event session"):
            stage.tell("token", 1, 1, value="x")

    def test_what_is_asked_before_is_sent_then(self) -> None:
        stage = Stage(connected=False)
        stage.talk.ask("one")
        stage.request("history")
        assert stage.sent() == []
        stage.session(resumed=False)
        assert stage.sent() == [("message", "c1"), ("history", "c2")]
        stage.talk.ask("two")
        assert stage.sent() == [("message", "c3")]

    def test_what_cannot_be_sent_is_not_kept(self) -> None:
        stage = Stage(connected=False)
        for content in ("\ud800", float("inf"), object()):
            with pytest.raises((ValueError, TypeError)):
                stage.talk.ask(content)
        stage.session(resumed=False)
        assert stage.sent() == []

    def test_no_event_comes_twice(self) -> None:
        stage = Stage()
        question = stage.begun("abc")
        stage.tokens(1, 2, "abcd")
        stage.tell("complete", 1, 3, final=True)
        assert taken(question) == [("token", {"value": "d"})]
        assert names(stage.talk.rest) == []

    def test_merged_tokens_count_as_all_of_them(self) -> None:
        stage = Stage()
        question = stage.begun("ab")
        stage.tell("token", 1, 6, value="cde", from_seq=4)
        stage.tell("token", 1, 7, value="f")
        assert text_of(taken(question)) == "cdef"
        assert stage.sent() == []

    def test_events_of_the_applications_own_may_use_our_words(self) -> None:
        stage = Stage()
        question = stage.talk.ask("hi")
        stage.tell("news", None, 1, ref="c1", turn=7, from_seq=9)
        stage.tell("token", 7, 2, value="not mine")
        stage.tell("ack", ref="c1", turn=1)
        stage.tell("start", 1, 3, ref="c1")
        stage.tell("note", 1, 4, ref="c1", from_seq=1)
        stage.sent()
        assert names(question) == ["start", "note"]
        assert names(stage.talk.rest) == ["news", "token"]
        stage.cut()
        assert stage.sent() == []

    def test_a_session_that_is_joined_begins_where_the_server_says(self) -> None:
        stage = Stage(connected=False)
        stage.session(resumed=True, recovered=True, seq=7)
        stage.tell("token", 1, 5, value="abc", from_seq=3)
        stage.tokens(1, 5, "def")
        assert text_of(taken(stage.talk.rest)) == "abcef"
        assert stage.sent() == []

    def test_pushed_events_and_turns_of_others_are_the_rest(self) -> None:
        stage = Stage()
        stage.tell("news", None, 1, text="x")
        stage.tell("token", 7, 2, value="y")
        stage.tell("drain", reconnect_in=1)
        stage.tell("error", code="bad_message", ref="unknown")
        for bookkeeping in ("ack", "replayed", "pong", "history"):
            stage.tell(bookkeeping)
        assert names(stage.talk.rest) == ["news", "token", "drain", "error"]


class TestResuming:
    def test_what_it_offers(self) -> None:
        stage = Stage(connected=False)
        assert stage.talk.resume is None
        stage.session(resumed=False, epoch=3, seq=7)
        assert stage.talk.resume == "resume.s_1.secret.3.7"
        stage.tell("news", None, 8)
        assert stage.talk.resume == "resume.s_1.secret.3.8"
        stage.cut(resumable=False)
        assert stage.talk.resume is None

    def test_what_was_not_answered_is_sent_again_in_order(self) -> None:
        stage = Stage()
        questions = [stage.talk.ask(number) for number in range(4)]
        stage.request("history")
        stage.request("stop", turn=7)
        stage.request("answer", call_id="k")
        stage.tell("ack", ref="c1", turn=1)
        stage.tell("start", 2, 1, ref="c2")  # its ack was lost
        stage.tell("complete", 3, 2, ref="c3", final=True)  # stopped before it began
        stage.tell("ack", ref="c5")  # the history itself did not come
        stage.sent()
        stage.cut()
        assert stage.sent() == [("message", "c4"), ("history", "c5"), ("stop", "c6"), ("answer", "c7")]
        stage.tell("ack", ref="c4", turn=4, duplicate=True)
        stage.tell("token", 4, 3, value="x")
        assert [names(question) for question in questions] == [[], ["start"], ["complete"], ["token"]]
        assert names(stage.talk.rest) == ["session"]

    def test_a_stop_or_an_answer_that_had_arrived_is_no_error(self) -> None:
        stage = Stage()
        stage.request("stop", turn=1)
        stage.request("answer", call_id="k")
        stage.tell("error", ref="c2", code="not_active", message="nothing asks that")
        assert isinstance(stage.results.pop("answer"), RequestRefused)
        stage.request("answer", call_id="k")
        stage.cut()
        for ref in ("c1", "c3"):
            stage.tell("error", ref=ref, code="not_active", message="nothing there")
        assert stage.results == {"stop": {}, "answer": {}}

    def test_a_message_never_overtakes_a_stop_of_all(self) -> None:
        stage = Stage()
        stage.begun()
        stage.request("stop")
        stage.talk.ask("next")
        stage.request("history")
        assert stage.sent() == [("stop", "c2"), ("history", "c4")]
        stage.cut()
        assert stage.sent() == [("stop", "c2"), ("history", "c4")]
        stage.tell("ack", ref="c2")
        assert stage.sent() == [("message", "c3")]

    def test_histories_come_in_the_order_they_were_asked_for(self) -> None:
        stage = Stage()
        results: list[Any] = []
        for _ in range(2):
            stage.talk.request("history", {}, results.append)
        stage.tell("history", items=[1])
        stage.tell("error", ref="c2", code="rate_limited", message="slowly", retryable=True, retry_after=1.5)
        assert results[0] == {"items": [1]}
        assert isinstance(results[1], RequestRefused)
        assert (results[1].retryable, results[1].retry_after) == (True, 1.5)

    @pytest.mark.parametrize("lasting", [True, False])
    def test_a_message_for_a_server_that_goes_away_is_for_the_next_one(self, lasting: bool) -> None:
        stage = Stage(lasting=lasting)
        question = stage.talk.ask("hi")
        stage.tell("error", ref="c1", code="server_shutdown", message="going away", retryable=True)
        if not lasting:
            assert isinstance(error_of(question), RequestRefused)
            return
        stage.sent()
        stage.cut()
        assert stage.sent() == [("message", "c1")]

    def test_who_has_left_hears_nothing_more_and_nobody_else_does(self) -> None:
        stage = Stage()
        question = stage.begun("ab")
        stage.talk.leave(question)
        stage.tokens(1, 4, "cd")
        stage.tell("complete", 1, 6, final=True)
        assert names(stage.talk.rest) == names(question) == []
        stage.tell("token", 1, 7, value="a broken server")
        assert names(stage.talk.rest) == ["token"]

    def test_what_was_never_sent_is_withdrawn(self) -> None:
        stage = Stage()
        stage.talk.disconnected()
        stage.talk.leave(stage.talk.ask("never mind"))
        kept = stage.talk.ask("hi")
        stage.session(resumed=True, recovered=True)
        assert stage.sent() == [("message", "c2")]
        stage.talk.leave(kept)
        stage.cut()
        assert stage.sent() == [("message", "c2")]


class TestHole:
    """`recovered` is false: the history has what was shown meanwhile."""

    def test_an_answer_goes_on_with_the_text_that_was_missed(self) -> None:
        stage = Stage()
        question = stage.begun("ab")
        stage.cut(recovered=False, seq=10)
        assert stage.sent() == [("history", "c2")]
        stage.tokens(1, 11, "kl")
        assert names(question) == []
        stage.tell("history", active={"turn": 1, "text": "abcdefghijk"}, items=[], seq=11)
        stage.tokens(1, 13, "m")
        assert taken(question) == [
            ("gap", {"from_seq": 4, "seq": 10}),
            ("token", {"value": "cdefghijk"}),
            ("token", {"value": "l"}),
            ("token", {"value": "m"}),
        ]
        assert taken(stage.talk.rest)[1] == ("gap", {"from_seq": 4, "seq": 10})

    def test_an_answer_that_ended_meanwhile_ends(self) -> None:
        stage = Stage()
        question = stage.begun("ab")
        stage.cut(recovered=False, seq=10)
        items = [{"turn": 1, "role": "assistant", "content": "abc", "status": "stopped"}]
        stage.tell("history", active=None, items=items, seq=10)
        assert taken(question)[1:] == [("token", {"value": "c"}), ("complete", {"status": "stopped", "final": True})]

    def test_the_real_end_counts_if_it_comes(self) -> None:
        stage = Stage()
        question = stage.begun("ab")
        stage.cut(recovered=False, seq=10)
        items = [{"turn": 1, "role": "assistant", "content": "abc", "status": "completed"}]
        stage.tell("history", active=None, items=items, seq=12)
        stage.tell("source", 1, 11, title="kept")
        assert names(question) == []
        stage.tell("complete", 1, 12, final=True, usage={"tokens": 3})
        assert taken(question)[1:] == [
            ("token", {"value": "c"}),
            ("source", {"title": "kept"}),
            ("complete", {"final": True, "usage": {"tokens": 3}}),
        ]

    def test_questions_of_the_turn_come_once(self) -> None:
        stage = Stage()
        question = stage.begun()
        stage.tell("ask", 1, 2, call_id="k1")
        stage.cut(recovered=False, seq=5)
        stage.tell("ask", 1, 6, call_id="k3")
        asks = [{"call_id": "k1"}, {"call_id": "k2"}, {"call_id": "k3"}]
        stage.tell("history", active={"turn": 1, "text": "", "asks": asks}, items=[], seq=6)
        stage.tell("ask", 1, 7, call_id="k4")
        asked = [data["call_id"] for name, data in taken(question) if name == "ask"]
        assert asked == ["k1", "k2", "k3", "k4"]

    def test_a_turn_that_began_behind_the_hole_misses_nothing(self) -> None:
        stage = Stage()
        first = stage.begun("ab")
        second = stage.talk.ask("next")
        third = stage.talk.ask("last")
        stage.tell("ack", ref="c2", turn=2)
        stage.tell("ack", ref="c3", turn=3)
        stage.cut(recovered=False, seq=10)
        stage.tell("complete", 1, 11, final=True)
        stage.tell("start", 2, 12, ref="c2")
        stage.tokens(2, 13, "xy")
        stage.tell("history", active={"turn": 2, "text": "xy"}, items=[], seq=14)
        assert names(first) == ["complete"]
        assert names(second) == ["start", "token", "token"]
        assert names(third) == []

    def test_a_message_whose_turn_began_in_the_hole(self) -> None:
        stage = Stage()
        question = stage.talk.ask("hi")
        stage.sent()
        stage.cut(recovered=False, seq=3)
        # The history comes last, so that the turn of the message is known by then.
        assert stage.sent() == [("message", "c1"), ("history", "c2")]
        stage.tell("ack", ref="c1", turn=1, duplicate=True)
        stage.tell("token", 1, 4, value="d")
        stage.tell("history", active={"turn": 1, "text": "abcd"}, items=[], seq=4)
        assert taken(question) == [("gap", {"from_seq": 1, "seq": 3}), ("token", {"value": "abcd"})]

    def test_another_loss_while_the_history_is_awaited(self) -> None:
        stage = Stage()
        question = stage.begun("ab")
        stage.cut(recovered=False, seq=10)
        stage.tokens(1, 11, "k")
        late = stage.talk.ask("late")
        stage.sent()
        stage.cut()
        assert stage.sent() == [("message", "c3"), ("history", "c4")]
        stage.tokens(1, 12, "l")
        stage.tell("history", active={"turn": 1, "text": "abcdefghijkl"}, items=[], seq=12)
        assert text_of(taken(question)) == "cdefghijkl"
        stage.cut(recovered=False, seq=20)
        stage.tokens(1, 21, "u")
        stage.cut(recovered=False, seq=30)
        stage.tokens(1, 31, "E")
        stage.tell("ack", ref="c3", turn=2)
        stage.tell("history", active={"turn": 1, "text": "abcdefghijklmnopqrstuvwxyzABCD"}, items=[], seq=30)
        events = taken(question)
        assert events[0] == ("gap", {"from_seq": 13, "seq": 30})
        assert text_of(events) == "mnopqrstuvwxyzABCDE"
        assert names(late) == []

    def test_a_log_that_has_lost_its_end(self) -> None:
        stage = Stage()
        question = stage.begun("abcdef")
        stage.cut(recovered=False, seq=4, epoch=2)
        stage.tell("history", active={"turn": 1, "text": "abc"}, items=[], seq=4)
        stage.tokens(1, 5, "xy")
        events = taken(question)
        assert [name for name, _ in events] == ["gap", "reset", "token", "token", "token"]
        assert text_of(events) == "abcxy"
        assert stage.talk.resume == "resume.s_1.secret.2.6"

    def test_a_number_that_is_missing_on_the_way_is_a_hole_too(self) -> None:
        stage = Stage()
        question = stage.begun("ab")
        stage.tell("token", 1, 6, value="e")
        assert stage.sent() == [("history", "c2")]
        stage.tell("status", 1, message="thinking")
        stage.tell("history", active={"turn": 1, "text": "abcdef"}, items=[], seq=7)
        stage.tell("token", 1, 7, value="f")
        assert taken(question) == [
            ("gap", {"from_seq": 4, "seq": 5}),
            ("token", {"value": "cdef"}),
            ("status", {"message": "thinking"}),
        ]

    def test_tokens_that_overlap_what_is_there(self) -> None:
        stage = Stage()
        question = stage.begun("ab")
        stage.tell("token", 1, 4, value="bc", from_seq=3)
        stage.tell("history", active={"turn": 1, "text": "abc"}, items=[], seq=4)
        assert text_of(taken(question)) == "c"

    def test_turns_of_others_go_on_as_they_come(self) -> None:
        stage = Stage()
        stage.cut(recovered=False, seq=10)
        stage.tell("token", 9, 11, value="x")
        stage.tell("news", None, 12)
        stage.tell("history", active={"turn": 9, "text": "wx"}, items=[], seq=12)
        assert names(stage.talk.rest) == ["session", "gap", "news", "token"]

    def test_without_a_history_the_answers_are_over(self) -> None:
        stage = Stage()
        question = stage.begun("ab")
        stage.cut(recovered=False, seq=10)
        stage.tokens(1, 11, "k")
        stage.tell("error", ref="c2", code="rate_limited", message="slowly")
        assert isinstance(error_of(question), RequestRefused)
        second = stage.talk.ask("again")
        stage.tell("ack", ref="c3", turn=2)
        stage.tell("start", 2, 12)
        assert names(second) == ["start"]

    def test_a_history_that_never_comes_fills_no_memory(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(hole_module, "MAX_HELD", 10 * (10 + EVENT_OVERHEAD))
        stage = Stage()
        stage.begun()
        stage.cut(recovered=False, seq=10)
        stage.tokens(1, 11, "x" * 10)
        with pytest.raises(ProtocolError, match="history does not come"):
            stage.tokens(1, 21, "x")


class TestAnotherSession:
    @pytest.mark.parametrize("resumed", [True, False])
    def test_what_was_under_way_is_lost_but_messages_that_nobody_took(self, resumed: bool) -> None:
        stage = Stage()
        running = stage.begun("ab")
        unheard = stage.talk.ask("nobody heard this")
        stage.request("stop", turn=1)
        stage.request("history")
        stage.sent()
        stage.cut(resumed=resumed, recovered=False, session_id="s_2", seq=5)
        assert isinstance(error_of(running), SessionLost)
        assert [type(result) for result in stage.results.values()] == [SessionLost, SessionLost]
        assert stage.sent() == [("message", "c2")]
        stage.tell("ack", ref="c2", turn=1)
        stage.tell("start", 1, 6, ref="c2")
        assert names(unheard) == ["start"]
        assert names(stage.talk.rest) == ["session"]
        assert (stage.talk.session_id, stage.talk.seq) == ("s_2", 6)

    @pytest.mark.parametrize("told", [True, False])
    def test_while_the_history_is_awaited(self, told: bool) -> None:
        stage = Stage()
        question = stage.begun("ab")
        stage.cut(recovered=False, seq=10)
        stage.tokens(1, 11, "k")
        if told:
            stage.tell("history", items=[], active=None, seq=15)
        stage.cut(resumed=False, session_id="s_2", seq=0)
        assert isinstance(error_of(question), SessionLost)
        again = stage.talk.ask("again")
        stage.tell("start", 1, 1, ref="c3")
        assert names(again) == ["start"]


class TestEnd:
    @pytest.mark.parametrize("expected", [True, False])
    def test_all_that_waits_is_told(self, expected: bool) -> None:
        stage = Stage()
        running, unheard = stage.begun("ab"), stage.talk.ask("x")
        stage.request("stop")
        stage.tell("news")
        loss = ConnectionLost(1006, "")
        stage.talk.end(loss, expected=expected)
        assert error_of(running) is error_of(unheard) is stage.results["stop"] is loss
        if expected:
            assert names(stage.talk.rest) == ["news"]
        else:
            assert error_of(stage.talk.rest) is loss
