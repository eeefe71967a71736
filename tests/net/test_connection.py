"""The deadlines of a connection, and its back-pressure, with real sockets in virtual time."""

from __future__ import annotations

import asyncio
import itertools
import socket
from contextlib import AsyncExitStack
from time import perf_counter
from typing import TYPE_CHECKING, Any

import pytest

from tests.clock import run_virtually
from tests.net.talking import answer
from tests.peer import PING, PONG, TEXT, Peer, masked, request
from wsserver import Config, Server, Status, Turn
from wsserver.net.intake import MOST_UNTAKEN
from wsserver.net.turnstile import SLICE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


async def flood(turn: Turn) -> AsyncIterator[str]:
    while True:
        yield "x" * 1000


class TestHeartbeat:
    """protocol.md, Heartbeat."""

    def test_pings_come_every_interval_the_first_at_a_random_point(self) -> None:
        async def main() -> list[float]:
            firsts = []
            async with Server(answer, Config(port=0, ping_interval=20)) as server:
                for _ in range(8):
                    async with Peer.connect(server.urls[0]) as peer:
                        loop = asyncio.get_running_loop()
                        opened, times = loop.time(), []
                        for _ in range(3):
                            assert await peer.frame() == (0x80 | PING, b"")
                            times.append(loop.time() - opened)
                            await peer.write(masked(PONG))
                        assert times[1] - times[0] == pytest.approx(20, abs=0.5)
                        assert times[2] - times[1] == pytest.approx(20, abs=0.5)
                        firsts.append(times[0])
            return firsts

        firsts = run_virtually(main())
        assert all(0 <= first <= 20.5 for first in firsts)
        assert max(firsts) - min(firsts) > 2, "connections beat together"

    def test_without_a_sign_of_life_the_connection_ends_with_4001(self) -> None:
        async def main() -> tuple[float, tuple[int, str]]:
            loop = asyncio.get_running_loop()
            async with Server(answer, Config(port=0, ping_interval=20, ping_timeout=10)) as server:
                async with Peer.connect(server.urls[0]) as peer:
                    opened = loop.time()
                    code = await peer.closed()
                    silence = loop.time() - opened
                    await peer.gone()
                    assert len(server.sockets) == 0
                    return silence, code

        silence, code = run_virtually(main())
        assert code == (4001, "no pong")
        assert silence == pytest.approx(30, abs=0.5)

    def test_any_byte_is_a_sign_of_life(self) -> None:
        async def main() -> None:
            async with Server(answer, Config(port=0, ping_interval=20, ping_timeout=10)) as server:
                async with Peer.connect(server.urls[0]) as peer:
                    message = masked(TEXT, b'{"content":"slow"}')
                    for byte in message:
                        await asyncio.sleep(25)
                        await peer.write(bytes([byte]))
                    assert (await peer.turn())[-1]["data"]["status"] == "completed"

        run_virtually(main())

    def test_an_interval_of_0_sends_no_pings_and_waits_for_ever(self) -> None:
        async def main() -> None:
            async with Server(answer, Config(port=0, ping_interval=0)) as server:
                async with Peer.connect(server.urls[0]) as peer:
                    await asyncio.sleep(500)
                    await peer.ask("hello")
                    assert (await peer.event())["event"] == "start"

        run_virtually(main())


def small_receive_buffer(peer: Peer) -> None:
    peer.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)


class TestSlowReader:
    """Decision 5: the callback waits, and who takes nothing for `write_timeout` is cut."""

    def test_a_reader_that_takes_nothing_is_cut(self) -> None:
        async def main() -> float:
            config = Config(port=0, write_timeout=30, close_timeout=5, ping_interval=0)
            async with Server(flood, config) as server:
                async with Peer.connect(server.urls[0]) as peer:
                    peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
                    await peer.ask("go")
                    loop = asyncio.get_running_loop()
                    began = loop.time()
                    await server.sockets.emptied()
                    return loop.time() - began

        assert run_virtually(main()) == pytest.approx(35, abs=5)

    def test_a_reader_that_takes_a_little_is_kept(self) -> None:
        async def main() -> None:
            config = Config(port=0, write_timeout=30, ping_interval=20, ping_timeout=10)
            async with Server(flood, config) as server:
                async with Peer.connect(server.urls[0]) as peer:
                    await peer.ask("go")
                    transport = peer.writer.transport
                    for _ in range(4):
                        transport.pause_reading()  # type: ignore[attr-defined]
                        await asyncio.sleep(15)
                        transport.resume_reading()  # type: ignore[attr-defined]
                        await peer.reader.readexactly(1_000_000)
                    assert len(server.sockets) == 1

        run_virtually(main())

    def test_the_callback_waits_for_its_reader(self) -> None:
        shown = 0

        async def count(turn: Turn) -> AsyncIterator[str]:
            nonlocal shown
            for shown in range(10_000_000):  # noqa: B007
                yield "x" * 1000

        async def main() -> None:
            async with Server(count, Config(port=0, ping_interval=0, write_timeout=0)) as server:
                async with Peer.connect(server.urls[0]) as peer:
                    peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
                    await peer.ask("go")
                    await asyncio.sleep(60)
                    before = shown
                    await asyncio.sleep(60)
                    assert shown == before < 5_000
                    peer.writer.transport.resume_reading()  # type: ignore[attr-defined]
                    await peer.reader.readexactly(10_000_000)
                    assert shown > before + 1000

        run_virtually(main())


class TestHardLimit:
    def test_who_pings_and_reads_no_pongs_is_no_longer_read(self) -> None:
        """Long before the hard limit: that is for answers, which are in the log too."""

        async def main() -> None:
            config = Config(port=0, ping_interval=0, write_timeout=0)
            async with Server(answer, config) as server:
                async with Peer.connect(server.urls[0]) as peer:
                    peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
                    pings = masked(PING, b"p" * 125) * 500
                    for _ in range(20):
                        peer.writer.write(pings)
                    await asyncio.sleep(60)
                    [connection] = server.sockets
                    assert connection._rest is not None  # type: ignore[attr-defined]
                    # One slice may go beyond it, and no more is left of what was read.
                    assert connection.protocol.queued < MOST_UNTAKEN + 2**17  # type: ignore[attr-defined]
                    peer.writer.transport.resume_reading()  # type: ignore[attr-defined]
                    for _ in range(20 * 500):
                        assert await peer.frame() == (0x80 | PONG, b"p" * 125)
                    assert connection._rest is None  # type: ignore[attr-defined]

        run_virtually(main())

    def test_answers_much_longer_than_their_questions_are_bounded_too(self) -> None:
        async def main() -> None:
            config = Config(
                port=0, ping_interval=0, write_timeout=0, soft_limit=10_000, hard_limit=100_000, message_rate=0
            )
            async with Server(answer, config) as server:
                async with Peer.connect(server.urls[0]) as peer:
                    await peer.ask("x" * 50_000)
                    await peer.turn()
                    peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
                    await peer.write(masked(TEXT, b'{"event":"history"}') * 400)
                    await asyncio.sleep(60)
                    [connection] = server.sockets
                    assert connection.protocol.queued < 100_000 + 2 * 110_000  # type: ignore[attr-defined]
                    peer.writer.transport.resume_reading()  # type: ignore[attr-defined]
                    for _ in range(400):
                        await peer.event("history")
                    assert connection._rest is None  # type: ignore[attr-defined]
                    await peer.ask("still here")
                    await peer.turn()

        run_virtually(main())

    def test_turns_that_begin_and_end_do_not_fill_the_log_of_who_reads_nothing(self) -> None:
        async def main() -> None:
            config = Config(
                port=0, ping_interval=0, write_timeout=0, soft_limit=10_000, hard_limit=100_000, message_rate=0
            )
            async with Server(flood, config) as server:
                async with Peer.connect(server.urls[0]) as peer:
                    peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
                    storm = masked(TEXT, b'{"content":"x"}') + masked(TEXT, b'{"event":"stop"}')
                    peer.writer.write(storm * 20_000)
                    await asyncio.sleep(120)
                    [connection] = server.sockets
                    log = connection.session.log  # type: ignore[attr-defined]
                    assert connection.pump.behind < 120_000  # type: ignore[attr-defined]
                    assert log.head < 5_000

        run_virtually(main())

    def test_a_status_is_not_queued_for_a_reader_that_is_behind(self) -> None:
        async def generate(turn: Turn) -> AsyncIterator[Status]:
            for _ in range(100_000):
                yield Status("y" * 100)

        async def main() -> None:
            async with Server(generate, Config(port=0, ping_interval=0, write_timeout=0)) as server:
                async with Peer.connect(server.urls[0]) as peer:
                    peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
                    await peer.ask("go")
                    await asyncio.sleep(60)
                    [connection] = server.sockets
                    assert connection.protocol.queued < 70_000  # type: ignore[attr-defined]
                    peer.writer.transport.resume_reading()  # type: ignore[attr-defined]
                    assert (await peer.turn())[-1]["data"]["status"] == "completed"

        run_virtually(main())


class TestTurnsOfTheLoop:
    """What one connection sends at once is handled in pieces, and others have their turn between them."""

    def test_however_many_send_what_takes_long_a_small_message_is_answered_at_once(self) -> None:
        """Fifty connections with thousands of fragments each, of which each takes a whole slice."""

        async def main() -> None:
            config = Config(port=0, ping_interval=0)
            async with AsyncExitStack() as stack:
                server = await stack.enter_async_context(Server(answer, config))
                clock = itertools.count()
                server.turnstile.clock = lambda: next(clock) * SLICE * 1.1
                peers = [await stack.enter_async_context(Peer.connect(server.urls[0])) for _ in range(51)]
                good = peers.pop()
                for peer in peers:
                    peer.writer.write(masked(TEXT, b"{", first=0) + masked(0x0, b"", first=0) * 5000)
                while len(server.turnstile) < len(peers):  # noqa: ASYNC110
                    await asyncio.sleep(0)
                turns = 0

                async def count() -> None:
                    nonlocal turns
                    while True:
                        turns += 1
                        await asyncio.sleep(0)

                counting = asyncio.create_task(count())
                await good.send({"event": "ping"})
                assert (await good.event())["event"] == "pong"
                counting.cancel()
                # In each of them one slice was read of one of those who stand in line.
                assert turns < 20
                assert len(server.turnstile) == len(peers)
                server.turnstile.clock = perf_counter

        run_virtually(main())

    def test_however_many_shake_hands_at_once_who_is_in_is_answered_between_them(self) -> None:
        async def main() -> None:
            async with AsyncExitStack() as stack:
                server = await stack.enter_async_context(Server(answer, Config(port=0, ping_interval=0)))
                good = await stack.enter_async_context(Peer.connect(server.urls[0]))
                others = [await stack.enter_async_context(Peer.socket(server.urls[0])) for _ in range(50)]
                while len(server.sockets) < 51:  # noqa: ASYNC110
                    await asyncio.sleep(0)
                clock = itertools.count()
                server.turnstile.clock = lambda: next(clock) * SLICE * 1.1
                for other in others:
                    await other.write(request())
                await good.send({"event": "ping"})
                assert (await good.event())["event"] == "pong"
                assert server.seats.addresses["127.0.0.1"] < 40
                server.turnstile.clock = perf_counter
                for other in others:
                    await other.read_head()
                    await other.event("session")

        run_virtually(main())

    def test_who_is_gone_no_longer_stands_in_line(self) -> None:
        async def main() -> None:
            async with Server(answer, Config(port=0, ping_interval=0)) as server:
                async with Peer.connect(server.urls[0]) as peer:
                    await peer.write(masked(TEXT, b"{", first=0) + masked(0x0, b"", first=0) * 20_000)
                    while not len(server.turnstile):  # noqa: ASYNC110
                        await asyncio.sleep(0)
                    [connection] = server.sockets
                    connection.abort()  # type: ignore[attr-defined]
                await server.sockets.emptied()
                assert len(server.turnstile) == 0

        run_virtually(main())

    def test_others_are_served_between_the_pieces(self) -> None:
        async def main() -> None:
            async with Server(answer, Config(port=0, ping_interval=0)) as server:
                async with Peer.connect(server.urls[0]) as busy, Peer.connect(server.urls[0]) as other:
                    fragments = masked(TEXT, b"{", first=0) + masked(0x0, b"", first=0) * 20_000
                    busy.writer.write(fragments + masked(0x0, b'"content":"late"}'))
                    await other.send({"event": "ping"})
                    assert (await other.event())["event"] == "pong"
                    mine = next(member for member in server.sockets if member.session.id in str(busy.session))  # type: ignore[attr-defined]
                    assert mine._rest is not None, "the busy one has not been read to its end"  # type: ignore[attr-defined]
                    assert (await busy.turn())[1]["data"]["value"] == "you said late"
                    assert mine._rest is None  # type: ignore[attr-defined]

        run_virtually(main())

    def test_a_loop_that_was_held_up_reads_before_it_judges(self) -> None:
        async def main() -> None:
            loop: Any = asyncio.get_running_loop()
            config = Config(port=0, ping_interval=20, ping_timeout=10)
            async with Server(answer, config) as server, Peer.connect(server.urls[0]) as peer:
                await asyncio.sleep(1)
                await peer.write(masked(PONG))
                loop._virtual.now += 100  # nobody ran, and the pong lies unread
                await peer.ask("still here?")
                assert (await peer.turn())[-1]["data"]["status"] == "completed"

        run_virtually(main())


class TestClosing:
    """RFC 6455, section 7."""

    def test_end_comes_behind_all_that_was_published(self) -> None:
        async def big(turn: Turn) -> AsyncIterator[str]:
            yield "x" * 900_000
            await asyncio.Event().wait()

        async def main() -> None:
            async with Server(big, Config(port=0)) as server, Peer.connect(server.urls[0]) as peer:
                peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
                await peer.ask("go")
                await asyncio.sleep(1)
                await peer.send({"event": "end"})
                await peer.ask("nothing is taken any more")
                await asyncio.sleep(1)
                peer.writer.transport.resume_reading()  # type: ignore[attr-defined]
                start, token, complete = await peer.turn()
                assert len(token["data"]["value"]) == 900_000
                assert complete["data"]["status"] == "stopped"
                assert await peer.frame() == (0x88, b"\x03\xe8ended")

        run_virtually(main())

    def test_the_peers_close_is_answered_and_the_server_ends_tcp_first(self) -> None:
        async def main() -> None:
            async with Server(answer, Config(port=0)) as server:
                async with Peer.connect(server.urls[0]) as peer:
                    await peer.write(masked(0x8, b"\x03\xe8bye"))
                    assert await peer.closed() == (1000, "")
                    assert await peer.gone() == b""
                    await server.sockets.emptied()

        run_virtually(main())

    def test_a_peer_that_does_not_end_tcp_is_aborted(self) -> None:
        async def main() -> float:
            loop = asyncio.get_running_loop()
            async with Server(answer, Config(port=0, close_timeout=5)) as server:
                async with Peer.connect(server.urls[0]) as peer:
                    await peer.write(masked(0x2, b"binary"))
                    assert await peer.closed() == (1003, "only text is understood here")
                    began = loop.time()
                    await server.sockets.emptied()
                    return loop.time() - began

        assert run_virtually(main()) == pytest.approx(5, abs=0.5)

    def test_data_behind_a_failure_is_discarded(self) -> None:
        async def main() -> None:
            async with Server(answer, Config(port=0)) as server:
                async with Peer.connect(server.urls[0]) as peer:
                    await peer.write(b"\xff\xff" + masked(TEXT, b'{"content":"hi"}') * 100)
                    assert (await peer.closed())[0] == 1002
                    assert await peer.gone() == b""

        run_virtually(main())

    def test_a_half_closed_peer_that_reads_nothing_is_cut(self) -> None:
        async def main() -> float:
            loop = asyncio.get_running_loop()
            config = Config(port=0, close_timeout=5, write_timeout=0, ping_interval=0, resume_ttl=0)
            async with Server(flood, config) as server:
                async with Peer.connect(server.urls[0]) as peer:
                    peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
                    await peer.ask("go")
                    await asyncio.sleep(1)
                    began = loop.time()
                    peer.writer.write_eof()
                    await server.sockets.emptied()
                    assert not len(server.sessions)
                    return loop.time() - began

        assert run_virtually(main()) == pytest.approx(5, abs=0.5)

    def test_without_a_close_timeout_a_dead_peer_is_cut_all_the_same(self) -> None:
        async def main() -> float:
            loop = asyncio.get_running_loop()
            async with Server(answer, Config(port=0, close_timeout=0, ping_interval=0)) as server:
                async with Peer.connect(server.urls[0]) as peer:
                    began = loop.time()
                    await peer.write(masked(0x2, b"binary"))
                    await server.sockets.emptied()
                    return loop.time() - began

        assert run_virtually(main()) == pytest.approx(60, abs=0.5)

    def test_an_eof_without_a_close_ends_the_connection(self) -> None:
        async def main() -> None:
            async with Server(answer, Config(port=0)) as server:
                async with Peer.connect(server.urls[0]) as peer:
                    peer.writer.write_eof()
                    await server.sockets.emptied()

        run_virtually(main())


def test_an_error_of_ours_ends_the_connection_with_1011(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with Server(answer, Config(port=0)) as server:
            monkeypatch.setattr(server.conversation, "_table", {})
            async with Peer.connect(server.urls[0]) as peer:
                await peer.ask("hello")
                assert (await peer.closed())[0] == 1011

    run_virtually(main())
    assert "could not be handled" in caplog.text
