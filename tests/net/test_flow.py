"""One way out, and the gate (decisions 3 and 5), with writes that can be read one by one."""

from __future__ import annotations

import asyncio

from tests.net.stage import Stage
from wsserver.chat.envelope import encode_event
from wsserver.wire.frames import BINARY
from wsserver.wire.protocol import CHUNK_SIZE


class TestOneWayOut:
    def test_no_write_is_longer_than_a_chunk(self) -> None:
        stage = Stage()
        stage.protocol.send(BINARY, bytes(300_000))
        stage.pump.run()
        assert max(map(len, stage.transport.writes)) <= CHUNK_SIZE
        assert sum(map(len, stage.transport.writes)) == 300_000 + 10

    def test_many_events_go_in_chunks_of_whole_frames(self) -> None:
        stage = Stage(soft_limit=2**20)
        for number in range(3000):
            stage.token(f"token {number}")
        stage.pump.run()
        assert len(stage.transport.writes) > 3
        assert max(map(len, stage.transport.writes)) <= CHUNK_SIZE
        assert "".join(value for write in stage.sent() for value in write) == "".join(
            f"token {number}" for number in range(3000)
        )

    def test_what_is_shown_while_it_is_corked_waits_for_whoever_corked_it(self) -> None:
        stage = Stage(flush_interval=0.001)
        stage.pump.corked = True
        stage.token("a")
        assert not stage.loop.soon
        stage.pump.corked = False
        stage.pump.run()
        assert stage.sent() == [["a"]]

    def test_what_is_not_logged_keeps_its_place_behind_what_was_published(self) -> None:
        stage = Stage()
        stage.token("a")
        stage.pump.send(encode_event("status", {}, "s"))
        stage.token("b")
        stage.pump.run()
        assert stage.sent() == [["a", "status"], ["b"]]

    def test_after_the_connection_is_lost_nothing_is_written(self) -> None:
        stage = Stage()
        stage.token("a")
        stage.pump.detach()
        stage.loop.turn()
        assert stage.sent() == []
        assert stage.session.reader is None


class TestGate:
    def test_while_the_transport_holds_bytes_nothing_more_is_given_to_it(self) -> None:
        stage = Stage()
        stage.transport.room = 100
        stage.token("a" * 200)
        stage.pump.run()
        stage.token("b")
        stage.pump.run()
        assert stage.sent() == [["a" * 200]]
        stage.transport.drain()
        assert stage.sent() == [["b"]]

    def test_a_callback_waits_beyond_the_soft_limit_and_goes_on_when_the_reader_has_caught_up(self) -> None:
        stage = Stage(soft_limit=1000)
        log = stage.session.log
        stage.transport.room = 0
        stage.token("first")
        stage.pump.run()
        gate = stage.session.gate = asyncio.Event()
        while log.written <= log.brake:
            stage.token("x" * 100)
        assert log.written - 1000 < 1000
        stage.transport.drain()
        assert log.written <= log.brake
        assert gate.is_set()
        assert stage.session.gate is None

    def test_progress_of_unsent_bytes_shows(self) -> None:
        stage = Stage()
        stage.transport.room = 50
        stage.token("a" * 200)
        stage.pump.run()
        assert stage.pump.taken == 50
        stage.transport.buffered -= 30
        assert stage.pump.taken == 80

    def test_a_reader_that_is_behind_is_full(self) -> None:
        stage = Stage(soft_limit=100)
        stage.transport.room = 0
        stage.token("fills the transport")
        stage.pump.run()
        assert not stage.pump.full
        stage.pump.send(encode_event("status", {"x": "y" * 100}, "s"))
        assert stage.pump.full
