"""Standard input as lines, for a loop that must not wait for it."""

from __future__ import annotations

import asyncio
import os
import re
import sys
import threading
from codecs import getincrementaldecoder
from collections import deque

_READ_SIZE = 2**16
_KEYS = re.compile("\x1b(?:\\[[0-9;]*[A-Za-z~]|O[A-Z])")


class Keyboard:
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


def _typed(text: str) -> str:
    """What the person meant: without the codes that keys such as the arrows leave in a plain terminal."""
    return "".join(filter(str.isprintable, _KEYS.sub("", text))).strip()
