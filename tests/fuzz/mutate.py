"""Inputs near to others, for where there is no atheris: blind, but the same ones in every run."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

#: What parsers stumble over.
_PIECES = [
    b"\0",
    b"\xff",
    b"\r\n",
    b"\n",
    b"%",
    b",",
    b'"',
    b"\\",
    b"@@",
    b"\x7f",
    b"\x80",
    b"\xed\xa0\x80",
    b"\xff" * 8,
]


def mutants(seeds: Sequence[bytes], count: int, number: int = 0) -> Iterator[bytes]:
    """So many inputs, drawn by this number."""
    random = Random(number)
    for _ in range(count):
        data = random.choice(seeds)
        for _ in range(random.choice((1, 1, 2, 4, 8))):
            data = random.choice(_CHANGES)(random, data, seeds)
        yield data


def _place(random: Random, data: bytes) -> int:
    return random.randrange(len(data) + 1)


def _bit(random: Random, data: bytes, seeds: Sequence[bytes]) -> bytes:
    at = _place(random, data)
    return data[:at] + bytes(octet ^ 1 << random.randrange(8) for octet in data[at : at + 1]) + data[at + 1 :]


def _byte(random: Random, data: bytes, seeds: Sequence[bytes]) -> bytes:
    at = _place(random, data)
    return data[:at] + random.randbytes(1) + data[at + 1 :]


def _piece(random: Random, data: bytes, seeds: Sequence[bytes]) -> bytes:
    at = _place(random, data)
    return data[:at] + random.choice(_PIECES) + data[at + random.choice((0, 1)) :]


def _hole(random: Random, data: bytes, seeds: Sequence[bytes]) -> bytes:
    at = _place(random, data)
    return data[:at] + data[at + random.choice((1, 2, 4, 32)) :]


def _again(random: Random, data: bytes, seeds: Sequence[bytes]) -> bytes:
    start, end, at = _place(random, data), _place(random, data), _place(random, data)
    return data[:at] + data[start:end] + data[at:]


def _splice(random: Random, data: bytes, seeds: Sequence[bytes]) -> bytes:
    other = random.choice(seeds)
    return data[: _place(random, data)] + other[_place(random, other) :]


_CHANGES: list[Callable[[Random, bytes, Sequence[bytes]], bytes]] = [_bit, _byte, _piece, _hole, _again, _splice]
