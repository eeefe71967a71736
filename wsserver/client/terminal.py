"""`wsserver chat`: a conversation in a terminal, or with questions from a pipe."""

from __future__ import annotations

import asyncio
import io
import os
import re
import signal
import sys
import threading
from codecs import getincrementaldecoder
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

from .chat import connect
from .errors import ChatError, ConnectionLost, RequestRefused
from .screen import DIM, Screen, one_line

if TYPE_CHECKING:
    from types import FrameType

    from .chat import Chat

_READ_SIZE = 2**16
_INTERRUPTED = 128 + signal.SIGINT
_KEYS = re.compile("\x1b(?:\\[[0-9;]*[A-Za-z~]|O[A-Z])")


def chat(url: str) -> int:
    """Talks with the server at `url` until the end of standard input or Ctrl-C; returns the exit status.

    0 at the end of the input or Ctrl-C at the prompt, 1 with one line on standard error where there is no server or
    none any more, 130 where Ctrl-C ended it midway. Raises `ConfigError` for a URL that cannot be.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # Not every terminal can show every character; the rest of the answer is still worth reading.
            stream.reconfigure(errors="replace")
    try:
        return asyncio.run(_Terminal(url).run())
    except ConnectionLost as exc:
        text = f"the server at {url} is gone ({one_line(exc)}): run `wsserver chat` again once it is back"
    except ChatError as exc:
        text = one_line(exc)
    except BrokenPipeError:
        # Whoever read the answers has enough. What is still buffered must not be tried again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    sys.stderr.write(f"wsserver: {text}\n")
    return 1


class _Input:
    """Lines of standard input, read by a daemon thread on demand: a read that nobody waits for must not hold us.

    It reads the bare file: a thread inside of `sys.stdin` would hold its lock when the interpreter ends.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._wanted = threading.Semaphore(0)
        self._decoder = getincrementaldecoder("utf-8")("replace")
        self._lines: deque[str] = deque()
        self._rest = ""
        self._ended = False
        self._arrived = asyncio.Event()
        threading.Thread(target=self._read, name="standard input", daemon=True).start()

    async def line(self) -> str | None:
        """The next line that is not blank, without its end; None at the end of all."""
        while not self._lines:
            if self._ended:
                return None
            self._arrived.clear()
            self._wanted.release()
            await self._arrived.wait()
        return self._lines.popleft()

    def _read(self) -> None:
        while self._wanted.acquire():
            try:
                data = os.read(sys.stdin.fileno(), _READ_SIZE)
            except OSError:  # a terminal that is gone has no more lines
                data = b""
            try:
                self._loop.call_soon_threadsafe(self._take, data)
            except RuntimeError:  # the loop is closed: nobody reads on
                return

    def _take(self, data: bytes) -> None:
        self._ended = not data
        *lines, self._rest = (self._rest + self._decoder.decode(data, final=self._ended)).split("\n")
        if self._ended:
            lines.append(self._rest)
        self._lines.extend(line for text in lines if (line := _typed(text)))
        self._arrived.set()


class _Terminal:
    """One run of `chat`: asks what is typed, one question after the other."""

    def __init__(self, url: str) -> None:
        terminal = sys.stdout.isatty()
        colour = terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        self._url = url
        self._interactive = sys.stdin.isatty() and terminal
        self._screen = Screen(_write, colour=colour)
        self._chat: Chat | None = None  # while an answer runs that Ctrl-C can stop
        self._stopping: asyncio.Task[None] | None = None
        self._at_prompt = False
        self._main: asyncio.Task[int] | None = None

    async def run(self) -> int:
        """Returns the exit status. Raises `ChatError`, `BrokenPipeError`."""
        loop = asyncio.get_running_loop()
        self._main = asyncio.current_task()

        def interrupt(number: int, frame: FrameType | None) -> None:
            loop.call_soon_threadsafe(self._interrupted)

        before = signal.signal(signal.SIGINT, interrupt)
        try:
            return await self._talk()
        except asyncio.CancelledError:
            self._screen.end_line()
            return 0 if self._at_prompt else _INTERRUPTED
        finally:
            signal.signal(signal.SIGINT, before)

    def _interrupted(self) -> None:
        """Ctrl-C: stops the answer; a second time, or where none runs, leaves."""
        self._screen.disturbed()
        if self._chat is not None and self._stopping is None:
            self._stopping = asyncio.create_task(_stop(self._chat))
        elif self._main is not None:
            self._main.cancel()

    async def _talk(self) -> int:
        async with connect(self._url) as chat:
            self._screen.line(f"Connected to {self._url}", DIM)
            if self._interactive:
                self._screen.line("Ctrl-C stops an answer, Ctrl-D leaves.", DIM)
            lines = _Input()
            while (question := await self._question(chat, lines)) is not None:
                await self._answer(chat, question)
            if self._interactive:
                self._screen.disturbed()
                self._screen.end_line()
            return 0

    async def _question(self, chat: Chat, lines: _Input) -> str | None:
        """The next line; raises `ConnectionLost` if the server goes before it comes."""
        if self._interactive:
            self._screen.prompt()
        self._at_prompt = True
        line, lost = asyncio.create_task(lines.line()), asyncio.create_task(chat.lost())
        try:
            await asyncio.wait((line, lost), return_when=asyncio.FIRST_COMPLETED)
            if lost.done():
                if self._interactive:
                    self._screen.disturbed()
                    self._screen.end_line()
                raise lost.result()
            self._at_prompt = False
            return line.result()
        finally:
            line.cancel()
            lost.cancel()

    async def _answer(self, chat: Chat, question: str) -> None:
        self._chat, self._stopping = chat, None
        try:
            async for event in chat.ask(question):
                self._screen.show(event)
        except RequestRefused as exc:
            self._screen.failure(exc.message, retryable=exc.retryable)
        finally:
            self._chat = None
            self._screen.end_line()


async def _stop(chat: Chat) -> None:
    # What became of the answer is told by its last event.
    with suppress(ChatError):
        await chat.stop()


def _typed(text: str) -> str:
    """What the person meant: without the codes that keys such as the arrows leave in a plain terminal."""
    return "".join(filter(str.isprintable, _KEYS.sub("", text))).strip()


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
