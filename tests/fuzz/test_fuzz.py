"""Hostile input, a little of it: seeds, what was found before, inputs near to these, and a short run of atheris."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests import fuzz
from tests.fuzz.__main__ import ROOT, command, sow
from tests.fuzz.mutate import mutants

if TYPE_CHECKING:
    from pathlib import Path

#: Inputs for each harness, beside its seeds.
MUTANTS = 2000

#: Inputs for atheris, over all harnesses.
RUNS = 8_000


@pytest.mark.parametrize("name", fuzz.NAMES)
def test_what_is_known_and_what_is_near_to_it(name: str) -> None:
    harness = fuzz.load(name)
    known = [*harness.seeds, *(path.read_bytes() for path in fuzz.regressions(name))]
    for data in [b"", *known, *mutants(known, MUTANTS)]:
        try:
            harness.one(data)
        except BaseException as exc:
            exc.add_note(f"{name} was given {data!r}")
            raise


def test_what_was_found_belongs_to_a_harness() -> None:
    assert {path.parent.name for path in fuzz.REGRESSIONS.glob("*/*")} <= set(fuzz.NAMES)


def test_each_says_its_invariant_in_one_sentence() -> None:
    for name in fuzz.NAMES:
        text = fuzz.load(name).one.__doc__ or ""
        assert len(text.split()) > 10 and re.fullmatch(r"[^.]+(?:\.\w[^.]*)*\.\s*", text), (name, text)


def _breaks(harness: fuzz.Harness) -> bool:
    for data in [*harness.seeds, *mutants(harness.seeds, MUTANTS)]:
        try:
            harness.one(data)
        except Exception:
            return True
    return False


@pytest.mark.parametrize(
    "name, place, value",
    [
        ("client", "wsserver.wire.client.Client._accept_close", lambda client, event: None),
        ("credentials", "wsserver.guard.credentials._TOKEN", re.compile(".*", re.DOTALL)),
        ("door", "wsserver.guard.door.is_loopback", lambda host: True),
        ("envelope", "wsserver.chat.envelope._FEW_BRACKETS", 10**9),
        ("handshake", "wsserver.wire.handshake._MAX_HEADER_SIZE", 2**20),
        ("inflate", "wsserver.wire.deflate._PIECE", 2**13),
        ("jwks", "wsserver.guard.keys._RSA", frozenset({"HS256"})),
        ("jwt", "wsserver.guard.tokens._REFUSED", frozenset()),
        ("offers", "wsserver.wire.deflate._WINDOW_BITS", {"15": 15, "8": 8}),
        ("opening", "wsserver.wire.client._MAX_ANSWER_SIZE", 2**20),
        ("preamble", "wsserver.guard.preamble._MAX_V2", 2**20),
        ("protocol", "wsserver.wire.frames.decode_close", lambda payload: (1000, "")),
        ("sending", "wsserver.wire.protocol.Protocol.send_texts", lambda protocol, payloads: None),
        ("tokens", "wsserver.chat.tokens.Run.written_after", lambda run, seq: 0),
    ],
)
def test_a_defence_that_is_gone_is_missed(
    name: str, place: str, value: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(place, value)
    assert _breaks(fuzz.load(name))


def test_a_short_run_of_atheris(tmp_path: Path) -> None:
    pytest.importorskip("atheris")
    corpus, finds = tmp_path / "corpus", tmp_path / "finds"
    sow([*fuzz.NAMES], corpus)
    line = command([*fuzz.NAMES], RUNS, corpus, finds, "-seed=1")
    run = subprocess.run(line, cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-4000:]
    assert f"stat::number_of_executed_units: {RUNS}" in run.stderr
    assert [*finds.iterdir()] == []
