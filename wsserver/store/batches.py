"""Batches of a log as the bytes of a stream's entry: lines, of which the first of each piece is its turn, or empty."""

from __future__ import annotations

from .port import Batch, Piece

# JSON has neither of them unless it is laid out for people.
_LINE = b"\n"
_PIECE = b"\x1e"


def encode(batch: Batch) -> bytes:
    """The pieces; the entry's id says where they end."""
    return _PIECE.join(
        _LINE.join((b"" if piece.turn is None else b"%d" % piece.turn, *piece.values)) for piece in batch.pieces
    )


def decode(entry: bytes, value: bytes) -> Batch:
    """A batch from the id of its entry and what `encode` made."""
    pieces = []
    for text in value.split(_PIECE):
        turn, *values = text.split(_LINE)
        pieces.append(Piece(int(turn) if turn else None, tuple(values)))
    return Batch(int(entry.partition(b"-")[0]), tuple(pieces))
