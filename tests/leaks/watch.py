"""Looks through log records, also those that no level lets pass. Knows nothing but the standard library: it runs in any
process.

Secret is what was hidden by `hide`, and whatever looks like a token or a query string. In a record all of its text
counts, and the texts of exceptions, but not of those that an application raised: what it writes into them is its own
affair, and without them nobody could find its errors.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

#: Who is looked after: ours, and asyncio, which shows callbacks and tasks of ours.
LOGGERS = ("wsserver", "asyncio", "application")

#: Shorter texts stand in any log. Short ones count where they are all that a message is given, or stand in quotes; of
#: long ones the beginning is enough.
_SHORTEST, _SHORT, _ENOUGH = 3, 6, 12

#: A leak of what comes later in the same test would be a leak of what came first.
_MOST = 2000

_SUSPICIOUS = re.compile(
    r"access_token=|resume=|last_seq="
    r"|[Bb]earer [\w.~+/-]"
    r"|\bbearer(?:64)?\.\S|\bresume\.\S"
    r"|\beyJ[\w-]+\.[\w-]+\."  # {" in base64url: a JWT
    r"|\bs_[\w-]{22}\.[\w-]{22}"  # a resume token
    r"|/\S*\?[\w%]+="
)

#: The first part of a resume token is the name of the session, which is public.
_NAME = re.compile(r"s_[\w-]{22}\.?")

_APPLICATIONS = [Path(__file__).parents[1], Path(__file__).parents[2] / "examples"]


class Watch:
    """`found` says what has leaked."""

    def __init__(self) -> None:
        self.found: list[str] = []
        self._secrets: set[str] = set()

    def hide(self, text: object) -> None:
        """From now on, until `forget`, this must not be logged; what is not text is passed over."""
        if isinstance(text, str) and len(self._secrets) < _MOST:
            beginning = _NAME.sub("", text[:64])[:_ENOUGH]
            if len(beginning) >= _SHORTEST and not beginning.isdigit():
                self._secrets.add(beginning)

    def forget(self) -> None:
        """Nothing was hidden."""
        self._secrets.clear()

    def inspect(self, record: logging.LogRecord) -> None:
        said, form = _said(record)
        arguments = record.args if isinstance(record.args, tuple) else ()
        alone = self._secrets & {argument for argument in arguments if isinstance(argument, str)}
        for text in (said, *_told(record)):
            leaks = {secret for secret in self._secrets if _is_in(secret, text) and secret not in form} | alone
            if (suspicious := _SUSPICIOUS.search(text)) is not None:
                leaks.add(suspicious[0])
            if leaks:
                self.found.append(f"{record.name} logged {text!r}, in which {', '.join(map(repr, leaks))} is secret")


def _is_in(secret: str, text: str) -> bool:
    return secret in text and (len(secret) >= _SHORT or repr(secret) in text)


def _said(record: logging.LogRecord) -> tuple[str, str]:
    """The message, and what of it is the same in all messages of its kind."""
    form, values = getattr(record.msg, "form", None), getattr(record.msg, "values", None)
    if form is not None:
        # The code of an error is as the application calls it, and some tests have tokens that are their users' names.
        members = form.members(values).items()
        return " ".join(str(value) for name, value in members if name not in ("error", "user")), ""
    return record.getMessage(), record.msg if record.args else ""


def _told(record: logging.LogRecord) -> Iterator[str]:
    """The texts of the exceptions that are logged with it."""
    seen: set[int] = set()
    waiting = [record.exc_info[1]] if record.exc_info else []
    while waiting:
        exc = waiting.pop()
        if exc is None or id(exc) in seen:
            continue
        seen.add(id(exc))
        waiting += [exc.__cause__, exc.__context__, *getattr(exc, "exceptions", ())]
        if not _is_of_an_application(exc.__traceback__):
            yield "".join((str(exc), *getattr(exc, "__notes__", ())))


def _is_of_an_application(trace: TracebackType | None) -> bool:
    """Whether it was raised by the code of a test or of an example, which stands for the application."""
    place = ""
    while trace is not None:
        place, trace = trace.tb_frame.f_code.co_filename, trace.tb_next
    return place.startswith("<") or any(folder in Path(place).parents for folder in _APPLICATIONS)


def install(watch: Callable[[logging.LogRecord], None]) -> None:
    """Has `watch` see each record of `LOGGERS`, whatever level they have inherited; all else about logging stays as it
    is. One of ours that was given a level of its own is heard as far as that goes.
    """
    is_enabled, handle = logging.Logger.isEnabledFor, logging.Logger.handle

    def is_enabled_or_watched(self: logging.Logger, level: int) -> bool:
        family, dot, _ = self.name.partition(".")
        return (family in LOGGERS and not (dot and self.level)) or is_enabled(self, level)

    def watch_and_handle(self: logging.Logger, record: logging.LogRecord) -> None:
        if self.name.partition(".")[0] in LOGGERS:
            watch(record)
            if not is_enabled(self, record.levelno):
                return
        handle(self, record)

    logging.Logger.isEnabledFor = is_enabled_or_watched  # type: ignore[method-assign]
    logging.Logger.handle = watch_and_handle  # type: ignore[method-assign]
