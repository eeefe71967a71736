"""What the socket is told, with a transport that only listens: when to read, when to give up."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests.clock import run_virtually
from wsserver.client import Chat
from wsserver.client import chat as chat_module
from wsserver.client.connection import Target
from wsserver.client.inbox import EVENT_OVERHEAD
from wsserver.client.link import ANSWER_TIMEOUT, PONG_TIMEOUT, Link
from wsserver.wire import handshake
from wsserver.wire.frames import TEXT
from wsserver.wire.protocol import Protocol

from .talking import run

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Transport(asyncio.Transport):
    """Says whether it is being read."""

    def __init__(self) -> None:
        super().__init__()
        self.reading = True
        self.aborted = False
        self.written: list[Any] = []

    def write(self, data: Any) -> None:
        self.written.append(data)

    def is_closing(self) -> bool:
        return False

    def abort(self) -> None:
        self.aborted = True

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True


class TestPace:
    """What nobody takes waits at the server, but for those who wait for what is behind it."""

    def test_reading_pauses_and_goes_on(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(chat_module, "MAX_UNREAD", 300 + 2 * EVENT_OVERHEAD)

        async def test() -> None:
            chat = Chat(Target.parse("ws://h/"))
            link, transport = link_of(chat), Transport()
            link.connection_made(transport)
            upgrade = handshake.parse_upgrade(_request(transport.written[0]))
            server = Protocol(1000, opening=handshake.accept(upgrade))

            def tell(event: str, data: dict[str, Any], turn: int | None = None) -> None:
                server.send(TEXT, json.dumps({"event": event, "data": data, "turn": turn}).encode())
                link.data_received(server.data_to_send())

            tell("session", {})
            answer = chat.ask("hi")
            first = asyncio.create_task(anext(answer))
            await asyncio.sleep(0)
            tell("start", {"ref": "c1"}, turn=1)
            assert (await first).name == "start"
            for number in range(4):
                tell("token", {"value": f"{number}" * 100}, turn=1)
            assert not transport.reading

            stopping = asyncio.create_task(chat.stop())
            await asyncio.sleep(0)
            assert transport.reading
            tell("ack", {"ref": "c2"})
            assert await stopping
            assert not transport.reading

            assert [(await anext(answer)).data["value"][0] for _ in range(3)] == ["0", "1", "2"]
            assert transport.reading
            for number in range(4):
                tell("token", {"value": f"{number}" * 100}, turn=1)
            assert not transport.reading
            await answer.aclose()
            assert transport.reading
            link.connection_lost(None)
            assert (await chat.lost()).code == 1006

        run(test())

    def test_what_is_listened_to_has_its_pace_too(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(chat_module, "MAX_UNREAD", 300 + 2 * EVENT_OVERHEAD)

        async def test() -> None:
            chat = Chat(Target.parse("ws://h/"))
            link, transport = link_of(chat), Transport()
            link.connection_made(transport)
            server = Protocol(1000, opening=handshake.accept(handshake.parse_upgrade(_request(transport.written[0]))))

            def tell(event: str, text: str = "") -> None:
                server.send(TEXT, json.dumps({"event": event, "data": {"text": text}}).encode())
                link.data_received(server.data_to_send())

            tell("session")
            for _ in range(4):
                tell("news", "x" * 100)
            # Who does not listen is not made to wait for it.
            assert transport.reading
            events = chat.events()
            await anext(events)
            tell("news", "x" * 100)
            assert not transport.reading
            await anext(events)
            await anext(events)
            assert transport.reading
            await events.aclose()
            link.connection_lost(None)

        run(test())


class Owner:
    """Hears what a link tells."""

    def __init__(self) -> None:
        self.over = False

    def received(self, text: str) -> None:
        """Nothing of it matters here."""

    def ended(self) -> None:
        self.over = True


PING = 0x89


class TestLife:
    """A network that is dead says nothing: silence is what it is known by."""

    @asynccontextmanager
    async def linked(self, ping_interval: float = 20) -> AsyncIterator[tuple[Link, Transport, Owner]]:
        owner, transport = Owner(), Transport()
        link = Link(Target.parse("ws://h/").client(None), owner)
        link.connection_made(transport)
        upgrade = handshake.parse_upgrade(_request(transport.written.pop()))
        link.data_received(handshake.accept(upgrade))
        link.expect_life(ping_interval)
        yield link, transport, owner
        link.connection_lost(None)
        assert owner.over

    @pytest.mark.parametrize(("ping_interval", "patience"), [(20, 10), (1, 1.5), (0, 10)])
    def test_a_server_that_does_not_ping_is_pinged_and_given_up(self, ping_interval: float, patience: float) -> None:
        async def test() -> None:
            async with self.linked(ping_interval) as (link, transport, _):
                await asyncio.sleep(patience - 0.1)
                assert transport.written == []
                await asyncio.sleep(0.2)
                assert [data[0] for data in transport.written] == [PING]
                await asyncio.sleep(PONG_TIMEOUT - 0.2)
                assert not transport.aborted
                await asyncio.sleep(0.2)
                assert transport.aborted
                assert link.wire.close_reason == "no sign of life"

        run_virtually(test())

    def test_whatever_comes_is_a_sign_of_life(self) -> None:
        async def test() -> None:
            async with self.linked() as (link, transport, _):
                for _ in range(10):
                    await asyncio.sleep(9)
                    link.data_received(b"\x89\x00")
                    assert transport.written.pop()[0] == 0x8A
                for _ in range(10):
                    await asyncio.sleep(10 + PONG_TIMEOUT - 1)
                    assert transport.written.pop()[0] == PING
                    link.data_received(b"\x8a\x00")
                assert transport.written == []
                assert not transport.aborted

        run_virtually(test())

    def test_where_an_answer_is_owed_a_dead_network_shows_within_seconds(self) -> None:
        async def test() -> None:
            async with self.linked() as (link, transport, _):
                link.send("one")
                await asyncio.sleep(1)
                link.data_received(b"\x89\x00")
                await asyncio.sleep(1)
                transport.written.clear()
                link.send("two")
                await asyncio.sleep(1)
                link.send("three")
                assert len(transport.written) == 2
                await asyncio.sleep(ANSWER_TIMEOUT - 0.9)
                assert transport.written[2:][0][0] == PING
                await asyncio.sleep(PONG_TIMEOUT)
                assert transport.aborted

        run_virtually(test())

    def test_silence_is_not_held_against_a_server_that_is_not_read(self) -> None:
        async def test() -> None:
            async with self.linked() as (link, transport, _):
                link.send("question")
                link.read(False)
                await asyncio.sleep(1000)
                assert not transport.aborted
                link.read(True)
                await asyncio.sleep(9)
                assert not transport.aborted
                await asyncio.sleep(1 + PONG_TIMEOUT)
                assert transport.aborted

        run_virtually(test())

    def test_nothing_is_watched_any_more_once_it_is_gone(self) -> None:
        async def test() -> None:
            async with self.linked() as (link, transport, _):
                link.send("question")
                transport.written.clear()
            await asyncio.sleep(1000)
            assert (transport.written, transport.aborted) == ([], False)

        run_virtually(test())


def link_of(chat: Chat) -> Link:
    return chat._keeper._connection.link


def _request(data: bytes) -> handshake.Request:
    request = handshake.RequestReader().receive_data(data)
    assert request is not None
    return request
