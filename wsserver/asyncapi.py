"""The protocol as an AsyncAPI 3 document, made from the classes of its events.

`python -m wsserver.asyncapi > wsserver/asyncapi.json` writes the file that comes with the package and that servers hand
out. A test holds it to what this makes.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from types import NoneType, UnionType
from typing import (
    Annotated,
    Any,
    Literal,
    NotRequired,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

from .chat import events
from .chat.catalogue import ERROR_CODES, HEARD, SENT, Anything, Sent
from .chat.envelope import MAX_ID_SIZE
from .wire.close import CloseCode
from .wire.handshake import SUBPROTOCOL

Schema = dict[str, Any]

#: Where the WebSocket is, unless `--path` says otherwise.
ADDRESS = "/ws/chat"

_TYPES: dict[Any, str] = {str: "string", int: "integer", float: "number", bool: "boolean", NoneType: "null"}

#: Codes that only ever describe, or that only clients send.
_NOT_OURS = (
    CloseCode.GOING_AWAY,
    CloseCode.NO_STATUS,
    CloseCode.ABNORMAL,
    CloseCode.POLICY_VIOLATION,
    CloseCode.MANDATORY_EXTENSION,
)
_INVITING = (CloseCode.INTERNAL_ERROR, CloseCode.SERVICE_RESTART, CloseCode.TRY_AGAIN_LATER)

_SESSION_ID: Schema = {"type": "string", "description": "public name of the session"}
_TURN: Schema = {"type": "integer", "minimum": 1, "description": "1, 2, 3 … in the session"}
_SEQ: Schema = {"type": "integer", "minimum": 1, "description": "1, 2, 3 … in the session, without gaps"}
_ID: Schema = {
    "type": "string",
    "description": f"the client's own name for its message, at most {MAX_ID_SIZE} bytes",
    "maxLength": MAX_ID_SIZE,
}
_CONTENT: Schema = {
    "description": "text, or any JSON value that the application takes; not empty",
    "not": {"enum": [None, "", [], {}]},
}

_DESCRIPTION = """\
Conversations between people and a generator of answers: JSON text frames, one object a frame, the same envelope both \
ways. Both sides ignore fields that they do not know, clients ignore events that they do not know. A turn is over \
exactly when an event of it has `data.final` true."""


def document() -> Schema:
    """All of it."""
    said = {f"server.{sent.event}": _said(sent) for sent in SENT} | {"server.custom": _custom()}
    heard = {f"client.{_name(kind)}": _heard(kind) for kind in HEARD} | {"client.short": _short()}
    channel = "#/channels/conversation"
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "wsserver",
            "version": SUBPROTOCOL.rpartition(".v")[2],
            "description": _DESCRIPTION,
            "license": {"name": "MIT"},
        },
        "defaultContentType": "application/json",
        "servers": {
            "local": {
                "host": "127.0.0.1:8765",
                "protocol": "ws",
                "description": "where `wsserver serve` listens by default; `wss` with TLS",
                "security": [{"$ref": "#/components/securitySchemes/bearer"}],
            }
        },
        "channels": {
            "conversation": {
                "address": ADDRESS,
                "title": "A conversation",
                "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in {**said, **heard}},
                "bindings": {"ws": _BINDING},
                "x-close-codes": dict(_close_codes()),
            }
        },
        "operations": {
            "hear": {
                "action": "receive",
                "summary": "What a client may ask",
                "channel": {"$ref": channel},
                "messages": [{"$ref": f"{channel}/messages/{name}"} for name in heard],
            },
            "say": {
                "action": "send",
                "summary": "What the server says",
                "channel": {"$ref": channel},
                "messages": [{"$ref": f"{channel}/messages/{name}"} for name in said],
            },
        },
        "components": {
            "messages": {**said, **heard},
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "where tokens are asked for; a browser offers the subprotocol `bearer.<token>`",
                }
            },
        },
    }


_BINDING: Schema = {
    "method": "GET",
    "query": {
        "type": "object",
        "description": "to come back to a session; or the subprotocol `resume.<resume_token>.<epoch>.<last_seq>`",
        "properties": {
            "resume": {"type": "string", "description": "the `resume_token` of the session"},
            "last_seq": {"type": "integer", "minimum": 0, "description": "the last event that was seen"},
            "epoch": {"type": "integer", "minimum": 0},
        },
    },
    "headers": {
        "type": "object",
        "properties": {
            "Sec-WebSocket-Protocol": {"type": "string", "description": f"`{SUBPROTOCOL}`, where any is offered"},
            "traceparent": {"type": "string", "description": "W3C Trace Context"},
        },
    },
    "bindingVersion": "0.1.0",
}


def _close_codes() -> Iterator[tuple[str, Schema]]:
    for code in CloseCode:
        if code not in _NOT_OURS:
            resume = code in _INVITING or 4000 <= code < 4500
            yield str(int(code)), {"name": code.name.lower().replace("_", " "), "resume": resume}


# -- messages --------------------------------------------------------------------------------------------------------


def _said(sent: Sent) -> Schema:
    data = _schema(sent.data)
    if sent.more is not None:
        data["properties"] |= _schema(sent.more)["properties"]
    if sent.event == "error":
        data["x-error-codes"] = {code: kind._asdict() for code, kind in ERROR_CODES.items()}
    return _message(sent.event, _summary(sent.data), _envelope({"const": sent.event}, data, sent.turn, sent.kept))


def _custom() -> Schema:
    name = {"type": "string", "minLength": 1, "not": {"enum": sorted(events.RESERVED)}}
    data = {"type": "object", "properties": {"final": False}}
    return _message(
        "custom",
        "An event of the application's own, from a turn or pushed into the session.",
        _envelope(name, data, None, True),
    )


def _envelope(event: Schema, data: Schema, turn: bool | None, kept: bool | None) -> Schema:
    parts = {"turn": (_TURN, turn), "seq": (_SEQ, kept)}
    return {
        "type": "object",
        "properties": {
            "event": event,
            "data": data,
            "session_id": _SESSION_ID,
            **{name: schema for name, (schema, there) in parts.items() if there is not False},
        },
        "required": ["event", "data", "session_id", *(name for name, (_, there) in parts.items() if there)],
    }


def _heard(kind: type) -> Schema:
    # What a ping carries may be anything.
    data = {} if kind is events.Ping else _schema(kind)
    data.get("properties", {}).pop("id", None)
    if kind is events.Message:
        data["properties"]["content"] = _CONTENT
    payload: Schema = {
        "type": "object",
        "properties": {"event": {"const": _name(kind)}, "data": data, "id": _ID},
        "required": ["event", *(["data"] if data.get("required") else [])],
    }
    return _message(_name(kind), _summary(kind), payload)


def _short() -> Schema:
    payload: Schema = {"type": "object", "properties": {"content": _CONTENT, "id": _ID}, "required": ["content"]}
    return _message("message", "The person says something: the short form.", payload)


def _message(name: str, summary: str, payload: Schema) -> Schema:
    return {"name": name, "summary": summary, "payload": payload}


def _name(kind: Any) -> str:
    return str(kind.event)


def _summary(kind: type) -> str:
    return (kind.__doc__ or "").partition("\n")[0]


# -- classes → JSON Schema -------------------------------------------------------------------------------------------


def _schema(kind: Any) -> Schema:
    """What values of this type look like as JSON."""
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is Any or kind is Anything:
        return {}
    if kind in _TYPES:
        return {"type": _TYPES[kind]}
    if origin is Annotated:
        return {**_schema(arguments[0]), "description": arguments[1]}
    if origin is Literal:
        return {"const": arguments[0]} if len(arguments) == 1 else {"enum": list(arguments)}
    if origin is list:
        return {"type": "array", "items": _schema(arguments[0])}
    if origin in (Union, UnionType):
        return _either([_schema(one) for one in arguments])
    if dataclasses.is_dataclass(kind):
        return _object(_fields(kind))
    if is_typeddict(kind):
        return _object(_members(kind))
    return {"type": "object"}


def _members(kind: type) -> Iterator[tuple[str, Schema, bool]]:
    for name, hint in get_type_hints(kind, include_extras=True).items():
        is_required = get_origin(hint) is not NotRequired
        yield name, _schema(hint if is_required else get_args(hint)[0]), is_required


def _fields(kind: Any) -> Iterator[tuple[str, Schema, bool]]:
    """The fields of a class of `events`: what is None there is absent on the wire."""
    hints = get_type_hints(kind, vars(events), {"Mapping": Mapping})
    for field in dataclasses.fields(kind):
        if field.name == "extra":
            continue
        arguments = [one for one in get_args(hints[field.name]) if one is not NoneType]
        is_optional = field.default is None
        yield field.name, _schema(arguments[0] if is_optional and arguments else hints[field.name]), not is_optional


def _object(fields: Iterable[tuple[str, Schema, bool]]) -> Schema:
    """Name, schema and whether it is always there, of each field. More may stand beside them."""
    schema: Schema = {"type": "object", "properties": {}}
    for name, shape, is_required in fields:
        schema["properties"][name] = shape
        if is_required:
            schema.setdefault("required", []).append(name)
    return schema


def _either(schemas: list[Schema]) -> Schema:
    if all(set(schema) == {"type"} for schema in schemas):
        return {"type": [schema["type"] for schema in schemas]}
    return {"oneOf": schemas}


def text() -> str:
    """The file."""
    return json.dumps(document(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write(text())
