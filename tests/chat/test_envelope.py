"""Events ↔ JSON: the bytes that travel, and what becomes of whatever a client sends."""

from __future__ import annotations

import gc
import json
import sys
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.chat.person import line, person
from wsserver.chat.envelope import (
    MAX_ID_SIZE,
    decode_event,
    decode_value,
    encode_event,
    encode_value,
    is_passing,
    merged_template,
    token_template,
    uncollected,
)
from wsserver.chat.events import Answer, Auth, ClientEvent, End, History, Message, Ping, Stop
from wsserver.errors import ClientError

if TYPE_CHECKING:
    from collections.abc import Callable

HARD_TEXTS = [
    "",
    "hello ",
    '"',
    "\\",
    '\\"',
    "\\n",
    "".join(map(chr, range(0x20))) + "\x7f",
    "您好，世界",
    "👋🏽 👩‍👩‍👧 🇨🇳",
    "\u2028\u2029\ufeff\ufffd\uffff",
    "%b %d %s %% {}",
    '"},"seq":1}',
]

JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(), children, max_size=4),
    max_leaves=20,
)


def plain(**envelope: Any) -> bytes:
    """The envelope as anybody would write it."""
    return json.dumps(envelope, separators=(",", ":"), ensure_ascii=False).encode()


def token(text: str) -> bytes:
    return token_template("s_x", 3) % (encode_value(text)[1:-1], 42)


def merged(*texts: str) -> bytes:
    return merged_template(token_template("s_x", 3)) % (b"".join(encode_value(text)[1:-1] for text in texts), 40, 42)


def decode(envelope: Any) -> ClientEvent:
    return decode_event(json.dumps(envelope).encode())


def refused(payload: bytes) -> tuple[str, str | None]:
    """Why a message is no client event, and the id that the answer refers to."""
    with pytest.raises(ClientError) as caught:
        decode_event(payload)
    assert (caught.value.code, caught.value.retryable) == ("bad_message", False)
    return caught.value.message, caught.value.ref


class TestTokens:
    def test_exact_bytes(self) -> None:
        assert token("x") == b'{"event":"token","data":{"value":"x"},"session_id":"s_x","turn":3,"seq":42}'

    def test_exact_bytes_of_merged_ones(self) -> None:
        assert merged("x", "y") == (
            b'{"event":"token","data":{"value":"xy","from_seq":40},"session_id":"s_x","turn":3,"seq":42}'
        )

    @pytest.mark.parametrize("text", HARD_TEXTS)
    def test_the_same_bytes_as_of_a_plain_dict(self, text: str) -> None:
        assert token(text) == plain(event="token", data={"value": text}, session_id="s_x", turn=3, seq=42)

    @given(st.text())
    def test_the_same_json_as_of_a_plain_dict(self, text: str) -> None:
        assert json.loads(token(text)) == {
            "event": "token",
            "data": {"value": text},
            "session_id": "s_x",
            "turn": 3,
            "seq": 42,
        }

    @given(st.lists(st.text() | st.sampled_from(HARD_TEXTS)))
    def test_merging_puts_the_texts_together(self, texts: list[str]) -> None:
        assert json.loads(merged(*texts))["data"] == {"value": "".join(texts), "from_seq": 40}


class TestEvents:
    def test_exact_bytes(self) -> None:
        assert encode_event("ack", {"ref": "m7"}, "s_x") == b'{"event":"ack","data":{"ref":"m7"},"session_id":"s_x"}'
        assert encode_event("note", {}, "s_x", 3, 42) == (
            b'{"event":"note","data":{},"session_id":"s_x","turn":3,"seq":42}'
        )

    @pytest.mark.parametrize("text", HARD_TEXTS)
    def test_the_same_bytes_as_of_a_plain_dict(self, text: str) -> None:
        assert encode_event(text, {text: text}, "s_x", 1, 2) == plain(
            event=text, data={text: text}, session_id="s_x", turn=1, seq=2
        )

    @given(st.dictionaries(st.text(), JSON_VALUES))
    def test_the_same_json_as_of_a_plain_dict(self, data: dict[str, Any]) -> None:
        assert json.loads(encode_event("note", data, "s_x")) == {"event": "note", "data": data, "session_id": "s_x"}

    @pytest.mark.parametrize("value", [{1}, object(), 2**64, {1: 2}, "\ud83d", b"bytes"], ids=repr)
    def test_what_json_cannot_hold(self, value: Any) -> None:
        with pytest.raises(TypeError, match="the data of the event 'note' cannot be written as JSON: "):
            encode_event("note", {"x": value}, "s_x")

    def test_half_a_surrogate_pair_is_no_text(self) -> None:
        with pytest.raises(TypeError, match="surrogates not allowed"):
            encode_value("\ud83d")


class TestClientEvents:
    @pytest.mark.parametrize(
        "envelope, event",
        [
            ({"event": "message", "data": {"content": "hello"}, "id": "m7"}, Message("hello", "m7")),
            ({"event": "message", "data": {"content": "hello"}}, Message("hello")),
            ({"event": "message", "data": {"content": {"text": "hello", "files": [1]}}},
             Message({"text": "hello", "files": [1]})),
            ({"event": "message", "data": {"content": 0}}, Message(0)),
            ({"event": "message", "data": {"content": False}}, Message(False)),
            ({"content": "hello"}, Message("hello")),
            ({"content": "hello", "id": "m7"}, Message("hello", "m7")),
            ({"event": None, "content": "hello", "data": 7}, Message("hello")),
            ({"event": "stop"}, Stop()),
            ({"event": "stop", "data": {"turn": 3}, "id": "x"}, Stop(3, None, "x")),
            ({"event": "stop", "data": {"ref": "m7"}}, Stop(None, "m7")),
            ({"event": "stop", "data": None}, Stop()),
            ({"event": "history", "id": "h"}, History("h")),
            ({"event": "end"}, End()),
            ({"event": "end", "data": {}, "id": "e"}, End("e")),
            ({"event": "answer", "data": {"call_id": "c_1", "value": None}}, Answer("c_1", None)),
            ({"event": "answer", "data": {"call_id": "", "value": [0]}, "id": "a1"}, Answer("", [0], "a1")),
            ({"event": "ping"}, Ping()),
            ({"event": "ping", "data": 7, "id": "p"}, Ping(7, "p")),
            ({"event": "ping", "data": [{"at": 1.5}]}, Ping([{"at": 1.5}])),
        ],
        ids=repr,
    )  # fmt: skip
    def test_every_one(self, envelope: Any, event: ClientEvent) -> None:
        assert decode(envelope) == event

    @pytest.mark.parametrize(
        "envelope, event",
        [
            ({"event": "message", "data": {"content": "x", "role": "user"}, "seq": 1}, Message("x")),
            ({"content": "x", "more": [1, 2]}, Message("x")),
            ({"event": "stop", "data": {"why": "bored"}, "turn": 9}, Stop()),
            ({"event": "history", "data": {"since": 3}}, History()),
            ({"event": "auth", "data": {"token": "x", "kind": 1}, "id": "a1"}, Auth("x", "a1")),
        ],
        ids=repr,
    )  # fmt: skip
    def test_unknown_fields_are_ignored(self, envelope: Any, event: ClientEvent) -> None:
        assert decode(envelope) == event


class TestBadMessages:
    @pytest.mark.parametrize(
        "payload",
        [b"", b" ", b"hello", b"[]", b'"x"', b"7", b"null", b"{", b'{"content":"x"', b'{"content":NaN}', b"{}{}"]
        + [b'{"content":1e999}', b'{"content":"\\ud800"}', b'{"content":"\n"}', b'{"content":"\xff"}'],
    )
    def test_no_json_object(self, payload: bytes) -> None:
        assert refused(payload) == ("a message is one JSON object", None)

    @pytest.mark.parametrize("name", ["", "Message", "token", "complete", 7, None, [], {}, True])
    def test_no_event_of_a_client(self, name: Any) -> None:
        payload = json.dumps({"event": name, "data": {}, "id": "m7"}).encode()
        assert refused(payload) == ("event must be one of message, stop, answer, history, auth, ping, end", "m7")

    @pytest.mark.parametrize("data", [[], "x", 7, True, ""])
    @pytest.mark.parametrize("name", ["message", "stop", "answer", "history", "end"])
    def test_data_that_is_no_object(self, name: str, data: Any) -> None:
        payload = json.dumps({"event": name, "data": data, "id": "m7"}).encode()
        assert refused(payload) == ("data must be an object", "m7")

    @pytest.mark.parametrize("content", ["", None, [], {}])
    def test_nothing_said(self, content: Any) -> None:
        payload = json.dumps({"event": "message", "data": {"content": content}, "id": "m7"}).encode()
        assert refused(payload) == ("content must not be empty", "m7")
        payload = json.dumps({"content": content, "id": "m7"}).encode()
        assert refused(payload) == ("content must not be empty", "m7")
        assert refused(b'{"event":"message"}') == ("a message has its content in data", None)

    @pytest.mark.parametrize("turn", ["3", 3.0, True, [], 2**70])
    def test_stop_without_a_number(self, turn: Any) -> None:
        payload = json.dumps({"event": "stop", "data": {"turn": turn}, "id": "m7"}).encode()
        assert refused(payload) == ("turn must be a whole number", "m7")

    @pytest.mark.parametrize("data", [{}, {"token": None}, {"token": 7}, {"token": ["x"]}])
    def test_auth_without_a_token(self, data: Any) -> None:
        payload = json.dumps({"event": "auth", "data": data, "id": "m7"}).encode()
        assert refused(payload) == ("auth has its token, a string, in data", "m7")

    @pytest.mark.parametrize("ref", [7, True, [], {}])
    def test_stop_without_a_name(self, ref: Any) -> None:
        payload = json.dumps({"event": "stop", "data": {"ref": ref}, "id": "m7"}).encode()
        assert refused(payload) == ("ref must be a string", "m7")

    @pytest.mark.parametrize(
        "data", [{}, {"call_id": "c_1"}, {"value": 1}, {"call_id": 7, "value": 1}, {"call_id": None, "value": 1}]
    )
    def test_an_answer_without_its_question_or_value(self, data: Any) -> None:
        payload = json.dumps({"event": "answer", "data": data, "id": "a1"}).encode()
        assert refused(payload) == ("an answer has the call_id of its question and a value", "a1")


class TestIds:
    @pytest.mark.parametrize("id", ["", "m7", "x" * 64, "界" * 21, "👋" * 16, "\x00"])
    def test_at_most_64_bytes(self, id: str) -> None:
        assert decode({"content": "x", "id": id}) == Message("x", id)
        assert len(id.encode()) <= MAX_ID_SIZE

    @pytest.mark.parametrize("id", ["x" * 65, "界" * 22, "👋" * 17, 7, 0, True, False, ["m7"], {}])
    def test_others_are_refused_and_not_sent_back(self, id: Any) -> None:
        message, ref = refused(json.dumps({"event": "ping", "id": id}).encode())
        assert (message, ref) == ("id must be a string of at most 64 bytes", None)


class TestHostileMessages:
    """Nothing but `ClientError` ever comes out, and what is taken can be held in a conversation."""

    @pytest.mark.parametrize(
        "depth", [1, 200, 245, 246, 247, 248, 249, 250, 251, 252, 253, 254, 255, 1020, 1025, 30_000]
    )
    @pytest.mark.parametrize("left, right", [(b"[", b"]"), (b'{"a":', b"}")])
    def test_deep_nesting(self, depth: int, left: bytes, right: bytes) -> None:
        value = left * depth + b"1" + right * depth
        for payload in (
            b'{"content":%b}',
            b'{"event":"message","data":{"content":%b}}',
            b'{"event":"ping","data":%b}',
            b'{"event":"answer","data":{"call_id":"c","value":%b}}',
        ):
            converse(payload % value)

    def test_what_is_nested_too_deeply_says_so(self) -> None:
        payload = b'{"content":' + b"[" * 300 + b"]" * 300 + b',"id":"m7"}'
        assert refused(payload) == ("the message is nested too deeply", "m7")
        payload = b'{"event":"answer","data":{"call_id":"c","value":' + b"[" * 300 + b"]" * 300 + b'},"id":"m7"}'
        assert refused(payload) == ("the message is nested too deeply", "m7")
        payload = b'{"event":"ping","data":' + b"[" * 300 + b"]" * 300 + b',"id":"m7"}'
        assert refused(payload) == ("the message is nested too deeply", "m7")

    @pytest.mark.parametrize(
        "number", [b"1" * 400, b"-" + b"9" * 30, b"18446744073709551616", b"1e308", b"-0.0", b"1e-999"]
    )
    def test_huge_numbers(self, number: bytes) -> None:
        for payload in (b'{"content":%b}', b'{"event":"stop","data":{"turn":%b}}', b'{"event":"ping","data":%b}'):
            converse(payload % number)

    @given(st.binary())
    def test_any_bytes(self, payload: bytes) -> None:
        converse(payload)

    @given(JSON_VALUES)
    def test_any_json(self, value: Any) -> None:
        converse(json.dumps(value).encode())

    @given(
        st.fixed_dictionaries(
            {},
            optional={
                "event": st.sampled_from(["message", "stop", "answer", "history", "ping", "end"]) | JSON_VALUES,
                "data": st.fixed_dictionaries(
                    {},
                    optional={
                        "content": JSON_VALUES,
                        "turn": JSON_VALUES,
                        "ref": JSON_VALUES,
                        "call_id": st.text() | JSON_VALUES,
                        "value": JSON_VALUES,
                    },
                )
                | JSON_VALUES,
                "content": JSON_VALUES,
                "id": st.text(max_size=70) | JSON_VALUES,
            },
        )
    )
    def test_any_envelope(self, envelope: Any) -> None:
        converse(json.dumps(envelope).encode())


def converse(payload: bytes) -> None:
    """Lets somebody send `payload`, and shows them all that comes of it."""
    somebody = person()
    session = somebody.session
    try:
        event = decode_event(payload)
    except ClientError as exc:
        assert exc.code == "bad_message"
        assert exc.ref is None or len(exc.ref.encode()) <= MAX_ID_SIZE
        session.tell("error", {"message": exc.message, "ref": exc.ref})
        return
    if isinstance(event, Ping):
        session.tell("pong", event.data)
        assert somebody.told()[0]["data"] == event.data
    elif isinstance(event, Answer):
        # What a callback keeps of it can be kept.
        session.state.replace({"answer": event.value})
        session.state.save()
        assert session.state.open() == {"answer": event.value}
    elif isinstance(event, Message):
        turn = somebody.asks(event.content, event.id)
        turn.complete("completed")
        session.tell_history()
        assert somebody.told()[-1]["data"]["items"][0]["content"] == event.content
        assert line(somebody.events()[0]).startswith("1 1 start")


class TestTheCollector:
    """It looks through all that lives where thousands of objects are made, and finds nothing in what JSON makes."""

    MANY = b"[" + b"[]," * 20_000 + b"1]"

    def collections(self, act: Callable[[], object]) -> int:
        """How often it looked."""
        seen = []

        def look(phase: str, info: dict[str, int]) -> None:
            seen.append(phase)

        gc.collect()
        gc.callbacks.append(look)
        try:
            act()
        finally:
            gc.callbacks.remove(look)
        return len(seen)

    def test_keeps_away_from_a_large_value(self) -> None:
        kept = []
        looks = self.collections(lambda: kept.append(json.loads(self.MANY)))
        # Since Python 3.12 it waits until a function that is written in C has ended.
        assert looks > 10 or sys.version_info >= (3, 12)
        assert self.collections(lambda: kept.append(decode_value(self.MANY))) <= 2
        assert kept[0] == kept[1]

    def test_is_there_again_afterwards(self) -> None:
        with uncollected():
            assert not gc.isenabled()
        assert gc.isenabled()
        with pytest.raises(ZeroDivisionError), uncollected():
            raise ZeroDivisionError
        assert gc.isenabled()

    def test_stays_away_where_the_program_wants_none(self) -> None:
        gc.disable()
        try:
            with uncollected():
                assert not gc.isenabled()
            assert not gc.isenabled()
        finally:
            gc.enable()


def test_what_goes_on_at_the_moment_is_told_by_its_event() -> None:
    assert is_passing(encode_event("status", {"message": "looking"}, "s_1", 1))
    assert not is_passing(encode_event("complete", {"status": "status"}, "s_1", 1))
