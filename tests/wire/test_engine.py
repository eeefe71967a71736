"""The framing engine: fragments, lengths announced, text checked as it comes, and what it holds on the way."""

from __future__ import annotations

import gc
import os
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wsproto.connection import Connection, ConnectionType
from wsproto.events import TextMessage
from wsproto.extensions import PerMessageDeflate

from tests.wire.masked import (
    BINARY,
    CLOSE,
    CONTINUATION,
    MASK,
    PING,
    PONG,
    RSV1,
    RSV2,
    RSV3,
    TEXT,
    KiB,
    close,
    examples,
    fragmented,
    header,
    masked,
    octets,
    squeezed,
    unmasked,
    ways,
)
from wsserver.errors import ProtocolError
from wsserver.wire.deflate import Deflate, DeflateParameters
from wsserver.wire.engine import Engine
from wsserver.wire.frames import Frame, encode

LIMIT = 100_000
AGREED = DeflateParameters(client_no_context_takeover=True)


def engine(limit: int = LIMIT, parameters: DeflateParameters | None = None) -> Engine:
    return Engine(limit, Deflate(parameters, limit) if parameters else None)


def read(engine: Engine, *chunks: bytes) -> list[Frame]:
    """All that these reads of the socket complete."""
    found = []
    for chunk in chunks:
        position = 0
        while position < len(chunk):
            frame, position = engine.receive(chunk, position)
            if frame is not None:
                found.append(frame)
    return found


def refusal(engine: Engine, *chunks: bytes) -> tuple[int, str]:
    with pytest.raises(ProtocolError) as refused:
        read(engine, *chunks)
    return refused.value.code, refused.value.reason


class TestBaseFramingProtocol:  # RFC 6455, section 5.2
    @pytest.mark.parametrize(
        "frame",
        [
            Frame(TEXT, b""),
            Frame(TEXT, "退款".encode()),
            Frame(BINARY, b"\xff"),
            *(Frame(BINARY, b"\xfe" * length) for length in (125, 126, 127)),
            Frame(PING, b""),
            Frame(PING, b"x" * 125),
            Frame(PONG, b"\xff"),
            Frame(CLOSE, b""),
            Frame(CLOSE, b"\x03\xe8"),
            Frame(CLOSE, b"\x0f\xa0bye \xe2\x80\xa6"),
        ],
        ids=repr,
    )
    def test_a_frame_however_it_comes(self, frame: Frame) -> None:
        for chunks in ways(masked(*frame)):
            reader = engine()
            assert read(reader, *chunks) == [frame]
            assert reader.at_rest

    @pytest.mark.parametrize("length", [4095, 4096, 65535, 65536, LIMIT])
    def test_a_large_one(self, length: int) -> None:
        payload = os.urandom(length)
        assert read(engine(), masked(BINARY, payload)) == [Frame(BINARY, payload)]

    def test_it_takes_no_byte_of_the_next_frame(self) -> None:
        reader, first = engine(), masked(TEXT, b"Hello")
        data, position, frame = b"before" + first + masked(TEXT, b"behind"), 6, None
        while frame is None:
            frame, position = reader.receive(data, position)
        assert (frame, position) == (Frame(TEXT, b"Hello"), 6 + len(first))
        assert reader.at_rest

    def test_it_is_at_rest_only_between_messages(self) -> None:
        reader = engine()
        first, middle, last = fragmented(TEXT, b"a", b"", b"b")
        rests = []
        for octet in octets(masked(PING) + first + masked(PING) + middle + last):
            read(reader, octet)
            rests.append(reader.at_rest)
        ping = [False] * 5 + [True]
        assert rests == ping + [False] * (len(first + masked(PING) + middle + last) - 1) + [True]

    @pytest.mark.parametrize(
        "stream, reason",
        [
            *((masked(opcode, b"x"), "Invalid opcode") for opcode in (3, 4, 5, 6, 7, 0xB, 0xC, 0xD, 0xE, 0xF)),
            *((masked(TEXT, b"x", rsv=rsv), "Reserved bit") for rsv in (RSV1, RSV2, RSV3)),
            *((masked(PING, b"x", rsv=rsv), "Reserved bit") for rsv in (RSV1, RSV2, RSV3)),
            (unmasked(TEXT, b"Hello"), "unmasked"),
            (unmasked(BINARY, b"x" * 126), "unmasked"),
            (unmasked(PING), "unmasked"),
            (header(BINARY, 125, width=2) + MASK, "would have sufficed"),
            (header(BINARY, 65535, width=8) + MASK, "would have sufficed"),
            (header(BINARY, 2**63), "MSB"),
            (header(BINARY, 2**64 - 1), "MSB"),
        ],
    )
    def test_what_breaks_the_protocol(self, stream: bytes, reason: str) -> None:
        for chunks in ways(stream):
            code, said = refusal(engine(), *chunks)
            assert (code, reason in said) == (1002, True)

    @pytest.mark.parametrize("length", [LIMIT + 1, 2**32, 2**63 - 1])
    def test_a_length_over_the_limit_is_refused_before_a_byte_of_payload(self, length: int) -> None:
        announced = header(BINARY, length)
        assert refusal(engine(), announced) == (1009, "message over the limit")
        assert read(engine(), announced[:-1]) == []


class TestFragmentation:  # RFC 6455, section 5.4
    def test_fragments_are_one_message(self) -> None:
        stream = b"".join(fragmented(TEXT, b"Hel", b"", "lo 退"[:-1].encode(), "退".encode()))
        for chunks in ways(stream):
            assert read(engine(), *chunks) == [Frame(TEXT, "Hello 退".encode())]

    def test_control_frames_may_stand_between(self) -> None:
        first, middle, last = fragmented(BINARY, b"1", b"2", b"3")
        stream = first + masked(PING, b"a") + middle + masked(PONG, b"b") + last + masked(BINARY, b"4")
        expected = [Frame(PING, b"a"), Frame(PONG, b"b"), Frame(BINARY, b"123"), Frame(BINARY, b"4")]
        for chunks in ways(stream):
            assert read(engine(), *chunks) == expected

    @pytest.mark.parametrize("control", [masked(CLOSE), close(1000, b"enough")])
    def test_even_a_close(self, control: bytes) -> None:
        assert [frame.opcode for frame in read(engine(), fragmented(TEXT, b"1", b"2")[0] + control)] == [CLOSE]

    @pytest.mark.parametrize(
        "stream, reason",
        [
            (masked(CONTINUATION, b"of nothing"), "unexpected CONTINUATION"),
            (masked(CONTINUATION), "unexpected CONTINUATION"),
            (masked(TEXT, b"1", fin=False) + masked(TEXT, b"2"), "expected CONTINUATION"),
            (masked(TEXT, b"1", fin=False) + masked(BINARY), "expected CONTINUATION"),
            (masked(TEXT, fin=False) + masked(TEXT, fin=False), "expected CONTINUATION"),
            (masked(PING, b"x", fin=False), "fragment control frame"),
            (masked(CLOSE, fin=False), "fragment control frame"),
            (masked(TEXT, b"1", fin=False) + masked(CONTINUATION, b"2", rsv=RSV1), "Reserved bit"),
        ],
    )
    @pytest.mark.parametrize("parameters", [None, AGREED])
    def test_frames_out_of_order(self, stream: bytes, reason: str, parameters: DeflateParameters | None) -> None:
        for chunks in ways(stream):
            code, said = refusal(engine(LIMIT, parameters), *chunks)
            assert (code, reason in said) == (1002, True)

    @pytest.mark.parametrize("parameters", [None, AGREED])
    def test_the_limit_is_for_all_fragments_together(self, parameters: DeflateParameters | None) -> None:
        within = fragmented(BINARY, b"x" * 500, b"x" * 499, b"x")
        beyond = b"".join(within[:2]) + header(CONTINUATION, 2)
        assert read(engine(1000, parameters), *within) == [Frame(BINARY, b"x" * 1000)]
        assert refusal(engine(1000, parameters), beyond) == (1009, "message over the limit")

    def test_so_it_is_for_compressed_ones(self) -> None:
        noise = os.urandom(10_000)
        whole = squeezed(noise)
        assert len(whole) > len(noise)  # what cannot be compressed grows, and may
        stream = b"".join(fragmented(BINARY, whole[:5000], whole[5000:], rsv=RSV1))
        assert read(engine(10_000, AGREED), stream) == [Frame(BINARY, noise)]
        assert refusal(engine(9_999, AGREED), stream)[0] == 1009
        announced = masked(BINARY, whole[:5000], fin=False, rsv=RSV1) + header(CONTINUATION, 6000)
        assert refusal(engine(10_000, AGREED), announced) == (1009, "message over the limit")

    def test_a_message_of_many_fragments_costs_its_bytes(self) -> None:
        fragment, count, limit = masked(CONTINUATION, b"x", fin=False), 8_000, 2**30
        reader = engine(limit)
        read(reader, masked(BINARY, b"x", fin=False))
        stream = fragment * 100
        tracemalloc.start()
        for _ in range(count // 100):
            read(reader, stream)
        held = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        assert held < count + 16 * KiB
        assert read(reader, masked(CONTINUATION)) == [Frame(BINARY, b"x" * (count + 1))]

    def test_and_nothing_once_it_has_been_given_away(self) -> None:
        reader = engine(2**20)
        stream = masked(BINARY, bytes(2**20))
        gc.collect()
        tracemalloc.start()
        assert len(read(reader, stream)) == 1
        held = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        assert held < 64 * KiB


class TestControlFrames:  # RFC 6455, section 5.5
    @pytest.mark.parametrize("opcode", [CLOSE, PING, PONG])
    @pytest.mark.parametrize("length", [126, 65536])
    def test_they_are_short(self, opcode: int, length: int) -> None:
        assert refusal(engine(), masked(opcode, b"\x03\xe8" * (length // 2)))[0] == 1002

    @pytest.mark.parametrize(
        "payload, code",
        [
            (b"\x03", 1002),
            *((code.to_bytes(2, "big"), 1002) for code in (0, 999, 1004, 1005, 1006, 1014, 1015, 2999, 5000)),
            (b"\x03\xe8\xff", 1007),
        ],
    )
    def test_a_close_that_no_peer_may_send(self, payload: bytes, code: int) -> None:
        for chunks in ways(masked(CLOSE, payload)):
            assert refusal(engine(), *chunks)[0] == code


class TestHandlingOfErrorsInUtf8:  # RFC 6455, section 8.1
    @pytest.mark.parametrize(
        "good, bad",
        [(b"", b"\xff"), (b"ok", b"\xc0"), (b"\xe9\x80", b"x"), (b"\xed\xa0", b"\x80"), (b"\xf4", b"\x90")],
    )
    def test_the_first_bad_byte_ends_it(self, good: bytes, bad: bytes) -> None:
        announced = header(TEXT, 50, fin=False) + b"\0\0\0\0"
        reader = engine()
        assert read(reader, announced + good) == []
        assert refusal(reader, bad) == (1007, "data is damaged or not UTF-8")

    def test_also_where_a_fragment_begins(self) -> None:
        first, last = fragmented(TEXT, b"\xe9\x80", b"x" * 50)
        reader = engine()
        assert read(reader, first + last[:6]) == []
        assert refusal(reader, last[6:7])[0] == 1007

    def test_a_character_must_be_whole_at_the_end(self) -> None:
        assert refusal(engine(), *fragmented(TEXT, b"x", b"\xe9\x80"))[0] == 1007

    @pytest.mark.parametrize("content", [b"ok\xff", b"cut \xe9\x80"])
    def test_compressed_text_is_text(self, content: bytes) -> None:
        for chunks in ways(masked(TEXT, squeezed(content), rsv=RSV1)):
            assert refusal(engine(LIMIT, AGREED), *chunks) == (1007, "data is damaged or not UTF-8")


class TestPerMessageCompression:  # RFC 7692, section 6
    def test_a_compressed_message_however_it_comes(self) -> None:
        for chunks in ways(masked(TEXT, squeezed(b"Hello, hello, hello"), rsv=RSV1)):
            assert read(engine(LIMIT, AGREED), *chunks) == [Frame(TEXT, b"Hello, hello, hello")]

    def test_a_ping_between_compressed_fragments(self) -> None:
        payload = squeezed(b"Hello, hello, hello")
        first, last = fragmented(TEXT, payload[:5], payload[5:], rsv=RSV1)
        stream = first + masked(PING, b"?") + last + masked(TEXT, b"plain")
        for chunks in ways(stream):
            assert read(engine(LIMIT, AGREED), *chunks) == [
                Frame(PING, b"?"),
                Frame(TEXT, b"Hello, hello, hello"),
                Frame(TEXT, b"plain"),
            ]

    def test_damage(self) -> None:
        for payload in (b"\x07", b"\x00\x05\x00\x00\x00Hello"):
            assert refusal(engine(LIMIT, AGREED), masked(BINARY, payload, rsv=RSV1))[0] == 1007

    def test_damage_that_only_the_end_shows(self) -> None:
        assert refusal(engine(LIMIT, AGREED), masked(BINARY, b"\x00\x05", rsv=RSV1))[0] == 1007


class TestSendingData:  # RFC 6455, section 6.1
    @given(st.sampled_from([TEXT, BINARY, PING, PONG, CLOSE]), st.integers(0, 123))
    @examples
    def test_the_engine_writes_what_the_lanes_write(self, opcode: int, length: int) -> None:
        payload = b"\x03\xe8" + b"x" * length if opcode == CLOSE else b"x" * length
        assert engine().encode(opcode, payload) == encode(opcode, payload)

    def test_a_close_without_status(self) -> None:
        assert engine().encode(CLOSE, b"") == b"\x88\x00"

    @pytest.mark.parametrize("takeover", [True, False])
    @given(contents=st.lists(st.integers(1024, 20_000), max_size=4))
    @examples
    def test_compressed_it_is_what_the_lanes_write_and_wsproto_reads(self, takeover: bool, contents: list[int]) -> None:
        extension = PerMessageDeflate()
        extension.finalize("" if takeover else "; server_no_context_takeover")
        client = Connection(ConnectionType.CLIENT, [extension])
        parameters = DeflateParameters(server_no_context_takeover=not takeover)
        writer, deflate = engine(LIMIT, parameters), Deflate(parameters, LIMIT)
        for length in contents:
            text = "".join(chr(32 + place * place % 89) for place in range(length))
            frame = writer.encode(TEXT, text.encode())
            assert frame == encode(TEXT, deflate.compress(text.encode()), compressed=True)
            client.receive_data(frame)
            assert list(client.events()) == [TextMessage(text)]

    def test_short_messages_and_control_frames_are_not_compressed(self) -> None:
        writer = engine(LIMIT, AGREED)
        for opcode, payload in ((TEXT, b"x" * 1023), (PING, b"x" * 125), (CLOSE, b"\x03\xe8")):
            assert writer.encode(opcode, payload) == encode(opcode, payload)
