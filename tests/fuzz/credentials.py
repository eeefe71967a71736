"""What a request brings to say who it is: tokens (`guard/credentials.py`) and claims of a session (`chat/claim.py`)."""

from __future__ import annotations

from base64 import urlsafe_b64encode

from tests.fuzz.source import Source, seed
from wsserver.chat import claim
from wsserver.errors import HandshakeError
from wsserver.guard.credentials import bearer_token, is_token
from wsserver.wire.handshake import Request


def _brought(query: int, *lines: bytes) -> bytes:
    return seed(query, b"\n".join(lines))


SEEDS = [
    _brought(0, b"Bearer abc.def-_~+/=="),
    _brought(0, b"bearer  x", b"wsserver.v1"),
    _brought(0, b"Basic eDp5", b"wsserver.v1, bearer.abc"),
    _brought(0, b"", b"wsserver.v1, bearer64.YS9iPQ"),
    _brought(0, b"", b"bearer64.!!!, bearer64.w6k"),
    _brought(1, b"", b"", b"access_token=abc&x=1"),
    _brought(1, b"Bearer a", b"", b"access%5Ftoken=a;access_token=b"),
    _brought(1, b"", b"", b"access_token=&access_token"),
    _brought(0, b"", b"wsserver.v1, resume.s_abc.secret.1.7"),
    _brought(0, b"", b"resume..1.0"),
    _brought(0, b"", b"", b"resume=s_abc.secret&last_seq=7&epoch=2"),
    _brought(0, b"", b"", b"resume=&resume=s_a.b&last_seq=-1"),
    _brought(0, b"", b"", b"resume=s_a.b&epoch=99999999999999999999&last_seq=%C2%B2"),
]


def _request(authorization: str = "", subprotocols: str = "", query: str = "") -> Request:
    headers = {"authorization": authorization, "sec-websocket-protocol": subprotocols}
    return Request("GET", "/", query, {name: value for name, value in headers.items() if value}, "1.1")


def _of(request: Request, *, query_token: bool) -> str | None:
    """The token of a request; empty where it is refused."""
    try:
        token = bearer_token(request, query_token=query_token)
    except HandshakeError as exc:
        assert exc.status == 400 and not exc.headers
        return ""
    assert token is None or is_token(token)
    return token


def one(data: bytes) -> None:
    """Whatever stands in the header, the subprotocols and the query, it is one token of characters that tokens have, a
    claim of whole numbers, nothing, or `HandshakeError` 400, and the same in any other place where it may stand.
    """
    source = Source(data)
    query_token = source.choose((False, True))
    lines = (source.rest().decode("latin-1").split("\n") + [""] * 3)[:3]
    request = _request(*lines)
    token = _of(request, query_token=query_token)
    if token is None:
        assert "bearer" not in lines[0].lower().split(" ")[:1] and "bearer." not in lines[1].split(",")
    elif token:
        encoded = urlsafe_b64encode(token.encode()).decode().rstrip("=")
        assert _of(_request(f"Bearer {token}"), query_token=False) == token
        assert _of(_request("", f"wsserver.v1, bearer64.{encoded}"), query_token=False) == token
        assert _of(_request("", f"wsserver.v1,bearer.{token}"), query_token=True) == token
        assert _of(_request(f"Bearer {token}", f"bearer.{token}"), query_token=False) == ""
        assert _of(_request("", "", f"access_token={token}"), query_token=False) is None

    assert token != "" or lines != ["", "", ""]
    try:
        found = claim.find(request.query, request.elements("sec-websocket-protocol"))
    except HandshakeError as exc:
        assert exc.status == 400
        return
    if found is not None:
        assert found.token and 0 <= found.epoch < 10**19 and 0 <= found.last_seq < 10**19
        assert found.token.startswith(found.session_id)
        assert claim.find("", [f"resume.{found.token}.{found.epoch}.{found.last_seq}"]) == found
