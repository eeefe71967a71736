"""What a refused client is told."""

from __future__ import annotations

import pytest

from wsserver import HandshakeError
from wsserver.net.refusal import CLOSE_CODES, answer
from wsserver.wire.handshake import SUBPROTOCOL, Upgrade

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
OURS = Upgrade(KEY, [SUBPROTOCOL], [])


@pytest.mark.parametrize(("status", "code"), [(401, 4501), (403, 4503), (429, 4504), (500, 1011), (503, 1013)])
def test_who_speaks_our_protocol_is_told_by_a_close_code(status: int, code: int) -> None:
    head, _, close = answer(HandshakeError(status, "no"), OURS).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101 ")
    assert close == b"\x88\x04" + code.to_bytes(2, "big") + b"no"


@pytest.mark.parametrize("upgrade", [None, Upgrade(KEY, [], []), Upgrade(KEY, ["other"], [])])
@pytest.mark.parametrize("status", sorted(CLOSE_CODES))
def test_anybody_else_is_told_by_http(status: int, upgrade: Upgrade | None) -> None:
    said = answer(HandshakeError(status, "no", [("Retry-After", "7")]), upgrade)
    assert said.startswith(f"HTTP/1.1 {status} ".encode())
    assert b"\r\nRetry-After: 7\r\n" in said
    assert said.partition(b"\r\n\r\n")[2].startswith(b"no")


@pytest.mark.parametrize("status", [400, 404, 426])
def test_what_no_close_code_means_is_http_for_all(status: int) -> None:
    assert answer(HandshakeError(status, "no"), OURS).startswith(f"HTTP/1.1 {status} ".encode())
