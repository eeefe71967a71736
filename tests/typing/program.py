"""A user's program that uses every public name of `wsserver`, under `mypy --strict`; it is never run."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_type

import wsserver
from wsserver import Config, Item, Request, Server, SessionView, ToolCall, Turn, TurnError, User

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


async def generate(turn: Turn) -> AsyncIterator[Item]:
    """Yields everything that there is."""
    assert_type(turn.id, int)
    assert_type(turn.session.user, str | None)
    turn.session.state["seen"] = len(turn.history)
    call: ToolCall
    async with turn.tool("orders", "Looking …", input={"id": 7}) as call:
        await call.progress("half")
        call.finish("found", output=[1, 2])
    if await turn.ask("Shall I?", {"type": "boolean"}):
        yield "text"
    yield wsserver.Token("more")
    yield wsserver.Tool("c1", "by hand", "started")
    yield wsserver.Source(title="Manual", score=0.5, extra={"page": 7})
    yield wsserver.Status("thinking")
    yield wsserver.Reset("answer")
    yield wsserver.Custom("chart", {"points": [1]})
    turn.usage = {"tokens": 3}
    if turn.cause == "stopped":
        raise TurnError("overloaded", "Later.", retryable=True)


async def send(turn: Turn) -> None:
    await turn.send("text")


async def on_open(session: SessionView, request: Request) -> None:
    if request.headers.get("x-tenant") is None:
        raise wsserver.HandshakeError(403, "no tenant", [("Retry-After", "5")])
    session.history = [{"role": "user", "content": "before"}]
    session.state = {"tenant": request.path + request.query}


async def on_close(session: SessionView) -> None:
    assert_type(session.id, str)


async def authenticate(request: Request) -> User | None:
    token = wsserver.bearer_token(request)
    assert_type(token, str | None)
    return User("ann") if token == "secret" else None


async def embed() -> None:
    config = Config(port=0, busy="interrupt", drain_timeout=5)
    async with Server(generate, config, on_open=on_open, on_close=on_close, authenticate=authenticate) as server:
        assert_type(server.urls, list[str])
        try:
            await server.push("s_1", "ticket", {"n": 1})
            server.push_threadsafe("s_1", "ticket").result(1)
            await server.stop("s_1", 3)
            await server.end("s_1", "bye")
        except wsserver.SessionNotFound as exc:
            assert_type(exc.session_id, str)
        except wsserver.ClientError as exc:
            assert_type(exc.retry_after, float | None)
        except wsserver.ProtocolError as exc:
            assert_type(exc.code, int)
        except wsserver.WsserverError:
            await server.close()
        await server.drain()
    try:
        await wsserver.push("redis://127.0.0.1", "s_1", "ticket", {"n": 1})
        async with wsserver.Remote("redis://127.0.0.1") as remote:
            await remote.push("s_1", "ticket", {"n": 1})
            await remote.stop("s_1", 3)
            await remote.end("s_1")
            assert_type(await remote.count(), wsserver.Count)
    except wsserver.StoreError as exc:
        assert_type(exc, wsserver.StoreError)


def main() -> None:
    try:
        wsserver.run(generate, Config(), on_open=on_open, on_close=on_close, authenticate=authenticate)
        wsserver.run(send)
    except wsserver.ConfigError:
        raise SystemExit(2) from None
