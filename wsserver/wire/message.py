"""A message as it comes in, piece by piece: its bytes, and whether they are UTF-8 where they must be."""

from __future__ import annotations

from codecs import getincrementaldecoder
from typing import TYPE_CHECKING

from ..errors import ProtocolError
from .close import CloseCode
from .deflate import INVALID_DATA
from .frames import TEXT, Frame

if TYPE_CHECKING:
    from codecs import IncrementalDecoder

#: Pieces smaller than this are put together: a peer that sends byte by byte is to cost no object for each.
SMALL_PIECE = 2**12

_Utf8Decoder = getincrementaldecoder("utf-8")


class Message:
    """The pieces of one message of this opcode, neither tiny nor copied more often than needed."""

    __slots__ = ("_decoder", "_opcode", "_pieces", "_tail")

    def __init__(self, opcode: int) -> None:
        self._opcode = opcode
        self._decoder: IncrementalDecoder | None = _Utf8Decoder() if opcode == TEXT else None
        self._pieces: list[bytes | bytearray] = []
        self._tail = bytearray()

    def append(self, piece: bytes | bytearray, final: bool = False) -> None:
        """The next bytes, which are kept as they are; with `final` they are the last. Raises `ProtocolError` 1007."""
        if self._decoder is not None:
            try:
                self._decoder.decode(piece, final)
            except UnicodeDecodeError as exc:
                raise ProtocolError(CloseCode.INVALID_PAYLOAD, INVALID_DATA) from exc
        if len(piece) < SMALL_PIECE:
            self._tail += piece
            if len(self._tail) >= SMALL_PIECE:
                self._put_away_tail()
        else:
            if self._tail:
                self._put_away_tail()
            self._pieces.append(piece)

    def _put_away_tail(self) -> None:
        self._pieces.append(bytes(self._tail))
        self._tail.clear()

    def whole(self) -> Frame:
        """All of it."""
        return Frame(self._opcode, b"".join((*self._pieces, self._tail)))
