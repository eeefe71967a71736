"""Where the token of a request may stand, and what is no token."""

from __future__ import annotations

import pytest

from tests.issuer import base64url
from wsserver import HandshakeError
from wsserver.guard.credentials import bearer_token, is_token
from wsserver.wire.handshake import Request

TOKEN = "aB3.-_~+/x=="


def request(*offers: str, query: str = "", authorization: str | None = None) -> Request:
    headers = {"sec-websocket-protocol": ", ".join(offers)} if offers else {}
    if authorization is not None:
        headers["authorization"] = authorization
    return Request("GET", "/ws/chat", query, headers, "1.1")


class TestCarriers:
    @pytest.mark.parametrize("scheme", ["Bearer ", "bearer ", "BEARER  ", " Bearer "])
    def test_the_header(self, scheme: str) -> None:
        assert bearer_token(request(authorization=scheme + TOKEN)) == TOKEN

    def test_a_subprotocol(self) -> None:
        assert bearer_token(request("wsserver.v1", "bearer.a.b-c_d")) == "a.b-c_d"

    def test_a_subprotocol_in_base64url(self) -> None:
        assert bearer_token(request("wsserver.v1", f"bearer64.{base64url(TOKEN.encode())}")) == TOKEN

    def test_the_query_where_it_is_allowed(self) -> None:
        asked = request(query="last_seq=1&access_token=a.b%2Bc")
        assert bearer_token(asked, query_token=True) == "a.b+c"
        assert bearer_token(asked) is None

    @pytest.mark.parametrize(
        "asked",
        [
            request(),
            request(authorization="Basic YWRhOmFkYQ=="),
            request("wsserver.v1", "resume.s_1.x.1.1", "bearer"),
            request(query="no_access_token_=1"),
        ],
    )
    def test_there_is_none(self, asked: Request) -> None:
        assert bearer_token(asked, query_token=True) is None


class TestRefusals:  # RFC 6750, section 2: "Clients MUST NOT use more than one method"
    @pytest.mark.parametrize(
        "asked",
        [
            request("wsserver.v1", "bearer.x", authorization="Bearer x"),
            request("wsserver.v1", "bearer.x", "bearer.x"),
            request("wsserver.v1", "bearer.x", "bearer64.eA"),
            request("wsserver.v1", "bearer.x", query="access_token=x"),
            request(query="access_token=x&access_token=x"),
        ],
    )
    def test_several(self, asked: Request) -> None:
        with pytest.raises(HandshakeError, match="one token, in one place") as caught:
            bearer_token(asked, query_token=True)
        assert caught.value.status == 400

    @pytest.mark.parametrize(
        "asked",
        [
            request(authorization="Bearer"),
            request(authorization="Bearer "),
            request(authorization="Bearer a b"),
            request(authorization="Bearer a,Bearer a"),
            request(authorization="Bearer =a"),
            request(authorization="Bearer \xe9"),
            request(authorization="Bearer " + "a" * 16385),
            request("wsserver.v1", "bearer."),
            request("wsserver.v1", 'bearer."x"'),
            request("wsserver.v1", "bearer64."),
            request("wsserver.v1", "bearer64.eA=="),
            request("wsserver.v1", "bearer64.e"),
            request("wsserver.v1", "bearer64.e+"),
            request("wsserver.v1", f"bearer64.{base64url('é'.encode())}"),
            request("wsserver.v1", f"bearer64.{base64url(b'a b')}"),
            request(query="access_token="),
            request(query="access_token=a%0Ab"),
            request(query="access_token=a+b"),
        ],
    )
    def test_what_is_no_token(self, asked: Request) -> None:
        with pytest.raises(HandshakeError, match="the token is malformed") as caught:
            bearer_token(asked, query_token=True)
        assert caught.value.status == 400

    def test_the_longest(self) -> None:
        assert is_token("a" * 16384)
        assert not is_token("a" * 16385)
        assert not is_token("a\n")
