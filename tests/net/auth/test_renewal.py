"""The end of a token on an open connection: notice, fresh token, close; and nothing of it where no token ends."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.clock import run_virtually
from tests.issuer import SECRET, signed
from tests.peer import TEXT, Peer, masked
from wsserver import Config, HandshakeError, Request, Server, Turn, User

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine


async def answer(turn: Turn) -> AsyncIterator[str]:
    yield "one "
    await asyncio.sleep(1000)
    yield "two"


class Desk:
    """Knows tokens of the form `name-seconds`; where `gate` is closed those with seconds wait, and it may fail."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.gate.set()
        self.failure: Exception | None = None
        self.requests: list[Request] = []
        self.cancelled = False

    async def __call__(self, request: Request) -> User | None:
        self.requests.append(request)
        if self.failure is not None:
            raise self.failure
        name, _, seconds = request.headers["authorization"].removeprefix("Bearer ").partition("-")
        try:
            if seconds:
                await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        if name == "nobody":
            return None
        return User(name, time.time() + float(seconds) if seconds else None)


def serve(
    script: Callable[[Server, Desk], Coroutine[Any, Any, None]], *, logs_in: bool = True, **settings: Any
) -> None:
    async def main() -> None:
        desk = Desk()
        # The peer of these tests answers no pings.
        config = Config(port=0, ping_interval=0, **settings)
        async with Server(answer, config, authenticate=desk if logs_in else None) as server:
            await script(server, desk)

    run_virtually(main())


def bearer(token: str) -> str:
    return f"Authorization: Bearer {token}"


def now() -> float:
    return asyncio.get_running_loop().time()


async def renew(peer: Peer, token: str, **fields: Any) -> dict[str, Any]:
    await peer.send({"event": "auth", "data": {"token": token}, **fields})
    event = await peer.event()
    return {"event": event["event"], **event["data"]}


class TestTheEnd:
    @pytest.mark.parametrize(("lifetime", "notice"), [(3600, 60), (100, 10)])
    def test_notice_and_close(self, lifetime: int, notice: int) -> None:
        async def story(server: Server, desk: Desk) -> None:
            async with Peer.connect(server.urls[0], bearer(f"ada-{lifetime}")) as peer:
                expiring = await peer.event("auth_expiring")
                assert expiring["data"]["expires_in"] == pytest.approx(notice, abs=0.5)
                assert "seq" not in expiring
                assert now() == pytest.approx(lifetime - notice, abs=0.5)
                assert await peer.closed() == (4005, "the token has expired: come back with a fresh one")
                assert now() == pytest.approx(lifetime, abs=0.5)

        serve(story)

    def test_the_session_waits_for_the_same_user(self) -> None:
        async def story(server: Server, desk: Desk) -> None:
            async with Peer.connect(server.urls[0], bearer("ada-100")) as first:
                await first.ask("go")
                assert [(await first.event())["event"] for _ in range(3)] == ["start", "token", "auth_expiring"]
                await first.closed()
            async with Peer.connect(server.urls[0] + first.resume(2), bearer("eve-100")) as eve:
                assert eve.session["data"]["resumed"] is False
            async with Peer.connect(server.urls[0] + first.resume(2), bearer("ada-100")) as again:
                assert again.session["data"]["recovered"] is True
                assert again.session["data"]["active_turn"] == 1

        serve(story)

    def test_nothing_is_sent_after_it(self) -> None:
        async def story(server: Server, desk: Desk) -> None:
            async with Peer.connect(server.urls[0], bearer("ada-10")) as peer:
                await peer.event("auth_expiring")
                await peer.closed()
                await server.push(peer.session["session_id"], "secret", {})
                await peer.write(masked(TEXT, b'{"content":"too late"}'))
                assert await peer.gone() == b""

        serve(story)

    def test_of_an_echo(self) -> None:
        async def story(server: Server, desk: Desk) -> None:
            async with Peer.connect(server.urls[0], bearer("ada-100"), echo=True) as peer:
                assert (await peer.closed())[0] == 4005
                assert now() == pytest.approx(100, abs=0.5)

        serve(story, echo=True)

    def test_without_an_end_there_is_nothing(self) -> None:
        async def story(server: Server, desk: Desk) -> None:
            async with Peer.connect(server.urls[0], bearer("ada")) as peer:
                assert not server.expiries
                await asyncio.sleep(5000)
                await peer.send({"event": "ping", "data": 1})
                await peer.event("pong")

        serve(story)

    def test_it_costs_no_visit_and_no_task_of_its_own(self) -> None:
        async def story(server: Server, desk: Desk) -> None:
            async with Peer.connect(server.urls[0], bearer("ada-3600")):
                assert len(server.sweeper) == 1
                assert len(server.expiries) == 1
                assert len(server.renewals) == 0
                assert asyncio.all_tasks() == {asyncio.current_task()}

        serve(story)


class TestFreshTokens:
    def test_one_puts_the_end_off(self) -> None:
        async def story(server: Server, desk: Desk) -> None:
            async with Peer.connect(server.urls[0], bearer("ada-100")) as peer:
                await peer.event("auth_expiring")
                assert await renew(peer, "ada-600", id="a1") == {"event": "ack", "ref": "a1"}
                renewed = now()
                await peer.event("auth_expiring")
                assert now() == pytest.approx(renewed + 540, abs=0.5)
                assert (await peer.closed())[0] == 4005
                assert now() == pytest.approx(renewed + 600, abs=0.5)

        serve(story)

    def test_one_without_end_takes_the_end_away_and_one_with_an_end_brings_it(self) -> None:
        async def story(server: Server, desk: Desk) -> None:
            async with Peer.connect(server.urls[0], bearer("ada-100")) as peer:
                assert await renew(peer, "ada") == {"event": "ack"}
                await asyncio.sleep(1000)
                assert await renew(peer, "ada-50") == {"event": "ack"}
                await peer.event("auth_expiring")
                assert (await peer.closed())[0] == 4005
                assert now() == pytest.approx(1050, abs=0.5)

        serve(story)

    @pytest.mark.parametrize("token", ["eve-600", "nobody", "", "a b", "ada-600\r\nX: y", "x" * 16385, "ada--1"])
    def test_a_bad_one_changes_nothing(self, token: str) -> None:
        async def story(server: Server, desk: Desk) -> None:
            async with Peer.connect(server.urls[0], bearer("ada-100")) as peer:
                error = await renew(peer, token, id="a1")
                assert (error["event"], error["code"], error["ref"]) == ("error", "invalid_token", "a1")
                assert (error["final"], error["retryable"]) == (False, False)
                await peer.event("auth_expiring")
                assert (await peer.closed())[0] == 4005
                assert now() == pytest.approx(100, abs=0.5)

        serve(story)

    def test_where_nobody_logs_in(self) -> None:
        async def story(server: Server, desk: Desk) -> None:
            async with Peer.connect(server.urls[0]) as peer:
                error = await renew(peer, "ada-600")
                assert (error["code"], error["message"]) == ("invalid_token", "nobody is asked for a token here")

        serve(story, logs_in=False)

    def test_it_is_asked_with_nothing_but_the_token(self) -> None:
        async def story(server: Server, desk: Desk) -> None:
            async with Peer.connect(f"{server.urls[0]}?x=1", bearer("ada-100"), "Cookie: c=1") as peer:
                await renew(peer, "ada-600")
                assert desk.requests[0].headers["cookie"] == "c=1"
                fresh = desk.requests[1]
                assert (fresh.path, fresh.query, fresh.headers) == ("/ws/chat", "", {"authorization": "Bearer ada-600"})

        serve(story)

    def test_other_messages_do_not_wait_for_it(self) -> None:
        async def story(server: Server, desk: Desk) -> None:
            async with Peer.connect(server.urls[0], bearer("ada-100")) as peer:
                desk.gate.clear()
                await peer.send({"event": "auth", "data": {"token": "ada-600"}, "id": "a1"})
                await peer.send({"event": "ping", "data": 1})
                await peer.event("pong")
                error = await renew(peer, "ada-600", id="a2")
                assert (error["code"], error["retryable"], error["ref"]) == ("rate_limited", True, "a2")
                desk.gate.set()
                assert (await peer.event("ack"))["data"] == {"ref": "a1"}
                assert await renew(peer, "ada-600", id="a3") == {"event": "ack", "ref": "a3"}

        serve(story)

    def test_while_one_is_looked_at_the_old_one_ends_in_time(self) -> None:
        async def story(server: Server, desk: Desk) -> None:
            async with Peer.connect(server.urls[0], bearer("ada-5")) as peer:
                desk.gate.clear()
                await peer.send({"event": "auth", "data": {"token": "ada-600"}})
                await peer.event("auth_expiring")
                assert (await peer.closed())[0] == 4005
                desk.gate.set()
                assert await peer.gone() == b""

        serve(story)

    def test_the_answer_is_not_for_the_connection_that_took_over(self) -> None:
        async def story(server: Server, desk: Desk) -> None:
            async with Peer.connect(server.urls[0], bearer("ada-100")) as first:
                desk.gate.clear()
                await first.send({"event": "auth", "data": {"token": "ada-600"}})
                await first.send({"event": "ping", "data": 1})
                await first.event("pong")
                async with Peer.connect(server.urls[0] + first.resume(0), bearer("ada")) as second:
                    await second.event("replayed")
                    assert (await first.closed())[0] == 4502
                    assert len(server.renewals) == 1
                    desk.gate.set()
                    await second.send({"event": "ping", "data": 2})
                    await second.event("pong")
                    assert len(server.renewals) == 0

        serve(story)

    def test_who_is_gone_is_not_waited_for(self) -> None:
        async def story(server: Server, desk: Desk) -> None:
            async with Peer.connect(server.urls[0], bearer("ada-100")) as peer:
                desk.gate.clear()
                await peer.send({"event": "auth", "data": {"token": "ada-600"}})
                await peer.send({"event": "ping", "data": 1})
                await peer.event("pong")
                assert len(server.renewals) == 1
                peer.reset()
                await server.sockets.emptied()
            assert len(server.renewals) == len(server.expiries) == 0
            await asyncio.sleep(0)
            assert desk.cancelled

        serve(story)


class TestTrouble:
    @pytest.mark.parametrize(
        ("failure", "retryable", "message", "logged"),
        [
            (HandshakeError(503, "tokens cannot be checked now"), True, "the token cannot be checked now", False),
            (HandshakeError(403, "you are blocked"), False, "you are blocked", False),
            (RuntimeError("a secret of ours"), True, "the token cannot be checked now", True),
        ],
    )
    def test_what_the_application_raises(
        self, failure: Exception, retryable: bool, message: str, logged: bool, caplog: pytest.LogCaptureFixture
    ) -> None:
        async def story(server: Server, desk: Desk) -> None:
            async with Peer.connect(server.urls[0], bearer("ada-100")) as peer:
                desk.failure = failure
                error = await renew(peer, "ada-600", id="a1")
                assert (error["code"], error["message"], error["retryable"]) == ("invalid_token", message, retryable)
                assert error.get("retry_after") == (5 if retryable else None)
                desk.failure = None
                assert (await renew(peer, "ada-600"))["event"] == "ack"

        serve(story)
        assert ("a token could not be verified" in caplog.text) is logged

    def test_it_may_not_take_longer_than_a_handshake(self) -> None:
        async def story(server: Server, desk: Desk) -> None:
            async with Peer.connect(server.urls[0], bearer("ada-100")) as peer:
                desk.gate.clear()
                error = await renew(peer, "ada-600")
                assert (error["code"], error["retryable"]) == ("invalid_token", True)
                assert now() == pytest.approx(7, abs=0.5)

        serve(story, open_timeout=7)


def test_with_real_tokens() -> None:
    def token(sub: str, lifetime: float) -> str:
        return signed({"sub": sub, "exp": time.time() + lifetime})

    async def main() -> None:
        async with Server(answer, Config(port=0, ping_interval=0, jwt_secret=SECRET)) as server:
            async with Peer.connect(server.urls[0], bearer(token("ada", 100))) as peer:
                for bad in (token("eve", 600), token("ada", -60), signed({"sub": "ada"}), token("ada", 600)[:-2]):
                    assert (await renew(peer, bad))["code"] == "invalid_token"
                assert await renew(peer, token("ada", 600)) == {"event": "ack"}
                assert (await peer.event("auth_expiring"))["data"]["expires_in"] == pytest.approx(60, abs=1)
                assert (await peer.closed())[0] == 4005
                # What is good for a while after its end counts for as long on a connection.
                assert now() == pytest.approx(630, abs=3)

    run_virtually(main())
