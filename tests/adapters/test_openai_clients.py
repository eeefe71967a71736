"""The clients through which a model is asked, of the real package."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
import uvloop

from tests.adapters.endpoint import Endpoint, says
from wsserver.adapters.openai import DEFAULT_MODEL, callback
from wsserver.adapters.openai_clients import Made

if TYPE_CHECKING:
    from collections.abc import Callable

    from openai import AsyncOpenAI


def test_an_endpoint_of_ones_own_needs_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    assert repr(callback()) == f"<Chat with {DEFAULT_MODEL} at http://127.0.0.1:9/v1/>"


@pytest.mark.parametrize("loop", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_every_loop_has_a_client_and_closes_it(loop: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    made = Made()

    async def main() -> AsyncOpenAI:
        client = await made.get()
        assert await made.get() is client
        async with Endpoint.serve(says("Hello")) as endpoint:
            asking = client.with_options(base_url=endpoint.url).chat.completions
            async with await asking.create(model="m", messages=[], stream=True) as stream:
                assert [chunk async for chunk in stream]
            assert not client.is_closed()
            return client

    first, second = loop(main()), loop(main())
    assert first is not second
    assert first.is_closed() and second.is_closed()
