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

#: No line of a traceback, in which anything may stand, looks like the first line of a record.
_TRACEBACK_INDENT = "  "


#: Milliseconds as text.
_DIGITS = [f"{number:03d}" for number in range(1000)]


class _Missing(str):
    """Stands for a value that is not there."""

    __slots__ = ()


MISSING = _Missing("-")


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
    """One line of a form, as the message of a record; made into text when it is asked for it."""

    __slots__ = ("form", "values")

    def __init__(self, form: Form, values: tuple[Any, ...]) -> None:
        self.form = form
        self.values = values

    def __str__(self) -> str:
        return self.form.text(self.values)


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
    gathering = _only_handler(logger)
    if gathering is not None:
        # What `logging` would do for it comes to the same, and takes three times as long.
        gathering.add(logger.name, form, values)
    else:
        logger.handle(Record(logger.name, Line(form, values)))


def _only_handler(logger: logging.Logger) -> Gathering | None:
    """Ours, where nobody else hears this logger, and nobody filters what it says."""
    handlers = logging.root.handlers
    if len(handlers) != 1 or type(handlers[0]) is not Gathering:
        return None
    gathering = handlers[0]
    if gathering.filters or gathering.level > logging.INFO:
        return None
    while logger.parent is not None:
        if logger.handlers or logger.filters or not logger.propagate:
            return None
        logger = logger.parent
    return gathering if logger is logging.root else None


#: What stands for lines that could not be written.
_LOST = logging.makeLogRecord({"msg": "lines of the log are lost"})


class _Clock:
    """Seconds as text, each of them made once."""

    def __init__(self, form: str, of: Callable[[float], time.struct_time]) -> None:
        self._form = form
        self._of = of
        self._second = -1
        self._text = ""

    def show(self, created: float) -> str:
        """With three digits of milliseconds behind the form."""
        second = int(created)
        if second != self._second:
            self._second, self._text = second, time.strftime(self._form, self._of(second))
        return self._text + _DIGITS[int((created - second) * 1000)]


class Formatter(logging.Formatter):
    """Makes text of records, and of lines that are none."""

    def line(self, created: float, name: str, form: Form, values: tuple[Any, ...]) -> str:
        raise NotImplementedError


class TextFormatter(Formatter):
    """`2026-11-24 22:18:03,123 INFO wsserver.access: …`, in local time; a `worker` stands before the name."""

    def __init__(self, worker: str = "") -> None:
        self._worker = f"{worker} " if worker else ""
        super().__init__(f"%(asctime)s %(levelname)s {self._worker}%(name)s: %(message)s")
        self._clock = _Clock("%Y-%m-%d %H:%M:%S,", time.localtime)

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        return self._clock.show(record.created)

    def line(self, created: float, name: str, form: Form, values: tuple[Any, ...]) -> str:
        return f"{self._clock.show(created)} INFO {self._worker}{name}: {form.text(values)}"

    def formatMessage(self, record: logging.LogRecord) -> str:
        return _printable(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:
        lines = super().formatException(ei).split("\n")
        return "\n".join(_TRACEBACK_INDENT + _printable(line) for line in lines)


def _printable(text: str) -> str:
    """Something of a client's may stand in it: that begins no line, and does nothing to a terminal."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


class JsonFormatter(Formatter):
    """One object a line: `time` (UTC, RFC 3339), `level`, `logger`, `message`, `process`, `worker`; the fields of a
    line, else the ids of what the message is about; `exception`."""

    def __init__(self, worker: str = "") -> None:
        super().__init__()
        self._process = {"process": os.getpid(), **({"worker": worker} if worker else {})}
        self._clock = _Clock("%Y-%m-%dT%H:%M:%S.", time.gmtime)

    def format(self, record: logging.LogRecord) -> str:
        line: Any = record.msg
        if isinstance(line, Line):
            return self.line(record.created, record.name, line.form, line.values)
        said: dict[str, Any] = {}
        for about in record.args if isinstance(record.args, tuple) else ():
            said |= _ids(about)
        if record.exc_info:
            said["exception"] = self.formatException(record.exc_info)
        return self._object(record.created, record.levelname.lower(), record.name, record.getMessage(), said)

    def line(self, created: float, name: str, form: Form, values: tuple[Any, ...]) -> str:
        return self._object(created, "info", name, form.message, form.members(values))

    def _object(self, created: float, level: str, name: str, message: str, said: dict[str, Any]) -> str:
        head = {"time": f"{self._clock.show(created)}Z", "level": level, "logger": name, "message": message}
        # As ASCII: what an exception says may hold halves of characters, which are no UTF-8.
        return json.dumps({**head, **said, **self._process})


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

    def __init__(self, stream: TextIO, formatter: Formatter) -> None:
        super().__init__(stream)
        self.setFormatter(formatter)
        self._line = formatter.line
        self._waiting: list[str | tuple[float, str, Form, tuple[Any, ...]]] = []
        self._loop: asyncio.AbstractEventLoop | None = None  # which will write it

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._waiting.append(self.format(record))
        except Exception:
            self.handleError(record)
            return
        self._plan(hurry=record.levelno >= logging.WARNING)

    def add(self, name: str, form: Form, values: tuple[Any, ...]) -> None:
        """A line at INFO. It never changes, and many at once are made into text faster: so it is when it is written."""
        assert self.lock is not None, "every handler has one"
        with self.lock:
            self._waiting.append((time.time(), name, form, values))
            self._plan()

    def flush(self) -> None:
        """Writes what waits."""
        self.acquire()
        try:
            waiting, self._waiting, self._loop = self._waiting, [], None
            if waiting:
                lines = [one if isinstance(one, str) else self._line(*one) for one in waiting]
                self.stream.write("\n".join(lines) + "\n")
            super().flush()
        except Exception:
            # Whoever has logged something must not fail because nobody takes it.
            self.handleError(_LOST)
        finally:
            self.release()

    def _plan(self, *, hurry: bool = False) -> None:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # another thread, before it and after it
            loop = None
        if loop is None or hurry:
            self.flush()
        elif loop is not self._loop:
            # An earlier loop may have ended before it has written what it was to.
            self._loop = loop
            loop.call_later(_GATHER, self.flush)


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
    formatter = JsonFormatter if config.log_format == "json" else TextFormatter
    logging.root.addHandler(Gathering(sys.stderr, formatter(worker)))
    logging.root.setLevel(config.log_level.upper())
