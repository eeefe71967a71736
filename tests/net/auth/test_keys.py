"""Keys that are fetched: when, how often, and what holds while they cannot be had."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests.clock import run_virtually
from tests.issuer import Endpoint, jwk, private, signed
from wsserver import HandshakeError
from wsserver.guard.claims import InvalidToken, Policy
from wsserver.net.auth.fetch import Fetcher
from wsserver.net.auth.keys import PublishedKeys

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

POLICY = Policy(frozenset({"ES256", "RS256"}))


def token(kid: str | None = "one", kind: str = "p256", alg: str = "ES256") -> str:
    header = {"alg": alg, "kid": kid} if kid else {"alg": alg}
    return signed({"sub": "ada", "exp": time.time() + 600}, header, key=private(kind))


def published(*kids: str) -> Any:
    return {"keys": [jwk("p256", kid=kid) for kid in kids]}


@asynccontextmanager
async def publishing(*kids: str) -> AsyncIterator[tuple[Endpoint, PublishedKeys]]:
    async with Endpoint(published(*kids)).serving() as endpoint:
        found = PublishedKeys(POLICY, Fetcher("jwks_url", endpoint.url))
        try:
            yield endpoint, found
        finally:
            await found.close()


def test_they_are_fetched_once_when_they_are_needed() -> None:
    async def main() -> None:
        async with publishing("one") as (endpoint, found):
            assert endpoint.requests == []
            users = await asyncio.gather(*(found.user_of(token()) for _ in range(20)))
            assert {user.id for user in users} == {"ada"}
            await asyncio.sleep(1000)
            await found.user_of(token(None))
            assert len(endpoint.requests) == 1

    run_virtually(main())


def test_a_token_that_is_refused_anyway_fetches_nothing() -> None:
    async def main() -> None:
        async with publishing("one") as (endpoint, found):
            for text in ("nonsense", signed({"sub": "ada"}), signed({}, {"alg": "ES256", "jku": "x"}, using="HS256")):
                with pytest.raises(InvalidToken):
                    await found.user_of(text)
            assert endpoint.requests == []

    run_virtually(main())


def test_an_unknown_name_fetches_them_again_once_a_minute() -> None:
    async def main() -> None:
        async with publishing("one") as (endpoint, found):
            await found.user_of(token())
            endpoint.body = published("two")
            for _ in range(59):
                await asyncio.sleep(1)
                with pytest.raises(InvalidToken, match="there is no key for it"):
                    await found.user_of(token("two"))
                await found.user_of(token())
            assert len(endpoint.requests) == 1
            await asyncio.sleep(2)
            assert (await found.user_of(token("two"))).id == "ada"
            assert len(endpoint.requests) == 2
            with pytest.raises(InvalidToken, match="there is no key for it"):
                await found.user_of(token("one"))

    run_virtually(main())


@pytest.mark.parametrize("body", [b"", b"<html>", {"keys": []}, {"keys": [{"kty": "oct", "k": "eA"}]}, []])
def test_they_stay_where_there_is_nothing_better(body: Any) -> None:
    async def main() -> None:
        async with publishing("one") as (endpoint, found):
            await found.user_of(token())
            endpoint.body = body
            for _ in range(3):
                await asyncio.sleep(100)
                with pytest.raises(InvalidToken):
                    await found.user_of(token("two"))
                assert (await found.user_of(token())).id == "ada"
            assert len(endpoint.requests) == 4

    run_virtually(main())


def test_they_are_looked_after_every_hour_and_nobody_waits_for_it() -> None:
    async def main() -> None:
        async with publishing("one") as (endpoint, found):
            await found.user_of(token())
            await asyncio.sleep(3599)
            await found.user_of(token())
            assert len(endpoint.requests) == 1
            await asyncio.sleep(2)
            endpoint.gate.clear()
            endpoint.body = published("two")
            await found.user_of(token())
            endpoint.gate.set()
            assert (await found.user_of(token("two"))).id == "ada"
            assert len(endpoint.requests) == 2

    run_virtually(main())


def test_without_any_nobody_can_say_and_it_is_tried_again_soon() -> None:
    async def main() -> None:
        async with publishing("one") as (endpoint, found):
            endpoint.status = 500
            for _ in range(4):
                with pytest.raises(HandshakeError) as caught:
                    await found.user_of(token())
                assert (caught.value.status, caught.value.headers) == (503, (("Retry-After", "5"),))
            assert len(endpoint.requests) == 1
            endpoint.status = 200
            await asyncio.sleep(6)
            assert (await found.user_of(token())).id == "ada"

    run_virtually(main())


def test_who_leaves_leaves_the_others_waiting_for_the_same_answer() -> None:
    async def main() -> None:
        async with publishing("one") as (endpoint, found):
            endpoint.gate.clear()
            first, second = (asyncio.ensure_future(found.user_of(token())) for _ in range(2))
            await asyncio.sleep(0)
            first.cancel()
            endpoint.gate.set()
            assert (await second).id == "ada"
            assert first.cancelled()
            assert len(endpoint.requests) == 1

    run_virtually(main())


def test_closing_ends_what_is_under_way() -> None:
    async def main() -> float:
        loop = asyncio.get_running_loop()
        async with publishing("one") as (endpoint, found):
            endpoint.gate.clear()
            waiting = asyncio.ensure_future(found.user_of(token()))
            await asyncio.sleep(1)
            await found.close()
            with pytest.raises(HandshakeError):
                await waiting
        return loop.time()

    assert run_virtually(main()) < 2
