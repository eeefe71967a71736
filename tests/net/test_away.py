"""What goes on in a session while its client is away, or takes nothing."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.clock import run_virtually
from tests.net.steps import Steps, begun, detached, flags, seqs, serve
from tests.peer import Event, Peer, text_of
from wsserver import Config, Server, SessionNotFound, Turn

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class TestAway:
    def test_with_on_disconnect_cancel_the_answer_is_stopped_and_can_be_read(self) -> None:
        async def story(server: Server, steps: Steps) -> None:
            async with Peer.connect(server.urls[0]) as first:
                await begun(first, steps, 1)
            await steps.ended.wait()
            assert steps.cause == "disconnected"
            async with Peer.connect(server.urls[0] + first.resume(2)) as second:
                assert (await second.event("complete"))["data"] == {"status": "stopped", "final": True, "ref": "m1"}
                await second.event("replayed")

        serve(story, on_disconnect="cancel")

    def test_an_answer_waits_where_the_log_is_full_and_goes_on_after_the_resume(self) -> None:
        produced = 0

        async def flood(turn: Turn) -> AsyncIterator[str]:
            nonlocal produced
            for number in range(20_000):
                produced += 1
                yield f"{number} "

        async def main() -> None:
            config = Config(port=0, max_log_size=50_000, soft_limit=4096, resume_ttl=120)
            async with Server(flood, config) as server:
                async with Peer.connect(server.urls[0]) as first:
                    await first.ask("go")
                    events = [await first.event() for _ in range(3)]
                await asyncio.sleep(60)
                session = server.sessions[first.session["session_id"]]
                assert produced < 20_000, "it waits"
                assert session.log.size < 50_000 + 2**14 + 2**16
                held = produced
                await asyncio.sleep(30)
                assert produced == held
                async with Peer.connect(server.urls[0] + first.resume(3)) as second:
                    if not second.session["data"]["recovered"]:
                        pytest.fail("what nobody has read was dropped")
                    events += await second.turn()
                assert text_of(events) == "".join(f"{number} " for number in range(20_000))
                assert produced == 20_000

        run_virtually(main())

    def test_a_full_log_does_not_outlive_the_session(self) -> None:
        ended = asyncio.Event()

        async def flood(turn: Turn) -> AsyncIterator[str]:
            try:
                while True:
                    yield "x" * 1000
            finally:
                ended.set()

        async def main() -> None:
            async with Server(flood, Config(port=0, max_log_size=50_000, resume_ttl=20)) as server:
                async with Peer.connect(server.urls[0]) as first:
                    await first.ask("go")
                    await first.event("start")
                await asyncio.wait_for(ended.wait(), 40)
                await server.turns.all_ended()
                assert server.sessions.pool.used == 0

        run_virtually(main())

    def test_a_question_is_answered_after_the_resume(self) -> None:
        async def generate(turn: Turn) -> AsyncIterator[str]:
            yield "before "
            yield str(await turn.ask("Sure?", {"type": "boolean"}))

        async def main() -> None:
            async with Server(generate, Config(port=0)) as server:
                async with Peer.connect(server.urls[0]) as first:
                    await first.ask("go")
                    events = [await first.event() for _ in range(3)]
                async with Peer.connect(server.urls[0] + first.resume(2)) as second:
                    question = await second.event("ask")
                    assert question == events[2]
                    await second.event("replayed")
                    await second.send({"event": "history"})
                    active = (await second.event("history"))["data"]["active"]
                    assert active["asks"] == [question["data"]]
                    await second.send({"event": "answer", "data": {**question["data"], "value": True}})
                    assert text_of(await second.turn()) == "True"

        run_virtually(main())

    def test_pushed_events_are_kept_until_the_log_is_full_and_then_wait(self) -> None:
        async def story(server: Server, steps: Steps) -> None:
            async with Peer.connect(server.urls[0]) as first:
                name = first.session["session_id"]
            await detached(server)
            pushes = [asyncio.create_task(server.push(name, "note", {"text": "x" * 1000, "n": n})) for n in range(40)]
            await asyncio.sleep(1)
            kept = sum(push.done() for push in pushes)
            assert 10 < kept < 40
            async with Peer.connect(server.urls[0] + first.resume(0)) as second:
                events: list[Event] = []
                while len(events) < 40:
                    event = await second.event()
                    if event["event"] == "note":
                        events.append(event)
                assert seqs(events) == list(range(1, 41))
                assert [event["data"]["n"] for event in events] == list(range(40))
            await asyncio.gather(*pushes)

        serve(story, max_log_size=10_000, soft_limit=4000)

    def test_a_push_that_waits_hears_of_the_end(self) -> None:
        async def story(server: Server, steps: Steps) -> None:
            async with Peer.connect(server.urls[0]) as first:
                name = first.session["session_id"]
            await detached(server)
            with pytest.raises(SessionNotFound):
                for _ in range(1000):
                    await server.push(name, "note", {"text": "x" * 1000})

        serve(story, max_log_size=10_000, resume_ttl=5)


class TestSlowReaders:
    def test_who_takes_nothing_is_detached_with_4000_and_comes_back(self) -> None:
        total = 3_000

        async def flood(turn: Turn) -> AsyncIterator[str]:
            for number in range(total):
                yield f"{number:05} " * 200

        async def main() -> None:
            async with Server(flood, Config(port=0, write_timeout=5, ping_interval=0, close_timeout=5)) as server:
                async with Peer.connect(server.urls[0]) as first:
                    transport: Any = first.writer.transport
                    await first.ask("go")
                    events = [await first.event("start")]
                    transport.pause_reading()
                    await server.sockets.emptied()
                    transport.resume_reading()
                    code = None
                    while code is None:
                        try:
                            opcode, payload = await first.frame()
                        except (asyncio.IncompleteReadError, ConnectionError):
                            break
                        if opcode == 0x88:
                            code = int.from_bytes(payload[:2], "big")
                        else:
                            events.append(json.loads(payload))
                async with Peer.connect(server.urls[0] + first.resume(events[-1]["seq"])) as second:
                    assert flags(second)["recovered"] is True
                    events += await second.turn()
                assert text_of(events) == "".join(f"{number:05} " * 200 for number in range(total))

        run_virtually(main())
