"""What is collected of a message while it comes in."""

from __future__ import annotations

import pytest

from tests.wire.masked import BINARY, TEXT
from wsserver.errors import ProtocolError
from wsserver.wire.frames import Frame
from wsserver.wire.message import SMALL_PIECE, Message


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_pieces_of_all_sizes_keep_their_order(opcode: int) -> None:
    message, expected = Message(opcode), b""
    for place, size in enumerate([0, 1, SMALL_PIECE, 3, SMALL_PIECE - 1, 1, SMALL_PIECE + 1, 2 * SMALL_PIECE, 5]):
        piece = bytes([97 + place]) * size
        message.append(bytearray(piece))
        expected += piece
    message.append(b"", final=True)
    assert message.whole() == Frame(opcode, expected)


def test_small_pieces_are_put_together() -> None:
    message = Message(BINARY)
    for _ in range(3 * SMALL_PIECE):
        message.append(b"x")
    assert len(message._pieces) == 3


def test_text_is_checked_as_it_comes() -> None:
    message = Message(TEXT)
    message.append(b"\xe9\x80")
    with pytest.raises(ProtocolError):
        message.append(b"", final=True)
    with pytest.raises(ProtocolError):
        Message(TEXT).append(b"x" * SMALL_PIECE + b"\xff")
    Message(BINARY).append(b"\xff", final=True)
