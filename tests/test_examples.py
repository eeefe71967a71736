"""The examples do what they say."""

from __future__ import annotations

import asyncio
import io
import json
import re
import signal
import sqlite3
import subprocess
import sys
from contextlib import asynccontextmanager, closing
from datetime import date, timedelta
from functools import partial
from importlib import import_module
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
import uvicorn
import websockets

from examples import (
    ask,
    conversations,
    echo,
    fastapi_app,
    generator,
    kotaemon_pipeline,
    langchain_chain,
    langgraph_approval,
    resume_client,
)
from tests.adapters.endpoint import Endpoint, calls, says
from tests.client.proxy import Fate, failing
from tests.clock import run_virtually
from tests.peer import Peer, Refused, request, text_of
from wsserver import Config, Reset, Server
from wsserver.net.admin.metrics import METRICS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from wsserver import Item, Turn

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.py"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_it_is_short(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) < 50


def test_echo() -> None:
    async def main() -> None:
        async with Server(echo.generate, Config(port=0)) as server, Peer.connect(server.urls[0]) as peer:
            await peer.ask("hello")
            assert text_of(await peer.turn()) == "You said hello"

    run_virtually(main())


@pytest.mark.parametrize(
    ("value", "end"), [(True, "I have complained, and shall tell you what they say."), (False, "Then let us wait")]
)
def test_ask(value: bool, end: str) -> None:
    async def main() -> None:
        async with Server(ask.generate, Config(port=0)) as server, Peer.connect(server.urls[0]) as peer:
            await peer.ask("Where is my order?")
            events = [await peer.event("start"), await peer.event("tool"), await peer.event("tool")]
            assert [event["data"]["status"] for event in events[1:]] == ["started", "finished"]
            assert (await peer.event("token"))["data"]["value"] == "Your order left us 9 days ago, it is late. "
            question = (await peer.event("ask"))["data"]
            assert (question["message"], question["schema"]) == (
                "Shall I complain to the carrier?",
                {"type": "boolean"},
            )
            await peer.send({"event": "answer", "data": {"call_id": question["call_id"], "value": value}})
            events = await peer.turn()
            assert text_of(events).startswith(end)
            assert events[-1]["data"]["status"] == "completed"

    run_virtually(main())


async def until(peer: Peer, name: str) -> dict[str, Any]:
    while (event := await peer.event())["event"] != name:
        pass
    return event


def test_generator() -> None:
    async def main() -> None:
        async with Server(generator.generate, Config(port=0)) as server, Peer.connect(server.urls[0]) as peer:
            await peer.ask("How do I make tea?")
            events = await peer.turn()
            assert [event["event"] for event in events] == "start tool tool source".split() + ["token"] * 5 + [
                "complete"
            ]
            assert text_of(events) == "Tea wants water that boils. "
            await peer.ask("How do I make soup?")
            question = (await until(peer, "ask"))["data"]
            await peer.send({"event": "answer", "data": {"call_id": question["call_id"], "value": True}})
            assert text_of(await peer.turn()).endswith("has just boiled. ")

    asyncio.run(asyncio.wait_for(main(), 30))


def test_kotaemon_pipeline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kotaemon_pipeline, "PLACE", tmp_path / "conversations")

    async def main() -> None:
        generate = kotaemon_pipeline.generate
        async with Server(generate, Config(port=0)) as server, Peer.connect(server.urls[0]) as peer:
            for before in range(2):
                await peer.ask("How do I make tea?")
                events = await peer.turn()
                assert [event["event"] for event in events] == "start source token reset token token complete".split()
                assert events[1]["data"]["highlights"] == ["water that boils"]
                said = f"I have 1 notes on this. You have asked {before} questions before."
                assert text_of(events[3:]) == said
            [path] = (tmp_path / "conversations").iterdir()
            assert path.stem == peer.session["session_id"]
            assert json.loads(path.read_text("utf-8"))["messages"][1] == ["How do I make tea?", said]

    asyncio.run(asyncio.wait_for(main(), 30))


def test_openai_tools(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        arguments = '{"order": 7, "speed": "express"}'
        async with Endpoint.serve(calls(("today", "{}"), ("delivery", arguments)), says("In two days.")) as endpoint:
            monkeypatch.setenv("OPENAI_BASE_URL", endpoint.url)
            monkeypatch.delitem(sys.modules, "examples.openai_tools", raising=False)
            generate = import_module("examples.openai_tools").generate
            async with Server(generate, Config(port=0)) as server, Peer.connect(server.urls[0]) as peer:
                await peer.ask("When does my order come?")
                events = await peer.turn()
            assert text_of(events) == "In two days."
            shown = [event["data"] for event in events if event["event"] == "tool"]
            assert sorted(tool["status"] for tool in shown) == ["finished"] * 2 + ["started"] * 2
            assert "looking up your order …" in [tool.get("message") for tool in shown]
            told = [message["content"] for message in endpoint.bodies[1]["messages"][-2:]]
            assert told[0] == str(date.today())
            assert json.loads(told[1]) == {"order": 7, "arrives": str(date.today() + timedelta(2))}

    asyncio.run(asyncio.wait_for(main(), 30))


def test_langchain_chain() -> None:
    async def main() -> None:
        async with Server(langchain_chain.generate, Config(port=0)) as server, Peer.connect(server.urls[0]) as peer:
            await peer.ask("How do I make tea?")
            events = await peer.turn()
            assert [event["data"] for event in events if event["event"] == "source"] == [
                {"title": "tea.md", "text": langchain_chain.NOTES["tea.md"]}
            ]
            assert text_of(events) == "Boil the water first, as the notes say."

    asyncio.run(asyncio.wait_for(main(), 30))


@pytest.mark.parametrize(("value", "end"), [(True, "It is on its way."), (False, "Then I keep it to myself.")])
def test_langgraph_approval(value: bool, end: str) -> None:
    async def main() -> None:
        async with Server(langgraph_approval.generate, Config(port=0)) as server:
            async with Peer.connect(server.urls[0]) as peer:
                await peer.ask("Where is my parcel?")
                question = await until(peer, "ask")
            # The line is lost; the person comes back, sees all of it again, and answers.
            async with Peer.connect(server.urls[0] + peer.resume(0)) as peer:
                assert await until(peer, "ask") == question
                data = {"call_id": question["data"]["call_id"], "value": value}
                await peer.send({"event": "answer", "data": data})
                events = [event for event in await peer.turn() if event["event"] != "replayed"]
                assert [event["data"]["value"] for event in events[:-1]] == [f"\n\n{end}"]
                assert events[-1]["data"]["status"] == "completed"

    asyncio.run(asyncio.wait_for(main(), 30))


def test_embed() -> None:
    async def main(url: str, process: subprocess.Popen[str]) -> None:
        async with Peer.connect(url) as peer, Peer.connect(url) as other:
            for one in (peer, other, peer, other):
                assert re.fullmatch(r"\d\d:\d\d:\d\d", (await one.event("time"))["data"]["now"])
            await peer.ask("one two three four")
            await until(peer, "start")
            process.send_signal(signal.SIGTERM)
            assert (await until(other, "drain"))["data"]["reconnect_in"] >= 0
            assert await other.closed() == (1012, "the server is shutting down")
            # Who has asked is answered to the end.
            events = await peer.turn()
            assert "drain" in [event["event"] for event in events]
            assert text_of(events) == "one two three four "
            assert events[-1]["data"]["status"] == "completed"
            assert await peer.closed() == (1012, "the server is shutting down")

    embed = Path(__file__).parents[1] / "examples" / "embed.py"
    with subprocess.Popen(
        [sys.executable, "-W", "error", str(embed), "0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().removeprefix("Listening on ").strip()
            asyncio.run(asyncio.wait_for(main(url, process), 30))
            _, errors = process.communicate(timeout=30)
        finally:
            process.kill()
    assert (process.returncode, errors) == (0, "")


def test_fastapi(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fastapi_app, "Config", partial(Config, port=0))

    async def main() -> None:
        web = uvicorn.Server(uvicorn.Config(fastapi_app.app, port=0, ws="none", log_level="warning"))
        serving = asyncio.create_task(web.serve())
        while not web.started:
            await asyncio.sleep(0.01)
            assert not serving.done()
        [url] = fastapi_app.app.state.chat.urls
        root = f"http://127.0.0.1:{web.servers[0].sockets[0].getsockname()[1]}"
        async with aiohttp.ClientSession() as http, websockets.connect(url) as connection:
            session = json.loads(await connection.recv())["session_id"]
            async with http.post(f"{root}/push/{session}", json={"text": "Your parcel has arrived"}) as response:
                assert response.status == 204
            event = json.loads(await connection.recv())
            assert (event["event"], event["data"]) == ("notice", {"text": "Your parcel has arrived"})
            async with http.post(f"{root}/push/s_unknown", json={"text": "hello"}) as response:
                assert response.status == 404
            await connection.send(json.dumps({"content": "hello"}))
            events = [json.loads(await connection.recv()) for _ in range(3)]
            assert text_of(events) == "You said hello"
            web.should_exit = True
            with pytest.raises(websockets.ConnectionClosed) as closed:
                while True:
                    await connection.recv()
            assert closed.value.rcvd is not None and closed.value.rcvd.code == 1012
        await serving

    asyncio.run(asyncio.wait_for(main(), 30))


@asynccontextmanager
async def conversation(url: str, name: str) -> AsyncIterator[Peer]:
    async with Peer.socket(url) as peer:
        await peer.write(request(f"/ws/chat?conversation={name}"))
        await peer.read_head()
        peer.session = await peer.event("session")
        yield peer


def test_conversations(tmp_path: Path) -> None:
    database = str(tmp_path / "conversations.sqlite")

    def stored() -> list[Any]:
        with closing(sqlite3.connect(database)) as connection:
            [[history]] = connection.execute("SELECT history FROM conversations").fetchall()
        return [said["content"] for said in json.loads(history)]

    async def say(peer: Peer, content: str) -> str:
        await peer.ask(content)
        return text_of(await peer.turn())

    async def main() -> None:
        async with conversations.Conversations(database, Config(port=0)).server as server:
            with pytest.raises(Refused, match="403"):
                async with conversation(server.urls[0], "yours"):
                    pass
            async with conversation(server.urls[0], "trip") as peer:
                assert await say(peer, "Rome") == "You said Rome, and before that []."
                # The page is loaded again, by somebody who has no resume token.
                async with conversation(server.urls[0], "trip") as newer:
                    assert await peer.closed() == (4506, "opened elsewhere")
                    assert await say(newer, "Pisa") == "You said Pisa, and before that ['Rome']."
                    await newer.send({"event": "end"})
                    assert (await newer.closed())[0] == 1000
        # Leaving the server waits for on_close.
        assert stored()[::2] == ["Rome", "Pisa"]
        async with conversations.Conversations(database, Config(port=0)).server as server:
            async with conversation(server.urls[0], "trip") as peer:
                assert await say(peer, "Bari") == "You said Bari, and before that ['Rome', 'Pisa']."
        assert stored()[::2] == ["Rome", "Pisa", "Bari"]

    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("CREATE TABLE conversations (name TEXT PRIMARY KEY, history TEXT NOT NULL)")
        connection.execute("INSERT INTO conversations VALUES ('trip', '[]')")
    asyncio.run(asyncio.wait_for(main(), 30))


def test_resume_client(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    async def generate(turn: Turn) -> AsyncIterator[Item]:
        yield "no, "
        yield Reset("answer")
        if await turn.ask("really?", {"type": "boolean"}):
            for number in range(20):
                yield f"{number} "
        yield str(turn.content)

    fates = [Fate(inf, inf), Fate(inf, 1500)]

    async def main() -> None:
        async with Server(generate, Config(port=0)) as server, failing(server.urls[0], lambda: fates.pop()) as url:
            await resume_client.main(url)

    monkeypatch.setattr("sys.stdin", io.StringIO("one\ntwo\n"))
    run_virtually(main())
    shown: Any = capsys.readouterr()
    count = " ".join(map(str, range(20)))
    assert shown.out == f"{count} one\n{count} two\n"
    assert [line.split()[0] for line in shown.err.splitlines()] == ["[reconnecting", "[session"]


class TestDashboard:
    """The file for Grafana asks for figures that there are, and shows all of them."""

    DASHBOARD = json.loads((Path(__file__).parents[1] / "examples" / "grafana" / "wsserver.json").read_text("utf-8"))
    PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
    ASKED = [target["expr"] for panel in PANELS for target in panel["targets"]]

    def test_every_figure_exists_and_is_shown(self) -> None:
        known = {
            f"wsserver_{name}{suffix}"
            for name, metric in METRICS.items()
            for suffix in {"counter": ["_total"], "gauge": [""], "histogram": ["_bucket"]}[metric.kind]
        }
        asked = {name for expression in self.ASKED for name in re.findall(r"wsserver_\w+", expression)}
        assert asked == known

    def test_its_labels_and_their_values_exist(self) -> None:
        for expression in self.ASKED:
            names = re.findall(r"wsserver_(\w+)", expression)
            metrics = [METRICS[re.sub("_(total|bucket)$", "", name)] for name in names]
            known = {label for metric in metrics for label in metric.labels}
            for labels in re.findall(r"by \(([^)]*)\)", expression):
                assert set(labels.split(", ")) <= known | {"le"}, expression
            for label, value in re.findall(r'(\w+)="(\w+)"', expression):
                assert label in known
                assert any(f"`{value}`" in metric.meaning for metric in metrics)

    def test_the_panels_stand_side_by_side(self) -> None:
        panels = self.DASHBOARD["panels"]
        assert len({panel["id"] for panel in panels}) == len(panels)
        taken: set[tuple[int, int]] = set()
        for place in (panel["gridPos"] for panel in panels):
            cells = {
                (x, y)
                for x in range(place["x"], place["x"] + place["w"])
                for y in range(place["y"], place["y"] + place["h"])
            }
            assert not cells & taken
            assert max(x for x, _ in cells) < 24
            taken |= cells
