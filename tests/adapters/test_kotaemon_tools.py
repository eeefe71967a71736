"""The tools of agents, by objects of their shape."""

from __future__ import annotations

import asyncio
import threading

from tests.adapters import kotaemon_shapes as shapes
from tests.adapters.kotaemon_shapes import Pipeline, ReactAgentPipeline, chat
from tests.adapters.kotaemon_talking import ask, talking
from tests.adapters.running import LONG, run
from tests.peer import Peer, text_of
from wsserver import Config, Server
from wsserver.adapters.kotaemon import Exchange, KotaemonTurn, kotaemon_app


def test_steps_are_shown() -> None:
    def notes(query: str) -> list[str]:
        return [f"{query} wants &lt;water&gt;."]

    plan = [("docsearch", "tea"), ("clock", "noon")]
    events = ask(lambda turn: ReactAgentPipeline.get_pipeline([notes], plan))[1:-1]
    assert [event["event"] for event in events] == "tool tool status tool tool status token".split()
    started, finished, status = (event["data"] for event in events[:3])
    assert started == {"call_id": started["call_id"], "name": "docsearch", "status": "started", "input": "tea"}
    assert finished["call_id"] == started["call_id"]
    assert (finished["status"], finished["output"]) == ("finished", "Content from notes: tea wants <water>.")
    assert status == {"message": "I should ask docsearch."}
    assert events[4]["data"]["output"] == "it is <noon>"
    assert events[-1]["data"]["value"] == "done"


def test_a_step_that_fails() -> None:
    events = ask(lambda turn: ReactAgentPipeline.get_pipeline([], [("clock", "broken")]))
    assert events[2]["data"]["error"] == "clock failed"
    assert events[-1]["data"]["code"] == "generation_failed"


def test_the_panel_of_an_agent_is_stored() -> None:
    kept: list[Exchange] = []
    ask(
        lambda turn: ReactAgentPipeline.get_pipeline([], [("clock", "noon")]),
        store=lambda turn, exchange: kept.append(exchange),
    )
    assert "Step 1" in kept[0].panel


def test_no_step_begins_once_the_turn_is_over() -> None:
    started, gate = threading.Event(), threading.Event()
    shapes.TOOL_REGISTRY["Clock"].calls.clear()

    def before() -> None:
        started.set()
        gate.wait(LONG)

    generate = kotaemon_app(lambda turn: ReactAgentPipeline.get_pipeline([], [("clock", "noon")], before=before))

    async def main() -> None:
        async with talking(generate) as peer:
            await peer.ask("go")
            await asyncio.to_thread(started.wait, LONG)
            await peer.send({"event": "stop", "data": {}})
            events = await peer.turn()
            gate.set()
            assert [event["event"] for event in events] == ["start", "complete"]

    run(main())
    assert shapes.TOOL_REGISTRY["Clock"].calls == []


def test_two_users_never_see_each_others_documents() -> None:
    """Both pipelines are built before either searches: the global tool is then told of the second user's only."""
    both = threading.Barrier(2, timeout=LONG)

    def factory(turn: KotaemonTurn) -> ReactAgentPipeline:
        def documents(query: str) -> list[str]:
            return [f"the secret of {turn.message}"]

        plan = [("docsearch", "secret"), ("docsearch", "again")]
        return ReactAgentPipeline.get_pipeline([documents], plan, before=both.wait)

    async def one(url: str, name: str) -> list[str]:
        async with Peer.connect(url) as peer:
            found = []
            for _ in range(5):
                await peer.ask(name)
                found += [event["data"].get("output") for event in await peer.turn() if event["event"] == "tool"]
            return [output for output in found if output is not None]

    async def main() -> list[list[str]]:
        async with Server(kotaemon_app(factory), Config(port=0)) as server:
            return await asyncio.gather(*(one(server.urls[0], name) for name in ("ada", "eve")))

    for name, outputs in zip(("ada", "eve"), run(main()), strict=True):
        assert outputs == [f"Content from notes: the secret of {name}"] * 10


def test_pipelines_are_built_one_at_a_time() -> None:
    """What others do while a pipeline is being built, it could take over."""
    building, most = [0], [0]
    lock = threading.Lock()
    go = threading.Event()

    def factory(turn: KotaemonTurn) -> Pipeline:
        with lock:
            building[0] += 1
            most[0] = max(most[0], building[0])
        go.wait(0.05)
        with lock:
            building[0] -= 1
        return Pipeline([chat("yes")])

    async def one(url: str) -> str:
        async with Peer.connect(url) as peer:
            await peer.ask("go")
            return text_of(await peer.turn())

    async def main() -> list[str]:
        async with Server(kotaemon_app(factory), Config(port=0)) as server:
            return await asyncio.gather(*(one(server.urls[0]) for _ in range(4)))

    assert run(main()) == ["yes"] * 4
    assert most == [1]
