"""Tokens that their authorization server is asked about (RFC 7662)."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests.clock import run_virtually
from tests.issuer import Endpoint
from wsserver import HandshakeError, User
from wsserver.guard.claims import LEEWAY, InvalidToken, Policy
from wsserver.net.auth import introspection
from wsserver.net.auth.fetch import Fetcher
from wsserver.net.auth.introspection import Introspection

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ACTIVE = {"active": True, "sub": "ada"}


class WallClock:
    """What `time.time()` says there."""

    def __init__(self) -> None:
        self.now = time.time()

    def time(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> WallClock:
    clock = WallClock()
    monkeypatch.setattr(introspection, "time", clock)
    return clock


@asynccontextmanager
async def asking(answer: Any, *client: str) -> AsyncIterator[tuple[Endpoint, Introspection]]:
    async with Endpoint(answer).serving() as endpoint:
        verifier = Introspection(Policy(frozenset()), Fetcher("introspection_url", endpoint.url), *client)
        try:
            yield endpoint, verifier
        finally:
            await verifier.close()


def test_it_is_asked_as_a_client() -> None:
    async def main() -> None:
        async with asking(ACTIVE, "chat server", "p:ß") as (endpoint, verifier):
            assert await verifier.user_of("a+b") == User("ada")
            [request] = endpoint.requests
            assert request.startswith("POST ")
            assert "Authorization: Basic Y2hhdCtzZXJ2ZXI6cCUzQSVDMyU5Rg==\r\n" in request  # chat+server:p%3A%C3%9F
            assert request.endswith("\r\n\r\ntoken=a%2Bb")

    run_virtually(main())


def test_what_is_not_active_is_asked_about_each_time() -> None:
    async def main() -> None:
        async with asking({"active": False}) as (endpoint, verifier):
            for _ in range(3):
                with pytest.raises(InvalidToken, match="not active"):
                    await verifier.user_of("x")
            assert len(endpoint.requests) == 3
            assert "Authorization" not in endpoint.requests[0]

    run_virtually(main())


def test_an_answer_is_kept_for_half_a_minute(clock: WallClock) -> None:
    async def main() -> None:
        async with asking(ACTIVE) as (endpoint, verifier):
            for wait, asked in ((0, 1), (29, 1), (2, 2), (29, 2)):
                clock.now += wait
                await verifier.user_of("x")
                assert len(endpoint.requests) == asked
            endpoint.body = {"active": False}
            clock.now += 2
            with pytest.raises(InvalidToken):
                await verifier.user_of("x")

    run_virtually(main())


def test_an_answer_is_not_kept_beyond_its_end(clock: WallClock) -> None:
    async def main() -> None:
        async with asking({**ACTIVE, "exp": clock.now - LEEWAY + 10}) as (endpoint, verifier):
            assert (await verifier.user_of("x")).expires == pytest.approx(clock.now + 10)
            clock.now += 9
            await verifier.user_of("x")
            assert len(endpoint.requests) == 1
            clock.now += 2
            with pytest.raises(InvalidToken, match="expired"):
                await verifier.user_of("x")

    run_virtually(main())


def test_few_answers_are_kept_and_no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(introspection, "_MAX_ENTRIES", 3)

    async def main() -> None:
        async with asking(ACTIVE) as (endpoint, verifier):
            for name in "abcd":
                await verifier.user_of(f"a-token-{name}")
            assert len(verifier._kept) == 3
            assert "a-token" not in repr(verifier._kept)
            for name in "dcb":
                await verifier.user_of(f"a-token-{name}")
            assert len(endpoint.requests) == 4
            await verifier.user_of("a-token-a")
            assert len(endpoint.requests) == 5

    run_virtually(main())


@pytest.mark.parametrize("answer", [b"", b"<html>", [], b'{"active":true,"active":false}'])
def test_where_nobody_can_say_it_is_503(answer: Any) -> None:
    async def main() -> None:
        async with asking(answer) as (_, verifier):
            with pytest.raises(HandshakeError) as caught:
                await verifier.user_of("x")
            assert caught.value.status == 503

    run_virtually(main())


def test_those_who_ask_at_the_same_time_are_served_by_few_connections() -> None:
    async def main() -> None:
        async with asking(ACTIVE) as (endpoint, verifier):
            endpoint.gate.clear()
            asking_now = [asyncio.ensure_future(verifier.user_of(f"t{number}")) for number in range(30)]
            await asyncio.sleep(1)
            assert len(endpoint.requests) == 8
            endpoint.gate.set()
            assert {user.id for user in await asyncio.gather(*asking_now)} == {"ada"}

    run_virtually(main())
