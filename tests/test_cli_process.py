"""The command as a process of its own: what it prints, and how it ends."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import wsserver
from tests.peer import TEXT, masked, request

#: `-P`: the current directory is not on the path by itself, as it is not for the command `wsserver`.
COMMAND = [sys.executable, "-P", "-m", "wsserver"]

ANSWERS = """
async def generate(turn):
    yield "hello"

def blocking(turn):
    return "hello"
"""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """An application in the current directory."""
    (tmp_path / "answers.py").write_text(ANSWERS)
    return tmp_path


def environment(**variables: str) -> dict[str, str]:
    ours = {name: value for name, value in os.environ.items() if not name.startswith("WSSERVER_")}
    # Python's own path, in case the package was not installed.
    return {**ours, "PYTHONPATH": str(Path(wsserver.__file__).parents[1]), **variables}


def run(directory: Path, *arguments: str, **variables: str) -> tuple[int, str, str]:
    ended = subprocess.run(
        [*COMMAND, *arguments],
        cwd=directory,
        env=environment(**variables),
        capture_output=True,
        text=True,
        timeout=60,
    )
    return ended.returncode, ended.stdout, ended.stderr


def test_version(directory: Path) -> None:
    assert run(directory, "--version") == (0, f"wsserver {wsserver.__version__}\n", "")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signals")
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("end", ["SIGTERM", "SIGINT"])
def test_it_says_where_it_listens_and_ends_in_order(directory: Path, loop: str, end: str) -> None:
    with subprocess.Popen(
        [*COMMAND, "serve", "answers:generate", "--port", "0", "--loop", loop, "--log-level", "warning"],
        cwd=directory,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        process.send_signal(signal.Signals[end])
        output, errors = process.communicate(timeout=60)
    before, _, rest = line.partition("127.0.0.1:")
    port, _, path = rest.partition("/")
    assert (before, path) == ("Listening on ws://", "ws/chat\n")
    assert 0 < int(port) < 65536
    assert (process.returncode, output, errors) == (0, "", "")


def test_a_port_that_is_taken(directory: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        status, output, errors = run(directory, "serve", "answers:generate", WSSERVER_PORT=str(port))
    assert (status, output) == (2, "")
    (line,) = errors.splitlines()
    assert line.startswith(f"wsserver: cannot listen on 127.0.0.1 port {port}: ")
    assert line.endswith("; choose another --port, or 0 for a free one")


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["serve", "answers:generate", "--host", "no such host"], "--host no such host is no address of this machine"),
        (["serve", "answers:blocking"], "the callback 'blocking' is not async: it must be an async generator function"),
        (["serve", "answers:nothing"], "the module 'answers' has no 'nothing'"),
        (["serve", "answers"], "write it as module:attribute"),
        (["serve", "nowhere:generate"], "No module named 'nowhere'"),
        (["serve", "--port", "abc"], "--port takes a whole number"),
        (["serve", "--unknown"], "unrecognized arguments: --unknown; see wsserver serve --help"),
        ([], "say what to do: `serve [APP]`, `chat [URL]` or `token`; see wsserver --help"),
    ],
)
def test_one_line_and_no_traceback(directory: Path, arguments: list[str], words: str) -> None:
    status, output, errors = run(directory, *arguments)
    assert (status, output) == (2, "")
    (line,) = errors.splitlines()
    assert line.startswith("wsserver") and words in line


def test_a_bad_variable(directory: Path) -> None:
    status, output, errors = run(directory, "serve", WSSERVER_PORT="abc")
    assert (status, output, errors) == (2, "", "wsserver: WSSERVER_PORT takes a whole number, not 'abc'\n")


def test_documents_of_the_demo_that_are_missing(directory: Path) -> None:
    status, output, errors = run(directory, "serve", "--port", "0", WSSERVER_DEMO_DOCS="nowhere")
    assert (status, output) == (2, "")
    (line,) = errors.splitlines()
    assert line.startswith("wsserver: WSSERVER_DEMO_DOCS is 'nowhere'")


CALLBACK_THAT_HANGS = """
import asyncio

async def generate(turn):
    yield "token"
    await asyncio.Event().wait()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signals")
def test_it_says_what_it_waits_for_and_how_to_hurry_it(directory: Path) -> None:
    (directory / "hangs.py").write_text(CALLBACK_THAT_HANGS)
    with subprocess.Popen(
        [*COMMAND, "serve", "hangs:generate", "--port", "0"],
        cwd=directory,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        port = int(process.stdout.readline().split(":")[2].split("/")[0])
        with socket.create_connection(("127.0.0.1", port), timeout=20) as peer:
            peer.sendall(request() + masked(TEXT, b'{"content":"go"}'))
            received = b""
            while b'"event":"token"' not in received:
                received += peer.recv(2**16)
            process.send_signal(signal.SIGINT)
            line = process.stderr.readline()
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=20)
    assert "once all answers are complete (1), within 30 s; a second signal, or Ctrl-C, cuts them" in line
    assert process.returncode == 0


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signals")
@pytest.mark.parametrize("host, warned", [("0.0.0.0", True), ("127.0.0.1", False)])
def test_it_warns_where_everybody_is_let_in(directory: Path, host: str, warned: bool) -> None:
    with subprocess.Popen(
        [*COMMAND, "serve", "answers:generate", "--host", host, "--port", "0", "--log-level", "warning"],
        cwd=directory,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=20)
    assert log.count("is let in") == warned


def test_the_command_itself(directory: Path) -> None:
    """Beside the interpreter, where it was installed: not only `python -m wsserver`."""
    command = Path(sys.executable).with_name("wsserver")
    if not command.exists():
        pytest.skip("wsserver is not installed here")
    ended = subprocess.run([command, "--version"], cwd=directory, capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stdout) == (0, f"wsserver {wsserver.__version__}\n")


STUBBORN = """
import asyncio, time

async def thread(turn):
    yield "token"
    await asyncio.to_thread(time.sleep, 60)

async def deaf(turn):
    yield "token"
    while True:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            pass
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signals")
@pytest.mark.parametrize("callback", ["thread", "deaf"])
def test_it_ends_although_a_callback_does_not(directory: Path, callback: str) -> None:
    (directory / "stubborn.py").write_text(STUBBORN)
    with subprocess.Popen(
        [*COMMAND, "serve", f"stubborn:{callback}", "--port", "0", "--close-timeout", "1", "--drain-timeout", "1"],
        cwd=directory,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline().split(":")[2].split("/")[0])
        with socket.create_connection(("127.0.0.1", port), timeout=20) as peer:
            peer.sendall(request() + masked(TEXT, b'{"content":"go"}'))
            received = b""
            while b'"event":"token"' not in received:
                received += peer.recv(2**16)
            process.send_signal(signal.SIGTERM)
            _, log = process.communicate(timeout=20)
    assert process.returncode == 0
    assert "leaving" in log
    assert "Traceback" not in log
