"""An endpoint that speaks OpenAI's Chat Completions, on the loopback, and does what a test tells it to.

Each request is served by the next step of `script`, a coroutine function that is given its `Response`; what the client
does meanwhile can be seen: `gone` is set once it has closed the connection of a request that was under way.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from time import perf_counter
from typing import TYPE_CHECKING, Any, Self

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    Step = Callable[["Response"], Awaitable[None]]

KEY = "sk-test-5ecret"


class Response:
    """The answer to one request."""

    def __init__(self, request: web.Request) -> None:
        self._request = request
        self._stream: web.StreamResponse | None = None
        self.whole: web.Response | None = None

    async def open(self) -> web.StreamResponse:
        """Sends the head, before anything else of a stream."""
        if self._stream is None:
            self._stream = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
            await self._stream.prepare(self._request)
        return self._stream

    async def write(self, data: str) -> None:
        """A `data:` line."""
        await (await self.open()).write(f"data: {data}\n\n".encode())

    async def chunk(self, delta: dict[str, Any] | None = None, finish: str | None = None, **more: Any) -> None:
        """One `chat.completion.chunk`; without a delta it has no choices."""
        choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
        chunk = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": choices, **more}
        await self.write(json.dumps(chunk))

    async def text(self, *parts: str) -> None:
        for part in parts:
            await self.chunk({"content": part})

    async def end(self, finish: str = "stop", **usage: Any) -> None:
        """The finish reason, the usage if there is one, and the end."""
        await self.chunk({}, finish)
        if usage:
            await self.chunk(usage=usage)
        await self.write("[DONE]")

    async def fail(self, status: int, error: dict[str, Any], **headers: str) -> None:
        """An answer that is no stream."""
        self.whole = web.json_response({"error": error}, status=status, headers=headers)

    def cut(self) -> None:
        """The connection is lost."""
        assert self._request.transport is not None
        self._request.transport.abort()

    async def result(self) -> web.StreamResponse:
        return self.whole or await self.open()


class Endpoint:
    """`bodies` and `keys` are what was asked, in order; `asked` is set by the first of it."""

    def __init__(self) -> None:
        self.script: list[Step] = []
        self.bodies: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.asked = asyncio.Event()
        self.gone = asyncio.Event()
        self.gone_at = 0.0
        self.url = ""

    @classmethod
    @asynccontextmanager
    async def serve(cls, *script: Step) -> AsyncIterator[Self]:
        endpoint = cls()
        endpoint.script = list(script)
        app = web.Application()
        app.router.add_post("/v1/chat/completions", endpoint._answer)
        runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=1)
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            endpoint.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
            yield endpoint
        finally:
            await runner.cleanup()
        assert not endpoint.script, "all of it was asked"

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.bodies.append(await request.json())
        self.keys.append(request.headers["Authorization"])
        self.asked.set()
        response = Response(request)
        try:
            await self.script.pop(0)(response)
            return await response.result()
        except (asyncio.CancelledError, ConnectionError):
            self.gone_at = perf_counter()
            self.gone.set()
            raise


def says(*parts: str, finish: str = "stop", **usage: Any) -> Step:
    """Streams a whole answer."""

    async def step(response: Response) -> None:
        await response.text(*parts)
        await response.end(finish, **usage)

    return step


def calls(*functions: tuple[str, str], text: str = "", size: int = 3) -> Step:
    """Asks for functions by name and arguments, each in fragments of so many characters, one beside another."""

    async def step(response: Response) -> None:
        if text:
            await response.text(text)
        for index, (name, _) in enumerate(functions):
            await _part(response, index, "", id=f"call_{index}", type="function", name=name)
        longest = max(len(arguments) for _, arguments in functions)
        for start in range(0, longest, size):
            for index, (_, arguments) in enumerate(functions):
                if arguments[start : start + size]:
                    await _part(response, index, arguments[start : start + size])
        await response.end("tool_calls", total_tokens=10)

    return step


async def _part(response: Response, index: int, arguments: str, name: str | None = None, **more: Any) -> None:
    function = {"arguments": arguments, **({"name": name} if name else {})}
    await response.chunk({"tool_calls": [{"index": index, "function": function, **more}]})


def refuses(status: int, message: str = "no", code: str | None = None, **headers: str) -> Step:
    """Answers with an error; the client tries again at once where it does at all."""
    error = {"message": message, "type": "error", "param": None, "code": code}

    async def step(response: Response) -> None:
        await response.fail(status, error, **{"retry-after-ms": "1", **headers})

    return step


def breaks(*parts: str) -> Step:
    """Says something, and loses the connection."""

    async def step(response: Response) -> None:
        await response.open()
        await response.text(*parts)
        response.cut()

    return step


def ends(*parts: str) -> Step:
    """Says something, and ends the stream without a finish reason."""

    async def step(response: Response) -> None:
        await response.text(*parts)

    return step
