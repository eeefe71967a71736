"""Conversations with real processes that share a real Redis, over a network that cuts."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.chaos.storm import listen, patiently
from tests.client.proxy import Fate, failing
from tests.integration.instance import tokens_of
from wsserver.client import ConnectionLost, SessionLost

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from wsserver.client import Chat

PROGRAM = Path(__file__).with_name("instance.py")
ROOT = Path(__file__).parents[2]


class Instance:
    """One process."""

    def __init__(self, redis_url: str, durability: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(PROGRAM), redis_url, durability],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().decode().strip()
        assert self.url, "the server did not start: see its error output"

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def kill(self) -> None:
        self._process.kill()
        self._reap()

    def close(self) -> None:
        """In order: as its input ends, so does it."""
        assert self._process.stdin is not None
        self._process.send_signal(signal.SIGCONT)
        self._process.stdin.close()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise
        finally:
            self._reap()

    def _reap(self) -> None:
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            with suppress(BrokenPipeError):
                stream.close()


class Fleet:
    """Instances of which each connection leads to one. `told` counts what clients were told of."""

    def __init__(self, redis_url: str, durability: str, count: int = 3, seed: int = 1) -> None:
        self.chance = random.Random(seed)
        self.told: Counter[str] = Counter()
        self.cuts = 0
        self._start: Callable[[], Instance] = lambda: Instance(redis_url, durability)
        self.instances = [self._start() for _ in range(count)]

    def close(self) -> None:
        for instance in self.instances:
            instance.close()

    def fate(self) -> Fate:
        """They are cut after some seconds of talking."""
        return Fate(10**9, self.chance.randrange(2000, 30_000))

    async def replace(self) -> None:
        """One is killed, and another one started."""
        place = self.chance.randrange(len(self.instances))
        self.instances[place].kill()
        await asyncio.sleep(0.3)
        self.instances[place] = await asyncio.to_thread(self._start)

    async def hold(self) -> None:
        """One stands still for longer than its lease."""
        instance = self.chance.choice(self.instances)
        instance.signal(signal.SIGSTOP)
        await asyncio.sleep(4)
        instance.signal(signal.SIGCONT)

    async def talk(self, sessions: int, questions: int, *strikes: Callable[[], Awaitable[object]]) -> None:
        """Conversations; raises `AssertionError` where a client holds what is not right, and was not told."""
        way = failing(lambda: self.chance.choice(self.instances).url, self.fate)
        async with way as url, asyncio.timeout(600), asyncio.TaskGroup() as group:
            for number in range(sessions):
                group.create_task(self._converse(url, number, questions))
            for strike in strikes:
                await asyncio.sleep(1)
                await strike()

    async def _converse(self, url: str, number: int, questions: int) -> None:
        async with AsyncExitStack() as stack:
            chat = await patiently(url, stack)
            listening = asyncio.create_task(listen(chat))
            for place in range(questions):
                try:
                    await self._ask(chat, f"q{number}.{place}")
                except SessionLost:
                    self.told["forgotten"] += 1
                except ConnectionLost:
                    self.told["cut"] += 1
                    listening.cancel()
                    chat = await patiently(url, stack)
                    listening = asyncio.create_task(listen(chat))
            with suppress(ConnectionLost):
                await chat.end()
            [rest] = await asyncio.gather(listening, return_exceptions=True)
            if isinstance(rest, list):
                self.cuts += sum(event.name == "reconnecting" for event in rest)

    async def _ask(self, chat: Chat, question: str) -> None:
        text, end, expected = "", None, "".join(tokens_of(question))
        async for event in chat.ask(question):
            if event.name == "token":
                text += event.data["value"]
            elif event.name == "reset":
                text = ""
            end = event
        assert end is not None and end.final
        if end.name == "complete":
            assert text == expected
            self.told["whole"] += 1
        else:
            assert end.data["code"] in ("turn_lost", "generation_failed"), end
            assert expected.startswith(text)
            self.told[end.data["code"]] += 1


def left(client: Any) -> list[str]:
    """Keys that are left of conversations that have ended, or that would stay for ever."""
    keys = [key.decode() for key in client.scan_iter()]
    parts = ("log", "facts", "history", "turns", "letters")
    return [key for key in keys if key.rpartition(":")[2] in parts or client.ttl(key) < 0]
