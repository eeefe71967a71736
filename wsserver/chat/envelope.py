"""Events ↔ JSON: the only place that knows how an envelope is written (orjson only here).

Everything is made as bytes, once. A token, the event that counts, is not a dict that is dumped: its envelope is a
template of the turn, into which the JSON of the text, without its quotes, and its `seq` are set.

What orjson returns may keep the 4 KiB of memory that it was written into. Nothing here is kept before it was copied.
"""

from __future__ import annotations

import gc
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import orjson

from ..errors import ClientError
from . import events

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

MAX_ID_SIZE = 64

#: A value can be written, also inside of a `history`, if it is nested no deeper than this.
_FEW_BRACKETS = 200

#: The JSON of a value, as bytes. Raises `TypeError` for what JSON cannot hold, such as lone surrogates.
encode_value = orjson.dumps


def encode_event(
    event: str, data: Mapping[str, Any], session_id: str, turn: int | None = None, seq: int | None = None
) -> bytes:
    """A server event; `turn` and `seq` only where it has them. Raises `TypeError` for what JSON cannot hold.

    What is kept must be given to `kept` first.
    """
    envelope: dict[str, Any] = {"event": event, "data": data, "session_id": session_id}
    if turn is not None:
        envelope["turn"] = turn
    if seq is not None:
        envelope["seq"] = seq
    try:
        return orjson.dumps(envelope)
    except orjson.JSONEncodeError as exc:
        raise TypeError(f"the data of the event {event!r} cannot be written as JSON: {exc}") from exc


def encode_kept(value: Any) -> bytes:
    """The JSON of a value that is kept for long."""
    return kept(orjson.dumps(value))


def is_passing(payload: bytes) -> bool:
    """Whether this server event says what goes on at the moment: a reader that is behind goes without."""
    return payload.startswith(b'{"event":"%b",' % events.Status.event.encode())


def kept(payload: bytes) -> bytes:
    """The same JSON in no more memory than it needs."""
    return b"".join((payload, b""))


def encode_shown(value: Any) -> bytes:
    """The same of a value that will be shown in a `history`: raises `TypeError` also where it is nested too deeply."""
    _check_depth(value)
    return encode_kept(value)


def _check_depth(value: Any) -> None:
    """Raises `TypeError` for what cannot be shown in a `history`."""
    encode_event("history", {"items": [{"content": value}]}, "")


def as_json(value: bytes) -> orjson.Fragment:
    """Stands for what `value` is the JSON of, in what is to be encoded: it is copied, and never made into objects."""
    return orjson.Fragment(value)


def decode_value(value: bytes) -> Any:
    """What this is the JSON of."""
    if _has_few_brackets(value):
        return orjson.loads(value)
    with uncollected():
        return orjson.loads(value)


@contextmanager
def uncollected() -> Iterator[None]:
    """Keeps the collector away from the objects of a large message.

    So many new ones would have it look through all that live, which takes longer than all else that the message costs,
    and finds nothing: what JSON makes is in no cycle.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _has_few_brackets(value: bytes) -> bool:
    """Whether it makes few objects that hold others, and is nested no deeper than there are brackets."""
    return value.count(b"[") + value.count(b"{") <= _FEW_BRACKETS


def decode_text(value: bytes | bytearray) -> str:
    """The text that this is the JSON of, without quotes."""
    text: str = orjson.loads(b'"' + value + b'"')
    return text


def token_template(session_id: str, turn: int) -> bytes:
    """The envelope of a turn's tokens: `template % (value, seq)`, `value` being JSON without its quotes."""
    return b'{"event":"token","data":{"value":"%%b"},"session_id":"%b","turn":%d,"seq":%%d}' % (
        session_id.encode(),
        turn,
    )


def turn_of(template: bytes) -> int:
    """The turn whose tokens have this envelope."""
    return int(template[template.rindex(b'"turn":') + 7 : template.rindex(b',"seq":')])


def merged_template(template: bytes) -> bytes:
    """The envelope of several tokens merged into one: `% (value, from_seq, seq)`."""
    return template.replace(b'%b"}', b'%b","from_seq":%d}', 1)


def decode_event(payload: bytes) -> events.ClientEvent:
    """What a client asks for. Raises `ClientError` `bad_message`, with the message's `id` where it had one."""
    try:
        envelope = orjson.loads(payload)
    except orjson.JSONDecodeError as exc:
        raise _bad("a message is one JSON object") from exc
    if not isinstance(envelope, dict):
        raise _bad("a message is one JSON object")
    name, data, ref = envelope.get("event"), envelope.get("data"), envelope.get("id")
    if ref is not None and not (isinstance(ref, str) and len(ref.encode()) <= MAX_ID_SIZE):
        raise _bad(f"id must be a string of at most {MAX_ID_SIZE} bytes")
    # No deeper than it has brackets: what has few of them need not be looked through.
    if len(payload) > _FEW_BRACKETS and payload.count(b"[") + payload.count(b"{") > _FEW_BRACKETS:
        _refuse_depth(envelope, ref)
    if name is None and "content" in envelope:
        return _message(envelope, ref)
    parse = _CLIENT_EVENTS.get(name) if isinstance(name, str) else None
    if parse is None:
        raise _bad(f"event must be one of {', '.join(_CLIENT_EVENTS)}", ref)
    if name == "ping":
        return events.Ping(data, ref)
    if data is None:
        data = {}
    if not isinstance(data, dict):
        raise _bad("data must be an object", ref)
    return parse(data, ref)


def _bad(text: str, ref: str | None = None) -> ClientError:
    return ClientError("bad_message", text, ref=ref)


def _message(data: dict[str, Any], ref: str | None) -> events.Message:
    content = data.get("content")
    if "content" not in data:
        raise _bad("a message has its content in data", ref)
    if content is None or content in ("", [], {}):
        raise _bad("content must not be empty", ref)
    return events.Message(content, ref)


def _refuse_depth(envelope: dict[str, Any], ref: str | None) -> None:
    """What is taken can be sent back: orjson reads what is nested four times as deep as what it writes."""
    try:
        _check_depth(envelope)
    except TypeError as exc:
        raise _bad("the message is nested too deeply", ref) from exc


def _stop(data: dict[str, Any], ref: str | None) -> events.Stop:
    turn, target = data.get("turn"), data.get("ref")
    if turn is not None and type(turn) is not int:
        raise _bad("turn must be a whole number", ref)
    if target is not None and not isinstance(target, str):
        raise _bad("ref must be a string", ref)
    return events.Stop(turn, target, ref)


def _answer(data: dict[str, Any], ref: str | None) -> events.Answer:
    call_id = data.get("call_id")
    if not isinstance(call_id, str) or "value" not in data:
        raise _bad("an answer has the call_id of its question and a value", ref)
    return events.Answer(call_id, data["value"], ref)


def _auth(data: dict[str, Any], ref: str | None) -> events.Auth:
    token = data.get("token")
    if not isinstance(token, str):
        raise _bad("auth has its token, a string, in data", ref)
    return events.Auth(token, ref)


_CLIENT_EVENTS: dict[str, Callable[[dict[str, Any], str | None], events.ClientEvent]] = {
    "message": _message,
    "stop": _stop,
    "answer": _answer,
    "history": lambda data, ref: events.History(ref),
    "auth": _auth,
    "ping": events.Ping,
    "end": lambda data, ref: events.End(ref),
}
