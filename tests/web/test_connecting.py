"""wsserver.js against a server that does what is written here: close codes, back-off, signs of life, tokens."""

from __future__ import annotations

import asyncio
import base64
from typing import TYPE_CHECKING, Any

import pytest

from tests.web.node import node, run

if TYPE_CHECKING:
    from tests.web.scripted import Peer

RESUMED: dict[str, Any] = {"resumed": True, "recovered": True}


async def end(peer: Peer) -> None:
    await peer.close(1000)


class TestCloseCodes:
    """4000 to 4499 and some of RFC 6455 invite the client back; the others do not."""

    BACK = (1001, 1011, 1012, 1013, 1014, 4000, 4001, 4004, 4005, 4008, 4499)
    NOT_BACK = (1000, 1002, 1003, 1007, 1008, 1009, 3000, 4500, 4501, 4502, 4503, 4504, 4506, 4999)

    def test_all_of_them(self) -> None:
        async def close(peer: Peer) -> None:
            await peer.session()
            await peer.close(int(peer.path.rpartition("/")[2]))

        program = f"""
        show(await Promise.all({[*self.BACK, *self.NOT_BACK]}.map(async (code) => {{
          const chat = open({{ firstDelay: 1000, longestDelay: 1000 }}, `${{url}}/${{code}}`);
          const {{ state, code: told }} = await next(chat, "state", ({{ code }}) => code);
          if (state === "waiting") chat.close();
          return [code, state, told];
        }})));
        """
        states = [*([code, "waiting"] for code in self.BACK), *([code, "closed"] for code in self.NOT_BACK)]
        assert run(program, close) == [[[code, state, code] for code, state in states]]

    def test_a_cut_is_1006(self) -> None:
        async def cut(peer: Peer) -> None:
            await peer.session()
            peer.cut()

        program = """
        const chat = open();
        show(await next(chat, "state", ({ state }) => state === "waiting"));
        chat.close();
        show(await chat.closed);
        """
        waiting = {"state": "waiting", "code": 1006, "reason": "", "retryIn": 0.5}
        assert run(program, cut) == [waiting, {"state": "closed", "code": None, "reason": "closed here"}]

    def test_where_it_may_not_go(self) -> None:
        program = """
        const refusing = class { constructor(address) { throw new Error(address) } };
        const { code, reason } = await open({ WebSocket: refusing }, "https://example.org/ws").closed;
        show([code, reason]);
        try { open({}, "/ws/chat") } catch (error) { show(error.name) }
        """
        assert asyncio.run(node(program)) == [[None, "Error: wss://example.org/ws"], "TypeError"]


class TestBackoff:
    DELAYS = """
    const seen = [];
    chat.addEventListener("state", ({ detail }) => detail.state === "waiting" && seen.push(detail.retryIn));
    await chat.closed;
    show(seen);
    """

    def delays(self, code: int, random: float, times: int) -> Any:
        async def close(peer: Peer) -> None:
            await peer.close(code)

        [seen] = run(f"const chat = open({{ random: () => {random} }});" + self.DELAYS, *[close] * times, end)
        return seen

    def test_it_doubles_up_to_its_limit(self) -> None:
        assert self.delays(1011, 1, 8) == [0.5, 1, 2, 4, 8, 16, 30, 30]

    def test_with_full_jitter(self) -> None:
        assert self.delays(4000, 0.25, 4) == [0.125, 0.25, 0.5, 1]

    @pytest.mark.parametrize("code", [1013, 4008])
    def test_a_crowded_server_gets_more_time(self, code: int) -> None:
        assert self.delays(code, 0, 3) == [2, 4, 8]

    def test_a_connection_that_lasted_begins_anew(self) -> None:
        async def close(peer: Peer) -> None:
            await peer.session(**RESUMED)
            await peer.hear("message")
            await peer.close(1011)

        program = """
        let now = 0;
        const ages = [1, 1, 10, 1];
        const chat = open({ now: () => now });
        chat.addEventListener("state", ({ detail }) => {
          if (detail.state === "open") (now += ages.shift()), chat.send("x");
        });
        """
        assert run(program + self.DELAYS, *[close] * 4, end) == [[0.5, 1, 0.5, 1]]

    def test_who_is_told_when_comes_then_and_not_earlier(self) -> None:
        async def drain(peer: Peer) -> None:
            await peer.session()
            await peer.tell("drain", {"reconnect_in": 7})
            await peer.close(1012)

        program = """
        const chat = open({ random: () => 0.5 });
        const { retryIn } = await next(chat, "state", ({ state }) => state === "waiting");
        chat.retry();
        show([retryIn, chat.state]);
        await chat.closed;
        """
        assert run(program, drain, end) == [[7.25, "waiting"]]

    def test_a_person_can_hasten_it(self) -> None:
        async def close(peer: Peer) -> None:
            await peer.close(1011)

        program = """
        const chat = open({ firstDelay: 1e5, longestDelay: 1e5 });
        await next(chat, "state", ({ state }) => state === "waiting");
        chat.retry();
        await chat.closed;
        """
        assert run(program, close, end) == []


class TestHeartbeat:
    def test_silence_is_asked_about_and_an_answer_is_life(self) -> None:
        async def first(peer: Peer) -> None:
            await peer.session()
            for _ in range(2):
                ping = await peer.hear("ping")
                await peer.tell("pong", ping["data"])
            await peer.close(1000)

        program = """
        const chat = open({ pingAfter: 1, pingTimeout: 50 });
        chat.addEventListener("state", ({ detail }) => show(detail.state));
        chat.addEventListener("event", ({ detail }) => show(detail.event));
        await chat.closed;
        """
        assert run(program, first) == ["open", "session", "closed"]

    def test_a_dead_network_shows(self) -> None:
        async def first(peer: Peer) -> None:
            await peer.session()
            await peer.hear("ping")
            await peer.gone()

        async def second(peer: Peer) -> None:
            assert peer.resume == "resume.s_1.secret.1.0"
            await peer.close(1000)

        program = """
        const chat = open({ pingAfter: 1, pingTimeout: 1 });
        show((await next(chat, "state", ({ state }) => state === "waiting")).reason);
        await chat.closed;
        """
        assert run(program, first, second) == ["no sign of life"]

    def test_a_server_that_never_answers(self) -> None:
        async def main() -> None:
            async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                await reader.read()
                writer.close()

            async with await asyncio.start_server(accept, "127.0.0.1", 0) as server:
                url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
                program = """
                const chat = open({ openTimeout: 1 });
                show((await next(chat, "state", ({ state }) => state === "waiting")).reason);
                chat.close();
                """
                assert await node(program, url) == ["the server does not answer"]

        asyncio.run(main())


class TestToken:
    def test_a_plain_one(self) -> None:
        async def first(peer: Peer) -> None:
            assert peer.offered == ["wsserver.v1", "bearer.abc.DEF-_~1"]
            await peer.close(1000)

        assert run('await open({ token: "abc.DEF-_~1" }).closed;', first) == []

    def test_one_that_a_subprotocol_cannot_hold(self) -> None:
        async def first(peer: Peer) -> None:
            encoded = base64.urlsafe_b64encode("ключ, / = ÿ".encode()).decode().rstrip("=")
            assert peer.offered == ["wsserver.v1", f"bearer64.{encoded}"]
            await peer.close(1000)

        assert run('await open({ token: "ключ, / = ÿ" }).closed;', first) == []

    def test_a_fresh_one_for_each_attempt_and_when_it_expires(self) -> None:
        async def first(peer: Peer) -> None:
            assert peer.offered[1:] == ["bearer.t1"]
            await peer.session()
            await peer.tell("auth_expiring", {"expires_in": 60})
            assert (await peer.hear("auth"))["data"] == {"token": "t2"}
            await peer.close(4005)

        async def second(peer: Peer) -> None:
            assert peer.offered[1:] == ["bearer.t3", "resume.s_1.secret.1.0"]
            await peer.close(1000)

        program = """
        let count = 0;
        await open({ token: async () => `t${++count}` }).closed;
        """
        assert run(program, first, second) == []

    def test_one_that_comes_when_nobody_wants_it_any_more(self) -> None:
        program = """
        let give, opened = 0;
        const token = () => new Promise((resolve) => (give = resolve));
        const chat = open({ token, WebSocket: class { constructor() { opened++ } } });
        chat.close();
        give("late");
        await new Promise(setImmediate);
        show([opened, (await chat.closed).reason]);
        """
        assert asyncio.run(node(program, "ws://127.0.0.1:9/")) == [[0, "closed here"]]

    def test_none_to_be_had_at_the_moment(self) -> None:
        async def first(peer: Peer) -> None:
            assert peer.offered[1:] == ["bearer.late"]
            await peer.close(1000)

        program = """
        let count = 0;
        const token = async () => { if (count++ < 2) throw new Error("no"); return "late"; };
        await open({ token }).closed;
        show(count);
        """
        assert run(program, first) == [3]
