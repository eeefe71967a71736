"""The lane for messages that come in pieces: which frames it takes, and that the engine would read the same."""

from __future__ import annotations

import os
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wire.masked import (
    BINARY,
    CONTINUATION,
    MASK,
    PING,
    RSV1,
    TEXT,
    KiB,
    cut,
    examples,
    header,
    hear,
    masked,
    octets,
    unmasked,
)
from wsserver.errors import ProtocolError
from wsserver.wire.frames import Frame
from wsserver.wire.message import SMALL_PIECE
from wsserver.wire.pieces import Pieces, begin
from wsserver.wire.protocol import Protocol, State

LIMIT = 100_000


def read(stream: bytes, *places: int) -> tuple[Frame | None, int]:
    """The message of a stream cut at these places, the first of them behind its header; and where it ended."""
    reads = list(cut(stream, places))
    begun = begin(reads[0], 0, LIMIT)
    assert begun is not None
    pieces, position = begun
    for data in reads:
        message, position = pieces.receive(data, position)
        if message is not None:
            assert pieces.at_rest
            return message, position
        assert (position, pieces.at_rest) == (len(data), False)
        position = 0
    return None, position


class TestWhatItTakes:
    @pytest.mark.parametrize("length", [1, 125, 126, 65535, 65536, LIMIT])
    @pytest.mark.parametrize("opcode", [TEXT, BINARY])
    def test_a_message_from_its_whole_header_on(self, opcode: int, length: int) -> None:
        data = masked(opcode, b"x" * length)
        size = len(data) - length
        assert begin(data[: size - 1], 0, LIMIT) is None
        assert begin(data, 0, LIMIT) is None  # whole: for the other lane
        for end in {size, len(data) - 1}:
            begun = begin(b"before" + data[:end], 6, LIMIT)
            assert begun is not None
            pieces, position = begun
            assert (position, pieces.at_rest) == (6 + size, False)

    @pytest.mark.parametrize(
        "data",
        [
            header(BINARY, LIMIT + 1) + MASK,
            header(BINARY, 2**63) + MASK,
            header(BINARY, 5, width=2) + MASK,
            header(BINARY, 65535, width=8) + MASK,
            header(TEXT, 50, fin=False) + MASK,
            header(CONTINUATION, 50) + MASK,
            header(TEXT, 50, rsv=RSV1) + MASK,
            header(PING, 50) + MASK,
            header(3, 50) + MASK,
            unmasked(TEXT, b"x" * 50)[:20],
            masked(TEXT),
            b"",
            b"\x81",
        ],
        ids=lambda data: data[:8].hex(),
    )
    def test_nothing_that_anything_can_be_said_against(self, data: bytes) -> None:
        assert begin(data, 0, LIMIT) is None


class TestWhatItReads:
    @given(st.integers(1, 20_000), st.binary(min_size=4, max_size=4), st.lists(st.integers(1, 20_000), max_size=6))
    @examples
    def test_is_what_was_sent_wherever_it_is_cut(self, length: int, mask: bytes, places: list[int]) -> None:
        payload = os.urandom(length)
        stream = masked(BINARY, payload, mask=mask)
        head = len(stream) - length
        assert read(stream, head, *(head + place for place in places))[0] == Frame(BINARY, payload)

    def test_it_takes_no_byte_of_the_next_frame(self) -> None:
        stream = masked(TEXT, b"Hello") + masked(TEXT, b"behind")
        assert read(stream, 7) == (Frame(TEXT, b"Hello"), 4)

    def test_it_may_be_kept(self) -> None:
        for size in (30, 2 * SMALL_PIECE):
            message, _ = read(masked(BINARY, b"x" * size), 20)
            assert message is not None and type(message.payload) is bytes

    @pytest.mark.parametrize(
        "good, bad",
        [(b"", b"\xff"), (b"ok", b"\xc0"), (b"\xe9\x80", b"x"), (b"\xed\xa0", b"\x80"), (b"x" * 5000, b"\xff")],
    )
    def test_the_first_bad_byte_of_a_text_ends_it(self, good: bytes, bad: bytes) -> None:
        pieces = Pieces(TEXT, 6000, b"\0\0\0\0")
        assert pieces.receive(good, 0) == (None, len(good))
        with pytest.raises(ProtocolError) as refused:
            pieces.receive(bad, 0)
        assert (refused.value.code, refused.value.reason) == (1007, "data is damaged or not UTF-8")

    def test_a_character_must_be_whole_at_the_end(self) -> None:
        pieces = Pieces(TEXT, 3, b"\0\0\0\0")
        pieces.receive(b"x", 0)
        with pytest.raises(ProtocolError):
            pieces.receive(b"\xe9\x80", 0)

    def test_a_message_that_drips_costs_its_bytes(self) -> None:
        drops = octets(b"x" * 20_000)
        pieces = Pieces(BINARY, 20_001, MASK)
        tracemalloc.start()
        for drop in drops:
            pieces.receive(drop, 0)
        held = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        assert held < 20_000 + 8 * KiB

    def test_what_is_announced_takes_no_memory_before_it_comes(self) -> None:
        tracemalloc.start()
        pieces = [begin(header(BINARY, 2**30) + MASK, 0, 2**30) for _ in range(10)]
        held = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        assert None not in pieces
        assert held < 16 * KiB


class TestInAConnection:
    @given(
        st.lists(st.sampled_from([1, 1000, SMALL_PIECE, 9000, 30_000]), min_size=1, max_size=4),
        st.sampled_from([b"x", "é".encode(), b"\xff"]),
        st.lists(st.integers(1, 60_000), max_size=8),
    )
    @examples
    def test_long_messages_are_what_the_engine_reads(self, sizes: list[int], pattern: bytes, places: list[int]) -> None:
        contents = [(pattern * size)[:size] for size in sizes]
        stream = b"".join(masked(TEXT, text) + masked(BINARY, text) + masked(PING, b"?") for text in contents)
        outcomes = [hear(Protocol(LIMIT, lanes=lanes), *cut(stream, places)) for lanes in (True, False)]
        assert outcomes[0] == outcomes[1]

    def test_the_engine_is_not_made_for_them(self) -> None:
        protocol = Protocol(LIMIT)
        data = masked(BINARY, b"x" * 50_000)
        assert list(protocol.receive_data(data[:40_000])) == []
        assert type(protocol._engine) is Pieces
        assert list(protocol.receive_data(data[40_000:] + masked(TEXT, b"Hello"))) == [
            Frame(BINARY, b"x" * 50_000),
            Frame(TEXT, b"Hello"),
        ]
        assert protocol.state is State.OPEN
        assert protocol._engine is None
