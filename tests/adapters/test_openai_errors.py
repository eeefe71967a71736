"""What goes wrong at an endpoint, as the person is told it."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import pytest
from openai import AsyncOpenAI

from tests.adapters.endpoint import KEY, refuses, says
from tests.adapters.openai_talking import ask, error_of
from tests.adapters.running import LONG
from tests.peer import text_of

if TYPE_CHECKING:
    from tests.adapters.endpoint import Response, Step


@pytest.mark.parametrize(
    "step, code, retryable",
    [
        (refuses(400), "upstream_rejected", False),
        (refuses(400, code="context_length_exceeded"), "upstream_too_long", False),
        (refuses(401), "upstream_denied", False),
        (refuses(403), "upstream_denied", False),
        (refuses(404), "upstream_not_found", False),
        (refuses(429), "upstream_rate_limited", True),
        (refuses(429, code="insufficient_quota"), "upstream_quota", False),
        (refuses(500), "upstream_failed", True),
        (refuses(503), "upstream_failed", True),
    ],
)
def test_a_refusal(step: Step, code: str, retryable: bool) -> None:
    events, _ = ask(step, max_retries=0)
    assert error_of(events) == (code, retryable)


@pytest.mark.parametrize("status", [400, 401, 500])
def test_the_key_is_told_to_nobody(status: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    events, _ = ask(refuses(status, f"Incorrect API key {KEY}, see /v1/keys"), max_retries=0)
    assert "see /v1/keys" in caplog.text
    assert KEY not in caplog.text + str(events)
    assert "keys" not in str(events)


def test_no_stream_of_the_format() -> None:
    async def step(response: Response) -> None:
        await response.text("Hel")
        await response.write("<html>")

    events, _ = ask(step)
    assert (text_of(events), error_of(events)) == ("Hel", ("upstream_cut", True))


@pytest.mark.parametrize(
    "error, code, retryable",
    [
        ({"message": "engine died", "type": "server_error"}, "upstream_failed", True),
        ({"message": "slow down", "code": "rate_limit_exceeded"}, "upstream_rate_limited", True),
    ],
)
def test_an_error_in_place_of_a_chunk(error: dict[str, str], code: str, retryable: bool) -> None:
    async def step(response: Response) -> None:
        await response.text("Hel")
        await response.write(str({"error": error}).replace("'", '"'))

    events, _ = ask(step)
    assert (text_of(events), error_of(events)) == ("Hel", (code, retryable))


def test_what_its_filter_holds_back() -> None:
    events, _ = ask(says("Well, ", finish="content_filter"))
    assert (text_of(events), error_of(events)) == ("Well, ", ("upstream_filtered", False))


def test_an_endpoint_that_is_too_slow() -> None:
    async def step(response: Response) -> None:
        await asyncio.sleep(LONG)

    events, _ = ask(step, patience=0.1, max_retries=0)
    assert error_of(events) == ("upstream_timeout", True)


def test_a_stream_that_is_too_slow() -> None:
    async def step(response: Response) -> None:
        await response.text("Hel")
        await asyncio.sleep(LONG)

    events, _ = ask(step, patience=0.1)
    assert text_of(events) == "Hel"
    assert error_of(events)[1]


def test_nobody_is_there() -> None:
    client = AsyncOpenAI(base_url="http://127.0.0.1:9/v1", api_key=KEY, max_retries=0)
    events, _ = ask(client=client)
    assert error_of(events) == ("upstream_unreachable", True)
