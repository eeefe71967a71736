"""The AsyncAPI document is valid, says what the code does, and comes with the package."""

from __future__ import annotations

import asyncio
import copy
import json
import os
import re
import subprocess
import sys
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft7Validator

from tests.clock import run_virtually
from tests.net.admin.program import administered
from tests.peer import Peer
from wsserver import Config, Custom, Reset, Server, Source, Status, Token, Tool, TurnError, asyncapi
from wsserver.chat import envelope
from wsserver.chat.catalogue import ERROR_CODES
from wsserver.chat.events import RESERVED
from wsserver.net import turns

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from wsserver import Turn

ROOT = Path(__file__).parents[1]
DOCUMENT: dict[str, Any] = json.loads((files("wsserver") / "asyncapi.json").read_text("utf-8"))
MESSAGES: dict[str, Any] = DOCUMENT["components"]["messages"]


def test_the_file_is_what_the_code_makes() -> None:
    assert DOCUMENT == asyncapi.document(), "python -m wsserver.asyncapi > wsserver/asyncapi.json"


def test_the_command_writes_the_file() -> None:
    run = subprocess.run([sys.executable, "-m", "wsserver.asyncapi"], capture_output=True, check=True, timeout=30)
    assert run.stdout.decode() == (files("wsserver") / "asyncapi.json").read_text("utf-8") == asyncapi.text()


@pytest.fixture(scope="module")
def schema() -> Draft7Validator:
    modules = os.environ.get("WSSERVER_TEST_NODE_PATH", "")
    path = Path(modules) / "@asyncapi" / "specs" / "schemas" / "3.0.0.json"
    if not modules or not path.exists():
        pytest.skip("needs WSSERVER_TEST_NODE_PATH, the node_modules folder that holds `@asyncapi/specs`")
    return Draft7Validator(json.loads(path.read_text("utf-8")))


class TestAsyncAPI:
    """The schema of AsyncAPI 3.0.0, as its makers publish it (npm: `@asyncapi/specs`)."""

    def test_it_is_valid(self, schema: Draft7Validator) -> None:
        assert [error.message for error in schema.iter_errors(DOCUMENT)] == []

    @pytest.mark.parametrize(
        "path", [("asyncapi",), ("info", "version"), ("channels",), ("operations", "say", "action")], ids="/".join
    )
    def test_what_is_not_is_seen(self, schema: Draft7Validator, path: tuple[str, ...]) -> None:
        broken = copy.deepcopy(DOCUMENT)
        *parents, name = path
        place = broken
        for parent in parents:
            place = place[parent]
        place[name] = 3
        assert not schema.is_valid(broken)

    def test_every_reference_leads_somewhere(self) -> None:
        references = re.findall(r'"\$ref": "#/([^"]*)"', json.dumps(DOCUMENT))
        assert len(references) > 2 * len(MESSAGES)
        for reference in references:
            place = DOCUMENT
            for step in reference.split("/"):
                place = place[step]

    def test_every_message_is_said_or_heard(self) -> None:
        for name in MESSAGES:
            operation = DOCUMENT["operations"]["hear" if name.startswith("client.") else "say"]
            assert {"$ref": f"#/channels/conversation/messages/{name}"} in operation["messages"]
            Draft7Validator.check_schema(MESSAGES[name]["payload"])


def closed(schema: Any) -> Any:
    """The same, but for fields that it does not name: those are refused, where it names any."""
    if isinstance(schema, list):
        return [closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    shut = {name: closed(one) for name, one in schema.items()}
    if isinstance(schema.get("properties"), dict):
        shut["additionalProperties"] = False
    return shut


#: Those to which an application adds fields of its own.
OPEN = {"server.source", "server.custom"}


@cache
def validator(name: str) -> Draft7Validator:
    payload = MESSAGES[name]["payload"]
    return Draft7Validator(payload if name in OPEN else closed(payload))


def check(event: dict[str, Any]) -> str:
    """Asserts that the document knows this event of a server, with every field; its name there."""
    name = f"server.{event['event']}" if event["event"] in RESERVED else "server.custom"
    errors = [f"{list(error.absolute_path)}: {error.message}" for error in validator(name).iter_errors(event)]
    assert errors == [], event
    if event["event"] == "error":
        final, retryable, code = event["data"]["final"], event["data"]["retryable"], event["data"]["code"]
        assert ("turn" in event, "seq" in event) == (final, final)
        if code in ERROR_CODES:
            assert retryable == ERROR_CODES[code].retryable or "retry_after" in event["data"]
    return name


async def generate(turn: Turn) -> AsyncIterator[Any]:
    if turn.content == "tea":
        raise TurnError("out_of_tea", "there is none", retryable=True)
    if turn.content == "fail":
        raise ZeroDivisionError
    if turn.content == "ask":
        yield "yes" if await turn.ask("Really?", {"type": "boolean"}) else "no"
        return
    if turn.content == "wait":
        yield "…"
        await asyncio.Event().wait()
    yield Status("thinking")
    yield Tool("c_1", "search")
    yield Tool("c_1", "search", "finished", "done", input={"q": 1}, output=[1], error="none")
    yield Source("Terms", "text", "https://example.com", 0.5, {"page": 3})
    yield "a"
    yield Reset()
    yield Token("b")
    yield Custom("weather", {"sun": True})
    turn.usage = {"tokens": 2}


class TestWhatIsSaid:
    """Real conversations, every event held to the document, which must know every field."""

    def test_in_a_conversation(self) -> None:
        seen: set[str] = set()

        async def hear(peer: Peer, last: str) -> dict[str, Any]:
            while True:
                event = await peer.event()
                seen.add(check(event))
                if event["event"] == last:
                    return event

        async def main() -> None:
            async with Server(generate, Config(port=0, drain_timeout=1, turn_timeout=60, ping_interval=0)) as server:
                async with Peer.connect(server.urls[0]) as peer:
                    seen.add(check(peer.session))
                    await peer.ask("all", id="m1")
                    await hear(peer, "complete")
                    await peer.ask("all", id="m1")
                    await hear(peer, "ack")
                    for failing in ("tea", "fail", "wait"):
                        await peer.ask(failing)
                        await hear(peer, "error")
                    await peer.ask("ask", id="m2")
                    asked = await hear(peer, "ask")
                    await peer.ask("later", id="m3")
                    await peer.send({"event": "history", "id": "h"})
                    await hear(peer, "history")
                    await peer.send({"event": "answer", "data": {"call_id": asked["data"]["call_id"], "value": 3}})
                    await hear(peer, "error")
                    await peer.send({"event": "answer", "data": {"call_id": asked["data"]["call_id"], "value": True}})
                    await hear(peer, "complete")
                    await hear(peer, "complete")
                    await peer.send({"event": "ping", "data": [1, None], "id": "p"})
                    await hear(peer, "pong")
                    await peer.send({"event": "stop", "id": "s"})
                    await hear(peer, "error")
                    await server.push(peer.session["session_id"], "news", {"text": "tea"})
                    await hear(peer, "news")
                async with Peer.connect(server.urls[0] + peer.resume(3)) as peer:
                    seen.add(check(peer.session))
                    await hear(peer, "replayed")
                    await peer.ask("wait")
                    await hear(peer, "token")
                    draining = asyncio.create_task(server.drain())
                    await hear(peer, "drain")
                    await hear(peer, "error")
                    await draining

        run_virtually(main())
        assert seen == {name for name in MESSAGES if name.startswith("server.")} - {"server.auth_expiring"}

    def test_a_field_that_it_does_not_know_is_seen(self) -> None:
        event = {"event": "token", "data": {"value": "a", "bold": True}, "session_id": "s_1", "turn": 1, "seq": 1}
        with pytest.raises(AssertionError, match="bold"):
            check(event)

    def test_merged_and_expiring(self) -> None:
        check({"event": "token", "data": {"value": "ab", "from_seq": 1}, "session_id": "s_1", "turn": 1, "seq": 2})
        check({"event": "auth_expiring", "data": {"expires_in": 60.0}, "session_id": "s_1"})


class TestWhatIsHeard:
    @pytest.mark.parametrize(
        ("event", "good"),
        [
            ({"event": "message", "data": {"content": "hello"}, "id": "m1"}, True),
            ({"event": "message", "data": {"content": [0, False]}}, True),
            ({"event": "message", "data": {"content": ""}}, False),
            ({"event": "message", "data": {"content": {}}}, False),
            ({"event": "message", "data": {}}, False),
            ({"event": "message"}, False),
            ({"event": "message", "data": {"content": "a"}, "id": 3}, False),
            ({"event": "message", "data": {"content": "a"}, "id": "x" * 65}, False),
            ({"content": "hello"}, True),
            ({"content": None}, False),
            ({"event": "stop"}, True),
            ({"event": "stop", "data": {"turn": 3}}, True),
            ({"event": "stop", "data": {"ref": "m7"}}, True),
            ({"event": "stop", "data": {"turn": "3"}}, False),
            ({"event": "stop", "data": []}, False),
            ({"event": "answer", "data": {"call_id": "c_1", "value": None}}, True),
            ({"event": "answer", "data": {"call_id": "c_1"}}, False),
            ({"event": "answer", "data": {"value": 1}}, False),
            ({"event": "auth", "data": {"token": "x"}}, True),
            ({"event": "auth", "data": {"token": 3}}, False),
            ({"event": "auth"}, False),
            ({"event": "ping", "data": [1]}, True),
            ({"event": "ping"}, True),
            ({"event": "history", "id": "h1"}, True),
            ({"event": "end"}, True),
            ({"event": "end", "data": 3}, False),
        ],
        ids=str,
    )
    def test_what_the_document_allows_is_what_the_server_takes(self, event: dict[str, Any], good: bool) -> None:
        name = f"client.{event.get('event', 'short')}"
        assert validator(name).is_valid(event) is good
        try:
            envelope.decode_event(json.dumps(event).encode())
        except Exception as exc:
            assert not good, exc
        else:
            assert good

    def test_every_event_is_there(self) -> None:
        assert {name.partition(".")[2] for name in MESSAGES if name.startswith("client.")} == {
            *envelope._CLIENT_EVENTS,
            "short",
        }


def test_error_codes_are_those_that_are_raised() -> None:
    source = "".join(path.read_text("utf-8") for path in (ROOT / "wsserver").rglob("*.py"))
    raised = set(re.findall(r'(?:ClientError|turn\.fail)\(\s*"(\w+)"', source))
    raised |= set(re.findall(r'"code": "(\w+)", "message": \w+, "retryable"', source))
    ended = {final[0] for final in turns._FINAL.values() if isinstance(final, tuple)}
    assert set(ERROR_CODES) == raised | ended


# -- the README ------------------------------------------------------------------------------------------------------

README = (ROOT / "README.md").read_text("utf-8")


def table(heading: str) -> list[list[str]]:
    """The cells of the table with this heading."""
    lines = README.split(f"\n| {heading} |", 1)[1].split("\n\n", 1)[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def words(cell: str) -> set[str]:
    """What stands in code there; flags are something else."""
    quoted = [text for text in re.findall(r"`([^`]*)`", cell) if not text.startswith("--")]
    return {word for text in quoted for word in re.findall(r"\w+", text)}


def fields(schema: Any) -> Iterator[str]:
    """The names of all fields, those of fields too."""
    if isinstance(schema, dict):
        for name, inner in schema.get("properties", {}).items():
            yield name
            yield from fields(inner)
        for inner in (schema.get("items"), *schema.get("oneOf", ())):
            yield from fields(inner)


def values(schema: Any) -> Iterator[str]:
    """All values that are named."""
    if isinstance(schema, dict):
        yield from (str(one) for one in (*schema.get("enum", ()), *([schema["const"]] if "const" in schema else ())))
        for inner in schema.values():
            yield from values(inner)
    elif isinstance(schema, list):
        for inner in schema:
            yield from values(inner)


class TestTheReadme:
    """Its tables and the document say the same, to the last field."""

    @pytest.mark.parametrize(("heading", "side"), [("server event", "server"), ("client event", "client")])
    def test_every_event_and_every_field(self, heading: str, side: str) -> None:
        shown = {row[0].strip("`"): row[1] for row in table(heading)}
        known = {name.partition(".")[2]: message for name, message in MESSAGES.items() if name.startswith(f"{side}.")}
        assert set(shown) == set(known) - {"custom", "short"}
        for event, cell in shown.items():
            data = known[event]["payload"]["properties"]["data"]
            said, names = words(cell), set(fields(data))
            if event == "history" and side == "server":
                # Told of by the row of `ask`.
                names -= {"call_id", "message", "schema"}
            assert names <= said, event
            others = said - names - {value.lower() for value in values(data)} - RESERVED - {"true", "null", "id", "seq"}
            assert not others, event

    def test_the_envelope(self) -> None:
        shown = {row[0].strip("`") for row in table("field")}
        known = {name for message in MESSAGES.values() for name in message["payload"]["properties"]}
        assert shown == known - {"content"} | {"ref"}

    def test_error_codes(self) -> None:
        answers = {"yes": True, "no": False}
        shown = {row[0].strip("`"): (answers[row[1]], answers.get(row[2])) for row in table("error code")}
        del shown["yours"]
        assert shown == {code: tuple(kind) for code, kind in ERROR_CODES.items()}
        document = MESSAGES["server.error"]["payload"]["properties"]["data"]["x-error-codes"]
        assert document == {code: kind._asdict() for code, kind in ERROR_CODES.items()}

    def test_close_codes(self) -> None:
        shown = {code: not row[2].startswith("no") for row in table("close code") for code in row[0].split()}
        document = DOCUMENT["channels"]["conversation"]["x-close-codes"]
        assert shown == {code: kind["resume"] for code, kind in document.items()}


# -- served ----------------------------------------------------------------------------------------------------------


class TestServed:
    @pytest.mark.parametrize("path", ["/ws/chat", "/talk"])
    @pytest.mark.parametrize("page", [True, False])
    def test_on_both_ports_with_the_address_of_this_server(self, path: str, page: bool) -> None:
        async def main() -> None:
            async with administered(path=path, page=page) as (server, program):
                async with Peer.socket(server.urls[0]) as peer:
                    await peer.write(b"GET /asyncapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n")
                    head, _, body = (await peer.gone()).partition(b"\r\n\r\n")
                assert head.startswith(b"HTTP/1.1 200" if page else b"HTTP/1.1 404")
                expected = copy.deepcopy(DOCUMENT)
                expected["channels"]["conversation"]["address"] = path
                if page:
                    assert json.loads(body) == expected
                assert (await program.call("GET", "/asyncapi.json")).body == expected

        run_virtually(main())
