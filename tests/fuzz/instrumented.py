"""One process of atheris: `python -m tests.fuzz.instrumented HARNESS[,…] CORPUS… [-option=…]`.

With several harnesses the first byte of an input says which of them it is for.
"""

from __future__ import annotations

import sys

import atheris

from tests import fuzz

#: h11 is no quicker for being watched, so only where it reads what is hostile.
_BY_H11 = {"handshake", "opening"}

_names = sys.argv[1].split(",")
with atheris.instrument_imports(include=["wsserver", "wsproto", *(["h11"] if _BY_H11 & {*_names} else [])]):
    _ones = [fuzz.load(name).one for name in _names]


def _any(data: bytes) -> None:
    if data:
        _ones[data[0] % len(_ones)](data[1:])


if __name__ == "__main__":
    atheris.Setup([sys.argv[0], *sys.argv[2:]], _any if len(_ones) > 1 else _ones[0])
    atheris.Fuzz()
