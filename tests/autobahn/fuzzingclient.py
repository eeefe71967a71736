"""Runs the suite's fuzzing client against one server of ours and reads what it found.

Knows processes and report files, nothing of pytest. The client is ``wstest -m fuzzingclient -s spec.json``; it writes
``index.json`` and one file a case. A case that is missing there is as bad as one that failed.
"""

from __future__ import annotations

import ast
import contextlib
import json
import re
import subprocess
import sys
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

SECONDS = 1
MINUTES = 60 * SECONDS

# No wait is without an end: starting and ending a server, and one piece (the slowest takes about a minute).
START_TIMEOUT = 30 * SECONDS
STOP_TIMEOUT = 20 * SECONDS
PIECE_TIMEOUT = 8 * MINUTES

# The messages of the suite are up to 16 MiB long, its fragmented ones too.
SERVE = (
    *(sys.executable, "-m", "wsserver", "serve", "--port", "0", "--echo", "--compression"),
    # Every case is a handshake, all of them from one address.
    *("--handshake-rate", "0"),
    *("--max-message-size", str(64 * 2**20), "--ping-interval", "0"),
)

LISTENING = re.compile(r"Listening on ws://127\.0\.0\.1:(\d+)/")
CASES = re.compile(r"^Cases = (\[.*\])$", re.MULTILINE)
TAG = re.compile(r"<[^>]+>")

Outcome = Literal["ok", "informational", "failed"]
GOOD: dict[str, Outcome] = {"OK": "ok", "INFORMATIONAL": "informational"}


@dataclass(frozen=True, slots=True)
class Piece:
    """Cases that one client runs against one server; ``cases`` are ids, or patterns such as ``9.*``."""

    name: str
    framing: str
    cases: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one case: the suite's own words, and what it had expected."""

    case: str
    behavior: str
    behavior_close: str
    expectation: str
    observation: str

    @property
    def section(self) -> int:
        """The number before the first dot."""
        return int(self.case.partition(".")[0])

    @property
    def outcome(self) -> Outcome:
        """``failed`` is all but OK and INFORMATIONAL: also NON-STRICT, UNIMPLEMENTED, UNCLEAN, WRONG CODE, MISSING."""
        if self.behavior_close not in GOOD:
            return "failed"
        return GOOD.get(self.behavior, "failed")

    def __str__(self) -> str:
        """A paragraph for the one who has to mend it."""
        return (
            f"{self.case}: {self.behavior}, close {self.behavior_close}\n"
            f"  expected: {self.expectation}\n"
            f"  observed: {self.observation}"
        )


class SuiteError(Exception):
    """The suite could not be run to its end; holds the output of who failed."""


class Suite:
    """Runs pieces side by side, ``workers`` at a time, each with a server and a client of its own.

    Client and server of a piece take turns (every case waits for its echo), so a piece keeps about one core busy.
    """

    def __init__(self, wstest: str, folder: Path, workers: int) -> None:
        self._wstest = wstest
        self._folder = folder
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="autobahn")
        self._lock = threading.Lock()
        self._clients: set[subprocess.Popen[bytes]] = set()
        self._closed = False

    def start(self, pieces: Iterable[Piece]) -> dict[Piece, Future[list[Result]]]:
        """Queue the pieces in this order: the long ones belong first."""
        return {piece: self._pool.submit(self._run, piece) for piece in pieces}

    def close(self) -> None:
        """End what still runs; returns when no process is left."""
        with self._lock:
            self._closed = True
            for client in self._clients:
                client.kill()
        self._pool.shutdown(cancel_futures=True)

    def _run(self, piece: Piece) -> list[Result]:
        folder = self._folder / piece.name
        folder.mkdir()
        with _server(piece.framing, folder) as port:
            spec = {
                "outdir": str(folder / "reports"),
                "servers": [{"agent": piece.framing, "url": f"ws://127.0.0.1:{port}/echo"}],
                "cases": list(piece.cases),
                "exclude-cases": [],
                "exclude-agent-cases": {},
            }
            (folder / "spec.json").write_text(json.dumps(spec))
            output = self._fuzz(folder)
        return list(_results(piece, output, folder / "reports"))

    def _fuzz(self, folder: Path) -> str:
        log = folder / "wstest.log"
        with log.open("wb") as stdout:
            with self._lock:
                if self._closed:
                    raise SuiteError("the suite was ended")
                client = subprocess.Popen(
                    [self._wstest, "-m", "fuzzingclient", "-s", str(folder / "spec.json")],
                    stdin=subprocess.DEVNULL,
                    stdout=stdout,
                    stderr=subprocess.STDOUT,
                    cwd=folder,
                )
                self._clients.add(client)
            try:
                status = client.wait(PIECE_TIMEOUT)
            except subprocess.TimeoutExpired:
                raise SuiteError(f"wstest did not end in {PIECE_TIMEOUT} s\n{_tail(log)}") from None
            finally:
                client.kill()
                client.wait()
                with self._lock:
                    self._clients.remove(client)
        if status:
            raise SuiteError(f"wstest ended with {status}\n{_tail(log)}")
        return log.read_text(errors="replace")


@contextlib.contextmanager
def _server(framing: str, folder: Path) -> Iterator[int]:
    """A server of ours as a process of its own; gives its port.

    Raises:
        SuiteError: it did not start, logged a traceback, or did not end well on SIGTERM.
    """
    log = folder / "server.log"
    with (
        log.open("wb") as stderr,
        subprocess.Popen(
            [*SERVE, "--framing", framing],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            cwd=folder,
            text=True,
        ) as server,
    ):
        try:
            port = _port(server)
            if port is None:
                raise SuiteError(f"the server ({framing}) did not start\n{_tail(log)}")
            yield port
            server.terminate()
            status = server.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            raise SuiteError(f"the server ({framing}) did not end on SIGTERM\n{_tail(log)}") from None
        finally:
            server.kill()
    if status or "Traceback (most recent call last)" in log.read_text(errors="replace"):
        raise SuiteError(f"the server ({framing}) ended with {status}\n{_tail(log)}")


def _port(server: subprocess.Popen[str]) -> int | None:
    """The port the server says it listens on; None if it ends, or says nothing in time and is killed."""
    assert server.stdout is not None
    watchdog = threading.Timer(START_TIMEOUT, server.kill)
    watchdog.start()
    try:
        for line in server.stdout:
            if match := LISTENING.search(line):
                return int(match[1])
        return None
    finally:
        watchdog.cancel()
        watchdog.join()


def _results(piece: Piece, output: str, reports: Path) -> Iterator[Result]:
    """One result for each case the client announced in its output, in that order."""
    announced = CASES.search(output)
    if announced is None:
        raise SuiteError(f"wstest announced no cases\n{output[-2000:]}")
    cases: list[str] = ast.literal_eval(announced[1])
    index = json.loads((reports / "index.json").read_text()).get(piece.framing, {})
    for case in cases:
        if case not in index:
            yield Result(case, "MISSING", "MISSING", "a report", "none: could the client not connect?")
            continue
        report = json.loads((reports / index[case]["reportfile"]).read_text())
        yield Result(
            case,
            report["behavior"],
            report["behaviorClose"],
            _plain(report["expectation"]),
            _plain(f"{report['result']} {report['resultClose']}"),
        )


def _plain(text: str) -> str:
    """A sentence of the reports without its markup, on one line."""
    return " ".join(TAG.sub(" ", text).split())


def _tail(log: Path) -> str:
    return log.read_text(errors="replace")[-4000:]
