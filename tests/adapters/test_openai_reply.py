"""An answer, put together from the chunks of a stream."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.adapters.endpoint import calls, says
from tests.adapters.openai_talking import ask, error_of, weather
from tests.peer import text_of

if TYPE_CHECKING:
    from tests.adapters.endpoint import Response


def test_what_a_model_may_send_beside_text() -> None:
    async def step(response: Response) -> None:
        await response.chunk({"role": "assistant", "content": ""})
        await response.write('{"id":"c1","object":"chat.completion.chunk","created":1,"model":"m","choices":[]}')
        await response.chunk({"reasoning_content": "Hm."})
        await response.chunk({"reasoning_content": "Well."})
        await response.chunk({"content": None, "refusal": "I had rather not."})
        await response.end("length")

    events, _ = ask(step)
    assert [event["event"] for event in events] == ["start", "status", "token", "status", "complete"]
    assert text_of(events) == "I had rather not."
    assert events[1]["data"]["message"] == "Thinking …"
    assert "greatest length" in events[3]["data"]["message"]


def test_calls_that_all_have_the_same_index() -> None:
    async def step(response: Response) -> None:
        for number, city in enumerate(("Rome", "Oslo")):
            function = {"name": "weather", "arguments": f'{{"city": "{city}"}}'}
            await response.chunk({"tool_calls": [{"index": 0, "id": f"c{number}", "function": function}]})
        await response.end("stop")

    _, bodies = ask(step, says("Sun."), tools={"weather": weather})
    assert [said["content"] for said in bodies[1]["messages"][-2:]] == ["Sun in Rome", "Sun in Oslo"]


@pytest.mark.parametrize("what", ["arguments", "calls"])
def test_an_endpoint_that_does_not_end(what: str) -> None:
    gone = asyncio.Event()

    async def step(response: Response) -> None:
        try:
            for number in range(10**6):
                index = number if what == "calls" else 0
                function = {"name": "weather", "arguments": "x" * (1 if what == "calls" else 100_000)}
                await response.chunk({"tool_calls": [{"index": index, "id": f"c{index}", "function": function}]})
        finally:
            gone.set()

    events, bodies = ask(step, tools={"weather": weather})
    assert error_of(events) == ("upstream_too_much", False)
    assert len(bodies) == 1
    assert [event["event"] for event in events] == ["start", "error"], "nothing was run"
    assert gone.is_set(), "it was told"


def test_arguments_that_are_nested_too_deeply_are_shown_as_text() -> None:
    arguments = "[" * 20_000
    events, bodies = ask(calls(("weather", arguments)), says("Sun."), tools={"weather": weather})
    assert next(event for event in events if event["event"] == "tool")["data"]["input"] == arguments
    assert bodies[1]["messages"][-1]["content"].startswith("error: ")
    assert text_of(events) == "Sun."
