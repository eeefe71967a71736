"""The log of a process: text for people, or JSON for machines.

What connections and turns came to are lines of fields: `name=value` in text, members of the object in JSON. There are
many of them, so they cost as little as they can: they are made into text a moment later, and leave together.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
import time
from typing import TYPE_CHECKING, Any, ClassVar

from ..chat.session import Session
from ..chat.turn import Turn
from ..chat.view import SessionView
from .connection import Connection
from .run import Run

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TextIO

    from ..config import Config

#: How long lines below WARNING may wait for others, in seconds.
_GATHER = 0.1


class _Missing:
    """Stands for a value that is not there."""

    def __str__(self) -> str:
        return "-"


MISSING = _Missing()


class Form:
    """The fields of one kind of line. `foreign` are those whose text is made up by others."""

    def __init__(self, message: str, fields: str, *, foreign: str = "") -> None:
        self.message = message
        self.fields = tuple(fields.split())
        self._foreign = [self.fields.index(name) for name in foreign.split()]
        self._template = " ".join([message, *(f"{name}=%s" for name in self.fields)])

    def text(self, values: tuple[Any, ...]) -> str:
        """`message name=value name=value …`, with `-` for what is not there."""
        for place in self._foreign:
            if type(values[place]) is str:
                # No user's name ends its field, or the line.
                values = (*values[:place], json.dumps(values[place]), *values[place + 1 :])
        return self._template % values

    def members(self, values: tuple[Any, ...]) -> dict[str, Any]:
        """The values by name, without what is not there."""
        return {name: value for name, value in zip(self.fields, values, strict=True) if value is not MISSING}


class Line:
    """One line of a form; made into text when it is asked for it."""

    __slots__ = ("_values", "form")

    def __init__(self, form: Form, values: tuple[Any, ...]) -> None:
        self.form = form
        self._values = values

    def __str__(self) -> str:
        return self.form.text(self._values)

    def members(self) -> dict[str, Any]:
        return self.form.members(self._values)


class Record(logging.LogRecord):
    """A line on its way to the handlers, at INFO.

    It is made for every turn and connection. What it does not know, such as the place in the code, is one value for
    all of them: to find it out would take longer than all the rest.
    """

    #: All attributes that formats may name.
    same: ClassVar[dict[str, Any]] = {
        **vars(logging.LogRecord("", logging.INFO, __file__, 0, "", None, None, "write")),
        "process": None,
        "thread": None,
        "threadName": None,
    }

    def __init__(self, name: str, line: Line) -> None:
        now = time.time()
        self.__dict__ = {**self.same, "name": name, "msg": line, "created": now, "msecs": now % 1 * 1000}


def write(logger: logging.Logger, form: Form, *values: Any) -> None:
    """Writes a line at INFO. The caller has asked whether that is enabled."""
    logger.handle(Record(logger.name, Line(form, values)))


class _Clock:
    """Seconds as text, each of them made once."""

    def __init__(self, form: str, of: Callable[[float], time.struct_time]) -> None:
        self._form = form
        self._of = of
        self._second = -1
        self._text = ""

    def show(self, record: logging.LogRecord) -> str:
        second = int(record.created)
        if second != self._second:
            self._second, self._text = second, time.strftime(self._form, self._of(second))
        return self._text


class TextFormatter(logging.Formatter):
    """`2026-11-24 22:18:03,123 INFO wsserver.access: …`, in local time; `worker` stands before the name, if there is
    one."""

    def __init__(self, worker: str = "") -> None:
        self._worker = f"{worker} " if worker else ""
        super().__init__(f"%(asctime)s %(levelname)s {self._worker}%(name)s: %(message)s")
        self._clock = _Clock("%Y-%m-%d %H:%M:%S", time.localtime)

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        return f"{self._clock.show(record)},{int(record.msecs):03d}"

    def format(self, record: logging.LogRecord) -> str:
        if type(record) is Record:
            return f"{self.formatTime(record)} INFO {self._worker}{record.name}: {record.msg}"
        return super().format(record)


class JsonFormatter(logging.Formatter):
    """One object a line: `time` (UTC, RFC 3339), `level`, `logger`, `message`, `process`, `worker`; the fields of a
    line, else the ids of what the message is about; `exception`."""

    def __init__(self, worker: str = "") -> None:
        super().__init__()
        self._worker = {"worker": worker} if worker else {}
        self._clock = _Clock("%Y-%m-%dT%H:%M:%S", time.gmtime)

    def format(self, record: logging.LogRecord) -> str:
        said: dict[str, Any] = {
            "time": f"{self._clock.show(record)}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
        }
        line: Any = record.msg
        if isinstance(line, Line):
            said["message"] = line.form.message
            said |= line.members()
        else:
            said["message"] = record.getMessage()
            for about in record.args if isinstance(record.args, tuple) else ():
                said |= _ids(about)
        said["process"] = os.getpid()
        said |= self._worker
        if record.exc_info:
            said["exception"] = self.formatException(record.exc_info)
        # As ASCII: what an exception says may hold halves of characters, which are no UTF-8.
        return json.dumps(said)


def _ids(about: Any) -> dict[str, Any]:
    """What joins a line to the others of the same connection, session and turn."""
    if isinstance(about, Run):
        about = about.turn
    if isinstance(about, Turn):
        return {"session": about.session.id, "turn": about.id}
    if isinstance(about, Session | SessionView):
        return {"session": about.id}
    if isinstance(about, Connection):
        return {"connection": about.id, **({"session": about.session.id} if about.session else {})}
    return {}


class Gathering(logging.StreamHandler["TextIO"]):
    """Writes what is below WARNING a moment later, where a loop runs; all else at once, behind what waits."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._waiting: list[Record | str] = []
        self._loop: asyncio.AbstractEventLoop | None = None  # which will write it

    def emit(self, record: logging.LogRecord) -> None:
        try:
            # What other records are about may change; a line never does, and many at once are made into text faster.
            self._waiting.append(record if type(record) is Record else self.format(record))
        except Exception:
            self.handleError(record)
            return
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # another thread, before it and after it
            loop = None
        if loop is None or record.levelno >= logging.WARNING:
            self.flush()
        elif loop is not self._loop:
            # An earlier loop may have ended before it has written what it was to.
            self._loop = loop
            loop.call_later(_GATHER, self.flush)

    def flush(self) -> None:
        """Writes what waits."""
        self.acquire()
        try:
            waiting, self._waiting, self._loop = self._waiting, [], None
            if waiting:
                lines = [one if isinstance(one, str) else self.format(one) for one in waiting]
                self.stream.write("\n".join(lines) + "\n")
            super().flush()
        finally:
            self.release()


def set_up(config: Config, worker: str = "") -> None:
    """Logs to standard error as `config` says, unless the program has set up logging by itself.

    `worker` names this process where it is one of several.
    """
    if worker:
        import multiprocessing

        # So it is `%(processName)s` of formats that are the program's own.
        multiprocessing.current_process().name = Record.same["processName"] = worker
    # At INFO they name each address that they ask, with its query.
    for name in ("httpx", "httpx2"):
        logging.getLogger(name).setLevel(logging.WARNING)
    if logging.root.handlers:
        return
    handler = Gathering(sys.stderr)
    handler.setFormatter(JsonFormatter(worker) if config.log_format == "json" else TextFormatter(worker))
    logging.root.addHandler(handler)
    logging.root.setLevel(config.log_level.upper())
