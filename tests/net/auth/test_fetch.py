"""Asking an address over HTTP: what is no answer, how long and how much is waited for, and what the log says."""

from __future__ import annotations

import asyncio
import gzip
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from tests.clock import run_virtually
from tests.issuer import Endpoint
from wsserver import ConfigError
from wsserver.net.auth.fetch import MAX_SIZE, Fetcher, Unavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@asynccontextmanager
async def fetching(body: object = b"hello") -> AsyncIterator[tuple[Endpoint, Fetcher]]:
    async with Endpoint(body).serving() as endpoint:
        fetcher = Fetcher("jwks_url", endpoint.url)
        try:
            yield endpoint, fetcher
        finally:
            await fetcher.close()


def refuse(data: bytes) -> None:
    raise ValueError("of no use")


def test_get_and_post() -> None:
    async def main() -> None:
        async with fetching() as (endpoint, fetcher):
            assert await fetcher.fetch(bytes.upper) == b"HELLO"
            await fetcher.fetch(bytes.upper, {"token": "a b"}, "Basic eA==")
            get, post = endpoint.requests
            assert get.startswith("GET /answer?secret=of-the-address HTTP/1.1\r\n")
            assert "Authorization" not in get
            assert "Accept-Encoding: identity\r\n" in get
            assert post.startswith("POST /answer?secret=of-the-address HTTP/1.1\r\n")
            assert "Content-Type: application/x-www-form-urlencoded\r\n" in post
            assert "Authorization: Basic eA==\r\n" in post
            assert post.endswith("\r\n\r\ntoken=a+b")

    run_virtually(main())


@pytest.mark.parametrize(
    ("status", "headers", "body"),
    [
        (404, "", b""),
        (201, "", b"hello"),
        (302, "Location: /elsewhere\r\n", b""),
        (200, "", bytes(MAX_SIZE + 1)),
        (200, "Transfer-Encoding: chunked\r\n", b"nonsense"),
    ],
)
def test_what_is_no_answer(status: int, headers: str, body: bytes) -> None:
    async def main() -> None:
        async with fetching(body) as (endpoint, fetcher):
            endpoint.status, endpoint.headers = status, headers
            with pytest.raises(Unavailable):
                await fetcher.fetch(bytes.upper)
            assert len(endpoint.requests) == 1

    run_virtually(main())


def test_nothing_is_inflated() -> None:
    async def main() -> None:
        bomb = gzip.compress(bytes(10 * MAX_SIZE))
        async with fetching(bomb) as (endpoint, fetcher):
            endpoint.headers = "Content-Encoding: gzip\r\n"
            assert await fetcher.fetch(len) == len(bomb)

    run_virtually(main())


@pytest.mark.parametrize("pace", [0, 2])
def test_it_is_not_waited_for_for_long(pace: int) -> None:
    """Neither for an answer that does not come, nor for one that comes byte by byte."""

    async def main() -> float:
        loop = asyncio.get_running_loop()
        async with fetching() as (endpoint, fetcher):
            endpoint.pace = pace
            if not pace:
                endpoint.gate.clear()
            with pytest.raises(Unavailable):
                await fetcher.fetch(bytes.upper)
            return loop.time()

    assert run_virtually(main()) == pytest.approx(5, abs=0.5)


def test_the_log_says_once_that_it_fails_and_nothing_of_the_address(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with fetching() as (endpoint, fetcher):
            for status in (500, 500, 200, 503):
                endpoint.status = status
                try:
                    await fetcher.fetch(bytes.upper)
                except Unavailable:
                    assert status != 200
            endpoint.status = 200
            with pytest.raises(Unavailable, match="of no use"):
                await fetcher.fetch(refuse)
        with pytest.raises(Unavailable):
            gone = Fetcher("jwks_url", endpoint.url)
            await gone.fetch(bytes.upper)
        await gone.close()

    run_virtually(main())
    ours = [record.getMessage() for record in caplog.records if record.name.startswith("wsserver")]
    assert ours == [
        "--jwks-url gives no usable answer: status 500",
        "--jwks-url gives no usable answer: status 503",
        "--jwks-url gives no usable answer: ConnectError",
    ]


@pytest.mark.parametrize(
    "url",
    [
        "keys",
        "file:///etc/passwd",
        "ftp://x/",
        "http:///keys",
        "https://ada:secret@x/",
        "https://x:port/",
        "https://[x/",
        "https://x/#keys",
    ],
)
def test_what_is_no_address(url: str) -> None:
    with pytest.raises(ConfigError, match="--jwks-url takes an address like") as caught:
        Fetcher("jwks_url", url)
    assert "secret" not in str(caught.value)
