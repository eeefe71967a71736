"""What the socket is told, with a transport that only listens: when to read, when to give up."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from wsserver.client import Chat
from wsserver.client import connection as connection_module
from wsserver.wire import handshake
from wsserver.wire.client import Client
from wsserver.wire.frames import TEXT
from wsserver.wire.protocol import Protocol

from .talking import run

if TYPE_CHECKING:
    import pytest


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
        monkeypatch.setattr(connection_module, "MAX_UNREAD", 300)

        async def test() -> None:
            chat = Chat("ws://h/", Client("h", "/", limit=1000))
            link, transport = chat._link, Transport()
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

    def test_silence_is_not_held_against_a_server_that_is_not_read(self) -> None:
        async def test() -> None:
            chat = Chat("ws://h/", Client("h", "/", limit=1000))
            link, transport = chat._link, Transport()
            link.connection_made(transport)
            long_ago = asyncio.get_running_loop().time() - 100
            link.read(False)
            link._life = long_ago
            link._watch(50)
            assert not transport.aborted
            link.read(True)
            link._life = long_ago
            link._watch(50)
            assert transport.aborted
            link.connection_lost(None)
            assert (await chat.lost()).reason == "no sign of life"

        run(test())


def _request(data: bytes) -> handshake.Request:
    request = handshake.RequestReader().receive_data(data)
    assert request is not None
    return request
