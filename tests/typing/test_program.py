"""`mypy --strict` takes a user's program that uses every public name: the types are part of the promise."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import wsserver

PROGRAM = Path(__file__).with_name("program.py")


def check(program: Path, cache: Path) -> tuple[int, str]:
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(cache), str(program)],
        cwd=cache,
        env={**os.environ, "MYPYPATH": str(Path(wsserver.__file__).parents[1])},
        capture_output=True,
        text=True,
        timeout=300,
    )
    return checked.returncode, checked.stdout + checked.stderr


def test_a_program_of_every_public_name_is_well_typed(tmp_path: Path) -> None:
    text = PROGRAM.read_text()
    assert not [name for name in wsserver.__all__ if not re.search(rf"\b{name}\b", text)]
    status, output = check(PROGRAM, tmp_path)
    assert status == 0, output


def test_and_one_that_misuses_them_is_not(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.py"
    wrong.write_text(
        PROGRAM.read_text()
        .replace('busy="interrupt"', 'busy="sometimes"')
        .replace('yield "text"', "yield 7")
        .replace('User("ann")', '"ann"')
    )
    status, output = check(wrong, tmp_path)
    assert status == 1
    assert output.count(" error: ") == 3, output
