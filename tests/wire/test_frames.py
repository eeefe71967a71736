"""The lanes: what we write, and which frames are read without the engine."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Event, Ping, Pong, TextMessage

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
    close,
    examples,
    header,
    masked,
    octets,
    unmasked,
    xor,
)
from wsserver.wire.frames import (
    _INTEGER_XOR_LIMIT,
    Frame,
    decode,
    decode_header,
    decode_text,
    encode,
    encode_header,
    encode_texts,
    unmask,
)

LENGTHS = [0, 1, 124, 125, 126, 127, 128, 65534, 65535, 65536, 65537]
LIMIT = 100_000


def by_wsproto(event: Event) -> bytes:
    return Connection(ConnectionType.SERVER).send(event)


class TestBaseFramingProtocolOut:  # RFC 6455, section 5.2
    @pytest.mark.parametrize("length", LENGTHS)
    def test_messages_are_what_wsproto_writes(self, length: int) -> None:
        assert encode(TEXT, b"x" * length) == by_wsproto(TextMessage("x" * length))
        assert encode(BINARY, b"\xff" * length) == by_wsproto(BytesMessage(b"\xff" * length))

    @pytest.mark.parametrize("length", [0, 1, 2, 124, 125])
    def test_control_frames_are_what_wsproto_writes(self, length: int) -> None:
        assert encode(PING, b"x" * length) == by_wsproto(Ping(b"x" * length))
        assert encode(PONG, b"x" * length) == by_wsproto(Pong(b"x" * length))

    @given(st.sampled_from([1000, 1001, 3000, 4999]), st.text("a退", max_size=41))
    @examples
    def test_a_close_is_what_wsproto_writes(self, code: int, reason: str) -> None:
        assert encode(CLOSE, code.to_bytes(2, "big") + reason.encode()) == by_wsproto(CloseConnection(code, reason))

    @given(st.lists(st.one_of(st.text(max_size=200), st.sampled_from(LENGTHS).map("é".__mul__)), max_size=5))
    @examples
    def test_many_texts_at_once_are_what_wsproto_writes(self, texts: list[str]) -> None:
        frames = encode_texts([text.encode() for text in texts])
        assert frames == b"".join([by_wsproto(TextMessage(text)) for text in texts])

    def test_the_bytes_themselves(self) -> None:
        assert encode(TEXT, b"Hello") == b"\x81\x05Hello"  # section 5.7
        assert encode_header(BINARY, 256) == b"\x82\x7e\x01\x00"
        assert encode_header(BINARY, 65536) == b"\x82\x7f" + (65536).to_bytes(8, "big")

    def test_rsv1_says_that_a_message_is_compressed(self) -> None:  # RFC 7692, section 6
        assert encode(TEXT, b"\xf2H\xcd\xc9\xc9\x07\x00", compressed=True) == b"\xc1\x07\xf2H\xcd\xc9\xc9\x07\x00"


class TestMasking:  # RFC 6455, section 5.3
    @pytest.mark.parametrize("length", [0, 1, 3, 4, 5, *range(_INTEGER_XOR_LIMIT - 4, _INTEGER_XOR_LIMIT + 6)])
    def test_both_sides_of_the_threshold(self, length: int) -> None:
        payload = bytes(place * 7 % 256 for place in range(length))
        assert unmask(payload, MASK) == xor(payload, MASK)

    @given(
        st.integers(0, 2 * _INTEGER_XOR_LIMIT),
        st.binary(min_size=1, max_size=9),
        st.binary(min_size=4, max_size=4),
    )
    @examples
    def test_each_octet_is_xored_with_octet_i_modulo_4(self, length: int, pattern: bytes, mask: bytes) -> None:
        payload = (pattern * (length // len(pattern) + 1))[:length]
        assert unmask(payload, mask) == xor(payload, mask)
        assert unmask(unmask(payload, mask), mask) == payload

    def test_what_it_gives_may_be_kept(self) -> None:
        assert type(unmask(b"x" * 9, MASK)) is type(unmask(b"x" * 9999, MASK)) is bytes


WHOLE = [
    Frame(TEXT, b""),
    Frame(TEXT, b"Hello"),
    Frame(TEXT, "退款 – where?".encode()),
    Frame(BINARY, b""),
    Frame(BINARY, bytes(range(256))),
    *(Frame(BINARY, b"\xfe" * length) for length in LENGTHS),
    Frame(PING, b""),
    Frame(PING, b"x" * 125),
    Frame(PONG, b""),
    Frame(PONG, b"\xff" * 125),
    Frame(CLOSE, b""),
    Frame(CLOSE, b"\x03\xe8"),
    Frame(CLOSE, b"\x0f\xa0bye"),
]


class TestBaseFramingProtocolIn:  # RFC 6455, section 5.2
    @pytest.mark.parametrize("frame", WHOLE, ids=repr)
    def test_a_whole_frame(self, frame: Frame) -> None:
        data = masked(*frame)
        assert decode(data, 0, LIMIT) == (frame, len(data))

    @pytest.mark.parametrize("frame", WHOLE, ids=repr)
    def test_with_data_before_and_behind(self, frame: Frame) -> None:
        data = masked(*frame)
        assert decode(b"before" + data + b"\x81behind", 6, LIMIT) == (frame, 6 + len(data))

    @pytest.mark.parametrize("frame", WHOLE, ids=repr)
    def test_not_before_its_last_byte(self, frame: Frame) -> None:
        data = masked(*frame)
        for end in {*range(min(len(data), 200)), len(data) - 1}:
            assert decode(data[:end], 0, LIMIT) is None

    def test_the_limit_is_the_largest_payload_that_passes(self) -> None:
        assert decode(masked(BINARY, b"x" * 126), 0, 126) is not None
        assert decode(masked(BINARY, b"x" * 127), 0, 126) is None

    def test_the_limit_is_for_messages_only(self) -> None:
        assert decode(masked(PING, b"still there?"), 0, 0) == (Frame(PING, b"still there?"), 18)

    @pytest.mark.parametrize(
        "data",
        [
            *(masked(opcode, b"x") for opcode in (0x3, 0x4, 0x5, 0x6, 0x7, 0xB, 0xC, 0xD, 0xE, 0xF)),
            *(masked(opcode, b"x", rsv=rsv) for opcode in (TEXT, PING) for rsv in (RSV1, RSV2, RSV3)),
            masked(TEXT, b"x", fin=False),
            masked(CONTINUATION, b"x"),
            unmasked(TEXT, b"unmasked"),
            unmasked(TEXT, b"x" * 126),
            masked(PING, b"x" * 126),
            masked(CLOSE, b"x" * 70000),
            masked(TEXT, b"\xff"),
            masked(TEXT, b"\xed\xa0\x80"),
            masked(CLOSE, b"\x03"),
            close(1006),
            close(1000, b"\xff"),
            header(BINARY, 5, width=2) + MASK + b"12345",
            header(BINARY, 125, width=2) + MASK + b"x" * 125,
            header(BINARY, 65535, width=8) + MASK + b"x" * 65535,
            header(BINARY, 2**63) + MASK + b"x",
        ],
        ids=lambda data: data[:8].hex(),
    )
    def test_whatever_can_be_said_against_a_frame_is_for_the_engine_to_say(self, data: bytes) -> None:
        assert decode(data, 0, LIMIT) is None

    @given(st.binary(max_size=40), st.integers(0, 8))
    @examples
    def test_garbage_is_read_right_or_left(self, data: bytes, start: int) -> None:
        taken = decode(data, start, LIMIT)
        if taken is not None:
            (opcode, payload), end = taken
            again = masked(opcode, payload, mask=data[start + 2 : start + 6])
            assert data[start:end] == again

    def test_byte_by_byte_there_is_no_lane(self) -> None:
        assert all(decode(octet, 0, LIMIT) is None for octet in octets(masked(TEXT, b"Hello")))


class TestOneTextAndNothingElse:
    @pytest.mark.parametrize("frame", WHOLE, ids=repr)
    def test_is_what_the_lane_takes_to_the_last_byte(self, frame: Frame) -> None:
        data = masked(*frame)
        assert decode_text(data, LIMIT) == (frame.payload if frame.opcode == TEXT else None)
        assert decode_text(data + b"\x81", LIMIT) is None
        assert decode_text(data[:-1], LIMIT) is None

    @pytest.mark.parametrize("length", LENGTHS)
    @pytest.mark.parametrize("mask", [MASK, b"\0\0\0\0", b"\xff\x00\x80\x7f"])
    def test_of_every_length(self, length: int, mask: bytes) -> None:
        text = ("é" * length).encode()[:length] if length % 2 == 0 else b"x" * length
        data = masked(TEXT, text, mask=mask)
        assert decode_text(data, LIMIT) == text
        assert decode_text(data, length) == text
        assert decode_text(data, length - 1) is None
        # With a length that does not fit, also in the bytes that look like one.
        assert decode_text(data[:1] + bytes([data[1] ^ 1]) + data[2:], LIMIT) is None

    @pytest.mark.parametrize("content", [b"ok\xff", b"cut \xe9\x80", b"\xed\xa0\x80", b"\xff" * 200])
    def test_what_is_no_utf_8_is_for_the_engine_to_refuse(self, content: bytes) -> None:
        assert decode_text(masked(TEXT, content), LIMIT) is None

    @given(st.binary(max_size=40))
    @examples
    def test_garbage_is_read_as_the_lane_reads_it(self, data: bytes) -> None:
        taken = decode(data, 0, LIMIT)
        whole = taken is not None and taken[1] == len(data) and taken[0].opcode == TEXT
        assert decode_text(data, LIMIT) == (taken[0].payload if taken is not None and whole else None)


class TestTheHeaderOfAMessage:
    @pytest.mark.parametrize("length", LENGTHS)
    def test_says_its_length_and_where_it_begins(self, length: int) -> None:
        data = b"before" + masked(BINARY, b"x" * length)
        body = len(data) - length
        assert decode_header(data, 6) == (BINARY, length, body)
        assert decode_header(data[:body], 6) == (BINARY, length, body)
        assert [decode_header(data[:end], 6) for end in range(body)] == [None] * body

    @pytest.mark.parametrize("length, width", [(0, 2), (125, 2), (0, 8), (65535, 8)])
    def test_not_where_fewer_bytes_would_do(self, length: int, width: int) -> None:
        assert decode_header(header(BINARY, length, width=width) + MASK, 0) is None
