"""wsserver.js and its types against the real server, also over a network that fails."""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.web.node import modules, node
from tests.web.scripted import Network
from wsserver import Config, Server, Source, Turn

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

TYPESCRIPT_OPTIONS = "--noEmit --strict --target es2022 --module nodenext --lib es2022,dom,dom.asynciterable".split()


@pytest.fixture(autouse=True)
def needs_node() -> None:
    modules()


def test_a_program_in_typescript_is_checked() -> None:
    tsc = Path(modules()) / ".bin" / "tsc"
    program = Path(__file__).with_name("program.ts")
    run = subprocess.run([tsc, *TYPESCRIPT_OPTIONS, program], capture_output=True, text=True, timeout=60)
    assert (run.stdout, run.returncode) == ("", 0)


def test_a_whole_conversation() -> None:
    async def generate(turn: Turn) -> AsyncIterator[str]:
        if turn.content == "wait":
            await asyncio.Event().wait()
        if turn.content == "ask":
            yield str(await turn.ask("Really?", {"type": "boolean"}))
        for word in str(turn.content).split():
            yield f"{word} "

    program = """
    const chat = open();
    const texts = [];
    for await (const text of chat.ask("one two").text()) texts.push(text);
    show(texts.at(-1));
    const waiting = chat.ask("wait");
    const queued = chat.ask("queued");
    const first = whole(waiting), second = whole(queued);
    await next(chat, "event", ({ event, turn }) => event === "start" && turn === 2);
    show(await queued.stop());
    show(await waiting.stop());
    show([await first, await second]);
    const asking = next(chat, "event", ({ event }) => event === "ask");
    const answer = whole(chat.ask("ask"));
    const { data } = await asking;
    show((await chat.history()).active.asks[0].call_id === data.call_id);
    await chat.answer(data.call_id, true);
    show(await answer);
    show(await chat.stop());
    show((await chat.history()).items.map(({ role, content, status }) => [role, content, status]).slice(-2));
    await chat.end();
    show((await chat.closed).code);
    """

    async def main() -> None:
        async with Server(generate, Config(port=0)) as server:
            stopped = {"text": "", "resets": 0, "end": "stopped"}
            said = [["user", "ask", "completed"], ["assistant", "Trueask ", "completed"]]
            assert await node(program, server.urls[0]) == [
                *("one two ", True, True, [stopped, stopped]),
                *(True, {"text": "Trueask ", "resets": 0, "end": "completed"}, False, said, 1000),
            ]

    asyncio.run(main())


def test_what_is_pushed_comes_and_a_server_that_drains_says_when_to_come_back() -> None:
    names: asyncio.Queue[str] = asyncio.Queue()

    async def generate(turn: Turn) -> AsyncIterator[str]:
        yield "hello"
        names.put_nowait(turn.session.id)

    program = """
    const chat = open();
    const pushed = next(chat, "event", ({ event }) => event === "parcel");
    const drained = next(chat, "event", ({ event }) => event === "drain");
    const waiting = next(chat, "state", ({ state }) => state === "waiting");
    show((await whole(chat.ask("?"))).text);
    show(chat.sessionId);
    show((await pushed).data);
    const { reconnect_in } = (await drained).data;
    const { code, retryIn } = await waiting;
    show([code, retryIn >= reconnect_in && retryIn <= reconnect_in + 0.5]);
    chat.close();
    """

    async def main() -> None:
        async with Server(generate, Config(port=0)) as server:
            running = asyncio.ensure_future(node(program, server.urls[0]))
            session_id = await names.get()
            await server.push(session_id, "parcel", {"number": "7"})
            await server.drain()
            assert await running == ["hello", session_id, {"number": "7"}, [1012, True]]

    asyncio.run(main())


@pytest.mark.parametrize("max_log_size, losses", [(2**20, False), (300, True)], ids=["recovered", "not recovered"])
def test_a_network_that_is_cut_again_and_again(max_log_size: int, losses: bool) -> None:
    """Every answer is whole and every message makes one turn, whether the log reaches back or not."""
    chance = random.Random(7)
    words = [f"w{number}" for number in range(300)]
    questions = ["a", "b", "c"]
    turns = []

    async def generate(turn: Turn) -> AsyncIterator[str | Source]:
        turns.append(turn.content)
        for word in words:
            yield f"{turn.content}{word} "
            yield Source(word)  # ends a run of tokens, so that a small log can forget them
            await asyncio.sleep(0.002)

    program = """
    const chat = open({ random: Math.random });
    let cuts = 0, losses = 0;
    chat.addEventListener("event", ({ detail: { event, data } }) => {
      if (event === "session" && data.resumed && !data.recovered) losses++;
    });
    chat.addEventListener("state", ({ detail }) => detail.state === "waiting" && cuts++);
    const answers = await Promise.all(JSON.parse(rest[0]).map((content) => whole(chat.ask(content))));
    show(answers.map(({ text, end }) => [text, end]));
    show([cuts, losses]);
    await chat.end();
    """

    async def main() -> None:
        config = Config(port=0, max_log_size=max_log_size, handshake_rate=0, message_rate=0)
        async with Server(generate, config) as server, Network.before(server.urls[0]) as network:
            url = f"ws://127.0.0.1:{network.port}/ws/chat"
            running = asyncio.ensure_future(node(program, url, json.dumps(questions)))
            while not running.done():
                await asyncio.wait([running], timeout=chance.uniform(0.02, 0.15))
                # What is written meanwhile is lost, and the server cannot know.
                network.fall_silent()
                await asyncio.wait([running], timeout=chance.uniform(0.0, 0.05))
                network.cut()
                network.pass_again()
            answers, (cuts, lost) = await running
            expected = [["".join(f"{question}{word} " for word in words), "completed"] for question in questions]
            assert answers == expected
            assert turns == questions
            assert cuts > 5
            assert (lost > 0) == losses

    asyncio.run(main())
