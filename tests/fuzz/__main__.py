"""`python -m tests.fuzz`: has atheris look for inputs that break an invariant, a share of the runs for each harness."""

from __future__ import annotations

import argparse
import hashlib
import re
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

from tests import fuzz

ROOT = Path(__file__).parents[2]

#: An input that takes so many seconds is a find, and so is one that takes so many MiB.
_SLOWEST, _MEMORY = 10, 1024

_EXECUTED = re.compile(r"^stat::number_of_executed_units: (\d+)", re.MULTILINE)


def sow(names: list[str], corpus: Path) -> None:
    """Writes the seeds of a harness, and what it once found; of several, each behind the number of its harness."""
    corpus.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        head = bytes([number]) if len(names) > 1 else b""
        for data in [*fuzz.load(name).seeds, *(path.read_bytes() for path in fuzz.regressions(name))]:
            (corpus / hashlib.sha1(head + data, usedforsecurity=False).hexdigest()).write_bytes(head + data)


def command(names: list[str], runs: int, corpus: Path, finds: Path, *options: str) -> list[str]:
    """What has atheris try so many inputs; `finds` is where one that breaks an invariant is put."""
    finds.mkdir(parents=True, exist_ok=True)
    return [
        *(sys.executable, "-m", "tests.fuzz.instrumented", ",".join(names), str(corpus)),
        *(f"-runs={runs}", f"-artifact_prefix={finds}/", "-max_len=4096", "-print_final_stats=1", "-verbosity=0"),
        *(f"-timeout={_SLOWEST}", f"-rss_limit_mb={_MEMORY}", *options),
    ]


def _fuzz(name: str, runs: int, corpus: Path) -> tuple[int, bool]:
    """How many inputs were tried, and whether all went well."""
    sow([name], corpus)
    began = time.monotonic()
    run = subprocess.run(command([name], runs, corpus, fuzz.REGRESSIONS / name), cwd=ROOT, capture_output=True)
    output = run.stderr.decode(errors="replace") + run.stdout.decode(errors="replace")
    found = _EXECUTED.search(output)
    executed = int(found[1]) if found else 0
    sys.stdout.write(f"{name}: {executed} executions in {time.monotonic() - began:.0f} s\n")
    if run.returncode:
        sys.stdout.write(output[-8000:] + f"\n{name}: FOUND something, see above\n")
    sys.stdout.flush()
    return executed, run.returncode == 0


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz",
        description="Fuzz with atheris. What is found is put to tests/fuzz/regressions, where every run of the tests"
        " tries it; keep it there when it is mended.",
    )
    parser.add_argument("harness", nargs="*", help=f"of {', '.join(fuzz.NAMES)} (all)")
    parser.add_argument("--runs", type=int, default=1_000_000, help="over all harnesses (default: 1000000)")
    parser.add_argument(
        "--corpus", type=Path, default=ROOT / ".fuzz", help="what is kept between runs (default: .fuzz)"
    )
    options = parser.parse_args()
    if find_spec("atheris") is None:
        parser.error("this needs atheris: pip install atheris")
    names = list(options.harness) or list(fuzz.NAMES)
    if not set(names) <= set(fuzz.NAMES):
        parser.error(f"no harness {' or '.join(sorted(set(names) - set(fuzz.NAMES)))}")
    shares = sum(fuzz.SHARES[name] for name in names)
    results = [
        _fuzz(name, -(-options.runs * fuzz.SHARES[name] // shares), options.corpus.resolve() / name) for name in names
    ]
    sys.stdout.write(f"{sum(count for count, _ in results)} executions\n")
    return 0 if all(well for _, well in results) else 1


if __name__ == "__main__":
    sys.exit(main())
