"""The opening handshake: requests whole, in bytes and in ruins, and what is answered to each."""

from __future__ import annotations

import time
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wire.masked import cut, examples, masked, octets, ways
from wsserver.errors import HandshakeError
from wsserver.wire.handshake import (
    Request,
    RequestReader,
    Upgrade,
    accept,
    accept_and_close,
    parse_upgrade,
    refuse,
    respond,
)

KEY = "dGhlIHNhbXBsZSBub25jZQ=="  # of section 1.3
SAMPLE = {
    "Host": "server.example.com",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": KEY,
    "Sec-WebSocket-Version": "13",
}


def request(line: str = "GET /chat HTTP/1.1", *more: str, **changed: str | None) -> bytes:
    """The sample request; `changed` replaces headers (`Sec_WebSocket_Key="…"`, None: without), `more` adds lines."""
    headers = SAMPLE | {name.replace("_", "-"): value for name, value in changed.items()}
    lines = [line, *(f"{name}: {value}" for name, value in headers.items() if value is not None), *more]
    return "\r\n".join((*lines, "\r\n")).encode("latin-1")


def received(*chunks: bytes) -> Request:
    """The request that these reads of the socket complete, the last of them and no other."""
    reader = RequestReader()
    *early, last = chunks
    assert [reader.receive_data(chunk) for chunk in early] == [None] * len(early)
    whole = reader.receive_data(last)
    assert whole is not None
    return whole


def asked(*chunks: bytes) -> Upgrade:
    return parse_upgrade(received(*chunks))


def refused(*chunks: bytes) -> HandshakeError:
    with pytest.raises(HandshakeError) as refusal:
        asked(*chunks)
    return refusal.value


class TestReadingTheClientsOpeningHandshake:  # RFC 6455, section 4.2.1
    def test_the_sample_of_the_rfc(self) -> None:  # section 1.3
        data = request(
            "GET /chat HTTP/1.1", "Origin: http://example.com", "Sec-WebSocket-Protocol: chat, superchat, wsserver.v1"
        )
        for chunks in ways(data):
            found = received(*chunks)
            assert (found.method, found.path, found.query, found.http_version) == ("GET", "/chat", "", "1.1")
            assert found.headers["origin"] == "http://example.com"
            assert found.headers["host"] == "server.example.com"
            assert parse_upgrade(found) == Upgrade(KEY, ["chat", "superchat", "wsserver.v1"], [])

    @pytest.mark.parametrize("trailing", [b"", b"\x81", masked(1, b"Hello") * 3, request(), bytes(20_000)])
    def test_what_comes_behind_it_is_kept(self, trailing: bytes) -> None:
        reader = RequestReader()
        assert reader.receive_data(request()[:-1]) is None
        assert reader.receive_data(request()[-1:] + trailing) is not None
        assert reader.trailing_data == trailing

    @pytest.mark.parametrize(
        "target, path, query",
        [
            ("/", "/", ""),
            ("/ws/chat?resume=r.1&last_seq=7", "/ws/chat", "resume=r.1&last_seq=7"),
            ("/a%20b%2Fc/%E9%80%80?q=%20?", "/a b/c/退", "q=%20?"),
            ("/%ff%00", "/\ufffd\0", ""),
            ("//host/path", "//host/path", ""),
            ("http://server.example.com/chat?x=1", "/chat", "x=1"),
            ("ws://server.example.com:8765/chat", "/chat", ""),
            ("WSS://server.example.com", "/", ""),
            ("https://[::1]/chat?", "/chat", ""),
        ],
    )
    def test_targets(self, target: str, path: str, query: str) -> None:
        found = received(request(f"GET {target} HTTP/1.1"))
        assert (found.path, found.query) == (path, query)

    @pytest.mark.parametrize(
        "target",
        [
            "*",
            "chat",
            "server.example.com:443",
            "ftp://x/",
            "http://[::1/",
            "http://[x]/",
            "mailto:a@b",
            "?q",
            "ws:///chat",
        ],
    )
    def test_targets_without_a_resource_name(self, target: str) -> None:
        assert str(refused(request(f"GET {target} HTTP/1.1"))) == "malformed request target"

    def test_an_absolute_target_says_which_host_is_meant(self) -> None:  # RFC 9112, section 3.2.2
        found = received(request("GET http://other.example:81/chat HTTP/1.1"))
        assert found.headers["host"] == "other.example:81"

    def test_headers_are_lists_whatever_their_lines(self) -> None:
        data = request("GET /chat HTTP/1.1", "upgrade: , h2c", "X-A: 1", "x-a: 2,,3", Connection="keep-alive , UPGRADE")
        assert received(data).elements("x-a") == ["1", "2", "3"]
        assert received(data).elements("x-b") == []
        assert asked(data).key == KEY

    def test_header_bytes_that_are_not_ascii(self) -> None:
        assert received(request("GET / HTTP/1.1", "X-Name: é")).headers["x-name"] == "é"

    def test_extensions_are_handed_on(self) -> None:
        data = request("GET / HTTP/1.1", "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits, x")
        assert asked(data).extensions == ["permessage-deflate; client_max_window_bits", "x"]


class TestMalformedRequests:  # 400
    @pytest.mark.parametrize(
        "data",
        [
            b"\x16\x03\x01\x02\x00\x01",
            b"\r\n\r\n",
            b"GET\r\n\r\n",
            b"GET / HTTP/1.1 \r\n\r\n",
            b"GET / HTTP/1.1\r\n\r\n",
            request("GET / WS/1.1"),
            request("GET /\xe9 HTTP/1.1"),
            request("G\xe9T / HTTP/1.1"),
            request("GET / HTTP/1.1", "H\xe9ader: x"),
            request("GET / HTTP/1.1", "No colon"),
            request("GET / HTTP/1.1", "Space : x"),
            request("GET / HTTP/1.1", "Null: \0"),
            request(Host=None),
            request("GET / HTTP/1.1", "Host: other.example.com"),
            request("GET / HTTP/1.1", "Content-Length: x"),
            request("GET / HTTP/1.1", "Content-Length: 1", "Content-Length: 2"),
            request("GET / HTTP/1.1", "Transfer-Encoding: gzip"),
            # What two readers may understand in two ways (RFC 9112, sections 2.2 and 5.2; RFC 9110, section 5.5).
            request("GET / HTTP/1.1", "X: a\r\n folded"),
            request("GET / HTTP/1.1", "X: a\r\n\tfolded"),
            request("GET / HTTP/1.1", "X: a\nTransfer-Encoding: chunked"),
            request("GET / HTTP/1.1", "X: a\rTransfer-Encoding: chunked"),
            request().replace(b"\r\n", b"\n"),
            request().replace(b"\r\n", b"\r"),
            request()[:-2] + b"\n",
            *(request("GET / HTTP/1.1", f"X: a{chr(code)}b") for code in (1, 7, 8, 27, 31, 127)),
        ],
    )
    def test_what_is_not_http(self, data: bytes) -> None:
        refusal = refused(data)
        assert (refusal.status, refusal.message, refusal.headers) == (400, "malformed HTTP request", ())

    @pytest.mark.parametrize("ambiguous", ["X: a\r\n folded", "X: a\nY: b", "X: a\rY: b", "X: a\x1bb"])
    def test_what_is_ambiguous_is_so_wherever_it_is_cut(self, ambiguous: str) -> None:
        data = request("GET / HTTP/1.1", ambiguous)
        for size in range(1, len(data)):
            reader = RequestReader()
            with pytest.raises(HandshakeError, match="malformed HTTP request"):
                for start in range(0, len(data), size):
                    reader.receive_data(data[start : start + size])

    def test_a_tab_is_no_control_character(self) -> None:  # RFC 9110, section 5.5
        assert received(request("GET / HTTP/1.1", "X: a\tb")).headers["x"] == "a\tb"

    @pytest.mark.parametrize("early", [b"", b"GET / HT", request()[:-2]])
    def test_the_end_before_the_request_was_whole(self, early: bytes) -> None:
        reader = RequestReader()
        if early:
            assert reader.receive_data(early) is None
        with pytest.raises(HandshakeError, match="malformed HTTP request"):
            reader.receive_data(b"")

    @pytest.mark.parametrize(
        "line, bodies",
        [
            ("Content-Length: 5", [b"", b"12", b"12345", b"12345" + masked(1, b"Hello")]),
            ("Transfer-Encoding: chunked", [b"", b"5\r\n12345\r\n", b"0\r\n\r\n", b"0\r\n\r\n" + masked(1, b"Hello")]),
        ],
    )
    def test_a_body(self, line: str, bodies: list[bytes]) -> None:
        for body in bodies:
            refusal = refused(request("GET / HTTP/1.1", line) + body)
            assert (refusal.status, refusal.message) == (400, "a request for this server has no body")

    def test_a_body_of_no_bytes_is_none(self) -> None:
        assert asked(request("GET / HTTP/1.1", "Content-Length: 0")).key == KEY

    @pytest.mark.parametrize(
        "key",
        [
            None,
            "",
            "short",
            KEY[:-1],
            KEY + "=",
            KEY[:-4] + "!A==",
            KEY[:-3] + "é==",
            "=" * 24,
            "A" * 24,
            "dGhlIHNhbXBsZSBub25jZQ=A",
            f"{KEY}, {KEY}",
        ],
    )
    def test_a_key_that_is_none(self, key: str | None) -> None:
        refusal = refused(request(Sec_WebSocket_Key=key))
        assert (refusal.status, refusal.message) == (400, "Sec-WebSocket-Key must be 16 bytes in base64")

    def test_two_keys(self) -> None:
        assert refused(request("GET / HTTP/1.1", f"Sec-WebSocket-Key: {KEY}")).status == 400

    @pytest.mark.parametrize("credential", ["bearer.s3cret", "bearer64.czNjcmV0", "resume.s3cret.1.7"])
    def test_credentials_without_our_subprotocol(self, credential: str) -> None:
        refusal = refused(request("GET / HTTP/1.1", f"Sec-WebSocket-Protocol: chat, {credential}"))
        assert (refusal.status, refusal.headers) == (400, ())
        assert refusal.message == "offer the subprotocol wsserver.v1 beside your credentials"
        assert credential.encode() not in refuse(refusal)

    def test_credentials_beside_it(self) -> None:
        upgrade = asked(request("GET / HTTP/1.1", "Sec-WebSocket-Protocol: bearer.s3cret,wsserver.v1"))
        assert (upgrade.subprotocol, upgrade.subprotocols) == ("wsserver.v1", ["bearer.s3cret", "wsserver.v1"])
        assert b"s3cret" not in accept(upgrade)


class TestOtherRefusals:
    @pytest.mark.parametrize("method", ["POST", "HEAD", "OPTIONS", "CONNECT", "get", "BREW"])
    def test_405_for_another_method(self, method: str) -> None:
        refusal = refused(request(f"{method} / HTTP/1.1"))
        assert (refusal.status, refusal.headers) == (405, (("Allow", "GET"),))

    def test_405_for_head_has_no_body(self) -> None:  # RFC 9110, section 9.3.2
        head, _, body = refuse(refused(request("HEAD / HTTP/1.1"))).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 405 ") and b"\r\nContent-Length: 0\r\n" in head
        assert body == b""

    def test_405_also_with_a_body(self) -> None:
        assert refused(request("POST / HTTP/1.1", "Content-Length: 5") + b"12345").status == 405

    @pytest.mark.parametrize(
        "data",
        [
            request(Upgrade=None),
            request(Upgrade="h2c"),
            request(Upgrade="websockets"),
            request(Connection=None),
            request(Connection="keep-alive"),
            request("GET / HTTP/1.0"),
            request(Upgrade=None, Connection=None, Sec_WebSocket_Key=None, Sec_WebSocket_Version=None),
        ],
    )
    def test_426_where_nothing_is_to_be_upgraded(self, data: bytes) -> None:
        refusal = refused(data)
        assert (refusal.status, refusal.headers) == (426, (("Upgrade", "websocket"),))

    @pytest.mark.parametrize("version", [None, "", "8", "12", "14", "013", "13, 8", "1３".encode().decode("latin-1")])
    def test_426_for_another_version(self, version: str | None) -> None:
        refusal = refused(request(Sec_WebSocket_Version=version))
        assert refusal.status == 426
        assert refusal.headers == (("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13"))

    def test_426_for_two_versions(self) -> None:
        assert refused(request("GET / HTTP/1.1", "Sec-WebSocket-Version: 13")).status == 426

    def sized(self, size: int) -> bytes:
        return request("GET / HTTP/1.1", "X: " + "x" * (size - len(request("GET / HTTP/1.1", "X: "))))

    @pytest.mark.parametrize("size", [2**14 + 1, 100_000])
    def test_431_for_large_headers(self, size: int) -> None:
        data = self.sized(size)
        for chunks in ([data], list(cut(data, [10_000])), list(cut(data, [2**14, size - 1])), [data[:-1]]):
            reader = RequestReader()
            with pytest.raises(HandshakeError, match="^request headers too large$") as refusal:
                for chunk in chunks:
                    assert reader.receive_data(chunk) is None
                reader.receive_data(b"x")
            assert refusal.value.status == 431

    def test_up_to_which_they_are_read_whatever_follows(self) -> None:
        data = self.sized(2**14)
        assert len(data) == 2**14
        assert asked(*octets(data)).key == asked(data).key == asked(data + bytes(100_000)).key == KEY

    def fields(self, count: int) -> bytes:
        """With so many of them."""
        return request("GET / HTTP/1.1", *(f"x{number}:y" for number in range(count - len(SAMPLE))))

    @pytest.mark.parametrize("count", [101, 3000])
    def test_431_for_many_headers_before_they_are_read(self, count: int) -> None:
        data = self.fields(count)
        for chunks in ([data], [data[:1], data[1:]], list(octets(data)), [data[:-2], b"\r\n"]):
            reader = RequestReader()
            with pytest.raises(HandshakeError, match="^request headers too large$") as refusal:
                for chunk in chunks:
                    assert reader.receive_data(chunk) is None
            assert refusal.value.status == 431

    def test_as_many_as_are_read(self) -> None:
        data = self.fields(100)
        assert asked(data).key == asked(data[:1], data[1:]).key == asked(*octets(data)).key == KEY
        assert asked(data + b"\n" * 200).key == KEY, "what comes behind it does not count"

    def test_a_flood_of_headers_costs_no_more_than_any_other_request(self) -> None:
        """As large as may be, and of the shortest fields there are: h11 took five milliseconds for it."""
        flood = (request("GET / HTTP/1.1")[:-2] + b"a:b\r\n" * 3200)[: 2**14]
        large = self.sized(2**14)

        def cost(data: bytes) -> float:
            costs = []
            for _ in range(5):
                reader, began = RequestReader(), time.process_time()
                with suppress(HandshakeError):
                    for chunk in (data[:1], data[1:]):
                        reader.receive_data(chunk)
                costs.append(time.process_time() - began)
            return min(costs)

        assert cost(flood) < 5 * cost(large) + 0.001


class TestSendingTheServersOpeningHandshake:  # RFC 6455, section 4.2.2
    def test_the_sample_of_the_rfc(self) -> None:
        assert accept(asked(request())) == (
            b"HTTP/1.1 101 Switching Protocols\r\n"
            b"Upgrade: websocket\r\n"
            b"Connection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
            b"\r\n"
        )

    def test_subprotocol_and_extension(self) -> None:
        answer = accept(Upgrade(KEY, ["chat", "wsserver.v1"], []), "permessage-deflate")
        assert answer.endswith(
            b"\r\nSec-WebSocket-Protocol: wsserver.v1\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
        )

    @pytest.mark.parametrize("offered", [[], ["chat"], ["WSSERVER.V1"], ["wsserver.v2", "wsserver.v1.1"]])
    def test_no_other_subprotocol_is_selected(self, offered: list[str]) -> None:
        upgrade = Upgrade(KEY, offered, [])
        assert upgrade.subprotocol is None
        assert b"Sec-WebSocket-Protocol" not in accept(upgrade)

    def test_a_refusal(self) -> None:
        assert refuse(HandshakeError(429, "too many", [("Retry-After", "7")])) == (
            b"HTTP/1.1 429 Too Many Requests\r\n"
            b"Content-Type: text/plain; charset=utf-8\r\n"
            b"Content-Length: 9\r\n"
            b"Connection: close\r\n"
            b"Retry-After: 7\r\n"
            b"\r\n"
            b"too many\n"
        )

    def test_a_refusal_that_offers_an_upgrade(self) -> None:  # RFC 9110, section 7.8
        answer = refuse(refused(request(Sec_WebSocket_Version="8")))
        assert answer.startswith(b"HTTP/1.1 426 Upgrade Required\r\n")
        assert b"\r\nConnection: close, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\r\n" in answer

    def test_the_length_of_a_refusal_counts_bytes(self) -> None:
        assert b"\r\nContent-Length: 5\r\n" in refuse(HandshakeError(403, "née"))

    @pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 408, 426, 429, 431, 500, 503])
    def test_every_status_has_its_line(self, status: int) -> None:
        assert refuse(HandshakeError(status, "no")).startswith(b"HTTP/1.1 %d " % status)

    def test_a_status_that_nobody_knows_has_an_empty_phrase(self) -> None:  # RFC 9112, section 4
        assert refuse(HandshakeError(499, "no")).startswith(b"HTTP/1.1 499 \r\n")

    def test_what_an_application_says_becomes_no_header(self) -> None:
        answer = refuse(
            HandshakeError(403, "a\r\nX: 1", [("Location", "/x\r\nSet-Cookie: a=b\r\n\r\n<p>"), ("X\n", "\0")])
        )
        head, _, body = answer.partition(b"\r\n\r\n")
        assert [line.split(b":")[0] for line in head.split(b"\r\n")[1:]] == [
            b"Content-Type",
            b"Content-Length",
            b"Connection",
            b"Location",
            b"X ",
        ]
        assert b"\0" not in head
        assert body == b"a\r\nX: 1\n"

    def test_what_cannot_be_written_is_said_as_far_as_it_can(self) -> None:
        answer = refuse(HandshakeError(403, "half \ud83d", [("X-Name", "界")]))
        assert answer.endswith(b"\r\nX-Name: ?\r\n\r\nhalf ?\n")
        assert b"\r\nContent-Length: 7\r\n" in answer


class TestOtherAnswers:
    def test_of_any_kind(self) -> None:
        assert respond(200, b"<p>", [("content-type", "text/html"), ("Cache-Control", "no-store")]) == (
            b"HTTP/1.1 200 OK\r\n"
            b"Content-Length: 3\r\n"
            b"Connection: close\r\n"
            b"content-type: text/html\r\n"
            b"Cache-Control: no-store\r\n"
            b"\r\n"
            b"<p>"
        )

    def test_to_head(self) -> None:  # RFC 9110, section 9.3.2
        whole, head = respond(200, b"alive\n"), respond(200, b"alive\n", head_only=True)
        assert whole == head + b"alive\n"
        assert head.endswith(b"\r\n\r\n")

    def test_opened_and_closed_at_once(self) -> None:
        upgrade = Upgrade(KEY, ["wsserver.v1", "bearer.x"], ["permessage-deflate"])
        answer = accept_and_close(upgrade, 4501, "no or invalid token")
        assert answer == accept(upgrade) + b"\x88\x15\x11\x95no or invalid token"
        assert b"Sec-WebSocket-Extensions" not in answer

    @pytest.mark.parametrize("reason, told", [("界" * 100, "界" * 41), ("half \ud83d", "half ?")])
    def test_whatever_the_reason(self, reason: str, told: str) -> None:
        upgrade = Upgrade(KEY, ["wsserver.v1"], [])
        said = told.encode()
        frame = accept_and_close(upgrade, 4503, reason).removeprefix(accept(upgrade))
        assert frame == bytes((0x88, len(said) + 2)) + (4503).to_bytes(2, "big") + said


_ruins = st.sampled_from([b"\r\n", b"\n", b"\0", b":", b" ", b",", b"\xff", b"\xe9", b"HTTP/9.9", b"[", b"%"])


@st.composite
def _mutations(draw: st.DrawFn) -> bytes:
    """A good request in which something was lost, doubled or put in."""
    data = request("GET http://server.example.com/chat HTTP/1.1", "Sec-WebSocket-Protocol: bearer.x, wsserver.v1")
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data)))
        end = draw(st.integers(start, min(start + 30, len(data))))
        piece = draw(st.one_of(_ruins, st.binary(max_size=4), st.just(data[start:end] * 2), st.just(b"")))
        data = data[:start] + piece + data[end:]
    return data


class TestAnyRequest:
    """Whatever comes is a request, the beginning of one, or a `HandshakeError` that says nothing of what came."""

    @given(st.one_of(st.binary(max_size=200), _mutations()), st.lists(st.integers(1, 300), max_size=3))
    @examples
    def test_nothing_else_is_raised(self, data: bytes, places: list[int]) -> None:
        answers = []
        for chunks in ([data], cut(data, places), octets(data)):
            reader, found = RequestReader(), None
            try:
                for chunk in chunks:
                    found = found or (reader.receive_data(chunk) if chunk else None)
                answers.append(accept(parse_upgrade(found)) if found else b"")
            except HandshakeError as refusal:
                answers.append(refuse(refusal))
        assert answers == answers[:1] * 3

    @given(st.sampled_from(["Upgrade", "Connection", "Sec-WebSocket-Key", "Host", "X"]), st.data())
    @examples
    def test_nothing_the_peer_sent_comes_back(self, name: str, data: st.DataObject) -> None:
        secret = "zq" + data.draw(st.text(st.characters(max_codepoint=255), max_size=9)) + "qz"
        target = data.draw(st.sampled_from(["/", "/zqqz", "zqqz", "http://[zqqz", "/?zqqz"]))
        lines = data.draw(st.lists(st.sampled_from(["zqqz", "Cookie: zqqz", "Sec-WebSocket-Protocol: bearer.zqqz"])))
        sent = request(f"GET {target} HTTP/1.1", *lines, f"{name}: {secret}")
        try:
            answer = accept(asked(sent))
        except HandshakeError as refusal:
            answer = refuse(refusal)
        assert b"zq" not in answer
        assert b"qz" not in answer
