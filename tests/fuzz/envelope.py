"""What clients ask for: `chat/envelope.py`, from JSON to events and back."""

from __future__ import annotations

import json
from typing import Any

from tests.fuzz.source import Source, seed
from wsserver.chat import envelope, events
from wsserver.errors import ClientError

SEEDS = [
    seed(b'{"content":"hello"}'),
    seed(b'{"event":"message","data":{"content":{"a":[1,2.5,null,true]}},"id":"m7"}'),
    seed('{"event":"message","data":{"content":"退款 😀 \\ud83d\\ude00"},"id":"é"}'.encode()),
    seed(b'{"event":"message","data":{"content":""}}'),
    seed(b'{"event":"stop","data":{"turn":3}}'),
    seed(b'{"event":"stop","data":{"ref":"m7"},"id":"s1"}'),
    seed(b'{"event":"stop","data":{"turn":1e2}}'),
    seed(b'{"event":"stop","data":{"turn":true},"content":"x"}'),
    seed(b'{"event":"answer","data":{"call_id":"c_1","value":false}}'),
    seed(b'{"event":"history"}'),
    seed(b'{"event":"auth","data":{"token":"x.y.z"}}'),
    seed(b'{"event":"ping","data":[1,{"a":-0.0}]}'),
    seed(b'{"event":"end","data":null,"id":null}'),
    seed(b'{"event":"ping","data":' + b"[" * 150 + b"]" * 150 + b"}"),
    seed(b'{"event":"ping","data":' + b'{"a":' * 300 + b"1" + b"}" * 300 + b',"id":"deep"}'),
    seed(b'{"event":"message","event":"end","id":"' + b"x" * 65 + b'"}'),
    seed(b'{"content":0,"id":"' + "é".encode() * 33 + b'"}'),
    seed(b'{"content":"\\ud800"}'),
    seed(b'{"content":12345678901234567890123}'),
    seed(b"\xef\xbb\xbf{}"),
    seed(b"[]"),
    seed(b"nul"),
]

_NAMES = {
    "message": events.Message,
    "stop": events.Stop,
    "answer": events.Answer,
    "ping": events.Ping,
    "history": events.History,
    "auth": events.Auth,
    "end": events.End,
}


def _written(event: events.ClientEvent) -> dict[str, Any]:
    """The envelope that asks for it."""
    [name] = [name for name, kind in _NAMES.items() if type(event) is kind]
    if isinstance(event, events.Ping):
        return {"event": name, "data": event.data, "id": event.id}
    data = {field: getattr(event, field) for field in type(event).__slots__ if field != "id"}
    return {"event": name, "data": data, "id": event.id}


def _by_json(payload: bytes) -> Any:
    """The same by Python's own reader; whole numbers beyond 64 bits are floats, as for most readers of JSON."""
    return json.loads(payload.decode(), parse_int=_number)


def _number(text: str) -> float:
    return int(text) if len(text) < 19 or -(2**63) <= int(text[:25]) < 2**64 else float(text)


def one(data: bytes) -> None:
    """Any payload is an event whose every value can be written again and means the same, or `ClientError`
    `bad_message`, which can be told to the client.
    """
    payload = Source(data).rest()
    try:
        event = envelope.decode_event(payload)
    except ClientError as exc:
        assert exc.code == "bad_message" and not exc.retryable
        told = json.loads(envelope.encode_event("error", exc.data(), "s_x"))
        assert told["data"]["message"] == exc.message
        assert exc.ref is None or _by_json(payload)["id"] == exc.ref
        return
    asked = _by_json(payload)
    assert isinstance(asked, dict) and asked.get("id") == event.id
    assert event.id is None or (isinstance(event.id, str) and len(event.id.encode()) <= envelope.MAX_ID_SIZE)
    written = _written(event)
    if asked.get("event") is not None:
        assert asked["event"] == written["event"]
    else:
        assert isinstance(event, events.Message) and asked["content"] == event.content
    # True is no number.
    assert not isinstance(event, events.Stop) or type(event.turn) in (int, type(None))
    again = envelope.decode_event(envelope.encode_kept(written))
    assert again == event and _written(again) == written
    # It can be shown to others: in a `history`, in a `pong`, in an `ack`.
    shown = envelope.encode_shown(written["data"])
    assert envelope.decode_value(shown) == written["data"]
    json.loads(envelope.encode_event("history", {"items": [{"content": envelope.as_json(shown)}]}, "s_x", 1, 2))
    assert "token" not in repr(event) or not isinstance(event, events.Auth)
