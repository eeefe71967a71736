"""The rows of protocol.md as transcripts: what a client says, what it hears."""

from __future__ import annotations

import asyncio
import gc
import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.clock import run_virtually
from tests.peer import BINARY, TEXT, Event, Peer, masked, text_of
from wsserver import Config, Server, Turn
from wsserver.chat import envelope
from wsserver.guard.seats import Owner
from wsserver.net.connection import Connection

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

    from wsserver.chat.events import ClientEvent


async def answer(turn: Turn) -> AsyncIterator[str]:
    """Answers at once, but "wait" waits for its end."""
    yield f"you said {turn.content}"
    if turn.content == "wait":
        await asyncio.Event().wait()


def talk(script: Callable[[Peer], Coroutine[Any, Any, None]], **settings: Any) -> None:
    """Runs a conversation with a fresh server."""

    async def main() -> None:
        async with Server(answer, Config(port=0, **settings)) as server, Peer.connect(server.urls[0]) as peer:
            await script(peer)

    run_virtually(main())


def brief(events: list[Event]) -> list[str]:
    """`name#turn`, with the status or code of what ends or refuses."""
    lines = []
    for event in events:
        detail = event["data"].get("status") or event["data"].get("code")
        lines.append(f"{event['event']}#{event.get('turn')}" + (f" {detail}" if detail else ""))
    return lines


def test_session_is_the_first_frame() -> None:
    async def script(peer: Peer) -> None:
        session = peer.session
        assert session["event"] == "session"
        token = session["data"].pop("resume_token")
        assert token.startswith(session["session_id"] + ".")
        assert session["data"] == {
            "resumed": False,
            "recovered": False,
            "resumable": True,
            "epoch": 1,
            "seq": 0,
            "resume_ttl": 120.0,
            "ping_interval": 25.0,
            "max_message_size": 65536,
            "active_turn": None,
        }

    talk(script)


class TestMessage:
    def test_the_short_form_holds_a_whole_conversation(self) -> None:
        async def script(peer: Peer) -> None:
            for number in (1, 2, 3):
                await peer.send({"content": f"hello {number}"})
                events = await peer.turn()
                assert text_of(events) == f"you said hello {number}"
                assert {event["turn"] for event in events} == {number}
                assert {event["session_id"] for event in events} == {peer.session["session_id"]}

        talk(script)

    def test_seq_counts_without_gaps_over_turns(self) -> None:
        async def script(peer: Peer) -> None:
            seqs = []
            for _ in range(3):
                await peer.ask("hello")
                seqs += [event["seq"] for event in await peer.turn()]
            assert seqs == list(range(1, 10))

        talk(script)

    def test_with_an_id_it_is_acknowledged_at_once(self) -> None:
        async def script(peer: Peer) -> None:
            await peer.ask("hello", id="m7")
            ack, start, _, complete = await peer.turn()
            assert ack["data"] == {"ref": "m7", "turn": 1, "queued": 0, "duplicate": False}
            assert "seq" not in ack
            assert start["data"] == {"ref": "m7"}
            assert complete["data"] == {"status": "completed", "final": True, "ref": "m7"}

        talk(script)

    def test_an_id_that_was_taken_makes_no_second_turn(self) -> None:
        async def script(peer: Peer) -> None:
            await peer.ask("hello", id="m1")
            await peer.turn()
            await peer.ask("hello", id="m1")
            assert (await peer.event("ack"))["data"] == {"ref": "m1", "turn": 1, "duplicate": True}
            await peer.ask("again", id="m2")
            assert (await peer.turn())[0]["data"]["turn"] == 2

        talk(script)


class TestBusy:
    def test_queue(self) -> None:
        async def script(peer: Peer) -> None:
            await peer.ask("wait", id="a")
            await peer.ask("second", id="b")
            await peer.ask("third", id="c")
            acks = [event for event in [await peer.event() for _ in range(5)] if event["event"] == "ack"]
            assert [ack["data"]["queued"] for ack in acks] == [0, 1, 2]
            await peer.send({"event": "stop", "data": {"ref": "a"}})
            assert brief(await peer.turn()) == ["complete#1 stopped"]
            assert brief(await peer.turn()) == ["start#2", "token#2", "complete#2 completed"]
            assert brief(await peer.turn()) == ["start#3", "token#3", "complete#3 completed"]

        talk(script)

    def test_queue_full(self) -> None:
        async def script(peer: Peer) -> None:
            for ref in "abcd":
                await peer.ask("wait", id=ref)
            events = [await peer.event() for _ in range(6)]
            assert [event["data"] for event in events if event["event"] == "error"] == [
                {
                    "code": "queue_full",
                    "message": "too many messages wait",
                    "retryable": True,
                    "final": False,
                    "ref": "d",
                }
            ]
            await peer.send({"event": "stop"})
            assert brief([await peer.event() for _ in range(3)]) == [f"complete#{n} stopped" for n in (3, 2, 1)]
            await peer.ask("now", id="d")  # one that was refused may be sent again
            assert brief(await peer.turn()) == ["ack#None", "start#4", "token#4", "complete#4 completed"]

        talk(script, max_queue=2)

    def test_reject(self) -> None:
        async def script(peer: Peer) -> None:
            await peer.ask("wait")
            await peer.ask("second", id="b")
            events = [await peer.event() for _ in range(3)]
            assert "error#None turn_active" in brief(events)

        talk(script, busy="reject")

    def test_interrupt(self) -> None:
        async def script(peer: Peer) -> None:
            await peer.ask("wait")
            await peer.event("start")
            await peer.event("token")
            await peer.ask("second", id="b")
            events = await peer.turn() + await peer.turn()
            assert brief(events) == [
                "ack#None",
                "complete#1 interrupted",
                "start#2",
                "token#2",
                "complete#2 completed",
            ]
            assert events[0]["data"]["queued"] == 0

        talk(script, busy="interrupt", max_queue=0)


class TestStop:
    def test_by_nothing_ends_all_and_what_waits_never_starts(self) -> None:
        async def script(peer: Peer) -> None:
            await peer.ask("wait")
            await peer.ask("waits too")
            assert brief([await peer.event() for _ in range(2)]) == ["start#1", "token#1"]
            await peer.send({"event": "stop", "id": "s"})
            events = [await peer.event() for _ in range(3)]
            assert sorted(brief(events)) == ["ack#None", "complete#1 stopped", "complete#2 stopped"]

        talk(script)

    def test_by_turn(self) -> None:
        async def script(peer: Peer) -> None:
            await peer.ask("wait")
            assert brief([await peer.event() for _ in range(2)]) == ["start#1", "token#1"]
            await peer.ask("two")
            await peer.ask("three")
            await peer.send({"event": "stop", "data": {"turn": 2}})
            assert brief(await peer.turn()) == ["complete#2 stopped"]
            await peer.send({"event": "stop", "data": {"turn": 1}})
            assert brief(await peer.turn()) == ["complete#1 stopped"]
            assert brief(await peer.turn()) == ["start#3", "token#3", "complete#3 completed"]

        talk(script)

    def test_by_ref(self) -> None:
        async def script(peer: Peer) -> None:
            await peer.ask("wait", id="first")
            await peer.ask("two", id="second")
            await peer.send({"event": "stop", "data": {"ref": "second"}})
            events = await peer.turn()
            assert events[-1]["data"] == {"status": "stopped", "final": True, "ref": "second"}

        talk(script)

    @pytest.mark.parametrize("data", [{}, {"turn": 7}, {"ref": "unknown"}])
    def test_of_nothing_is_not_active(self, data: Event) -> None:
        async def script(peer: Peer) -> None:
            await peer.send({"event": "stop", "data": data, "id": "s1"})
            error = await peer.event("error")
            assert error["data"]["code"] == "not_active"
            assert error["data"]["ref"] == "s1"
            await peer.ask("still here")
            assert brief(await peer.turn())[-1] == "complete#1 completed"

        talk(script)


def test_ping_is_answered_with_the_same_data() -> None:
    async def script(peer: Peer) -> None:
        await peer.send({"event": "ping", "data": {"any": ["thing", 1]}})
        assert (await peer.event("pong"))["data"] == {"any": ["thing", 1]}
        await peer.send({"event": "ping", "id": "p"})
        assert (await peer.event("ack"))["data"] == {"ref": "p"}
        await peer.event("pong")

    talk(script)


def test_history_is_what_the_person_was_shown() -> None:
    async def script(peer: Peer) -> None:
        await peer.ask("hello")
        await peer.turn()
        await peer.ask("wait")
        await peer.event("start")
        await peer.event("token")
        await peer.send({"event": "history"})
        assert (await peer.event("history"))["data"] == {
            "items": [
                {"turn": 1, "role": "user", "content": "hello", "status": "completed"},
                {"turn": 1, "role": "assistant", "content": "you said hello", "status": "completed"},
                {"turn": 2, "role": "user", "content": "wait", "status": "completed"},
            ],
            "active": {"turn": 2, "text": "you said wait"},
            "seq": 5,
        }
        await peer.send({"event": "stop"})
        await peer.turn()
        await peer.send({"event": "history"})
        data = (await peer.event("history"))["data"]
        assert data["active"] is None
        assert data["items"][-1] == {"turn": 2, "role": "assistant", "content": "you said wait", "status": "stopped"}

    talk(script)


def test_end_stops_what_runs_and_closes_with_1000() -> None:
    async def script(peer: Peer) -> None:
        await peer.ask("wait")
        await peer.event("start")
        await peer.event("token")
        await peer.send({"event": "end"})
        assert brief(await peer.turn()) == ["complete#1 stopped"]
        assert await peer.closed() == (1000, "ended")

    talk(script)


@pytest.mark.parametrize(
    "text", ["", "hello", "[]", "{}", '{"event":"nonsense"}', '{"event":"message","data":{"content":""}}', "[" * 5000]
)
def test_bad_message_keeps_the_connection(text: str) -> None:
    async def script(peer: Peer) -> None:
        await peer.write(masked(TEXT, text.encode()))
        error = await peer.event("error")
        assert error["data"]["code"] == "bad_message"
        assert error["data"]["final"] is False
        await peer.ask("still here")
        assert brief(await peer.turn())[-1] == "complete#1 completed"

    talk(script)


def test_a_binary_frame_is_closed_with_1003() -> None:
    async def script(peer: Peer) -> None:
        await peer.write(masked(BINARY, b'{"content":"hello"}') + masked(TEXT, b'{"content":"never taken"}'))
        assert (await peer.closed())[0] == 1003

    talk(script)


def test_invalid_utf_8_is_closed_with_1007() -> None:
    async def script(peer: Peer) -> None:
        await peer.write(masked(TEXT, b'{"content":"\xff"}'))
        assert (await peer.closed())[0] == 1007

    talk(script)


def test_a_message_over_the_limit_is_closed_with_1009() -> None:
    async def script(peer: Peer) -> None:
        await peer.ask("x" * 1001)
        assert (await peer.closed())[0] == 1009

    talk(script, max_message_size=1000)


def test_the_echo_gives_back_what_it_gets() -> None:
    async def main() -> None:
        async with Server(answer, Config(port=0, echo=True)) as server:
            async with Peer.connect(server.urls[0], echo=True) as peer:
                await peer.write(masked(TEXT, json.dumps("héllo").encode()) + masked(BINARY, bytes(100_000)[:60_000]))
                assert await peer.frame() == (0x81, json.dumps("héllo").encode())
                assert await peer.frame() == (0x82, bytes(60_000))
            await server.sockets.emptied()

    run_virtually(main())


class TestPace:
    def test_who_opens_a_session_each_time_is_known_by_his_address(self) -> None:
        """Four connections of one address could send 8 at once each: what they sent a fifth session cannot."""

        async def main() -> None:
            config = Config(port=0, message_rate=2, handshake_rate=0, max_connections_per_ip=4)
            async with Server(answer, config) as server:
                for _ in range(4):
                    async with Peer.connect(server.urls[0]) as peer:
                        for _ in range(8):
                            await peer.send({"event": "ping"})
                            await peer.event("pong")
                async with Peer.connect(server.urls[0]) as peer:
                    await peer.ask("hello", id="m1")
                    error = (await peer.event("error"))["data"]
                    assert (error["code"], error["ref"], error["retryable"]) == ("rate_limited", "m1", True)
                    assert 0.5 < error["retry_after"] <= 0.625
                    # Who waits as told is heard, and who is told to stop can be stopped at any time.
                    await asyncio.sleep(error["retry_after"])
                    await peer.ask("hello", id="m1")
                    assert (await peer.turn())[-1]["data"]["status"] == "completed"

        run_virtually(main())

    def test_who_goes_on_is_closed(self) -> None:
        async def script(peer: Peer) -> None:
            for _ in range(17):
                await peer.send({"event": "ping"})
            codes = [(await peer.event())["event"] for _ in range(16)]
            assert codes == ["pong"] * 8 + ["error"] * 8
            assert await peer.closed() == (4008, "messages too fast")

        talk(script, message_rate=2)

    def test_to_be_too_fast_is_no_error_of_that_kind(self) -> None:
        async def script(peer: Peer) -> None:
            for _ in range(150):
                await peer.send({"event": "ping"})
            assert [(await peer.event())["event"] for _ in range(150)] == ["pong"] * 80 + ["error"] * 70
            await asyncio.sleep(10)
            await peer.ask("hello")
            assert (await peer.turn())[-1]["data"]["status"] == "completed"

        talk(script)

    def test_who_sends_garbage_for_ever_is_closed(self) -> None:
        async def script(peer: Peer) -> None:
            for _ in range(31):
                await peer.write(masked(TEXT, b"garbage"))
            for _ in range(31):
                assert (await peer.event("error"))["data"]["code"] == "bad_message"
            assert await peer.closed() == (4008, "too many errors")

        talk(script)

    def test_who_errs_now_and_then_is_not(self) -> None:
        async def script(peer: Peer) -> None:
            for _ in range(100):
                await peer.send({"event": "stop"})
                assert (await peer.event("error"))["data"]["code"] == "not_active"
                await asyncio.sleep(1)

        talk(script)

    def test_errors_outlive_the_connection(self) -> None:
        async def main() -> None:
            async with Server(answer, Config(port=0)) as server:
                async with Peer.connect(server.urls[0]) as peer:
                    for _ in range(30):
                        await peer.write(masked(TEXT, b"garbage"))
                        await peer.event("error")
                async with Peer.connect(server.urls[0] + peer.resume(0)) as again:
                    await again.event("replayed")
                    await again.write(masked(TEXT, b"garbage"))
                    await again.event("error")
                    assert (await again.closed())[0] == 4008

        run_virtually(main())

    def test_bytes_too_many_are_read_later(self) -> None:
        """Nothing is refused: what takes forty seconds at this rate takes them, less one read of the socket."""

        async def main() -> None:
            loop = asyncio.get_running_loop()
            config = Config(port=0, byte_rate=10_000, message_rate=0, ping_interval=2, ping_timeout=1)
            async with Server(answer, config) as server, Peer.connect(server.urls[0]) as peer:
                began = loop.time()
                padding = "x" * 1000
                for number in range(400):
                    peer.writer.write(masked(TEXT, json.dumps({"event": "ping", "data": [number, padding]}).encode()))
                for number in range(400):
                    assert (await peer.event("pong"))["data"][0] == number
                assert 32 < loop.time() - began < 42
                # Meanwhile it was alive, and it is now.
                await peer.ask("hello")
                assert (await peer.turn())[-1]["data"]["status"] == "completed"

        run_virtually(main())

    def test_nothing_is_read_before_that(self) -> None:
        async def main() -> None:
            loop = asyncio.get_running_loop()
            async with Server(answer, Config(port=0, byte_rate=1000)) as server, Peer.connect(server.urls[0]) as peer:
                began = loop.time()
                await peer.send({"event": "ping", "data": {"padding": "x" * 6000}})
                await peer.event("pong")
                assert loop.time() - began < 1
                await peer.send({"event": "ping"})
                [connection] = server.sockets
                # That the peer reads is no reason to read from it.
                connection.resume_writing()  # type: ignore[attr-defined]
                await peer.event("pong")
                assert 2 < loop.time() - began < 3

        run_virtually(main())

    def test_a_connection_that_dies_while_it_is_not_read(self) -> None:
        async def main() -> None:
            async with Server(answer, Config(port=0, byte_rate=1000)) as server:
                async with Peer.connect(server.urls[0]) as peer:
                    await peer.send({"event": "ping", "data": {"padding": "x" * 6000}})
                    await peer.event("pong")
                    peer.reset()
                await server.sockets.emptied()
                await asyncio.sleep(10)
                async with Peer.connect(server.urls[0]) as peer:
                    await peer.send({"event": "ping", "data": {"padding": "x" * 6000}})
                    await peer.event("pong")
                    await server.close()
                    assert (await peer.closed())[0] == 1012
                await server.sockets.emptied()

        run_virtually(main())

    def test_of_its_owner_also_once_others_were_many(self) -> None:
        """What the connection has at hand of its owner's use is not counted on when it was dropped."""

        async def main() -> None:
            config = Config(port=0, message_rate=1, max_connections_per_ip=2, ping_interval=0)
            async with Server(answer, config) as server, Peer.connect(server.urls[0]) as peer:
                await peer.send({"event": "ping"})
                await peer.event("pong")
                [connection] = server.sockets
                assert isinstance(connection, Connection) and connection.account is not None
                stale, owner = connection.account, connection.seat.owner
                await asyncio.sleep(60)
                for number in range(2000):
                    server.conversation._pace.account(Owner("user", f"u{number}"), server.loop.time())
                assert stale.dropped
                await peer.send({"event": "ping"})
                await peer.event("pong")
                account = server.conversation._pace.account(owner, server.loop.time())
                assert (connection.account, account.messages_until > server.loop.time()) == (account, True)

        run_virtually(main())


@pytest.mark.parametrize(("size", "collected"), [(100, True), (20_000, False)])
def test_the_collector_stays_away_from_a_large_message(
    size: int, collected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    decode = envelope.decode_event

    def watched(payload: bytes) -> ClientEvent:
        seen.append(gc.isenabled())
        return decode(payload)

    async def main() -> None:
        async with Server(answer, Config(port=0)) as server, Peer.connect(server.urls[0]) as peer:
            monkeypatch.setattr(envelope, "decode_event", watched)
            await peer.ask("x" * size)
            await peer.turn()

    run_virtually(main())
    assert seen == [collected]
    assert gc.isenabled()
