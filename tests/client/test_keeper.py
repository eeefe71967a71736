"""A chat that comes back, against a server that does what a test writes down; time is virtual."""

from __future__ import annotations

import asyncio
import random
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests.clock import run_virtually
from wsserver.client import Chat, ConnectError, ConnectionLost, Event, SessionLost, connect
from wsserver.errors import ConfigError

from .peer import Peer, in_turn, scripted
from .talking import events_of, text_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable

    from .peer import Script

SESSION = {"resumable": True, "resume_token": "s_1.secret", "epoch": 1, "seq": 0, "resumed": False, "ping_interval": 20}
RESUMED = {**SESSION, "resumed": True, "recovered": True}


def run(test: Awaitable[object]) -> None:
    """Runs a test to its end, which must come within ten virtual minutes."""

    async def bounded() -> None:
        async with asyncio.timeout(600):
            await test

    run_virtually(bounded())


@pytest.fixture(autouse=True)
def longest_delays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every delay is as long as it may be."""
    monkeypatch.setattr(random, "uniform", lambda low, high: high)


def opening(session: dict[str, Any] = SESSION, *then: Script) -> Script:
    """A connection that opens, does the rest, and waits for the end."""

    async def script(peer: Peer) -> None:
        await peer.open(**session)
        for step in then:
            await step(peer)
        await peer.end()

    return script


async def cut(peer: Peer) -> None:
    peer.writer.transport.abort()
    await peer.reader.read()


def closing(code: int) -> Script:
    async def step(peer: Peer) -> None:
        await peer.close(code)

    return step


async def answer(peer: Peer) -> None:
    """Takes a message and answers it whole."""
    request = await peer.hear()
    await peer.tell("ack", {"ref": request["id"], "turn": 1})
    await peer.tell("start", {"ref": request["id"]}, 1)
    await peer.tell("token", {"value": request["data"]["content"]}, 1)
    await peer.tell("complete", {"final": True, "status": "completed"}, 1)


@asynccontextmanager
async def chatting(*scripts: Script, **settings: Any) -> AsyncIterator[Chat]:
    async with scripted(in_turn(*scripts)) as url, connect(url, reconnect=True, **settings) as chat:
        yield chat


class TestComingBack:
    def test_an_answer_goes_on_where_it_was(self) -> None:
        offered = []

        async def first(peer: Peer) -> None:
            await peer.open(**SESSION)
            ref = (await peer.hear())["id"]
            await peer.tell("ack", {"ref": ref, "turn": 1})
            await peer.tell("start", {"ref": ref}, 1, 1)
            await peer.tell("token", {"value": "to be "}, 1, 2)
            await cut(peer)

        async def second(peer: Peer) -> None:
            await peer.open(**RESUMED)
            assert peer.request is not None
            offered.append(peer.request.elements("sec-websocket-protocol"))
            assert peer.request.query == ""
            await peer.tell("token", {"value": "continued"}, 1, 3)
            await peer.tell("replayed", {"count": 1, "seq": 3})
            await peer.tell("complete", {"final": True}, 1, 4)
            await peer.end()

        async def test() -> None:
            async with chatting(first, second) as chat:
                assert await text_of(chat, "hi") == "to be continued"
                rest = chat.events()
                assert await anext(rest) == Event("reconnecting", {"code": 1006, "reason": ""})
                assert (await anext(rest)).data == chat.session
                assert offered == [["wsserver.v1", "resume.s_1.secret.1.2"]]
                assert asyncio.get_running_loop().time() == pytest.approx(0.5)

        run(test())

    def test_state_says_what_goes_on_and_what_is_asked_meanwhile_is_kept(self) -> None:
        async def test() -> None:
            async with chatting(opening(SESSION, cut), opening(RESUMED, answer)) as chat:
                states = [chat.state]
                rest = chat.events()
                assert (await anext(rest)).name == "reconnecting"
                states.append(chat.state)
                assert await text_of(chat, "hi") == "hi"
                states.append(chat.state)
            states.append(chat.state)
            assert states == ["connected", "reconnecting", "connected", "closed"]
            assert [event.name async for event in rest] == ["session"]

        run(test())

    def test_a_message_without_an_ack_is_sent_again_under_its_name(self) -> None:
        heard = []

        async def swallow(peer: Peer) -> None:
            heard.append(await peer.hear())
            await cut(peer)

        async def again(peer: Peer) -> None:
            heard.append(await peer.hear())
            await peer.tell("complete", {"ref": heard[-1]["id"], "final": True}, 1)

        async def test() -> None:
            async with chatting(opening(SESSION, swallow), opening(RESUMED, again)) as chat:
                assert [event.name for event in await events_of(chat, "hi")] == ["complete"]
            assert heard[0] == heard[1]

        run(test())

    def test_requests_go_on_too(self) -> None:
        async def swallow(peer: Peer) -> None:
            for _ in range(3):
                await peer.hear()
            await cut(peer)

        async def do(peer: Peer) -> None:
            for _ in range(3):
                request = await peer.hear()
                if request["event"] == "history":
                    await peer.tell("history", {"items": []})
                else:
                    await peer.tell("ack", {"ref": request["id"]})

        async def test() -> None:
            async with chatting(opening(SESSION, swallow), opening(RESUMED, do)) as chat:
                answers = await asyncio.gather(chat.stop(), chat.answer("k", True), chat.history())
                assert answers == [True, None, {"items": []}]

        run(test())

    def test_a_network_that_is_dead_shows_within_seconds(self) -> None:
        async def dead(peer: Peer) -> None:
            await peer.open(**SESSION)
            await peer.reader.read()

        async def test() -> None:
            async with chatting(dead, opening(RESUMED, answer)) as chat:
                assert await text_of(chat, "hi") == "hi"
                assert asyncio.get_running_loop().time() < 16
                assert (await anext(chat.events())).data["reason"] == "no sign of life"

        run(test())

    def test_a_session_that_is_gone(self) -> None:
        async def begin(peer: Peer) -> None:
            ref = (await peer.hear())["id"]
            await peer.tell("ack", {"ref": ref, "turn": 1})
            await cut(peer)

        async def anew(peer: Peer) -> None:
            await peer.accept()
            await peer.tell("session", SESSION, session_id="s_2")
            await answer(peer)
            await peer.end()

        async def test() -> None:
            async with chatting(opening(SESSION, begin), anew) as chat:
                with pytest.raises(SessionLost, match="forgotten"):
                    await text_of(chat, "one")
                assert await text_of(chat, "two") == "two"
                assert chat.session_id == "s_2"

        run(test())

    @pytest.mark.parametrize("session", [{**SESSION, "resumable": False}, {**SESSION, "resume_token": "a, b"}])
    def test_a_server_that_cannot_resume_is_not_asked_to(self, session: dict[str, Any]) -> None:
        async def second(peer: Peer) -> None:
            await peer.open(**SESSION)
            assert peer.request is not None
            assert peer.request.elements("sec-websocket-protocol") == ["wsserver.v1"]
            await peer.end()

        async def test() -> None:
            async with chatting(opening(session, cut), second) as chat:
                rest = chat.events()
                assert [(await anext(rest)).name for _ in range(2)] == ["reconnecting", "session"]

        run(test())

    def test_a_fresh_token_is_for_later_connections_too(self) -> None:
        async def fresh(peer: Peer) -> None:
            request = await peer.hear()
            assert (request["event"], request["data"]) == ("auth", {"token": "fresh"})
            await peer.tell("ack", {"ref": request["id"]})
            await peer.close(4005)

        async def second(peer: Peer) -> None:
            await peer.open(**RESUMED)
            assert peer.request is not None
            assert peer.request.headers["authorization"] == "Bearer fresh"
            await answer(peer)
            await peer.end()

        async def test() -> None:
            async with chatting(opening(SESSION, fresh), second, token="stale") as chat:
                await chat.authenticate("fresh")
                assert await text_of(chat, "hi") == "hi"

        run(test())


class TestWhen:
    """How long it takes from the loss to the session; every random delay is the longest possible."""

    def took(self, *scripts: Script, **settings: Any) -> float:
        seconds = []

        async def test() -> None:
            async with chatting(*scripts, **settings) as chat:
                loop, rest = asyncio.get_running_loop(), chat.events()
                while (await anext(rest)).name != "reconnecting":
                    continue
                began = loop.time()
                while (await anext(rest)).name != "session":
                    continue
                seconds.append(loop.time() - began)

        run(test())
        return round(seconds[0], 1)

    def test_delays_double(self) -> None:
        busy = [lambda peer: peer.refuse(503, "full")] * 3
        assert self.took(opening(SESSION, cut), *busy, opening(RESUMED)) == 0.5 + 1 + 2 + 4

    def test_a_refusal_says_when(self) -> None:
        async def busy(peer: Peer) -> None:
            await peer.refuse(429, "slowly", ("Retry-After", "40"))

        assert self.took(opening(SESSION, cut), busy, opening(RESUMED)) == 40.5

    def test_so_does_a_drain(self) -> None:
        async def drain(peer: Peer) -> None:
            await peer.tell("drain", {"reconnect_in": 7})
            await asyncio.sleep(2)
            await peer.close(1012)

        assert self.took(opening(SESSION, drain), opening(RESUMED)) == 5

    @pytest.mark.parametrize("nonsense", [-1, None, "soon", True])
    def test_or_nonsense(self, nonsense: object) -> None:
        async def drain(peer: Peer) -> None:
            await peer.tell("drain", {"reconnect_in": nonsense})
            await peer.close(1012)

        assert self.took(opening(SESSION, drain), opening(RESUMED)) <= 1

    @pytest.mark.parametrize(("lasted", "delay"), [(9, 1), (11, 0.5)])
    def test_a_connection_that_lasted_lets_delays_begin_anew(self, lasted: float, delay: float) -> None:
        async def last(peer: Peer) -> None:
            await asyncio.sleep(lasted)
            await cut(peer)

        seconds = []

        async def test() -> None:
            async with chatting(opening(SESSION, cut), opening(RESUMED, last), opening(RESUMED)) as chat:
                async for event in chat.events():
                    seconds.append(asyncio.get_running_loop().time())
                    if event.name == "session" and len(seconds) == 4:
                        break

        run(test())
        assert seconds[3] - seconds[2] == pytest.approx(delay, abs=0.1)

    def test_while_nobody_listens(self) -> None:
        async def test() -> None:
            async with scripted(opening(SESSION, closing(1012))) as url:
                context = connect(url, reconnect=True)
                chat = await context.__aenter__()
                rest = chat.events()
                assert (await anext(rest)).data["code"] == 1012
            await asyncio.sleep(100)
            assert chat.state == "reconnecting"
            async with scripted(opening(RESUMED, answer), port=int(url.split(":")[2].split("/")[0])):
                assert await text_of(chat, "still there?") == "still there?"
                assert asyncio.get_running_loop().time() < 135
                await context.__aexit__(None, None, None)

        run(test())


class TestGivingUp:
    @pytest.mark.parametrize("code", [1000, 1002, 4502, 4506])
    def test_where_the_server_does_not_want_to_see_it_again(self, code: int) -> None:
        async def test() -> None:
            async with chatting(opening(SESSION, closing(code))) as chat:
                assert (await chat.lost()).code == code
                assert chat.state == "closed"
                with pytest.raises(ConnectionLost, match=str(code)):
                    await events_of(chat, "hi")
                if code == 1000:
                    assert [event.name async for event in chat.events()] == []
                else:
                    with pytest.raises(ConnectionLost, match=str(code)):
                        await anext(chat.events())

        run(test())

    def test_or_says_so_when_it_comes_back(self) -> None:
        async def test() -> None:
            async with chatting(opening(SESSION, cut), lambda peer: peer.refuse(401, "no token")) as chat:
                loss = await chat.lost()
                assert (loss.code, chat.state) == (1006, "closed")
                assert isinstance(loss.__cause__, ConnectError)
                assert loss.__cause__.status == 401

        run(test())

    @pytest.mark.parametrize("code", [4501, 4503, 4504])
    def test_or_says_so_to_a_browser(self, code: int) -> None:
        async def refuse(peer: Peer) -> None:
            await peer.accept()
            await peer.close(code)

        async def test() -> None:
            async with chatting(opening(SESSION, cut), refuse) as chat:
                cause = (await chat.lost()).__cause__
                assert isinstance(cause, ConnectError)
                assert cause.code == code

        run(test())

    def test_when_the_time_is_up(self) -> None:
        async def test() -> None:
            refuse = [lambda peer: peer.refuse(503, "full")] * 10
            async with chatting(opening(SESSION, cut), *refuse, max_reconnect_time=10) as chat:
                with pytest.raises(ConnectionLost):
                    await events_of(chat, "hi")
                assert asyncio.get_running_loop().time() == pytest.approx(10, abs=0.1)

        run(test())

    def test_when_the_server_asks_for_more_time_than_there_is(self) -> None:
        async def test() -> None:
            busy = opening(SESSION, cut), lambda peer: peer.refuse(503, "full", ("Retry-After", "11"))
            async with chatting(*busy, max_reconnect_time=10) as chat:
                await chat.lost()
                assert asyncio.get_running_loop().time() < 1

        run(test())

    def test_the_first_connection_is_not_tried_again(self) -> None:
        async def test() -> None:
            with pytest.raises(ConnectError, match="503"):
                async with chatting(lambda peer: peer.refuse(503, "full")):
                    raise AssertionError("connected")

        run(test())

    @pytest.mark.parametrize("wait", [0.1, 1])
    def test_who_leaves_while_it_tries_leaves_nothing_behind(self, wait: float) -> None:
        async def mute(peer: Peer) -> None:
            arrived.set()
            await peer.reader.read()
            left.set()

        arrived, left = asyncio.Event(), asyncio.Event()

        async def test() -> None:
            async with chatting(opening(SESSION, cut), mute) as chat:
                asking = asyncio.create_task(events_of(chat, "hi"))
                await asyncio.sleep(wait)
                assert chat.state == "reconnecting"
                await chat.close()
                with pytest.raises(ConnectionLost, match="closed without a connection"):
                    await asking
                assert [event.name async for event in chat.events()] == ["reconnecting"]
                if arrived.is_set():
                    await left.wait()
            assert arrived.is_set() is (wait == 1)

        run(test())

    def test_a_token_that_no_request_can_hold(self) -> None:
        async def fresh(peer: Peer) -> None:
            await peer.tell("ack", {"ref": (await peer.hear())["id"]})
            await cut(peer)

        async def test() -> None:
            async with chatting(opening(SESSION, fresh)) as chat:
                await chat.authenticate("a\r\nb")
                loss = await chat.lost()
                assert (loss.code, type(loss.__cause__)) == (1006, ConfigError)

        run(test())

    def test_who_leaves_a_server_that_does_not_answer_does_not_come_back(self) -> None:
        async def deaf(peer: Peer) -> None:
            await peer.open(**SESSION)
            await asyncio.Event().wait()

        async def test() -> None:
            async with chatting(deaf) as chat:
                await chat.close()
                assert ((await chat.lost()).code, chat.state) == (1006, "closed")
                assert [event.name async for event in chat.events()] == []

        run(test())


class TestEnd:
    def test_the_session_ends_with_1000(self) -> None:
        async def take(peer: Peer) -> None:
            request = await peer.hear()
            assert request["event"] == "end"
            await peer.tell("ack", {"ref": request["id"]})
            await peer.close(1000, "ended")

        async def test() -> None:
            async with chatting(opening(SESSION, take)) as chat:
                await chat.end()
                assert ((await chat.lost()).code, chat.state) == (1000, "closed")

        run(test())

    def test_also_if_only_the_close_comes_or_the_session_was_gone_before(self) -> None:
        async def close(peer: Peer) -> None:
            await peer.hear()
            await peer.close(1000, "ended")

        async def swallow(peer: Peer) -> None:
            await peer.hear()
            await cut(peer)

        async def anew(peer: Peer) -> None:
            await peer.accept()
            await peer.tell("session", SESSION, session_id="s_2")
            await peer.end()

        async def test() -> None:
            for scripts in ([opening(SESSION, close)], [opening(SESSION, swallow), anew]):
                async with chatting(*scripts) as chat:
                    await chat.end()
                    assert (await chat.lost()).code == 1000

        run(test())

    def test_a_loss_without_a_return_is_an_error(self) -> None:
        async def swallow(peer: Peer) -> None:
            await peer.hear()
            await peer.close(4502)

        async def test() -> None:
            async with chatting(opening(SESSION, swallow)) as chat:
                with pytest.raises(ConnectionLost, match="4502"):
                    await chat.end()

        run(test())
