"""Batches of a log are read as they were written."""

from __future__ import annotations

import pytest

from wsserver.store import batches
from wsserver.store.port import Batch, Piece

EVENT = Piece(None, ('{"event":"tool","data":{"message":"查询"}}'.encode(),))


@pytest.mark.parametrize(
    "pieces",
    [
        (EVENT,),
        (Piece(1, (b"a",)),),
        (Piece(1, (b"", b"", b"\\n")), EVENT, EVENT, Piece(12, (b"x", b""))),
        (Piece(1, (b"",)), Piece(2, (b"",))),
    ],
)
def test_what_is_encoded_is_decoded(pieces: tuple[Piece, ...]) -> None:
    batch = Batch(2**40, pieces)
    assert batches.decode(b"%d-0" % batch.last, batches.encode(batch)) == batch


def test_an_entry_is_small() -> None:
    tokens = Batch(256, (Piece(1, (b"token",) * 256),))
    assert len(batches.encode(tokens)) == 256 * len(b"token\n") + len(b"1")
