"""The real client against an endpoint on the loopback, in real time: the endpoint must be able to be slow."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from time import perf_counter
from typing import TYPE_CHECKING, Any

import pytest
from openai import AsyncOpenAI

import wsserver.adapters.openai
from tests.adapters.endpoint import KEY, Endpoint, breaks, calls, ends, refuses, says
from tests.adapters.openai_talking import ask, chatting, error_of, weather
from tests.adapters.running import LONG, run
from tests.peer import Event, Peer, text_of
from wsserver import Config, ConfigError, Server, TurnError, cli
from wsserver.adapters.openai import Chat, Function, callback, messages

if TYPE_CHECKING:
    from tests.adapters.endpoint import Response, Step
    from wsserver import Turn


class TestAnswer:
    def test_tokens_and_usage(self) -> None:
        usage: dict[str, Any] = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
        events, [body] = ask(says("Hel", "lo", **usage), model="m", system="Be kind.", temperature=0)
        assert [event["event"] for event in events] == ["start", "token", "token", "complete"]
        assert text_of(events) == "Hello"
        assert events[-1]["data"] == {"status": "completed", "usage": usage, "final": True}
        assert body == {
            "model": "m",
            "stream": True,
            "stream_options": {"include_usage": True},
            "temperature": 0,
            "messages": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "hello"}],
        }

    def test_the_conversation_is_told(self) -> None:
        async def main() -> list[dict[str, Any]]:
            async with Endpoint.serve(says("First."), says("Second.")) as endpoint, chatting(endpoint) as peer:
                for content in "one", "two":
                    await peer.ask(content)
                    await peer.turn()
                return endpoint.bodies

        assert [said["content"] for said in run(main())[1]["messages"]] == ["one", "First.", "two"]

    @pytest.mark.parametrize("content, told", [("hello", "hello"), ({"text": "é"}, '{"text": "é"}')])
    def test_without_a_history_the_message_is_told(self, content: Any, told: str) -> None:
        _, [body] = ask(says("Hi."), content=content, settings={"max_history": 0})
        assert body["messages"] == [{"role": "user", "content": told}]

    def test_a_callback_of_ones_own_may_ask_it(self) -> None:
        async def main() -> list[Event]:
            async with (
                Endpoint.serve(says("a", total_tokens=1), says("b", total_tokens=2)) as endpoint,
                AsyncOpenAI(base_url=endpoint.url, api_key=KEY) as client,
            ):
                chat = callback(client=client)

                async def generate(turn: Turn) -> None:
                    for question in "first", "second":
                        await chat.answer(turn, [{"role": "user", "content": question}])

                async with Server(generate, Config(port=0)) as server, Peer.connect(server.urls[0]) as peer:
                    await peer.ask("go")
                    return await peer.turn()

        events = run(main())
        assert text_of(events) == "ab"
        assert events[-1]["data"]["usage"] == {"total_tokens": 3}


class TestMessages:
    def test_what_was_not_completed(self) -> None:
        history = [
            {"role": "user", "content": "one", "status": "completed"},
            {"role": "assistant", "content": "Fir", "status": "stopped"},
            {"role": "user", "content": "two", "status": "completed"},
            {"role": "assistant", "content": "", "status": "failed"},
            {"role": "tool", "content": "of the application's own", "status": "completed"},
            {"role": "user", "content": "three", "status": "completed"},
        ]
        assert messages(history, system="Be kind.") == [
            {"role": "system", "content": "Be kind."},
            {"role": "user", "content": "one"},
            {"role": "assistant", "content": "Fir […]"},
            {"role": "user", "content": "two\n\nthree"},
        ]

    def test_the_oldest_are_left_out(self) -> None:
        history = [{"role": role, "content": "x" * 10} for role in ("user", "assistant") * 5 + ("user",)]
        assert len(messages(history, max_history=110)) == 11
        assert len(messages(history, max_history=109)) == 10
        assert [said["role"] for said in messages(history, system="s", max_history=25)] == [
            "system",
            "assistant",
            "user",
        ]
        assert len(messages(history, max_history=3)) == 1


class TestTools:
    def test_calls_beside_one_another(self) -> None:
        meeting: list[asyncio.Event] = []

        async def meet(number: int, *, shout: bool = False) -> dict[str, Any]:
            """Meets the other."""
            here, there = meeting[number], meeting[1 - number]
            here.set()
            await there.wait()
            return {"number": number, "shout": shout}

        async def main() -> tuple[list[Event], list[dict[str, Any]]]:
            meeting.extend((asyncio.Event(), asyncio.Event()))
            script = (
                calls(("meet", '{"number": 0}'), ("meet", '{"number": 1, "shout": true}'), text="Let me see. "),
                says("We met.", total_tokens=5),
            )
            tools = {"meet": Function(meet, message="meeting …")}
            async with Endpoint.serve(*script) as endpoint, chatting(endpoint, tools=tools) as peer:
                await peer.ask("go")
                return await peer.turn(), endpoint.bodies

        events, bodies = run(main())
        assert text_of(events) == "Let me see. We met."
        assert events[-1]["data"]["usage"] == {"total_tokens": 15}
        tools = [event["data"] for event in events if event["event"] == "tool"]
        assert [tool["status"] for tool in tools] == ["started", "started", "finished", "finished"]
        assert tools[0].items() >= {"name": "meet", "message": "meeting …", "input": {"number": 0}}.items()
        assert [tool["output"]["shout"] for tool in sorted(tools[2:], key=lambda tool: tool["output"]["number"])] == [
            False,
            True,
        ]
        [told] = bodies[0]["tools"]
        assert told["type"] == "function"
        assert told["function"]["description"] == "Meets the other."
        assert told["function"]["parameters"]["required"] == ["number"]
        assert bodies[1]["messages"][1:] == [
            {
                "role": "assistant",
                "content": "Let me see. ",
                "tool_calls": [
                    {
                        "id": f"call_{number}",
                        "type": "function",
                        "function": {"name": "meet", "arguments": arguments},
                    }
                    for number, arguments in enumerate(('{"number": 0}', '{"number": 1, "shout": true}'))
                ],
            },
            {"role": "tool", "tool_call_id": "call_0", "content": '{"number": 0, "shout": false}'},
            {"role": "tool", "tool_call_id": "call_1", "content": '{"number": 1, "shout": true}'},
        ]

    def test_a_sync_function_runs_beside_the_loop(self) -> None:
        threads = []

        def where() -> str:
            threads.append(threading.get_ident())
            return "here"

        events, bodies = ask(calls(("where", "")), says("There."), tools={"where": where})
        assert text_of(events) == "There."
        assert bodies[1]["messages"][-1]["content"] == "here"
        assert threads != [threading.get_ident()]

    @pytest.mark.parametrize(
        "name, arguments, told",
        [
            ("weather", '{"city": 7}', "error: city: Input should be a valid string"),
            ("weather", '{"city": "Ro', "error: Invalid JSON"),
            ("weather", "{}", "error: city: Field required"),
            ("weather", '{"city":"Rome","day":1}', "error: day: Extra inputs are not permitted"),
            ("moon", "{}", "error: there is no tool 'moon'"),
        ],
    )
    def test_a_wrong_call_is_told_to_the_model(self, name: str, arguments: str, told: str) -> None:
        events, bodies = ask(calls((name, arguments)), says("Sorry."), tools={"weather": weather})
        assert bodies[1]["messages"][-1]["content"].startswith(told)
        started, failed = [event["data"] for event in events if event["event"] == "tool"]
        assert started["status"] == "started"
        assert (failed["status"], failed["error"]) == ("failed", f"{name} was called wrongly")
        assert text_of(events) == "Sorry."

    def test_a_function_that_fails(self, caplog: pytest.LogCaptureFixture) -> None:
        def broken() -> None:
            raise LookupError("no such row")

        events, bodies = ask(calls(("broken", "{}")), says("Sorry."), tools={"broken": broken})
        assert bodies[1]["messages"][-1]["content"] == "error: LookupError: no such row"
        assert [event["data"].get("error") for event in events if event["event"] == "tool"] == [None, "broken failed"]
        assert "in broken" in caplog.text

    def test_a_function_that_ends_the_turn(self) -> None:
        waiting = threading.Event()

        def pay() -> None:
            assert waiting.wait(LONG)
            raise TurnError("no_credit", "Your credit is used up.")

        async def wait() -> None:
            waiting.set()
            await asyncio.sleep(LONG)

        events, _ = ask(calls(("pay", "{}"), ("wait", "{}")), tools={"pay": pay, "wait": wait})
        assert error_of(events) == ("no_credit", False)
        assert [event["data"]["status"] for event in events if event["event"] == "tool"].count("failed") == 2

    def test_a_function_that_asks_the_person(self) -> None:
        async def cancel(turn: Turn, order: int) -> str:
            return "cancelled" if await turn.ask(f"Cancel order {order}?", {"type": "boolean"}) else "kept"

        async def main() -> tuple[list[Event], list[dict[str, Any]]]:
            script = calls(("cancel", '{"order": 7}')), says("Done.")
            async with Endpoint.serve(*script) as endpoint, chatting(endpoint, tools={"cancel": cancel}) as peer:
                await peer.ask("go")
                for name in "start", "tool":
                    await peer.event(name)
                question = (await peer.event("ask"))["data"]
                assert question["message"] == "Cancel order 7?"
                await peer.send({"event": "answer", "data": {"call_id": question["call_id"], "value": True}})
                return await peer.turn(), endpoint.bodies

        _, bodies = run(main())
        assert bodies[1]["messages"][-1]["content"] == "cancelled"

    @pytest.mark.parametrize("rounds", [1, 3])
    def test_in_the_last_round_it_has_to_answer(self, rounds: int) -> None:
        call = calls(("weather", '{"city": "Rome"}'))
        events, bodies = ask(*[call] * (rounds - 1), says("Sun."), tools={"weather": weather}, max_rounds=rounds)
        assert text_of(events) == "Sun."
        assert [body.get("tool_choice") for body in bodies] == [*[None] * (rounds - 1), "none"]
        events, bodies = ask(*[call] * rounds, tools={"weather": weather}, max_rounds=rounds)
        assert error_of(events) == ("too_many_rounds", False)
        assert len(bodies) == rounds
        assert [event["event"] for event in events].count("tool") == 2 * (rounds - 1)

    def test_a_tool_that_does_not_say_what_it_takes(self) -> None:
        client = AsyncOpenAI(base_url="http://127.0.0.1:9/v1", api_key=KEY)
        with pytest.raises(ConfigError, match="the tool 'size' does not say what it takes"):
            callback(client=client, tools={"size": len})


class TestErrors:
    @pytest.mark.parametrize("status", [429, 500])
    def test_a_refusal_is_tried_again(self, status: int) -> None:
        events, bodies = ask(refuses(status), refuses(status), says("Hello"))
        assert text_of(events) == "Hello"
        assert bodies[0] == bodies[1] == bodies[2]
        assert error_of(ask(*[refuses(status)] * 3)[0])[1]

    def test_one_that_would_come_again_is_not(self) -> None:
        assert error_of(ask(refuses(400))[0]) == ("upstream_rejected", False)

    @pytest.mark.parametrize("broken", [breaks(), ends()], ids=["cut", "ended"])
    def test_a_stream_that_breaks_is_tried_again_before_its_first_token(self, broken: Step) -> None:
        events, bodies = ask(broken, broken, says("Hello"))
        assert text_of(events) == "Hello"
        assert len(bodies) == 3
        events, bodies = ask(broken, broken, broken)
        assert error_of(events) == ("upstream_cut", True)

    @pytest.mark.parametrize("broken", [breaks("Hel", "lo"), ends("Hel", "lo")], ids=["cut", "ended"])
    def test_and_never_after_it(self, broken: Step) -> None:
        events, bodies = ask(broken)
        assert text_of(events) in ("", "Hel", "Hello"), "a connection that is reset loses what is under way"
        assert error_of(events) == ("upstream_cut", True)

    def test_a_stream_that_is_slow_enough(self) -> None:
        async def step(response: Response) -> None:
            for part in "Hello":
                await response.text(part)
                await asyncio.sleep(0.01)
            await response.end()

        assert text_of(ask(step)[0]) == "Hello"


async def flowing(response: Response) -> None:
    while True:
        await response.text("x")
        await asyncio.sleep(0.001)


async def flooding(response: Response) -> None:
    while True:
        await response.text("x" * 1000)


async def silent(response: Response) -> None:
    await response.text("x")
    await asyncio.sleep(LONG)


async def thinking(response: Response) -> None:
    await asyncio.sleep(LONG)


class TestStop:
    """The endpoint sees the connection close."""

    async def stop(self, step: Step) -> float:
        """How many seconds after the person's stop, which is behind whatever the connection holds."""
        settings = {"soft_limit": 1000, "hard_limit": 4000} if step is flooding else None
        async with Endpoint.serve(step) as endpoint, chatting(endpoint, settings=settings) as peer:
            await peer.ask("go")
            await peer.event("start")
            if step is not thinking:
                await peer.event("token")
            else:
                await endpoint.asked.wait()
            before = perf_counter()
            await peer.send({"event": "stop"})
            await endpoint.gone.wait()
            assert (await peer.turn())[-1]["data"]["status"] == "stopped"
            return endpoint.gone_at - before

    @pytest.mark.parametrize("step", [flowing, flooding, silent, thinking])
    def test_it_is_told_at_once(self, step: Step) -> None:
        run(self.stop(step))

    @pytest.mark.timed
    @pytest.mark.parametrize("step", [flowing, flooding, silent, thinking])
    def test_within_50_ms(self, step: Step) -> None:
        # Of three tries the best one: other programs of the machine hold up single ones.
        waits = []
        for _ in range(3):
            waits.append(run(self.stop(step)))
            if waits[-1] < 0.050:
                return
        raise AssertionError(f"the endpoint was told after {waits} s")

    def test_while_a_tool_runs(self) -> None:
        ended = []

        async def wait() -> None:
            try:
                await asyncio.sleep(LONG)
            finally:
                ended.append(True)

        async def main() -> list[Event]:
            async with Endpoint.serve(calls(("wait", "{}"))) as endpoint:
                async with chatting(endpoint, tools={"wait": wait}) as peer:
                    await peer.ask("go")
                    await peer.event("start")
                    await peer.event("tool")
                    await peer.send({"event": "stop"})
                    return await peer.turn()

        assert run(main())[-1]["data"]["status"] == "stopped"
        assert ended == [True]


class TestApp:
    @pytest.fixture(autouse=True)
    def afresh(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delitem(vars(wsserver.adapters.openai), "app", raising=False)

    def test_it_needs_only_variables(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async def main() -> tuple[list[Event], Endpoint]:
            async with Endpoint.serve(says("Hello")) as endpoint:
                monkeypatch.setenv("OPENAI_BASE_URL", endpoint.url)
                monkeypatch.setenv("OPENAI_API_KEY", KEY)
                monkeypatch.setenv("OPENAI_MODEL", "my-model")
                app = cli.load("wsserver.adapters.openai:app")
                assert isinstance(app, Chat)
                assert cli.load("wsserver.adapters.openai:app") is app
                assert repr(app) == f"<Chat with my-model at {endpoint.url}/>"
                async with Server(app, Config(port=0)) as server, Peer.connect(server.urls[0]) as peer:
                    await peer.ask("go")
                    return await peer.turn(), endpoint

        events, endpoint = run(main())
        assert text_of(events) == "Hello"
        assert endpoint.bodies[0]["model"] == "my-model"
        assert endpoint.keys == [f"Bearer {KEY}"]

    def test_the_server_of_the_command_line_ends_in_peace(self) -> None:
        async def main() -> None:
            async with Endpoint.serve(says("Hello")) as endpoint:
                server = await asyncio.create_subprocess_exec(
                    sys.executable,
                    *("-W", "error", "-m", "wsserver", "serve", "wsserver.adapters.openai:app"),
                    *("--port", "0", "--log-level", "warning"),
                    env={**os.environ, "OPENAI_BASE_URL": endpoint.url, "OPENAI_API_KEY": KEY},
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                )
                try:
                    assert server.stdout is not None
                    url = (await server.stdout.readline()).decode().removeprefix("Listening on ").strip()
                    async with Peer.connect(url) as peer:
                        await peer.ask("hello")
                        assert text_of(await peer.turn()) == "Hello"
                    server.send_signal(signal.SIGTERM)
                    _, errors = await server.communicate()
                    assert (server.returncode, errors) == (0, b"")
                finally:
                    if server.returncode is None:
                        server.kill()
                        await server.wait()

        run(main())

    def test_without_a_key(self) -> None:
        with pytest.raises(ConfigError, match="OPENAI_API_KEY"):
            cli.load("wsserver.adapters.openai:app")

    def test_without_the_package(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "openai", None)
        with pytest.raises(ConfigError, match=r"pip install 'wsserver\[openai\]'"):
            cli.load("wsserver.adapters.openai:app")

    def test_it_has_nothing_else(self) -> None:
        with pytest.raises(ConfigError, match="has no 'apps'"):
            cli.load("wsserver.adapters.openai:apps")
