"""RFC 6455 and RFC 7692 as the Autobahn test suite sees them, with the lanes and with wsproto alone.

All 517 cases run with the lanes. With ``--framing wsproto`` the sections 1 to 7, 9 and 10 run whole, and of the long
compression sections a fixed sample: each kind of data and each set of parameters, small, large and fragmented.

OK and INFORMATIONAL pass, for the case and for its closing handshake. UNIMPLEMENTED does not: all that sections 12 and
13 offer (both no_context_takeover parameters, window bits of 9 and 15) can be accepted, so no case may decline.

The suite needs Python 2.7, so it is no dependency. Give its ``wstest`` by the variable WSTEST.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from .conftest import RESULTS
from .fuzzingclient import Piece, Suite

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future

    from .fuzzingclient import Result

pytestmark = pytest.mark.autobahn

INSTALLER = Path(__file__).parents[3] / "shared" / "tools" / "install-wstest"

BASICS = ("1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "10.*")

# The long ones first, so that no core waits at the end.
DATA_SETS = (3, 2, 5, 4, 1)
PARAMETER_SETS = (3, 5, 7, 1, 2, 4, 6)

# By the last number of their ids: messages of 16 B, 1 KiB, 16 KiB; of 8 KiB and 32 KiB in fragments of 256 B.
SAMPLE = (1, 4, 7, 11, 13)

PIECES = (
    *(Piece(f"lanes-12.{n}", "lanes", (f"12.{n}.*",)) for n in DATA_SETS),
    *(Piece(f"lanes-13.{n}", "lanes", (f"13.{n}.*",)) for n in PARAMETER_SETS),
    Piece("wsproto-12", "wsproto", tuple(f"12.{n}.{m}" for n in DATA_SETS for m in SAMPLE)),
    Piece("wsproto-13", "wsproto", tuple(f"13.{n}.{m}" for n in PARAMETER_SETS for m in SAMPLE)),
    *(Piece(f"{framing}-9", framing, ("9.*",)) for framing in ("lanes", "wsproto")),
    *(Piece(f"{framing}-1-7,10", framing, BASICS) for framing in ("lanes", "wsproto")),
)


@pytest.fixture(scope="module")
def wstest() -> str:
    """The path of a ``wstest`` that runs."""
    if path := os.environ.get("WSTEST"):
        return path
    if not INSTALLER.exists():
        pytest.skip(
            "no Autobahn test suite: set WSTEST to the path of its wstest (autobahntestsuite 0.8.2, Python 2.7)"
        )
    return subprocess.run([INSTALLER], check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture(scope="module")
def running(
    wstest: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[Piece, Future[list[Result]]]]:
    """The chosen pieces, all under way at once."""
    chosen = {item.callspec.id for item in request.session.items if hasattr(item, "callspec")}
    suite = Suite(wstest, tmp_path_factory.mktemp("autobahn"), workers=os.cpu_count() or 1)
    try:
        yield suite.start(piece for piece in PIECES if piece.name in chosen)
    finally:
        suite.close()


@pytest.mark.parametrize("piece", PIECES, ids=lambda piece: piece.name)
def test_every_case_of_the_suite_passes(
    piece: Piece, running: dict[Piece, Future[list[Result]]], request: pytest.FixtureRequest
) -> None:
    results = running[piece].result()
    request.config.stash[RESULTS].setdefault(piece.framing, []).extend(results)
    failures = [str(result) for result in results if result.outcome == "failed"]
    assert results
    if failures:
        pytest.fail(f"{len(failures)} of {len(results)} cases\n" + "\n".join(failures), pytrace=False)
