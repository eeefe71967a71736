"""Limits on a real server: who is refused, how that is said, and that every slot comes back on every way out."""

from __future__ import annotations

import asyncio
import random
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import pytest

from tests.clock import run_virtually
from tests.peer import BINARY, CLOSE, TEXT, Peer, Refused, masked, request, text_of
from wsserver import Config, HandshakeError, Request, Server, SessionView, Turn, User

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

V1 = "Sec-WebSocket-Protocol: wsserver.v1"


async def answer(turn: Turn) -> AsyncIterator[str]:
    yield "hello"
    if turn.content == "wait":
        await asyncio.Event().wait()


async def name(request: Request) -> User:
    """Everybody is who they say."""
    return User(parse_qs(request.query).get("user", ["ann"])[-1])


def serve(
    script: Callable[[Server, str], Coroutine[Any, Any, None]], authenticate: Any = None, **settings: Any
) -> None:
    async def main() -> None:
        async with Server(answer, Config(port=0, **settings), authenticate=authenticate) as server:
            await script(server, server.urls[0])

    run_virtually(main())


async def is_refused(url: str, status: int, code: int) -> Refused:
    """By status, and by close code where `wsserver.v1` is offered."""
    with pytest.raises(Refused) as caught:
        async with Peer.connect(url):
            """Never let in."""
    assert caught.value.status == status
    assert "\r\nRetry-After: " in caught.value.head
    async with Peer.socket(url) as peer:
        await peer.write(request("/ws/chat", V1))
        await peer.read_head()
        assert (await peer.closed())[0] == code
        assert await peer.gone() == b""
    return caught.value


async def is_let_in(url: str) -> None:
    async with Peer.connect(url) as peer:
        await peer.ask("hello")
        await peer.turn()


async def room(server: Server, connections: int) -> None:
    """Waits until only so many sockets are left."""
    while len(server.sockets) > connections:  # noqa: ASYNC110 — there is no event but for the last of them
        await asyncio.sleep(0.01)


class TestConnections:
    def test_open_sockets_of_one_address(self) -> None:
        """Twice as many as connections; those beyond are aborted without an answer, whatever they say."""

        async def script(server: Server, url: str) -> None:
            async with AsyncExitStack() as silent:
                for _ in range(4):
                    await silent.enter_async_context(Peer.socket(url))
                async with Peer.socket(url) as further:
                    with suppress(ConnectionError):
                        await further.write(request())
                    assert await further.gone() == b""
                assert server.seats.sockets["127.0.0.1"] == 4
            await room(server, 0)
            assert not len(server.seats.sockets)
            await is_let_in(url)

        serve(script, max_connections_per_ip=2)

    def test_admitted_connections_of_one_address(self) -> None:
        async def script(server: Server, url: str) -> None:
            async with Peer.connect(url):
                async with Peer.connect(url):
                    refused = await is_refused(url, 429, 4504)
                    assert "from your address" in refused.body
                await room(server, 1)
                await is_let_in(url)

        serve(script, max_connections_per_ip=2)

    def test_who_comes_back_at_the_limit_takes_the_place_of_its_older_connection(self) -> None:
        """Its phone has lost the network, and the server does not know yet."""

        async def script(server: Server, url: str) -> None:
            async with Peer.connect(f"{url}?user=ann") as older, Peer.connect(f"{url}?user=bob") as other:
                comes_back = f"{url}{older.resume(0)}&user=ann"
                for wrong in (url, f"{url}{older.resume(0)}&user=bob", comes_back.replace("resume=s_", "resume=s_x")):
                    await is_refused(wrong, 429, 4504)
                assert server.seats.addresses["127.0.0.1"] == 2
                async with Peer.connect(comes_back) as newer:
                    assert newer.session["data"]["resumed"] is True
                    assert (await older.closed())[0] == 4502
                    await room(server, 2)
                    assert server.seats.addresses["127.0.0.1"] == server.seats.connections[None] == 2
                    await is_refused(f"{url}?user=ann", 429, 4504)
                    await other.ask("hello")
                    await other.turn()

        serve(script, authenticate=name, max_connections_per_ip=2)

    def test_connections_in_all(self) -> None:
        async def script(server: Server, url: str) -> None:
            async with Peer.connect(url):
                await is_refused(url, 503, 1013)
            await room(server, 0)
            await is_let_in(url)

        serve(script, max_connections=1)

    def test_connections_of_one_user(self) -> None:
        async def script(server: Server, url: str) -> None:
            async with Peer.connect(url):
                refused = await is_refused(url, 429, 4504)
                assert "of this user" in refused.body
                await is_let_in(f"{url}?user=bob")
            await room(server, 0)
            await is_let_in(url)

        serve(script, authenticate=name, max_connections_per_user=1)

    def test_handshakes_of_one_address_each_second(self) -> None:
        async def script(server: Server, url: str) -> None:
            for _ in range(8):  # four seconds' worth at once
                await is_let_in(url)
            refused = await is_refused(url, 429, 4504)
            assert "too many handshakes" in refused.body
            [line] = [line for line in refused.head.splitlines() if line.startswith("Retry-After")]
            await asyncio.sleep(int(line.split()[1]))
            await is_let_in(url)

        serve(script, handshake_rate=2)

    def test_a_refused_client_holds_no_place_while_it_stays(self) -> None:
        async def script(server: Server, url: str) -> None:
            async with Peer.socket(url) as refused:
                await refused.write(request("/elsewhere"))
                assert (await refused.gone()).startswith(b"HTTP/1.1 404")
                await is_let_in(url)

        serve(script, max_connections=1, max_connections_per_ip=1)


class TestMessages:
    """`--message-rate`: first a warning that can be obeyed, then 4008."""

    def test_rate_limited_says_when_to_come_again_and_means_it(self) -> None:
        async def script(server: Server, url: str) -> None:
            async with Peer.connect(url) as peer:
                for _ in range(4):
                    await peer.ask("hello")
                    await peer.turn()
                for number in (1, 2):
                    await peer.ask("hello", id=f"m{number}")
                    error = (await peer.event("error"))["data"]
                    later = error.pop("retry_after")
                    assert error == {
                        "code": "rate_limited",
                        "message": "messages too fast",
                        "retryable": True,
                        "final": False,
                        "ref": f"m{number}",
                    }
                    await asyncio.sleep(later)
                    await peer.ask("hello", id=f"m{number}")
                    assert [event["event"] for event in await peer.turn()] == ["ack", "start", "token", "complete"]

        serve(script, message_rate=1)

    @pytest.mark.parametrize("rate", [20, 1, 0.1])
    def test_who_goes_on_is_closed_with_4008_but_not_without_a_warning(self, rate: float) -> None:
        async def script(server: Server, url: str) -> None:
            async with Peer.connect(url) as peer:
                for _ in range(1 + round(3 * max(4, 1 / rate) * rate)):
                    await peer.send({"event": "ping"})
                events = []
                first, payload = await peer.frame()
                while first != 0x80 | CLOSE:
                    events.append(payload)
                    first, payload = await peer.frame()
                assert int.from_bytes(payload[:2], "big") == 4008
                assert b'"event":"pong"' in events[0]
                assert b'"code":"rate_limited"' in events[-1]

        serve(script, message_rate=rate)

    def test_who_is_too_fast_can_still_stop(self) -> None:
        async def script(server: Server, url: str) -> None:
            async with Peer.connect(url) as peer:
                await peer.ask("wait")
                for _ in range(4):
                    await peer.send({"event": "ping", "data": {}})
                await peer.send({"event": "stop"})
                events = await peer.turn()
                assert "rate_limited" in [event["data"].get("code") for event in events]
                assert events[-1]["data"] == {"status": "stopped", "final": True}

        serve(script, message_rate=1)


class TestTurnsOfOneUser:
    def test_rate_limited_until_another_session_is_idle(self) -> None:
        async def script(server: Server, url: str) -> None:
            async with Peer.connect(url) as one, Peer.connect(url) as two:
                await one.ask("wait")
                await one.event("start")
                await two.ask("hello", id="m1")
                error = (await two.event("error"))["data"]
                assert error.pop("message")
                assert error == {
                    "code": "rate_limited",
                    "retryable": True,
                    "final": False,
                    "ref": "m1",
                    "retry_after": 1.0,
                }
                async with Peer.connect(f"{url}?user=bob") as other:
                    await other.ask("hello")
                    assert (await other.turn())[-1]["data"]["status"] == "completed"
                await one.send({"event": "stop"})
                await one.event("token")
                await one.turn()
                await two.ask("hello", id="m1")
                assert (await two.turn())[-1]["data"]["status"] == "completed"

        serve(script, authenticate=name, max_turns_per_user=1)

    def test_a_message_that_was_taken_before_is_acknowledged_all_the_same(self) -> None:
        async def script(server: Server, url: str) -> None:
            async with Peer.connect(url) as one, Peer.connect(url) as two:
                await two.ask("hello", id="m1")
                await two.turn()
                await one.ask("wait")
                await one.event("start")
                await two.ask("hello", id="m1")
                assert (await two.event("ack"))["data"] == {"ref": "m1", "turn": 1, "duplicate": True}

        serve(script, authenticate=name, max_turns_per_user=1)

    @pytest.mark.parametrize("busy", ["queue", "reject", "interrupt"])
    def test_every_place_is_given_back(self, busy: str) -> None:
        """Refused, queued, stopped, a duplicate, timed out, lost: a session holds one place while it is busy."""

        async def script(server: Server, url: str) -> None:
            users = server.turns._users
            async with Peer.connect(url) as peer:
                for ref in ("a", "b", "c", "d", "b"):
                    await peer.ask("wait", id=ref)
                await peer.send({"event": "ping"})
                while (await peer.event())["event"] != "pong":
                    """Whatever was refused."""
                assert users["ann"] == 1
                await peer.send({"event": "stop"})
                await asyncio.sleep(1)
                assert len(users) == 0
                await peer.ask("wait", id="e")
                await asyncio.sleep(30)
                assert len(users) == 0, "turn_timeout"
                await peer.ask("wait")
                await peer.ask("wait")
                await asyncio.sleep(1)
                assert users["ann"] == 1
            await room(server, 0)
            await asyncio.sleep(1)
            assert len(users) == 0

        serve(script, authenticate=name, busy=busy, max_queue=2, turn_timeout=20, on_disconnect="cancel")


class TestMemory:
    def test_where_it_is_short_no_message_waits(self) -> None:
        async def script(server: Server, url: str) -> None:
            pool = server.sessions.pool
            async with Peer.connect(url) as peer, Peer.connect(url) as other:
                await peer.ask("wait", id="m1")
                limit, pool.limit = pool.limit, 0
                while (await peer.event())["event"] != "token":
                    """Until it runs."""
                await peer.ask("more", id="m2")
                error = (await peer.event("error"))["data"]
                assert (error["code"], error["retryable"], error["ref"], error["retry_after"]) == (
                    "overloaded",
                    True,
                    "m2",
                    1.0,
                )
                await peer.ask("wait", id="m1")
                assert (await peer.event("ack"))["data"]["duplicate"] is True
                await other.ask("hello")
                assert (await other.turn())[-1]["data"]["status"] == "completed", "what need not wait is answered"
                pool.limit = limit
                await peer.ask("more", id="m2")
                assert (await peer.event("ack"))["data"]["queued"] == 1

        serve(script)

    def test_the_text_of_an_answer_that_goes_on_is_counted(self) -> None:
        async def long(turn: Turn) -> AsyncIterator[str]:
            for _ in range(300):
                yield "x" * 1000
                await asyncio.sleep(0.01)

        async def main() -> None:
            config = Config(port=0, max_memory=100_000, max_log_size=20_000)
            async with Server(long, config) as server, Peer.connect(server.urls[0]) as peer:
                await peer.ask("go")
                assert len(text_of(await peer.turn())) == 300_000, "all of it is shown"
                await peer.send({"event": "history"})
                answer = (await peer.event("history"))["data"]["items"][-1]
                assert answer["truncated"] is True
                assert 50_000 < len(answer["content"]) < 150_000

        run_virtually(main())


# -- every slot on every way out -------------------------------------------------------------------------------------


async def on_open(session: SessionView, request: Request) -> None:
    session.history = [{"role": "user", "content": "x" * 500}]
    what = parse_qs(request.query).get("do", [""])[-1]
    if what == "refuse":
        raise HandshakeError(403, "no")
    if what == "fail":
        raise RuntimeError("boom")
    if what == "cancel":
        raise asyncio.CancelledError
    if what == "hang":
        await asyncio.Event().wait()
    if what == "swallow":
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
    if what == "wait":
        await asyncio.sleep(0.3)


LAST_WORDS = {
    "closed": masked(CLOSE, b"\x03\xe8"),
    "end": masked(TEXT, b'{"event":"end"}'),
    "end in a turn": masked(TEXT, b'{"content":"wait"}') + masked(TEXT, b'{"event":"end"}'),
    "binary": masked(BINARY, b"x"),
    "no UTF-8": masked(TEXT, b"\xff"),
    "protocol error": masked(TEXT, b"x", first=0xF0),
    "too fast": masked(TEXT, b"{}") * 400,
    "too big": masked(TEXT, bytes(70_000)),
}

ENDS = [*LAST_WORDS, "lost", "ended by the application", "taken over"]
REQUESTS = {
    "silent": b"",
    "half a request": request()[:40],
    "malformed": b"\x16\x03\x01\r\n\r\n",
    "404": request("/elsewhere"),
    "426": b"GET /ws/chat HTTP/1.1\r\nHost: x\r\n\r\n",
    "health": b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
    "400 for its claim": request("/ws/chat?resume="),
    **{
        f"{what} {kind}": request(f"/ws/chat?do={what}", *headers)
        for what in ("refuse", "fail", "cancel", "hang", "swallow")
        for kind, headers in (("plainly", ()), ("by code", (V1,)))
    },
}


async def knock(url: str, rng: random.Random) -> None:
    """Comes no further than its handshake, and waits for the answer or not."""
    raw = REQUESTS[rng.choice(list(REQUESTS))]
    async with Peer.socket(url) as peer:
        with suppress(ConnectionError):
            await peer.write(raw)
            if rng.random() < 0.5:
                await asyncio.sleep(rng.random())
            else:
                await peer.gone()


async def converse(server: Server, url: str, rng: random.Random) -> None:
    """Comes in, if there is room, and goes out in one of many ways."""
    url += f"?user={rng.choice(['ann', 'bob'])}" + ("&do=wait" if rng.random() < 0.3 else "")
    end = rng.choice(ENDS)
    with suppress(Refused, ConnectionError, asyncio.IncompleteReadError):
        async with Peer.connect(url) as peer:
            if rng.random() < 0.5:
                await peer.ask("wait")
            if end == "taken over":
                async with Peer.connect(f"{url}&resume={peer.session['data']['resume_token']}") as newer:
                    await peer.gone()
                    await newer.write(LAST_WORDS["end"])
                    await newer.gone()
            elif end == "ended by the application":
                await server.end(peer.session["session_id"])
                await peer.gone()
            elif end != "lost":
                await peer.write(LAST_WORDS[end])
                await peer.gone()


def come_and_go(server: Server, rng: random.Random) -> Coroutine[Any, Any, None]:
    url = server.urls[0]
    return converse(server, url, rng) if rng.random() < 0.6 else knock(url, rng)


@pytest.mark.parametrize("seed", range(5))
def test_every_slot_is_given_back_on_every_way_out(seed: int, caplog: pytest.LogCaptureFixture) -> None:
    """Random crowds within and beyond all limits: when all are gone, nothing is held."""
    rng = random.Random(seed)
    limits = {"max_connections": 12, "max_connections_per_ip": 8, "max_connections_per_user": 4, "handshake_rate": 500}

    async def main() -> None:
        config = Config(port=0, open_timeout=2, close_timeout=2, resume_ttl=1, max_turns_per_user=2, **limits)  # type: ignore[arg-type]
        async with Server(answer, config, authenticate=name, on_open=on_open) as server:
            for _ in range(10):
                await asyncio.gather(*(come_and_go(server, rng) for _ in range(rng.randrange(1, 20))))
            await server.sockets.emptied()
            await asyncio.sleep(10)
            seats = server.seats
            assert [len(held) for held in (seats.sockets, seats.connections, seats.addresses, seats.users)] == [0] * 4
            assert (len(server.sessions), len(server.turns.runs), len(server.turns._users)) == (0, 0, 0)
            assert server.sessions.pool.used == 0
            assert not server.admissions
        assert len(server.sweeper) == 0

    run_virtually(main())
