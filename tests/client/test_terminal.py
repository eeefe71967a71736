"""`wsserver chat` as a person starts it: a process, its pipes or its terminal, a real server."""

from __future__ import annotations

import asyncio
import os
import pty
import re
import signal
import subprocess
import sys
import threading
from contextlib import asynccontextmanager, contextmanager
from typing import IO, TYPE_CHECKING, Any

from wsserver import Config, Server, Source, Status, TurnError

from .peer import Peer, in_turn, scripted

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path
    from typing import Self

    from wsserver import Item, Turn

#: Seconds after which a test that waits has failed.
PATIENCE = 30


async def generate(turn: Turn) -> AsyncIterator[Item]:
    question = str(turn.content)
    if question == "hang":
        yield "hanging"
        await asyncio.Event().wait()
    elif question == "everything":
        yield Status("thinking")
        async with turn.tool("orders", "正在查询您的订单…") as tool:
            tool.finish("found")
        yield Source("Manual", score=0.5)
        yield "\x1b[31mansw"
        yield "er"
    elif question == "ask":
        sure = await turn.ask("are you sure?", {"type": "boolean"})
        colour = await turn.ask("which one?", {"enum": ["red", "green"]})
        yield f"{sure} {colour}"
    elif question == "fail":
        raise TurnError("no_luck", "it did not work", retryable=True)
    else:
        yield f"<{question}>"


class Background:
    """What gives a URL as long as it is entered, on a loop in a thread, so that a test may wait for a process."""

    def __init__(self, context: AbstractAsyncContextManager[str]) -> None:
        self._context = context
        self._started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()))
        self.url = ""

    async def _main(self) -> None:
        self._loop, self._stopped = asyncio.get_running_loop(), asyncio.Event()
        async with self._context as self.url:
            self._started.set()
            await self._stopped.wait()

    def stop(self) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stopped.set)
            self._thread.join(PATIENCE)
        assert not self._thread.is_alive()

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._started.wait(PATIENCE)
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()


def serving(**settings: Any) -> Background:
    """A real server with the callback above."""

    @asynccontextmanager
    async def serve() -> AsyncIterator[str]:
        async with Server(generate, Config(port=0, **settings)) as server:
            yield server.urls[0]

    return Background(serve())


def command(url: str, *flags: str) -> list[str]:
    return [sys.executable, "-W", "error", "-m", "wsserver", "chat", url, *flags]


#: For a server that will not come back.
IMPATIENT = ("--max-reconnect-time", "0.1")


def environment(**others: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    return {**kept, "PYTHONIOENCODING": "utf-8", "TERM": "xterm", **others}


def piped(url: str, questions: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        command(url), input=questions.encode(), capture_output=True, timeout=PATIENCE, env=environment()
    )


class TestPipe:
    def test_questions_line_by_line_to_the_end(self) -> None:
        with serving() as server:
            ended = piped(server.url, "one\n\n  \n二\nlast")
        assert ended.stdout.decode() == f"Connected to {server.url}\n<one>\n<二>\n<last>\n"
        assert (ended.returncode, ended.stderr) == (0, b"")

    def test_no_question_at_all(self) -> None:
        with serving() as server:
            ended = piped(server.url, "")
        assert (ended.returncode, ended.stderr) == (0, b"")

    def test_all_that_a_turn_shows_and_no_escape_sequence(self) -> None:
        with serving() as server:
            ended = piped(server.url, "everything\nfail\nafter\n")
        assert ended.stdout.decode().split("\n")[1:] == [
            "… thinking",
            "· orders: 正在查询您的订单…",
            "✓ orders: found",
            "[31manswer",
            "",
            "[1] Manual (0.50)",
            "✗ it did not work (you can ask again)",
            "<after>",
            "",
        ]
        assert ended.returncode == 0

    def test_what_a_turn_asks_is_answered_by_the_next_lines(self) -> None:
        with serving() as server:
            ended = piped(server.url, "ask\nno\nred\nnext\nask\nyes\n")
        assert ended.stdout.decode().split("\n")[1:] == [
            "? are you sure? (yes or no)",
            "? which one? (a number of the list, or its text)",
            "  1) red",
            "  2) green",
            "False red",
            "<next>",
            "? are you sure? (yes or no)",
            "? which one? (a number of the list, or its text)",
            "  1) red",
            "  2) green",
            "[stopped]",
            "",
        ]
        assert (ended.returncode, ended.stderr) == (0, b"")

    def test_a_token_need_not_stand_on_the_command_line(self) -> None:
        async def script(peer: Peer) -> None:
            await peer.open()
            assert peer.request is not None
            assert peer.request.headers["authorization"] == "Bearer secret"
            await peer.end()

        with Background(scripted(script)) as server:
            variables = environment(WSSERVER_TOKEN="secret")
            subprocess.run(command(server.url), input=b"", timeout=PATIENCE, env=variables, check=True)

    def test_an_answer_streams_before_its_end(self) -> None:
        with serving() as server, process(server.url) as (chat, typed):
            typed.write(b"hang\n")
            typed.flush()
            assert chat.stdout is not None
            assert chat.stdout.readline().startswith(b"Connected")
            assert chat.stdout.read(7) == b"hanging"
            chat.send_signal(signal.SIGINT)
            assert chat.stdout.readline() + chat.stdout.readline() == b"\n[stopped]\n"
            typed.write(b"next\n")
            typed.close()
            assert chat.stdout.read() == b"<next>\n"
            assert chat.wait(PATIENCE) == 0

    def test_a_line_that_is_not_taken(self) -> None:
        with serving(max_message_size=100) as server:
            ended = piped(server.url, "x" * 200 + "\nnext\n")
        assert ended.returncode == 1
        assert ended.stderr.count(b"\n") == 1
        assert b"1009" in ended.stderr

    def test_who_reads_the_answers_has_enough(self) -> None:
        with serving() as server, process(server.url) as (chat, typed):
            assert chat.stdout is not None
            assert chat.stdout.readline().startswith(b"Connected")
            chat.stdout.close()
            typed.write(b"one\n")
            typed.close()
            assert chat.wait(PATIENCE) == 1
            assert chat.stderr is not None
            assert chat.stderr.read() == b""


@contextmanager
def process(url: str, *flags: str) -> Iterator[tuple[subprocess.Popen[bytes], IO[bytes]]]:
    pipe = subprocess.PIPE
    with subprocess.Popen(command(url, *flags), stdin=pipe, stdout=pipe, stderr=pipe, env=environment()) as chat:
        assert chat.stdin is not None
        watchdog = threading.Timer(PATIENCE, chat.kill)
        watchdog.start()
        try:
            yield chat, chat.stdin
        finally:
            chat.kill()
            watchdog.cancel()


class TestWhere:
    def test_the_address_of_a_unix_socket_as_the_server_prints_it(self, tmp_path: Path) -> None:
        with serving(uds=str(tmp_path / "chat.sock")) as server:
            assert server.url.startswith("ws+unix:")
            ended = piped(server.url, "hello\n")
        assert (ended.returncode, ended.stderr) == (0, b"")
        assert "<hello>" in ended.stdout.decode()

    def test_a_conversation_that_the_application_has_ended(self) -> None:
        async def script(peer: Peer) -> None:
            await peer.open()
            await peer.close(4506, "ended by the application")

        with Background(scripted(script)) as server, process(server.url) as (chat, _):
            assert chat.wait(PATIENCE) == 1
            assert chat.stderr is not None
            said = chat.stderr.read().decode()
        assert said == "wsserver: the server has ended the conversation (4506 ended by the application)\n"


class TestNoServer:
    def test_nobody_answers(self) -> None:
        with serving() as server:
            url = server.url
        ended = piped(url, "hello\n")
        assert ended.returncode == 1
        assert ended.stderr.decode() == (
            f"wsserver: nothing answers at {url}: start it with `wsserver serve`, or check the address\n"
        )
        assert ended.stdout == b""

    def test_the_wrong_path(self) -> None:
        with serving() as server:
            ended = piped(f"{server.url}/nowhere", "hello\n")
        assert ended.returncode == 1
        assert b"refused with 404" in ended.stderr
        assert ended.stderr.count(b"\n") == 1

    def test_no_address(self) -> None:
        ended = piped("localhost", "hello\n")
        assert ended.returncode == 2
        assert ended.stderr.count(b"\n") == 1

    def test_the_server_goes_while_nobody_asks(self) -> None:
        with serving() as server, process(server.url, *IMPATIENT) as (chat, typed):
            assert chat.stdout is not None
            assert chat.stderr is not None
            typed.write(b"one\n")
            typed.flush()
            assert chat.stdout.readline() + chat.stdout.readline() == f"Connected to {server.url}\n<one>\n".encode()
            server.stop()
            assert chat.wait(PATIENCE) == 1
            assert chat.stderr.read().decode() == (
                f"wsserver: the server at {server.url} is gone (1012 the server is shutting down):"
                " run `wsserver chat` again once it is back\n"
            )


class Terminal:
    """`wsserver chat` under a terminal of its own."""

    def __init__(self, url: str, *flags: str, **variables: str) -> None:
        self._screen, theirs = pty.openpty()
        self.process = subprocess.Popen(
            command(url, *flags),
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=environment(**variables),
            start_new_session=True,
        )
        os.close(theirs)
        self._watchdog = threading.Timer(PATIENCE, self.process.kill)
        self._watchdog.start()
        self.seen = ""
        self._position = 0

    def read_until(self, text: str) -> None:
        """Waits until `text` is shown, behind what was waited for before."""
        while (found := self.seen.find(text, self._position)) < 0:
            assert self._read(), f"ended without {text!r}: {self.seen!r}"
        self._position = found + len(text)

    def read_all(self) -> int:
        """Waits until it has ended; returns its status."""
        while self._read():
            continue
        return self.process.wait(PATIENCE)

    def _read(self) -> bool:
        try:
            data = os.read(self._screen, 2**16)
        except OSError:  # nobody holds the other end any more
            return False
        self.seen += data.decode().replace("\r\n", "\n")
        return bool(data)

    def type(self, text: str) -> None:
        os.write(self._screen, text.encode())

    def interrupt(self) -> None:
        self.process.send_signal(signal.SIGINT)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self._watchdog.cancel()
        os.close(self._screen)


@contextmanager
def terminal(url: str, *flags: str, **variables: str) -> Iterator[Terminal]:
    shown = Terminal(url, *flags, **variables)
    try:
        yield shown
    finally:
        shown.close()


class TestTerminal:
    def test_a_first_minute(self) -> None:
        with serving() as server, terminal(server.url, NO_COLOR="1") as shown:
            shown.read_until(f"Connected to {server.url}\nCtrl-C stops an answer, Ctrl-D leaves.\n> ")
            shown.type("hello\n")
            shown.read_until("hello\n<hello>\n> ")
            shown.type("\x04")
            assert shown.read_all() == 0
        assert "\x1b" not in shown.seen

    def test_colours(self) -> None:
        with serving() as server, terminal(server.url) as shown:
            shown.read_until("\x1b[1m>\x1b[0m ")
            shown.type("everything\n")
            shown.read_until("\x1b[2m· orders")
            shown.read_until("\n[31manswer\n")
            shown.type("\x04")
            assert shown.read_all() == 0

    def test_ctrl_c_stops_the_answer_and_the_conversation_goes_on(self) -> None:
        with serving() as server, terminal(server.url, NO_COLOR="1") as shown:
            shown.read_until("> ")
            shown.type("hang\n")
            shown.read_until("hanging")
            shown.interrupt()
            shown.read_until("[stopped]\n> ")
            shown.type("next\n")
            shown.read_until("<next>\n> ")
            shown.type("hang\n")
            shown.read_until("hanging")
            shown.interrupt()
            shown.read_until("[stopped]\n> ")
            shown.type("\x04")
            assert shown.read_all() == 0

    def test_ctrl_c_at_the_prompt_leaves(self) -> None:
        with serving() as server, terminal(server.url, NO_COLOR="1") as shown:
            shown.read_until("> ")
            shown.interrupt()
            assert shown.read_all() == 0
        assert shown.seen.endswith("> \n")
        assert "Traceback" not in shown.seen

    def test_a_second_ctrl_c_leaves_a_server_that_does_not_stop(self) -> None:
        stopped = threading.Event()

        async def script(peer: Peer) -> None:
            await peer.open()
            ref = (await peer.hear())["id"]
            await peer.tell("start", {"ref": ref}, turn=1)
            await peer.tell("token", {"value": "stubborn"}, turn=1)
            assert (await peer.hear())["event"] == "stop"
            stopped.set()
            await peer.end()

        with Background(scripted(script)) as server, terminal(server.url, NO_COLOR="1") as shown:
            shown.read_until("> ")
            shown.type("hi\n")
            shown.read_until("stubborn")
            shown.interrupt()
            assert stopped.wait(PATIENCE)
            shown.interrupt()
            assert shown.read_all() == 130
        assert "Traceback" not in shown.seen

    def test_ctrl_c_while_nobody_answers_yet(self) -> None:
        asked = threading.Event()

        async def script(peer: Peer) -> None:
            await peer.reader.readuntil(b"\r\n\r\n")
            asked.set()
            await peer.reader.read()

        with Background(scripted(script)) as server, terminal(server.url) as shown:
            assert asked.wait(PATIENCE)
            shown.interrupt()
            assert shown.read_all() == 130
        assert shown.seen == "\n"

    def test_the_connection_breaks_while_an_answer_runs_and_nothing_is_lost(self) -> None:
        session = {"resumable": True, "resume_token": "s_1.secret", "epoch": 1, "seq": 0}

        async def breaks(peer: Peer) -> None:
            await peer.open(**session)
            await peer.tell("start", {"ref": (await peer.hear())["id"]}, 1, 1)
            await peer.tell("token", {"value": "half"}, 1, 2)
            peer.writer.write_eof()

        async def goes_on(peer: Peer) -> None:
            await peer.open(**{**session, "resumed": True, "recovered": True})
            await peer.tell("token", {"value": "the rest"}, 1, 3)
            await peer.tell("complete", {"final": True}, 1, 4)
            await peer.end()

        script = in_turn(breaks, goes_on)
        with Background(scripted(script)) as server, terminal(server.url, NO_COLOR="1") as shown:
            shown.read_until("> ")
            shown.type("hi\n")
            shown.read_until("half\n… reconnecting\nconnected again\nthe rest\n> ")
            shown.type("\x04")
            assert shown.read_all() == 0

    def test_the_connection_breaks_at_the_prompt(self) -> None:
        async def breaks(peer: Peer) -> None:
            await peer.open()
            await peer.hear()
            peer.writer.write_eof()

        async def forgot(peer: Peer) -> None:
            await peer.open()
            await peer.tell("news", {"message": "the\x1b[31m parcel\nis here"})
            await peer.tell("complete", {"ref": (await peer.hear())["id"], "final": True}, 1)
            await peer.end()

        with Background(scripted(in_turn(breaks, forgot))) as server, terminal(server.url, NO_COLOR="1") as shown:
            shown.read_until("> ")
            shown.type("hi\n")
            shown.read_until("… reconnecting\nconnected again, in a new conversation\n")
            shown.read_until("• news: the[31m parcel is here\n")
            shown.read_until("> ")
            shown.type("\x04")
            assert shown.read_all() == 0

    def test_news_come_above_the_prompt(self) -> None:
        async def script(peer: Peer) -> None:
            await peer.open()
            await peer.tell("news", {"value": 1})
            await peer.end()

        with Background(scripted(script)) as server, terminal(server.url) as shown:
            shown.read_until('\x1b[2m• news: {"value": 1}\x1b[0m\n\x1b[1m>\x1b[0m ')
            shown.type("\x04")
            assert shown.read_all() == 0

    def test_what_a_turn_asks_is_answered_by_the_next_lines(self) -> None:
        with serving() as server, terminal(server.url, NO_COLOR="1") as shown:
            shown.read_until("> ")
            shown.type("ask\n")
            shown.read_until("? are you sure? (yes or no)\n> ")
            shown.type("perhaps\n")
            shown.read_until("please answer with yes or no\n> ")
            shown.type("y\n")
            shown.read_until("? which one? (a number of the list, or its text)\n  1) red\n  2) green\n> ")
            shown.type("2\n")
            shown.read_until("True green\n> ")
            shown.type("ask\n")
            shown.read_until("? are you sure? (yes or no)\n> ")
            shown.interrupt()
            shown.read_until("[stopped]\n> ")
            shown.type("next\n")
            shown.read_until("<next>\n> ")
            shown.type("ask\n")
            shown.read_until("? are you sure? (yes or no)\n> ")
            shown.type("\x04")
            shown.read_until("[stopped]\n")
            assert shown.read_all() == 0

    def test_a_question_that_is_refused(self) -> None:
        async def script(peer: Peer) -> None:
            await peer.open()
            ref = (await peer.hear())["id"]
            await peer.tell("error", {"code": "queue_full", "message": "too many", "retryable": True, "ref": ref})
            await peer.end()

        with Background(scripted(script)) as server, terminal(server.url, NO_COLOR="1") as shown:
            shown.read_until("> ")
            shown.type("hi\n")
            shown.read_until("✗ too many (you can ask again)\n> ")
            shown.type("\x04")
            assert shown.read_all() == 0

    def test_the_server_goes_while_an_answer_runs(self) -> None:
        with serving() as server, terminal(server.url, *IMPATIENT, NO_COLOR="1") as shown:
            shown.read_until("> ")
            shown.type("hang\n")
            shown.read_until("hanging")
            server.stop()
            assert shown.read_all() == 1
        assert re.search(r"hanging\n✗ the server is shutting down \(you can ask again\)\n", shown.seen)
        assert shown.seen.endswith("run `wsserver chat` again once it is back\n")
