"""Every error code and close code of protocol.md that has no file of its own, as transcripts."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.clock import run_virtually
from tests.peer import BINARY, CLOSE, TEXT, Event, Peer, masked
from wsserver import Config, Server, Turn, TurnError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine


async def answer(turn: Turn) -> AsyncIterator[str]:
    """Does as it is told."""
    yield "hello"
    match turn.content:
        case "wait":
            await asyncio.Event().wait()
        case "overloaded":
            raise TurnError("overloaded", "Come back in a minute.", retryable=True)
        case "fail":
            raise ZeroDivisionError


def talk(script: Callable[[Peer], Coroutine[Any, Any, None]], **settings: Any) -> None:
    async def main() -> None:
        async with Server(answer, Config(port=0, **settings)) as server, Peer.connect(server.urls[0]) as peer:
            await script(peer)

    run_virtually(main())


async def say(peer: Peer, name: str, data: Any = None, **fields: Any) -> None:
    await peer.send({"event": name, "data": data, **fields} if data is not None else {"event": name, **fields})


async def start(peer: Peer, content: str = "wait", **fields: Any) -> None:
    await peer.ask(content, **fields)
    while (await peer.event())["event"] != "token":
        """Its ack and its start."""


class TestErrors:
    """`code`: whether it is final, and whether it may be tried again."""

    def error(self, script: Callable[[Peer], Coroutine[Any, Any, Event]], **settings: Any) -> Event:
        found: list[Event] = []

        async def find(peer: Peer) -> None:
            event = await script(peer)
            assert event["event"] == "error"
            # Only what is final is logged, and belongs to its turn.
            assert ("seq" in event, "turn" in event) == (event["data"]["final"],) * 2
            assert isinstance(event["data"].pop("message"), str)
            found.append(event["data"])

        talk(find, **settings)
        return found[0]

    def test_bad_message(self) -> None:
        async def script(peer: Peer) -> Event:
            await say(peer, "message", {"content": ""}, id="m1")
            return await peer.event()

        assert self.error(script) == {"code": "bad_message", "retryable": False, "final": False, "ref": "m1"}

    def test_turn_active(self) -> None:
        async def script(peer: Peer) -> Event:
            await start(peer)
            await peer.ask("second", id="m2")
            return await peer.event()

        data = self.error(script, busy="reject")
        assert data == {"code": "turn_active", "retryable": True, "final": False, "ref": "m2"}

    def test_queue_full(self) -> None:
        async def script(peer: Peer) -> Event:
            await start(peer)
            await peer.ask("second", id="m2")
            return await peer.event()

        data = self.error(script, max_queue=0)
        assert data == {"code": "queue_full", "retryable": True, "final": False, "ref": "m2"}

    def test_not_active(self) -> None:
        async def script(peer: Peer) -> Event:
            await say(peer, "stop", id="s1")
            return await peer.event()

        assert self.error(script) == {"code": "not_active", "retryable": False, "final": False, "ref": "s1"}

    def test_generation_failed(self, caplog: pytest.LogCaptureFixture) -> None:
        async def script(peer: Peer) -> Event:
            await start(peer, "fail", id="m1")
            return await peer.event()

        data = self.error(script)
        assert data == {"code": "generation_failed", "retryable": False, "final": True, "ref": "m1"}
        assert "ZeroDivisionError" in caplog.text

    def test_overloaded_as_an_application_says_it(self) -> None:
        async def script(peer: Peer) -> Event:
            await start(peer, "overloaded", id="m1")
            return await peer.event()

        assert self.error(script) == {"code": "overloaded", "retryable": True, "final": True, "ref": "m1"}

    def test_turn_timeout(self) -> None:
        async def script(peer: Peer) -> Event:
            await start(peer, id="m1")
            return await peer.event()

        data = self.error(script, turn_timeout=20, ping_interval=0)
        assert data == {"code": "turn_timeout", "retryable": True, "final": True, "ref": "m1"}

    def test_server_shutdown(self) -> None:
        async def main() -> Event:
            async with Server(answer, Config(port=0)) as server, Peer.connect(server.urls[0]) as peer:
                await start(peer, id="m1")
                closing = asyncio.create_task(server.close())
                event = await peer.event()
                peer.writer.close()
                await closing
                return event

        data = run_virtually(main())["data"]
        del data["message"]
        assert data == {"code": "server_shutdown", "retryable": True, "final": True, "ref": "m1"}


class TestAcks:
    """Another client event with an `id` is acknowledged too; without one nothing is."""

    @pytest.mark.parametrize(
        ("name", "data", "answer"),
        [("ping", {"n": 1}, "pong"), ("history", None, "history"), ("stop", {"turn": 1}, "complete")],
    )
    def test_ack(self, name: str, data: Any, answer: str) -> None:
        async def script(peer: Peer) -> None:
            await start(peer)
            await say(peer, name, data, id="x" * 64)
            events = {event["event"]: event for event in [await peer.event(), await peer.event()]}
            assert events.keys() == {"ack", answer}
            assert events["ack"]["data"] == {"ref": "x" * 64}
            assert "seq" not in events["ack"]

        talk(script)

    def test_end(self) -> None:
        async def script(peer: Peer) -> None:
            await say(peer, "end", id="e")
            assert (await peer.event("ack"))["data"] == {"ref": "e"}
            assert await peer.closed() == (1000, "ended")
            await peer.write(masked(CLOSE, b"\x03\xe8"))
            assert await peer.gone() == b""

        talk(script)

    @pytest.mark.parametrize("name", ["x" * 65, "é" * 33, 7, [], {}])
    def test_an_id_is_a_string_of_at_most_64_bytes(self, name: Any) -> None:
        async def script(peer: Peer) -> None:
            await peer.ask("hello", id=name)
            error = await peer.event("error")
            assert error["data"]["code"] == "bad_message"
            assert "ref" not in error["data"]

        talk(script)

    def test_of_many_ids_the_last_256_are_remembered(self) -> None:
        async def script(peer: Peer) -> None:
            for number in range(257):
                await peer.ask("hello", id=f"m{number}")
            for _ in range(257):
                await peer.turn()
            await peer.ask("hello", id="m1")
            assert (await peer.event("ack"))["data"] == {"ref": "m1", "turn": 2, "duplicate": True}
            await peer.ask("hello", id="m0")
            assert (await peer.event("ack"))["data"] == {"ref": "m0", "turn": 258, "queued": 0, "duplicate": False}

        talk(script, message_rate=0, max_queue=300)


class TestNames:
    def test_events_and_fields_that_nobody_knows(self) -> None:
        async def script(peer: Peer) -> None:
            await peer.send({"event": "message", "data": {"content": "hello", "x": 1}, "y": 2})
            assert (await peer.turn())[-1]["data"]["status"] == "completed"
            await say(peer, "dance")
            assert (await peer.event("error"))["data"]["code"] == "bad_message"

        talk(script)


class TestCloseCodes:
    """What the server says when it ends a connection."""

    def closed(self, script: Callable[[Peer], Coroutine[Any, Any, None]], **settings: Any) -> tuple[int, str]:
        ends: list[tuple[int, str]] = []

        async def end(peer: Peer) -> None:
            await script(peer)
            ends.append(await peer.closed())
            await peer.write(masked(CLOSE, b"\x03\xe8"))
            assert await peer.gone() == b"", "nothing follows a Close"

        talk(end, **settings)
        return ends[0]

    @pytest.mark.parametrize(
        ("code", "raw"),
        [
            (1000, masked(CLOSE, b"\x03\xe8bye")),
            (1001, masked(CLOSE, b"\x03\xe9")),
            (1002, b"\x81\x02hi"),  # not masked
            (1003, masked(BINARY, b"bytes")),
            (1007, masked(TEXT, b"\xff")),
            (1009, masked(TEXT, bytes(1001))),
        ],
    )
    def test_what_the_peer_did(self, code: int, raw: bytes) -> None:
        assert self.closed(lambda peer: peer.write(raw), max_message_size=1000)[0] == code

    def test_1011_for_a_bug_of_ours(self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
        from wsserver.chat.session import Session

        def broken(self: Session) -> None:
            raise RuntimeError("a bug")

        monkeypatch.setattr(Session, "tell_history", broken)
        assert self.closed(lambda peer: say(peer, "history")) == (1011, "")
        assert "a bug" in caplog.text

    def test_1012_where_the_server_ends(self) -> None:
        async def main() -> tuple[int, str]:
            async with Server(answer, Config(port=0)) as server, Peer.connect(server.urls[0]) as peer:
                closing = asyncio.create_task(server.close())
                end = await peer.closed()
                peer.writer.close()
                await closing
                return end

        assert run_virtually(main()) == (1012, "the server is shutting down")

    def test_4001_for_who_shows_no_sign_of_life(self) -> None:
        async def main() -> tuple[tuple[int, str], float]:
            loop = asyncio.get_running_loop()
            config = Config(port=0, ping_interval=20, ping_timeout=10)
            async with Server(answer, config) as server, Peer.connect(server.urls[0]) as peer:
                return await peer.closed(), loop.time()

        end, when = run_virtually(main())
        assert end == (4001, "no pong")
        assert when == pytest.approx(30, abs=0.6)

    def test_4004_for_a_connection_that_is_too_old(self) -> None:
        code, reason = self.closed(lambda peer: asyncio.sleep(0), max_age=100, ping_interval=0)
        assert (code, reason[:22]) == (4004, "this connection is too")

    def test_4008_for_messages_too_fast(self) -> None:
        flood = masked(TEXT, json.dumps({"event": "history"}).encode()) * 200
        assert self.closed(lambda peer: peer.write(flood), message_rate=10) == (4008, "messages too fast")
