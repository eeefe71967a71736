"""Sessions outlive their sockets: who comes back, what they get, who waits meanwhile, and how a session ends."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.clock import run_virtually
from tests.peer import Event, Peer, Refused, text_of
from wsserver import Config, Request, Server, SessionNotFound, SessionView, Turn, User

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine


class Steps:
    """A callback that goes on when it is told to: "go" answers "one two three", each word when it was let through."""

    def __init__(self) -> None:
        self.gate = asyncio.Semaphore(0)
        self.ended = asyncio.Event()
        self.cause: str | None = None

    async def __call__(self, turn: Turn) -> AsyncIterator[str]:
        try:
            for word in ("one ", "two ", "three"):
                await self.gate.acquire()
                yield word
        finally:
            self.cause = turn.cause
            self.ended.set()

    def let(self, count: int) -> None:
        for _ in range(count):
            self.gate.release()


def serve(script: Callable[[Server, Steps], Coroutine[Any, Any, None]], **settings: Any) -> None:
    """Runs a story with a fresh server."""

    async def main() -> None:
        steps = Steps()
        async with Server(steps, Config(port=0, **settings)) as server:
            await script(server, steps)

    run_virtually(main())


def seqs(events: list[Event]) -> list[int | None]:
    return [event.get("seq") for event in events]


def flags(peer: Peer) -> dict[str, Any]:
    data = peer.session["data"]
    return {name: data[name] for name in ("resumed", "recovered", "seq", "active_turn")}


async def detached(server: Server) -> None:
    """Returns once the server has noticed that nobody is connected."""
    await server.sockets.emptied()


async def begun(peer: Peer, steps: Steps, words: int) -> list[Event]:
    """A turn of which so many words have come."""
    await peer.ask("go", id="m1")
    steps.let(words)
    await peer.event("ack")
    return [await peer.event() for _ in range(1 + words)]


class TestResume:
    def test_what_was_missed_comes_once_and_then_what_is_new(self) -> None:
        async def story(server: Server, steps: Steps) -> None:
            async with Peer.connect(server.urls[0]) as first:
                events = await begun(first, steps, 1)
            await detached(server)
            steps.let(1)
            async with Peer.connect(server.urls[0] + first.resume(2)) as second:
                assert flags(second) == {"resumed": True, "recovered": True, "seq": 3, "active_turn": 1}
                assert second.session["session_id"] == first.session["session_id"]
                events.append(await second.event("token"))
                assert (await second.event("replayed"))["data"] == {"count": 1, "seq": 3}
                steps.let(1)
                events += await second.turn()
            assert seqs(events) == [1, 2, 3, 4, 5]
            assert text_of(events) == "one two three"

        serve(story)

    @pytest.mark.parametrize("last_seq", range(6))
    def test_from_any_point(self, last_seq: int) -> None:
        async def story(server: Server, steps: Steps) -> None:
            async with Peer.connect(server.urls[0]) as first:
                events = await begun(first, steps, 1)
                steps.let(2)
                events += await first.turn()
            await detached(server)
            async with Peer.connect(server.urls[0] + first.resume(last_seq)) as second:
                assert flags(second) == {"resumed": True, "recovered": True, "seq": 5, "active_turn": None}
                assert [await second.event() for _ in range(5 - last_seq)] == events[last_seq:]
                replayed = await second.event("replayed")
                assert replayed["data"] == {"count": 5 - last_seq, "seq": 5}
                assert "seq" not in replayed

        serve(story)

    def test_the_subprotocol_carries_it_too_and_is_not_echoed(self) -> None:
        async def story(server: Server, steps: Steps) -> None:
            async with Peer.connect(server.urls[0]) as first:
                await begun(first, steps, 1)
            token = first.session["data"]["resume_token"]
            offer = f"Sec-WebSocket-Protocol: wsserver.v1, resume.{token}.1.1"
            async with Peer.connect(server.urls[0], offer) as second:
                assert second.session["data"]["recovered"] is True
                assert "Sec-WebSocket-Protocol: wsserver.v1\r\n" in second.head
                assert token not in second.head
                assert (await second.event())["data"] == {"value": "one "}

        serve(story)

    def test_the_token_stays_the_same(self) -> None:
        """Were it another one, and its frame lost, nobody could come back."""

        async def story(server: Server, steps: Steps) -> None:
            async with Peer.connect(server.urls[0]) as peer:
                token = peer.session["data"]["resume_token"]
            for _ in range(3):
                async with Peer.connect(server.urls[0] + peer.resume(0)) as again:
                    assert again.session["data"]["resume_token"] == token

        serve(story)

    def test_what_was_not_acknowledged_is_sent_again_and_makes_one_turn(self) -> None:
        async def story(server: Server, steps: Steps) -> None:
            async with Peer.connect(server.urls[0]) as first:
                await first.ask("go", id="m1")
            await detached(server)
            steps.let(3)
            await steps.ended.wait()
            async with Peer.connect(server.urls[0] + first.resume(0)) as second:
                await second.ask("go", id="m1")
                events = [await second.event() for _ in range(7)]
                assert text_of(events) == "one two three"
                [ack] = [event for event in events if event["event"] == "ack"]
                assert ack["data"] == {"ref": "m1", "turn": 1, "duplicate": True}
                await second.send({"event": "history"})
                assert (await second.event("history"))["data"]["seq"] == 5

        serve(story)

    @pytest.mark.parametrize(
        ("last_seq", "epoch"), [(3, 1), (2**62, 1), (2, 2), (2, 0)], ids=["beyond", "far beyond", "newer", "older"]
    )
    def test_a_position_that_is_not_of_this_history_is_not_recovered(self, last_seq: int, epoch: int) -> None:
        async def story(server: Server, steps: Steps) -> None:
            async with Peer.connect(server.urls[0]) as first:
                await begun(first, steps, 1)
            async with Peer.connect(server.urls[0] + first.resume(last_seq, epoch=epoch)) as second:
                assert flags(second) == {"resumed": True, "recovered": False, "seq": 2, "active_turn": 1}
                assert (await second.event("replayed"))["data"] == {"count": 0, "seq": 2}
                await second.send({"event": "history"})
                history = (await second.event("history"))["data"]
                assert history["active"] == {"turn": 1, "text": "one "}
                assert history["seq"] == 2
                steps.let(2)
                events = await second.turn()
                assert seqs(events) == [3, 4, 5]
                assert history["active"]["text"] + text_of(events) == "one two three"

        serve(story)

    def test_events_that_were_dropped_are_not_recovered(self) -> None:
        async def story(server: Server, steps: Steps) -> None:
            async with Peer.connect(server.urls[0]) as first:
                await begun(first, steps, 1)
                steps.let(2)
                await first.turn()
                await first.send({"event": "stop"})
                await first.event("error")
            log = server.sessions[first.session["session_id"]].log
            assert (log.start, log.head) == (5, 5)
            async with Peer.connect(server.urls[0] + first.resume(5)) as second:
                assert second.session["data"]["recovered"] is True
            async with Peer.connect(server.urls[0] + first.resume(4)) as second:
                assert second.session["data"]["recovered"] is False

        serve(story, max_log_size=0)

    @pytest.mark.parametrize(
        "query",
        [
            "resume=s.t&last_seq=-1",
            "resume=s.t&last_seq=x",
            "resume=s.t&epoch=",
            "resume=s.t&epoch=9e9",
        ],
    )
    def test_a_malformed_claim_is_refused(self, query: str) -> None:
        async def story(server: Server, steps: Steps) -> None:
            with pytest.raises(Refused) as caught:
                async with Peer.connect(f"{server.urls[0]}?{query}"):
                    pass
            assert caught.value.status == 400

        serve(story)


class TestWhoMayNotComeBack:
    @pytest.mark.parametrize("token", ["s_unknown.secret", "{id}.wrong", "{id}", "{id}."])
    def test_a_token_that_opens_nothing_gets_a_new_session(self, token: str) -> None:
        async def story(server: Server, steps: Steps) -> None:
            async with Peer.connect(server.urls[0]) as first:
                await begun(first, steps, 1)
                name = first.session["session_id"]
                query = "?resume=" + token.format(id=name) + "&last_seq=2"
                async with Peer.connect(server.urls[0] + query) as other:
                    assert flags(other) == {"resumed": False, "recovered": False, "seq": 0, "active_turn": None}
                    assert other.session["session_id"] != name
                    assert other.session["data"]["resume_token"].startswith(other.session["session_id"])
                steps.let(2)
                await first.turn()

        serve(story)

    def test_another_user(self) -> None:
        async def authenticate(request: Request) -> User | None:
            return User(request.headers["authorization"])

        async def main() -> None:
            async with Server(Steps(), Config(port=0), authenticate=authenticate) as server:
                async with Peer.connect(server.urls[0], "Authorization: ada") as ada:
                    pass
                async with Peer.connect(server.urls[0] + ada.resume(0), "Authorization: eve") as eve:
                    assert flags(eve)["resumed"] is False
                async with Peer.connect(server.urls[0] + ada.resume(0), "Authorization: ada") as again:
                    assert flags(again)["resumed"] is True

        run_virtually(main())

    def test_who_is_too_late(self) -> None:
        async def story(server: Server, steps: Steps) -> None:
            async with Peer.connect(server.urls[0]) as first:
                await begun(first, steps, 1)
            await asyncio.sleep(59)
            async with Peer.connect(server.urls[0] + first.resume(2)) as second:
                assert flags(second)["resumed"] is True
            await asyncio.sleep(61)
            assert steps.cause == "disconnected"
            with pytest.raises(SessionNotFound):
                server.sessions[first.session["session_id"]]
            async with Peer.connect(server.urls[0] + first.resume(2)) as third:
                assert flags(third)["resumed"] is False

        serve(story, resume_ttl=60)

    def test_whose_session_was_ended(self) -> None:
        async def story(server: Server, steps: Steps) -> None:
            async with Peer.connect(server.urls[0]) as first:
                await first.send({"event": "end"})
                assert await first.closed() == (1000, "ended")
            async with Peer.connect(server.urls[0] + first.resume(0)) as second:
                assert flags(second)["resumed"] is False

        serve(story)

    def test_without_a_resume_ttl_a_session_ends_with_its_connection(self) -> None:
        async def story(server: Server, steps: Steps) -> None:
            async with Peer.connect(server.urls[0]) as first:
                assert first.session["data"]["resumable"] is False
                await begun(first, steps, 1)
            await steps.ended.wait()
            assert steps.cause == "disconnected"
            assert not len(server.sessions)
            async with Peer.connect(server.urls[0] + first.resume(0)) as second:
                assert flags(second)["resumed"] is False

        serve(story, resume_ttl=0)


class TestTakeover:
    def test_the_older_connection_is_closed_with_4502(self) -> None:
        async def story(server: Server, steps: Steps) -> None:
            async with Peer.connect(server.urls[0]) as first:
                await begun(first, steps, 1)
                async with Peer.connect(server.urls[0] + first.resume(2)) as second:
                    assert flags(second)["recovered"] is True
                    assert await first.closed() == (4502, "taken over by a newer connection")
                    await first.ask("nobody hears this")
                    await second.event("replayed")
                    steps.let(2)
                    assert seqs(await second.turn()) == [3, 4, 5]
                    await second.send({"event": "history"})
                    assert len((await second.event("history"))["data"]["items"]) == 2

        serve(story)

    def test_the_loss_of_the_older_one_later_changes_nothing(self) -> None:
        async def story(server: Server, steps: Steps) -> None:
            async with Peer.connect(server.urls[0]) as first:
                await begun(first, steps, 1)
                async with Peer.connect(server.urls[0] + first.resume(2)) as second:
                    await second.event("replayed")
                    first.reset()
                    await asyncio.sleep(30)
                    steps.let(2)
                    assert text_of(await second.turn()) == "two three"

        serve(story, resume_ttl=10)

    def test_its_place_is_free_for_the_newer_one(self) -> None:
        async def story(server: Server, steps: Steps) -> None:
            async with Peer.connect(server.urls[0]) as first, Peer.connect(server.urls[0]):
                with pytest.raises(Refused):
                    async with Peer.connect(server.urls[0]):
                        pass
                # A connection of its address is counted before its claim is looked at, a user's afterwards.
                first.reset()

        serve(story, max_connections_per_ip=2)

    def test_the_place_of_a_user_is_free_for_the_newer_one(self) -> None:
        async def authenticate(request: Request) -> User | None:
            return User("ada")

        async def main() -> None:
            config = Config(port=0, max_connections_per_user=1)
            async with Server(Steps(), config, authenticate=authenticate) as server:
                async with Peer.connect(server.urls[0]) as first:
                    with pytest.raises(Refused) as caught:
                        async with Peer.connect(server.urls[0]):
                            pass
                    assert caught.value.status == 429
                    async with Peer.connect(server.urls[0] + first.resume(0)) as second:
                        assert flags(second)["resumed"] is True
                        await first.closed()
                await server.sockets.emptied()
                assert not len(server.seats.users)

        run_virtually(main())


class TestAway:
    def test_with_on_disconnect_cancel_the_answer_is_stopped_and_can_be_read(self) -> None:
        async def story(server: Server, steps: Steps) -> None:
            async with Peer.connect(server.urls[0]) as first:
                await begun(first, steps, 1)
            await steps.ended.wait()
            assert steps.cause == "disconnected"
            async with Peer.connect(server.urls[0] + first.resume(2)) as second:
                assert (await second.event("complete"))["data"] == {"status": "stopped", "final": True, "ref": "m1"}
                await second.event("replayed")

        serve(story, on_disconnect="cancel")

    def test_an_answer_waits_where_the_log_is_full_and_goes_on_after_the_resume(self) -> None:
        produced = 0

        async def flood(turn: Turn) -> AsyncIterator[str]:
            nonlocal produced
            for number in range(20_000):
                produced += 1
                yield f"{number} "

        async def main() -> None:
            config = Config(port=0, max_log_size=50_000, soft_limit=4096, resume_ttl=120)
            async with Server(flood, config) as server:
                async with Peer.connect(server.urls[0]) as first:
                    await first.ask("go")
                    events = [await first.event() for _ in range(3)]
                await asyncio.sleep(60)
                session = server.sessions[first.session["session_id"]]
                assert produced < 20_000, "it waits"
                assert session.log.size < 50_000 + 2**14 + 2**16
                held = produced
                await asyncio.sleep(30)
                assert produced == held
                async with Peer.connect(server.urls[0] + first.resume(3)) as second:
                    if not second.session["data"]["recovered"]:
                        pytest.fail("what nobody has read was dropped")
                    events += await second.turn()
                assert text_of(events) == "".join(f"{number} " for number in range(20_000))
                assert produced == 20_000

        run_virtually(main())

    def test_a_full_log_does_not_outlive_the_session(self) -> None:
        ended = asyncio.Event()

        async def flood(turn: Turn) -> AsyncIterator[str]:
            try:
                while True:
                    yield "x" * 1000
            finally:
                ended.set()

        async def main() -> None:
            async with Server(flood, Config(port=0, max_log_size=50_000, resume_ttl=20)) as server:
                async with Peer.connect(server.urls[0]) as first:
                    await first.ask("go")
                    await first.event("start")
                await asyncio.wait_for(ended.wait(), 40)
                await server.turns.all_ended()
                assert server.sessions.pool.used == 0

        run_virtually(main())

    def test_a_question_is_answered_after_the_resume(self) -> None:
        async def generate(turn: Turn) -> AsyncIterator[str]:
            yield "before "
            yield str(await turn.ask("Sure?", {"type": "boolean"}))

        async def main() -> None:
            async with Server(generate, Config(port=0)) as server:
                async with Peer.connect(server.urls[0]) as first:
                    await first.ask("go")
                    events = [await first.event() for _ in range(3)]
                async with Peer.connect(server.urls[0] + first.resume(2)) as second:
                    question = await second.event("ask")
                    assert question == events[2]
                    await second.event("replayed")
                    await second.send({"event": "history"})
                    active = (await second.event("history"))["data"]["active"]
                    assert active["asks"] == [question["data"]]
                    await second.send({"event": "answer", "data": {**question["data"], "value": True}})
                    assert text_of(await second.turn()) == "True"

        run_virtually(main())

    def test_pushed_events_are_kept_until_the_log_is_full_and_then_wait(self) -> None:
        async def story(server: Server, steps: Steps) -> None:
            async with Peer.connect(server.urls[0]) as first:
                name = first.session["session_id"]
            await detached(server)
            pushes = [asyncio.create_task(server.push(name, "note", {"text": "x" * 1000, "n": n})) for n in range(40)]
            await asyncio.sleep(1)
            kept = sum(push.done() for push in pushes)
            assert 10 < kept < 40
            async with Peer.connect(server.urls[0] + first.resume(0)) as second:
                events: list[Event] = []
                while len(events) < 40:
                    event = await second.event()
                    if event["event"] == "note":
                        events.append(event)
                assert seqs(events) == list(range(1, 41))
                assert [event["data"]["n"] for event in events] == list(range(40))
            await asyncio.gather(*pushes)

        serve(story, max_log_size=10_000, soft_limit=4000)

    def test_a_push_that_waits_hears_of_the_end(self) -> None:
        async def story(server: Server, steps: Steps) -> None:
            async with Peer.connect(server.urls[0]) as first:
                name = first.session["session_id"]
            await detached(server)
            with pytest.raises(SessionNotFound):
                for _ in range(1000):
                    await server.push(name, "note", {"text": "x" * 1000})

        serve(story, max_log_size=10_000, resume_ttl=5)


class TestSlowReaders:
    def test_who_takes_nothing_is_detached_with_4000_and_comes_back(self) -> None:
        total = 3_000

        async def flood(turn: Turn) -> AsyncIterator[str]:
            for number in range(total):
                yield f"{number:05} " * 200

        async def main() -> None:
            async with Server(flood, Config(port=0, write_timeout=5, ping_interval=0, close_timeout=5)) as server:
                async with Peer.connect(server.urls[0]) as first:
                    transport: Any = first.writer.transport
                    await first.ask("go")
                    events = [await first.event("start")]
                    transport.pause_reading()
                    await server.sockets.emptied()
                    transport.resume_reading()
                    code = None
                    while code is None:
                        try:
                            opcode, payload = await first.frame()
                        except (asyncio.IncompleteReadError, ConnectionError):
                            break
                        if opcode == 0x88:
                            code = int.from_bytes(payload[:2], "big")
                        else:
                            events.append(json.loads(payload))
                async with Peer.connect(server.urls[0] + first.resume(events[-1]["seq"])) as second:
                    assert flags(second)["recovered"] is True
                    events += await second.turn()
                assert text_of(events) == "".join(f"{number:05} " * 200 for number in range(total))

        run_virtually(main())


class TestAge:
    def test_a_connection_that_is_too_old_has_to_come_back(self) -> None:
        async def story(server: Server, steps: Steps) -> None:
            began = asyncio.get_running_loop().time()
            async with Peer.connect(server.urls[0]) as first:
                assert (await first.closed())[0] == 4004
                assert 90 <= asyncio.get_running_loop().time() - began <= 101
            async with Peer.connect(server.urls[0] + first.resume(0)) as second:
                assert flags(second)["resumed"] is True

        serve(story, max_age=100, ping_interval=0)

    def test_they_do_not_leave_together(self) -> None:
        async def story(server: Server, steps: Steps) -> None:
            loop = asyncio.get_running_loop()

            async def leaves() -> float:
                async with Peer.connect(server.urls[0]) as peer:
                    await peer.closed()
                    return loop.time()

            times = await asyncio.gather(*(leaves() for _ in range(50)))
            assert max(times) - min(times) > 3

        serve(story, max_age=100, ping_interval=0)


class TestTheEnd:
    def test_on_close_is_told_once_of_every_session(self) -> None:
        closed: list[tuple[str, list[str]]] = []

        async def on_open(session: SessionView, request: Request) -> None:
            session.state["kind"] = request.query

        async def on_close(session: SessionView) -> None:
            closed.append((session.state["kind"], [said["content"] for said in session.history]))

        async def generate(turn: Turn) -> AsyncIterator[str]:
            turn.session.state["kind"] += "!"
            yield "yes"

        async def main() -> None:
            server = Server(generate, Config(port=0, resume_ttl=10), on_open=on_open, on_close=on_close)
            async with server:
                async with Peer.connect(server.urls[0] + "?left") as left:
                    await left.ask("left?")
                    await left.turn()
                async with Peer.connect(server.urls[0] + "?ended") as ended:
                    await ended.send({"event": "end"})
                    await ended.closed()
                async with Peer.connect(server.urls[0] + "?kicked") as kicked:
                    server.end(kicked.session["session_id"])
                    assert await kicked.closed() == (4506, "ended by the application")
                await asyncio.sleep(0)
                assert closed == [("ended", []), ("kicked", [])]
                await asyncio.sleep(11)
                assert closed[2:] == [("left!", ["left?", "yes"])]
                async with Peer.connect(server.urls[0] + "?shutdown"):
                    await server.close()
                assert closed[3:] == [("shutdown", [])]
            assert server.sessions.pool.used == 0

        run_virtually(main())

    def test_one_that_hangs_or_fails_holds_nobody(self, caplog: pytest.LogCaptureFixture) -> None:
        async def on_close(session: SessionView) -> None:
            if session.user is None:
                await asyncio.sleep(1e6)

        async def main() -> float:
            async with Server(Steps(), Config(port=0, close_timeout=5), on_close=on_close) as server:
                async with Peer.connect(server.urls[0]):
                    pass
                began = server.loop.time()
            return server.loop.time() - began

        assert run_virtually(main()) < 7
        assert "on_close" in caplog.text


class TestMemory:
    def test_the_longest_absent_lose_their_log_first_and_are_told(self) -> None:
        async def answer(turn: Turn) -> AsyncIterator[str]:
            yield "x" * 20_000

        async def main() -> None:
            async with Server(answer, Config(port=0, max_memory=200_000, handshake_rate=0)) as server:
                gone = []
                for _ in range(6):
                    async with Peer.connect(server.urls[0]) as peer:
                        await peer.ask("go")
                        await peer.turn()
                    await server.sockets.emptied()
                    gone.append(peer)
                await asyncio.sleep(1)
                assert server.sessions.pool.used <= 200_000
                recovered = []
                for peer in gone:
                    async with Peer.connect(server.urls[0] + peer.resume(1)) as again:
                        assert again.session["data"]["resumed"] is True
                        recovered.append(again.session["data"]["recovered"])
                        await again.send({"event": "history"})
                        while (event := await again.event())["event"] != "history":
                            pass
                        assert event["data"]["items"][1]["content"] == "x" * 20_000
                assert recovered[0] is False
                assert recovered[-1] is True
                assert recovered == sorted(recovered)

        run_virtually(main())

    def test_sessions_go_where_nothing_else_is_left(self) -> None:
        async def answer(turn: Turn) -> AsyncIterator[str]:
            yield "x" * 20_000

        async def main() -> None:
            async with Server(answer, Config(port=0, max_memory=100_000, handshake_rate=0)) as server:
                async with Peer.connect(server.urls[0]) as stays:
                    await stays.ask("go")
                    await stays.turn()
                    for _ in range(10):
                        async with Peer.connect(server.urls[0]) as peer:
                            await peer.ask("go")
                            await peer.turn()
                        await asyncio.sleep(1)
                    assert server.sessions.pool.used <= 100_000
                    assert 1 < len(server.sessions) < 8
                    await stays.send({"event": "history"})
                    assert len((await stays.event("history"))["data"]["items"]) == 2

        run_virtually(main())

    def test_who_remembers_most_forgets_before_anybody_else_has_to_go(self) -> None:
        async def answer(turn: Turn) -> AsyncIterator[str]:
            yield "x" * (20_000 if turn.content == "long" else 1000)

        async def main() -> None:
            async with Server(answer, Config(port=0, max_memory=100_000)) as server:
                async with Peer.connect(server.urls[0]) as away:
                    await away.ask("short")
                    await away.turn()
                async with Peer.connect(server.urls[0]) as greedy:
                    for _ in range(10):
                        await greedy.ask("long")
                        await greedy.turn()
                        await asyncio.sleep(1)
                        assert server.sessions.pool.used <= 100_000
                    # The share of each of two sessions has room for two answers.
                    await greedy.send({"event": "history"})
                    items = (await greedy.event("history"))["data"]["items"]
                    assert [(item["turn"], item["role"]) for item in items][-1] == (10, "assistant")
                    assert 0 < len(items) <= 8
                    async with Peer.connect(server.urls[0] + away.resume(0)) as again:
                        assert again.session["data"]["resumed"] is True

        run_virtually(main())


class TestManyAbsences:
    def test_who_comes_and_goes_in_haste_leaves_no_more_sessions_than_it_may_have_connections(self) -> None:
        async def story(server: Server, steps: Steps) -> None:
            async with Peer.connect(server.urls[0]) as stays:
                left = []
                for _ in range(5):
                    async with Peer.connect(server.urls[0]) as peer:
                        left.append(peer)
                    await asyncio.sleep(1)
                assert len(server.sessions) == 1 + 3
                resumed = []
                for peer in left:
                    async with Peer.connect(server.urls[0] + peer.resume(0)) as again:
                        resumed.append(again.session["data"]["resumed"])
                        await again.send({"event": "end"})
                        await again.closed()
                    await asyncio.sleep(1)
                assert resumed == [False, False, True, True, True]
                await begun(stays, steps, 1)

        serve(story, max_connections_per_ip=3)

    def test_of_a_user(self) -> None:
        async def authenticate(request: Request) -> User | None:
            return User(request.query)

        async def main() -> None:
            config = Config(port=0, max_connections_per_user=2, handshake_rate=0)
            async with Server(Steps(), config, authenticate=authenticate) as server:
                for number in range(12):
                    async with Peer.connect(f"{server.urls[0]}?{number % 3}"):
                        pass
                    await asyncio.sleep(1)
                assert sorted(session.user or "" for session in server.sessions) == ["0", "0", "1", "1", "2", "2"]

        run_virtually(main())

    def test_in_all(self) -> None:
        async def authenticate(request: Request) -> User | None:
            return User(request.query)

        async def main() -> None:
            config = Config(port=0, max_connections=4, handshake_rate=0)
            async with Server(Steps(), config, authenticate=authenticate) as server:
                for number in range(12):
                    async with Peer.connect(f"{server.urls[0]}?{number}"):
                        pass
                    await asyncio.sleep(1)
                assert [session.user for session in server.sessions] == ["8", "9", "10", "11"]

        run_virtually(main())
