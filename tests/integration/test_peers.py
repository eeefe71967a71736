"""Other people's clients hold a conversation with us, on either loop and with either framing."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
import uvloop
import websockets

from tests.peer import TEXT, Peer, masked, request, text_of
from wsserver import Config, Server, Turn

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

    from wsserver.config import Framing

ROOT = Path(__file__).parents[2]
QUESTIONS = ["hello", "你好，世界", "🙂" * 300, "x" * 40_000]


async def repeat(turn: Turn) -> AsyncIterator[str]:
    """Says the question again in pieces, and how many things were said before it."""
    content = str(turn.content)
    for start in range(0, len(content), 100):
        yield content[start : start + 100]
    yield f" ({len(turn.history)})"


def expected() -> list[str]:
    return [f"{question} ({1 + 2 * number})" for number, question in enumerate(QUESTIONS)]


@pytest.fixture(params=[asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Callable[[Coroutine[Any, Any, None]], None]:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture(params=["lanes", "wsproto"])
def config(request: pytest.FixtureRequest) -> Config:
    framing: Framing = request.param
    return Config(port=0, framing=framing, compression=True)


def test_websockets(config: Config, run: Callable[[Coroutine[Any, Any, None]], None]) -> None:
    async def main() -> None:
        async with Server(repeat, config) as server, websockets.connect(server.urls[0]) as connection:
            answers = []
            for question in QUESTIONS:
                await connection.send(json.dumps({"content": question}, ensure_ascii=False))
                events = []
                async for message in connection:
                    events.append(json.loads(message))
                    if events[-1]["data"].get("final"):
                        break
                answers.append(text_of(events))
            assert answers == expected()
            pong = await connection.ping()
            await pong

    run(main())


def test_aiohttp(config: Config, run: Callable[[Coroutine[Any, Any, None]], None]) -> None:
    async def main() -> None:
        async with (
            Server(repeat, config) as server,
            aiohttp.ClientSession() as client,
            client.ws_connect(server.urls[0], compress=15) as connection,
        ):
            answers = []
            for question in QUESTIONS:
                await connection.send_json({"content": question})
                events = [await connection.receive_json()]
                while not events[-1]["data"].get("final"):
                    events.append(await connection.receive_json())
                answers.append(text_of(events))
            assert answers == expected()
            await connection.close()
            assert connection.close_code == 1000

    run(main())


def test_a_socket_byte_by_byte(config: Config, run: Callable[[Coroutine[Any, Any, None]], None]) -> None:
    async def main() -> None:
        async with Server(repeat, config) as server, Peer.socket(server.urls[0]) as peer:
            message = masked(TEXT, json.dumps({"content": "你好"}, ensure_ascii=False).encode())
            for byte in request() + message:
                await peer.write(bytes([byte]))
                await asyncio.sleep(0)
            await peer.read_head()
            await peer.event("session")
            assert text_of(await peer.turn()) == "你好 (1)"

    run(main())


NODE_CLIENT = """
const WebSocket = require("ws");
const [url, ...questions] = process.argv.slice(1);
const socket = new WebSocket(url, ["wsserver.v1"], { perMessageDeflate: { threshold: 0 } });
const answers = [];
let text = "";
const ask = () => socket.send(JSON.stringify({ content: questions[answers.length] }));
socket.on("open", ask);
socket.on("message", (message) => {
  const event = JSON.parse(message);
  if (event.event === "token") text += event.data.value;
  if (!event.data.final) return;
  answers.push(text);
  text = "";
  if (answers.length < questions.length) return ask();
  socket.close(1000);
});
socket.on("close", (code) => console.log(JSON.stringify({ code, answers, protocol: socket.protocol })));
"""


def test_ws_of_node(config: Config, run: Callable[[Coroutine[Any, Any, None]], None]) -> None:
    modules = os.environ.get("WSSERVER_TEST_NODE_PATH")
    node = shutil.which("node")
    if not modules or not node:
        pytest.skip("needs Node and WSSERVER_TEST_NODE_PATH, the node_modules folder that holds `ws`")

    async def main() -> None:
        async with Server(repeat, config) as server:
            process = await asyncio.create_subprocess_exec(
                *(node, "-e", NODE_CLIENT, server.urls[0], *QUESTIONS),
                env={**os.environ, "NODE_PATH": modules},
                stdout=subprocess.PIPE,
            )
            output, _ = await asyncio.wait_for(process.communicate(), 30)
            assert json.loads(output) == {"code": 1000, "answers": expected(), "protocol": "wsserver.v1"}

    run(main())


def test_the_example_of_a_dozen_lines(run: Callable[[Coroutine[Any, Any, None]], None]) -> None:
    async def main() -> None:
        async with Server(repeat, Config(port=0)) as server:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, str(ROOT / "examples" / "client.py"), server.urls[0]),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
            output, _ = await asyncio.wait_for(process.communicate(b"hello\nand again\nbye\n"), 30)
            assert output.decode().splitlines() == ["hello (1)", "and again (3)", "bye (5)"]

    run(main())
