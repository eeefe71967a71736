"""The client's side of a connection, against the server's own handshake and protocol, and against peers that err."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from typing import TYPE_CHECKING

import pytest

from wsserver.errors import ConfigError, HandshakeError, ProtocolError
from wsserver.wire import frames, handshake
from wsserver.wire.client import Client, State
from wsserver.wire.frames import BINARY, CLOSE, PING, PONG, TEXT, Frame
from wsserver.wire.protocol import Protocol
from wsserver.wire.protocol import State as ServerState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LIMIT = 1000
OFFERED = ("wsserver.v1", "bearer.secret")
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Pair:
    """A client and a server that is open for it; bytes move when they are told to, in pieces of `cut`."""

    def __init__(self, cut: int = 2**20) -> None:
        self.client = Client(
            "example.com", "/ws/chat?a=b", [("Authorization", "Bearer x")], subprotocols=OFFERED, limit=LIMIT
        )
        reader = handshake.RequestReader()
        request = reader.receive_data(self.client.data_to_send())
        assert request is not None
        self.request = request
        self.upgrade = handshake.parse_upgrade(request)
        self.server = Protocol(LIMIT, opening=handshake.accept(self.upgrade))
        self.cut = cut

    def pieces(self, data: bytes) -> Iterator[bytes]:
        for start in range(0, len(data), self.cut):
            yield data[start : start + self.cut]

    def to_client(self) -> list[str]:
        data = self.server.data_to_send()
        return [message for piece in self.pieces(data) for message in self.client.receive_data(piece)]

    def to_server(self) -> list[Frame]:
        data = self.client.data_to_send()
        return [frame for piece in self.pieces(data) for frame in self.server.receive_data(piece)]


def opened(cut: int = 2**20) -> Pair:
    pair = Pair(cut)
    pair.to_client()
    assert pair.client.state is State.OPEN
    return pair


def asking() -> tuple[Client, str]:
    """A client that waits for its answer, and what Sec-WebSocket-Accept must be."""
    client = Client("example.com", "/", subprotocols=OFFERED, limit=LIMIT)
    request = handshake.RequestReader().receive_data(client.data_to_send())
    assert request is not None
    key = request.headers["sec-websocket-key"].encode()
    return client, b64encode(hashlib.sha1(key + GUID).digest()).decode()


def switching(accept: str, *others: str, upgrade: str = "websocket", connection: str = "Upgrade") -> bytes:
    lines = [
        "HTTP/1.1 101 Switching Protocols",
        f"Upgrade: {upgrade}",
        f"Connection: {connection}",
        f"Sec-WebSocket-Accept: {accept}",
        *others,
    ]
    return "\r\n".join((*lines, "\r\n")).encode()


V1 = "Sec-WebSocket-Protocol: wsserver.v1"


class TestOpeningHandshake:
    """RFC 6455, section 4.1."""

    def test_the_request_says_all_that_a_server_asks_for(self) -> None:
        pair = Pair()
        assert pair.request.path == "/ws/chat"
        assert pair.request.query == "a=b"
        assert pair.request.headers["host"] == "example.com"
        assert pair.request.headers["authorization"] == "Bearer x"
        assert pair.upgrade.subprotocols == ["wsserver.v1", "bearer.secret"]
        assert pair.upgrade.extensions == []

    def test_every_client_has_a_key_of_its_own(self) -> None:
        assert Pair().upgrade.key != Pair().upgrade.key

    @pytest.mark.parametrize("cut", [1, 2, 7, 2**20])
    def test_an_answer_may_come_in_pieces_and_with_frames_behind_it(self, cut: int) -> None:
        pair = Pair(cut)
        pair.server.send(TEXT, "grüß dich".encode())
        assert repr(pair.client) == "<Client connecting>"
        assert pair.to_client() == ["grüß dich"]
        assert repr(pair.client) == "<Client open>"
        assert pair.client.opening_error is None

    def test_an_early_hint_before_the_answer_is_passed_over(self) -> None:
        client, accept = asking()
        client.receive_data(b"HTTP/1.1 103 Early Hints\r\n\r\n" + switching(accept, V1))
        assert client.state is State.OPEN

    def test_tokens_of_the_answer_are_compared_without_case_and_in_lists(self) -> None:
        client, accept = asking()
        client.receive_data(switching(accept, "Connection: UPGRADE", V1, upgrade="WebSocket", connection="keep-alive"))
        assert client.state is State.OPEN

    @pytest.mark.parametrize(
        ("name", "value"),
        [("Host", "b"), ("upgrade", "h2c"), ("Sec-WebSocket-Key", "x"), ("X-Line", "a\r\nb"), ("X-Text", "ü€")],
    )
    def test_headers_that_would_break_it_are_refused(self, name: str, value: str) -> None:
        with pytest.raises(ConfigError):
            Client("example.com", "/", [(name, value)], subprotocols=OFFERED, limit=LIMIT)

    def test_a_target_that_is_no_target_is_refused(self) -> None:
        with pytest.raises(ConfigError):
            Client("example.com", "/a b", subprotocols=OFFERED, limit=LIMIT)

    @pytest.mark.parametrize(
        ("answer", "text"),
        [
            (lambda accept: switching("A" * 27 + "=", V1), "Accept"),
            (lambda accept: switching(accept.swapcase(), V1), "Accept"),
            (lambda accept: switching(accept, f"Sec-WebSocket-Accept: {accept}", V1), "Accept"),
            (lambda accept: switching(accept, V1, upgrade="h2c"), "no upgrade"),
            (lambda accept: switching(accept, V1, connection="close"), "no upgrade"),
            (lambda accept: switching(accept), "does not speak wsserver.v1"),
            (lambda accept: switching(accept, "Sec-WebSocket-Protocol: other"), "does not speak wsserver.v1"),
            (lambda accept: switching(accept, "Sec-WebSocket-Protocol: bearer.secret"), "does not speak wsserver.v1"),
            (lambda accept: switching(accept, V1, "Sec-WebSocket-Extensions: permessage-deflate"), "extension"),
            (lambda accept: b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "not HTTP"),
            (lambda accept: b"HTTP/1.1 100 Continue\r\n\r\n" * 4000, "not HTTP"),
            (lambda accept: b"HTTP/1.1 101 " + b"x" * 2**17, "not HTTP"),
        ],
    )
    def test_an_answer_that_cannot_be_fails_without_a_frame(self, answer: Callable[[str], bytes], text: str) -> None:
        client, accept = asking()
        assert client.receive_data(answer(accept)) == []
        assert client.state is State.CLOSED
        assert isinstance(client.opening_error, ProtocolError)
        assert text in client.opening_error.reason
        assert client.data_to_send() == b""

    def test_what_follows_a_failed_handshake_is_not_read(self) -> None:
        client, _ = asking()
        client.receive_data(b"nonsense\r\n\r\n")
        assert client.receive_data(frames.encode(TEXT, b"hi")) == []

    def test_a_peer_that_hangs_up_has_given_no_answer(self) -> None:
        client, _ = asking()
        client.receive_eof()
        assert client.state is State.CLOSED
        assert isinstance(client.opening_error, ProtocolError)
        assert client.opening_error.reason == "no answer came"

    def test_closing_before_the_answer_says_nothing(self) -> None:
        client, accept = asking()
        client.send_close()
        assert client.state is State.CLOSED
        assert client.receive_data(switching(accept, V1)) == []
        assert client.data_to_send() == b""


class TestRefusals:
    """RFC 6455, section 4.1: "If the status code received from the server is not 101"."""

    @pytest.mark.parametrize("cut", [1, 2**20])
    @pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 503])
    def test_the_servers_refusals_come_with_status_text_and_headers(self, status: int, cut: int) -> None:
        client, _ = asking()
        answer = handshake.refuse(HandshakeError(status, "not today", [("Retry-After", "3")]))
        for start in range(0, len(answer), cut):
            assert client.receive_data(answer[start : start + cut]) == []
        assert client.state is State.CLOSED
        error = client.opening_error
        assert isinstance(error, HandshakeError)
        assert (error.status, error.message) == (status, "not today")
        assert ("retry-after", "3") in error.headers
        assert client.data_to_send() == b""

    @pytest.mark.parametrize(
        "answer",
        [
            b"HTTP/1.1 200 Fine\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>",
            b"HTTP/1.1 200 Fine\r\nContent-Type: text/plain\r\nContent-Length: 0\r\n\r\n",
            b"HTTP/1.1 200 Fine\r\nContent-Length: 100000\r\n\r\n" + b"x" * 100000,
            b"HTTP/1.1 200 Fine\r\nContent-Length: 100000\r\n\r\n" + b"x" * 70000,
        ],
    )
    def test_other_answers_are_refusals_in_the_words_of_their_status(self, answer: bytes) -> None:
        client, _ = asking()
        for start in range(0, len(answer), 1000):
            client.receive_data(answer[start : start + 1000])
        assert isinstance(client.opening_error, HandshakeError)
        assert (client.opening_error.status, client.opening_error.message) == (200, "Fine")

    def test_a_refusal_that_is_cut_is_one_all_the_same(self) -> None:
        client, _ = asking()
        client.receive_data(b"HTTP/1.1 503 Busy\r\nContent-Type: text/plain\r\nContent-Length: 9\r\n\r\nful")
        client.receive_eof()
        assert isinstance(client.opening_error, HandshakeError)
        assert (client.opening_error.status, client.opening_error.message) == (503, "ful")

    def test_a_long_text_is_cut(self) -> None:
        client, _ = asking()
        client.receive_data(
            b"HTTP/1.1 400 No\r\nContent-Type: text/plain\r\nContent-Length: 9000\r\n\r\n" + b"x" * 9000
        )
        assert isinstance(client.opening_error, HandshakeError)
        assert client.opening_error.message == "x" * 4096


class TestMessages:
    """RFC 6455, sections 5.4 to 5.6."""

    @pytest.mark.parametrize("cut", [1, 3, 2**20])
    @pytest.mark.parametrize("text", ["", "hello", "您好 €", "x" * 200, "ü" * 500])
    def test_text_goes_both_ways(self, text: str, cut: int) -> None:
        pair = opened(cut)
        pair.client.send_text(text)
        assert pair.to_server() == [Frame(TEXT, text.encode())]
        pair.server.send_texts([text.encode()] * 2)
        assert pair.to_client() == [text, text]

    @pytest.mark.parametrize("cut", [1, 2**20])
    def test_fragments_are_put_together_with_pings_between_them(self, cut: int) -> None:
        pair = opened(cut)
        grin = "😀".encode()
        stream = b"\x01\x02" + grin[:2] + frames.encode(PING, b"?") + b"\x80\x02" + grin[2:]
        received = [message for piece in pair.pieces(stream) for message in pair.client.receive_data(piece)]
        assert received == ["😀"]
        # The server's protocol keeps pongs to itself: what travels is a masked frame of one byte.
        assert pair.client.data_to_send()[:2] == bytes((0x80 | PONG, 0x81))

    def test_a_pong_is_a_sign_of_life_and_nothing_else(self) -> None:
        pair = opened()
        assert pair.client.receive_data(frames.encode(PONG, b"")) == []
        assert (pair.client.state, pair.client.data_to_send()) == (State.OPEN, b"")

    def test_a_ping_of_ours_is_answered(self) -> None:
        pair = opened()
        pair.client.send_ping()
        assert pair.to_server() == []
        assert pair.server.data_to_send() == frames.encode(PONG, b"")
        pair.client.send_close()
        pair.client.data_to_send()
        pair.client.send_ping()
        assert pair.client.data_to_send() == b""

    def test_lone_surrogates_cannot_be_sent(self) -> None:
        pair = opened()
        with pytest.raises(UnicodeEncodeError):
            pair.client.send_text("\ud800")
        assert (pair.client.state, pair.client.data_to_send()) == (State.OPEN, b"")

    @pytest.mark.parametrize("cut", [1, 2**20])
    @pytest.mark.parametrize(
        ("stream", "code"),
        [
            (frames.encode(TEXT, b"x" * (LIMIT + 1)), 1009),
            (frames.encode(TEXT, "€".encode() * (LIMIT // 3 + 1)), 1009),
            (b"\x01\x7d" + b"x" * 125 + (b"\x00\x7d" + b"x" * 125) * 8, 1009),
            (frames.encode(BINARY, b"x"), 1003),
            (frames.encode(TEXT, b"\xff"), 1007),
            (b"\xc1\x01x", 1002),  # RSV1
            (b"\x83\x00", 1002),  # a reserved opcode
            (b"\x80\x00", 1002),  # a continuation of nothing
            (b"\x81\x81\x00\x00\x00\x00x", 1002),  # masked
            (b"\x81\x7e\x00\x01x", 1002),  # a length of more bytes than it needs
            (b"\x09\x00", 1002),  # a ping in fragments
            (frames.encode(CLOSE, b"\x03"), 1002),
            (frames.encode(CLOSE, b"\x03\xed"), 1002),  # 1005 never travels
        ],
    )
    def test_what_breaks_the_protocol_fails_the_connection(self, stream: bytes, code: int, cut: int) -> None:
        pair = opened(cut)
        for piece in pair.pieces(stream + frames.encode(TEXT, b"later")):
            assert pair.client.receive_data(piece) == []
        assert (pair.client.state, pair.client.close_code) == (State.CLOSED, code)
        assert pair.to_server() == []
        assert (pair.server.state, pair.server.close_code) == (ServerState.CLOSED, code)

    def test_the_largest_message_passes_and_the_next_one_is_counted_anew(self) -> None:
        pair = opened()
        pair.server.send_texts([b"x" * LIMIT] * 2)
        assert pair.to_client() == ["x" * LIMIT] * 2


class TestClosingHandshake:
    """RFC 6455, section 7."""

    @pytest.mark.parametrize("cut", [1, 2**20])
    def test_the_client_begins(self, cut: int) -> None:
        pair = opened(cut)
        pair.client.send_close(1000, "bye")
        pair.client.send_close()
        pair.client.send_text("late")
        assert pair.client.state is State.CLOSING
        assert pair.to_server() == []
        assert (pair.server.state, pair.server.close_code, pair.server.close_reason) == (
            ServerState.CLOSED,
            1000,
            "bye",
        )
        assert pair.to_client() == []
        assert (pair.client.state, pair.client.close_code) == (State.CLOSED, 1000)

    @pytest.mark.parametrize("cut", [1, 2**20])
    def test_the_server_begins(self, cut: int) -> None:
        pair = opened(cut)
        pair.server.send(TEXT, b"last")
        pair.server.send_close(1012, "the server is shutting down")
        assert pair.to_client() == ["last"]
        assert pair.client.state is State.CLOSED
        assert (pair.client.close_code, pair.client.close_reason) == (1012, "the server is shutting down")
        assert pair.to_server() == []
        assert (pair.server.state, pair.server.close_code) == (ServerState.CLOSED, 1012)

    def test_a_close_without_a_code_is_1005_and_answered_alike(self) -> None:
        pair = opened()
        pair.client.receive_data(frames.encode(CLOSE, b""))
        assert (pair.client.state, pair.client.close_code) == (State.CLOSED, 1005)
        pair.to_server()
        assert pair.server.close_code == 1005

    def test_what_comes_after_our_close_is_discarded(self) -> None:
        pair = opened()
        pair.client.send_close()
        sent = pair.client.data_to_send()
        assert sent
        stream = frames.encode(TEXT, b"late") + frames.encode(PING, b"") + frames.encode(CLOSE, b"\x03\xe9")
        assert pair.client.receive_data(stream) == []
        assert (pair.client.state, pair.client.close_code) == (State.CLOSED, 1001)
        assert pair.client.data_to_send() == b""

    def test_nonsense_after_our_close_ends_it(self) -> None:
        pair = opened()
        pair.client.send_close()
        pair.client.data_to_send()
        pair.client.receive_data(b"\x83\x00")
        assert (pair.client.state, pair.client.close_code) == (State.CLOSED, 1002)
        assert pair.client.data_to_send() == b""

    def test_nothing_is_read_behind_a_close(self) -> None:
        pair = opened()
        stream = frames.encode(CLOSE, b"\x03\xe8") + frames.encode(TEXT, b"late")
        assert pair.client.receive_data(stream) == []
        assert pair.client.receive_data(frames.encode(TEXT, b"later")) == []
        pair.client.send_text("late")
        pair.client.receive_eof()
        assert pair.client.close_code == 1000

    def test_an_end_without_a_close_is_abnormal(self) -> None:
        pair = opened()
        pair.client.receive_eof()
        assert (pair.client.state, pair.client.close_code) == (State.CLOSED, 1006)
