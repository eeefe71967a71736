"""An open connection as its peer sees it: messages, pings, and both ends of the closing handshake."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wire.held import held
from tests.wire.masked import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    RSV1,
    RSV2,
    TEXT,
    answered,
    close,
    examples,
    flush,
    fragmented,
    header,
    hear,
    masked,
    squeezed,
    unmasked,
    ways,
)
from wsserver.wire.deflate import DeflateParameters
from wsserver.wire.frames import Frame
from wsserver.wire.protocol import CHUNK_SIZE, Protocol, State

if TYPE_CHECKING:
    from collections.abc import Callable

    Open = Callable[..., Protocol]

LIMIT = 300
REMEMBERING = DeflateParameters()
FORGETFUL = DeflateParameters(server_no_context_takeover=True, client_no_context_takeover=True)
HELLO = Frame(TEXT, b"Hello")


@pytest.fixture(params=[True, False], ids=["lanes", "wsproto"])
def opened(request: pytest.FixtureRequest) -> Open:
    """Opens a connection with the lanes on, and again with the lanes off: each test must hold for both."""

    def opened(limit: int = LIMIT, **options: Any) -> Protocol:
        return Protocol(limit, lanes=request.param, **options)

    return opened


class TestReceivingData:  # RFC 6455, section 6.2
    @pytest.mark.parametrize(
        "frame",
        [Frame(TEXT, b""), HELLO, Frame(TEXT, "退款".encode()), Frame(BINARY, b""), Frame(BINARY, b"\xff" * 200)],
        ids=repr,
    )
    def test_a_message_whole_and_byte_by_byte_and_with_data_behind_it(self, opened: Open, frame: Frame) -> None:
        for chunks in ways(masked(*frame)):
            assert hear(opened(), *chunks) == ([frame], b"", State.OPEN, 1006, "")
            trailing = chunks[:-1] + [chunks[-1] + masked(*HELLO) + masked(PING)[:5]]
            assert hear(opened(), *trailing).messages == [frame, HELLO]

    def test_what_looks_like_a_frame_inside_of_another_is_none(self, opened: Open) -> None:
        payload = masked(PING, b"x") + masked(*HELLO) + close(1000)
        for chunks in ways(masked(BINARY, payload, mask=b"\0\0\0\0")):
            assert hear(opened(), *chunks) == ([Frame(BINARY, payload)], b"", State.OPEN, 1006, "")

    def test_the_lane_opens_again_behind_what_the_engine_read(self) -> None:
        protocol = Protocol(LIMIT)
        first, last = fragmented(TEXT, b"Hel", b"lo")
        for chunk, at_rest in [(first, False), (masked(PING), False), (last, True), (b"\x81", False), (b"", False)]:
            list(protocol.receive_data(chunk))
            assert (protocol._engine is None) == at_rest

    def test_a_ping_between_fragments_is_answered_at_once(self, opened: Open) -> None:
        first, last = fragmented(TEXT, b"Hel", b"lo")
        protocol = opened()
        assert hear(protocol, first + masked(PING, b"?")).sent == unmasked(PONG, b"?")
        assert hear(protocol, last) == ([HELLO], b"", State.OPEN, 1006, "")

    @pytest.mark.parametrize("parameters", [REMEMBERING, FORGETFUL])
    def test_also_between_compressed_ones(self, opened: Open, parameters: DeflateParameters) -> None:
        payload = squeezed(b"Hello")
        first, last = fragmented(TEXT, payload[:3], payload[3:], rsv=RSV1)
        stream = first + masked(PING, b"?") + last + masked(TEXT, b"plain")
        for chunks in ways(stream):
            outcome = hear(opened(deflate=parameters), *chunks)
            assert outcome == ([HELLO, Frame(TEXT, b"plain")], unmasked(PONG, b"?"), State.OPEN, 1006, "")

    def test_an_answer_leaves_before_the_answer_to_what_comes_behind(self, opened: Open) -> None:
        protocol = opened()
        for frame in protocol.receive_data(masked(TEXT, b"1") + masked(PING, b"2") + masked(TEXT, b"3") + close(1000)):
            protocol.send(*frame)
        assert flush(protocol) == unmasked(TEXT, b"1") + unmasked(PONG, b"2") + unmasked(TEXT, b"3") + answered(1000)


class TestPingAndPong:  # RFC 6455, sections 5.5.2 and 5.5.3
    @pytest.mark.parametrize("payload", [b"", b"x", b"\xff" * 125])
    def test_a_ping_is_answered_with_its_own_payload(self, opened: Open, payload: bytes) -> None:
        for chunks in ways(masked(PING, payload)):
            assert hear(opened(), *chunks) == ([], unmasked(PONG, payload), State.OPEN, 1006, "")

    def test_a_pong_needs_no_answer(self, opened: Open) -> None:
        for chunks in ways(masked(PONG, b"unasked") + masked(*HELLO)):
            assert hear(opened(), *chunks) == ([HELLO], b"", State.OPEN, 1006, "")

    def test_we_may_ping_too(self, opened: Open) -> None:
        protocol = opened()
        protocol.send(PING, b"there?")
        assert flush(protocol) == unmasked(PING, b"there?")


class TestClosingHandshake:  # RFC 6455, sections 5.5.1 and 7.1
    @pytest.mark.parametrize(
        "frame, answer, code, reason",
        [
            (close(1000), answered(1000), 1000, ""),
            (close(1001, "tschüß".encode()), answered(1001), 1001, "tschüß"),
            (close(4999), answered(4999), 4999, ""),
            (masked(CLOSE), unmasked(CLOSE), 1005, ""),
        ],
    )
    def test_the_peer_begins(self, opened: Open, frame: bytes, answer: bytes, code: int, reason: str) -> None:
        for chunks in ways(frame):
            protocol = opened()
            assert hear(protocol, *chunks) == ([], answer, State.CLOSED, code, reason)
            assert protocol.closed_by_peer

    def test_we_begin(self, opened: Open) -> None:
        protocol = opened()
        protocol.send_close(1001, "going")
        assert hear(protocol) == ([], answered(1001, "going"), State.CLOSING, 1001, "going")
        assert hear(protocol, close(4999)) == ([], b"", State.CLOSED, 1001, "going")
        assert not protocol.closed_by_peer

    def test_both_begin(self, opened: Open) -> None:
        protocol = opened()
        protocol.send_close(4000)
        assert hear(protocol, close(4999, b"mine")) == ([], answered(4000), State.CLOSED, 4000, "")

    def test_while_closing_only_the_close_counts(self, opened: Open) -> None:
        stream = masked(*HELLO) + masked(PING) + b"".join(fragmented(BINARY, b"1", b"2")) + close(1000) + masked(PING)
        for chunks in ways(stream):
            protocol = opened()
            protocol.send_close()
            assert hear(protocol, *chunks) == ([], answered(1000), State.CLOSED, 1000, "")

    def test_what_breaks_the_protocol_while_closing_is_no_close(self, opened: Open) -> None:
        protocol = opened()
        protocol.send_close()
        outcome = hear(protocol, header(BINARY, LIMIT + 1))
        assert outcome == ([], answered(1000), State.CLOSED, 1000, "")

    def test_the_consumer_may_close_between_two_messages(self, opened: Open) -> None:
        protocol, seen = opened(), []
        for frame in protocol.receive_data(masked(*HELLO) * 3):
            seen.append(frame)
            protocol.send_close()
        assert (seen, protocol.state) == ([HELLO], State.CLOSING)

    def test_data_behind_a_close_is_dropped(self, opened: Open) -> None:
        protocol = opened()
        assert hear(protocol, close(1000) + masked(*HELLO) + b"\xff" * 50).messages == []
        assert hear(protocol, masked(*HELLO), masked(PING), close(4000)) == ([], b"", State.CLOSED, 1000, "")

    def test_nothing_follows_a_close(self, opened: Open) -> None:
        for ending in (close(1000), unmasked(TEXT)):
            protocol = opened()
            hear(protocol, ending)
            assert say_everything(protocol) == b""
        protocol = opened()
        protocol.send_close()
        assert say_everything(protocol) == answered(1000)

    @pytest.mark.parametrize("code", [1005, 1006, 1015, 1004, 0, 5000])
    def test_what_may_not_travel_does_not(self, opened: Open, code: int) -> None:
        closing, failed = opened(), opened()
        closing.send_close(code, "why")
        failed.fail(code, "why")
        assert hear(closing) == ([], unmasked(CLOSE), State.CLOSING, code, "why")
        assert hear(failed) == ([], unmasked(CLOSE), State.CLOSED, code, "why")

    def test_a_close_frame_and_the_end_of_the_stream(self, opened: Open) -> None:
        protocol = opened()
        hear(protocol, close(1000))
        protocol.receive_eof()
        assert (protocol.state, protocol.close_code) == (State.CLOSED, 1000)

    def test_the_end_without_a_close_is_abnormal(self, opened: Open) -> None:  # section 7.1.5
        protocol = opened()
        hear(protocol, masked(*HELLO)[:5])
        protocol.receive_eof()
        assert hear(protocol, masked(*HELLO)[5:]) == ([], b"", State.CLOSED, 1006, "")
        assert say_everything(protocol) == b""


def say_everything(protocol: Protocol) -> bytes:
    protocol.send(TEXT, b"late")
    protocol.send(PING, b"")
    protocol.send_texts([b"later"])
    protocol.send_close(1001)
    protocol.fail(1011, "last")
    return flush(protocol)


class TestFailTheConnection:  # RFC 6455, section 7.1.7
    @pytest.mark.parametrize(
        "stream, code",
        [
            *((masked(opcode, b"x"), 1002) for opcode in (3, 7, 11, 15)),
            (masked(TEXT, b"x", rsv=RSV1), 1002),
            (masked(PING, b"x", rsv=RSV2), 1002),
            (unmasked(*HELLO), 1002),
            (masked(CONTINUATION, b"x"), 1002),
            (masked(TEXT, b"1", fin=False) + masked(TEXT, b"2"), 1002),
            (masked(PING, b"x" * 126), 1002),
            (masked(PING, fin=False), 1002),
            (masked(CLOSE, b"\x03"), 1002),
            (close(1005), 1002),
            (close(1006), 1002),
            (close(1015), 1002),
            (close(1000, b"\xff"), 1007),
            (masked(TEXT, b"\xff"), 1007),
            (b"".join(fragmented(TEXT, b"\xe9\x80", b"x")), 1007),
            (masked(BINARY, b"x" * (LIMIT + 1)), 1009),
            (b"".join(fragmented(BINARY, b"x" * LIMIT, b"x")), 1009),
            (header(BINARY, 2**63 - 1), 1009),
            (header(BINARY, 2**63), 1002),
        ],
    )
    def test_one_close_and_no_more(self, opened: Open, stream: bytes, code: int) -> None:
        for chunks in ways(masked(*HELLO) + stream + masked(PING) + masked(*HELLO) + close(1000)):
            messages, sent, state, said, reason = hear(opened(), *chunks)
            assert (messages, state, said) == ([HELLO], State.CLOSED, code)
            assert sent == answered(code, reason)

    @pytest.mark.parametrize("damaged", [b"\x07", squeezed(b"\xff")])
    def test_a_compressed_message(self, opened: Open, damaged: bytes) -> None:
        for chunks in ways(masked(TEXT, damaged, rsv=RSV1)):
            assert hear(opened(deflate=REMEMBERING), *chunks).code == 1007

    def test_after_it_nothing_is_kept_of_what_is_received(self, opened: Open) -> None:
        protocol = opened()
        hear(protocol, masked(3))
        assert hear(protocol, *[b"x" * 10_000] * 100).sent == b""
        assert list(protocol.receive_data(masked(*HELLO))) == []

    def test_the_consumer_may_fail_it(self, opened: Open) -> None:
        protocol = opened()
        for _ in protocol.receive_data(masked(BINARY, b"?") * 3 + masked(PING)):
            protocol.fail(1003, "text only")
        assert hear(protocol) == ([], answered(1003, "text only"), State.CLOSED, 1003, "text only")


class TestWhatIsHeld:
    """A socket may take a minute to end. What its peer has sent is not kept for so long."""

    HALF = masked(TEXT, b"x" * 300, fin=False)

    @pytest.mark.parametrize(
        "end",
        [
            header(BINARY, 2**16) + bytes(60_000),  # over the limit
            HALF + masked(CONTINUATION, b"x") + bytes(60_000),
            HALF + masked(TEXT, b"no continuation") + bytes(60_000),
            HALF + close(1000) + bytes(60_000),
            masked(CONTINUATION, b"x" * 60_000),
        ],
    )
    def test_nothing_behind_the_end(self, opened: Open, end: bytes) -> None:
        protocol = opened()
        assert hear(protocol, end).state is State.CLOSED
        assert held(protocol) < 100

    def test_nothing_of_a_message_that_will_not_end(self, opened: Open) -> None:
        for end in (Protocol.receive_eof, lambda protocol: protocol.fail(1011, "")):
            protocol = opened(deflate=REMEMBERING)
            hear(protocol, self.HALF)
            protocol.send(TEXT, b"x" * 2000)
            assert held(protocol) > 300
            flush(protocol)
            end(protocol)
            flush(protocol)
            assert held(protocol) < 100


class TestSendingData:  # RFC 6455, section 6.1
    def test_each_text_in_its_own_frame(self, opened: Open) -> None:
        protocol = opened()
        protocol.send_texts([b"a", b"", "退".encode() * 50])
        assert flush(protocol) == unmasked(TEXT, b"a") + unmasked(TEXT) + unmasked(TEXT, "退".encode() * 50)

    @pytest.mark.parametrize("settings", [{}, {"deflate": REMEMBERING}])
    @pytest.mark.parametrize("sizes", [[], [0], [5], [1, 2, 3], [2000], [65_531], [65_533], [65_533, 4], [140_000, 5]])
    def test_past_the_queue_they_are_the_same(self, opened: Open, settings: dict[str, Any], sizes: list[int]) -> None:
        payloads = [bytes(ord("a") + index % 7 for index in range(size)) for size in sizes]
        protocol, other = opened(**settings), opened(**settings)
        first = protocol.texts_to_send(payloads)
        assert len(first) <= CHUNK_SIZE
        other.send_texts(payloads)
        assert first + flush(protocol) == flush(other)
        protocol.send_close()
        flush(protocol)
        assert protocol.texts_to_send([b"late"]) == b""
        assert not protocol.queued

    def test_long_ones_compressed(self, opened: Open) -> None:
        protocol = opened(deflate=REMEMBERING)
        protocol.send_texts([b"x" * 1023, b"x" * 1024])
        protocol.send(BINARY, b"y" * 1024)
        sent = flush(protocol)
        assert sent.startswith(unmasked(TEXT, b"x" * 1023) + b"\xc1")
        assert len(sent) < 1100

    def test_the_answer_to_the_handshake_comes_first(self, opened: Open) -> None:
        protocol = opened(opening=b"HTTP/1.1 101\r\n\r\n")
        protocol.send(*HELLO)
        assert protocol.queued == 16 + 7
        assert protocol.data_to_send() == b"HTTP/1.1 101\r\n\r\n" + unmasked(*HELLO)
        assert (protocol.queued, protocol.data_to_send()) == (0, b"")

    @given(st.lists(st.sampled_from([0, 1, 30_000, 65_531, 65_532, 65_533, 65_536, 140_000]), max_size=6))
    @examples
    def test_it_leaves_in_chunks_and_none_of_them_is_empty(self, sizes: list[int]) -> None:
        protocol = Protocol(LIMIT)
        protocol.send_texts([])
        for size in sizes:
            protocol.send(BINARY, b"x" * size)
        expected, said = b"".join(unmasked(BINARY, b"x" * size) for size in sizes), bytearray()
        while protocol.queued:
            assert protocol.queued == len(expected) - len(said)
            chunk = protocol.data_to_send()
            assert type(chunk) is bytes
            assert 0 < len(chunk) <= CHUNK_SIZE
            said += chunk
        assert said == expected


class TestSteps:
    """What a peer sends is counted as work, also where it completes no message."""

    def test_each_frame_and_piece_is_a_step(self) -> None:
        protocol = Protocol(1000)
        data = masked(PING) + masked(TEXT, b"a", fin=False) + masked(CONTINUATION, b"b") + masked(TEXT, b"c")
        steps = list(protocol.steps(data))
        assert [step.payload for step in steps if step is not None] == [b"ab", b"c"]
        assert len(steps) > 4

    def test_unread_pongs_take_few_objects(self) -> None:
        protocol = Protocol(1000)
        list(protocol.steps(masked(PING) * 10_000))
        assert protocol.queued == 20_000
        assert len(protocol._outgoing) < 10
        assert protocol.data_to_send() == b"\x8a\x00" * 10_000
