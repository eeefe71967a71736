"""A program with a loop of its own: it pushes the time into every open session, and lets answers finish at its end."""

import asyncio
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import suppress

from wsserver import Config, Request, Server, SessionNotFound, SessionView, Turn


async def generate(turn: Turn) -> AsyncIterator[str]:
    for word in str(turn.content).split():
        yield f"{word} "
        await asyncio.sleep(0.2)


async def tell_the_time(server: Server, session_id: str) -> None:
    """Until the session has ended. Where its client is away for long, `push` waits."""
    with suppress(SessionNotFound):
        while True:
            await asyncio.sleep(1)
            await server.push(session_id, "time", {"now": time.strftime("%X")})


async def main(config: Config) -> None:
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)

    async def on_open(session: SessionView, request: Request) -> None:
        tasks.create_task(tell_the_time(server, session.id))

    async with Server(generate, config, on_open=on_open) as server, asyncio.TaskGroup() as tasks:
        sys.stdout.write(f"Listening on {server.urls[0]}\n")
        sys.stdout.flush()
        await stop.wait()  # the rest of your program
        await server.drain()


if __name__ == "__main__":
    asyncio.run(main(Config(port=int(sys.argv[1]) if len(sys.argv) > 1 else 8765)))
