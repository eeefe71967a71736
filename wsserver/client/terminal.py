"""`wsserver chat`: a conversation in a terminal, or with questions from a pipe."""

from __future__ import annotations

import asyncio
import io
import os
import signal
import sys
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

from ..wire.close import CloseCode
from . import reply
from .chat import connect
from .errors import ChatError, ConnectionLost, RequestRefused, SessionLost
from .keyboard import Keyboard
from .screen import DIM, Screen, aside, one_line

if TYPE_CHECKING:
    from types import FrameType

    from .chat import Chat
    from .events import Event

SECONDS = 1

#: How long a lost connection is tried to be replaced: as long as servers keep a session unless they are told otherwise.
MAX_RECONNECT_TIME = 120.0 * SECONDS

_INTERRUPTED = 128 + signal.SIGINT


def chat(url: str, token: str | None = None, max_reconnect_time: float = MAX_RECONNECT_TIME) -> int:
    """Talks with the server at `url` until the end of standard input or Ctrl-C; returns the exit status.

    `token` says who talks; a lost connection is replaced within `max_reconnect_time` seconds, 0 for no limit.

    0 at the end of the input or Ctrl-C at the prompt, 1 with one line on standard error where there is no server or
    none any more, 130 where Ctrl-C ended it midway. Raises `ConfigError` for a URL that cannot be.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # Not every terminal can show every character; the rest of the answer is still worth reading.
            stream.reconfigure(errors="replace")
    try:
        return asyncio.run(_Terminal(url, token, max_reconnect_time).run())
    except ConnectionLost as exc:
        if exc.code in (CloseCode.NORMAL, CloseCode.ENDED_BY_APPLICATION):
            text = f"the server has ended the conversation ({one_line(exc)})"
        else:
            text = f"the server at {url} is gone ({one_line(exc)}): run `wsserver chat` again once it is back"
    except ChatError as exc:
        text = one_line(exc)
    except BrokenPipeError:
        # Whoever read the answers has enough. What is still buffered must not be tried again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    sys.stderr.write(f"wsserver: {text}\n")
    return 1


class _Terminal:
    """One run of `chat`: asks what is typed, one question after the other."""

    def __init__(self, url: str, token: str | None, max_reconnect_time: float) -> None:
        terminal = sys.stdout.isatty()
        colour = terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        self._url = url
        self._token = token
        self._max_reconnect_time = max_reconnect_time
        self._interactive = sys.stdin.isatty() and terminal
        self._screen = Screen(_write, colour=colour)
        self._chat: Chat | None = None  # while an answer runs that Ctrl-C can stop
        self._stopping: asyncio.Task[None] | None = None
        self._at_prompt = False  # and nothing runs
        self._prompted = False  # a line of the person is expected
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
        url, uds = _through_unix(self._url)
        async with connect(
            url, token=self._token, uds=uds, reconnect=True, max_reconnect_time=self._max_reconnect_time
        ) as chat:
            self._screen.line(f"Connected to {self._url}", DIM)
            if self._interactive:
                self._screen.line("Ctrl-C stops an answer, Ctrl-D leaves.", DIM)
            listening = asyncio.create_task(self._listen(chat))
            try:
                keyboard = Keyboard()
                while (question := await self._question(chat, keyboard)) is not None:
                    await self._answer(chat, question, keyboard)
            finally:
                listening.cancel()
            if self._interactive:
                self._screen.disturbed()
                self._screen.end_line()
            return 0

    async def _listen(self, chat: Chat) -> None:
        """Shows what comes without being asked for; how it ends is told elsewhere."""
        with suppress(ConnectionLost):
            async for event in chat.events():
                if (text := aside(event)) is not None:
                    prompted = self._prompted
                    self._leave_prompt()
                    self._screen.line(text, DIM)
                    if prompted:
                        self._prompt()

    async def _question(self, chat: Chat, keyboard: Keyboard) -> str | None:
        """The next line; raises `ConnectionLost` if the server goes before it comes."""
        self._prompt()
        self._at_prompt = True
        line, lost = asyncio.create_task(keyboard.line()), asyncio.create_task(chat.lost())
        try:
            await asyncio.wait((line, lost), return_when=asyncio.FIRST_COMPLETED)
            if lost.done():
                self._leave_prompt()
                raise lost.result()
            self._at_prompt = self._prompted = False
            return line.result()
        finally:
            line.cancel()
            lost.cancel()

    async def _answer(self, chat: Chat, question: str, keyboard: Keyboard) -> None:
        self._chat, self._stopping = chat, None
        asks: deque[Event] = deque()
        replying: asyncio.Task[None] | None = None
        try:
            async for event in chat.ask(question):
                self._leave_prompt()
                self._screen.show(event)
                if event.name == "ask":
                    asks.append(event)
                    if replying is None or replying.done():
                        replying = asyncio.create_task(self._reply(chat, asks, keyboard))
                elif asks and not event.final:
                    self._prompt()
        except RequestRefused as exc:
            self._screen.failure(exc.message, retryable=exc.retryable)
        except SessionLost as exc:
            self._screen.failure(str(exc), retryable=True)
        finally:
            self._chat = None
            if replying is not None:
                replying.cancel()
                await asyncio.wait((replying,))
            self._leave_prompt()
            self._screen.end_line()

    async def _reply(self, chat: Chat, asks: deque[Event], keyboard: Keyboard) -> None:
        """Takes what is typed as the answers to what the turn asks, one after the other."""
        while asks:
            data = asks[0].data
            self._prompt()
            line = await keyboard.line()
            self._prompted = False
            if line is None:
                # Nobody will ever answer.
                await _stop(chat)
                return
            try:
                value = reply.parse(data.get("schema") or {}, line)
                await chat.answer(str(data.get("call_id")), value)
            except ValueError as exc:
                self._screen.line(str(exc), DIM)
            except RequestRefused as exc:
                if exc.code == "not_active":
                    asks.popleft()
                else:
                    self._screen.line(exc.message, DIM)
            except ChatError:
                # What became of the answer is told by its events.
                return
            else:
                asks.popleft()

    def _prompt(self) -> None:
        if self._interactive:
            self._screen.prompt()
            self._prompted = True

    def _leave_prompt(self) -> None:
        """What is shown next begins below the prompt, and below what was typed there."""
        if self._prompted:
            self._prompted = False
            self._screen.disturbed()
            self._screen.end_line()


def _through_unix(url: str) -> tuple[str, str | None]:
    """The URL, and the path of the UNIX socket if it is of the form that `wsserver serve --uds` prints."""
    scheme, plus_unix, rest = url.partition("+unix:")
    path, colon, target = rest.rpartition(":")
    if scheme not in ("ws", "wss") or not plus_unix or not colon:
        return url, None
    return f"{scheme}://localhost{target}", path


async def _stop(chat: Chat) -> None:
    # What became of the answer is told by its last event.
    with suppress(ChatError):
        await chat.stop()


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
