"""The log: text for people, JSON for machines, and when it is written."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import logging.handlers
import queue
import re
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from tests.clock import run_virtually
from tests.peer import Peer
from wsserver import Config, Server
from wsserver.net import logs
from wsserver.net.logs import MISSING, Form, Gathering, JsonFormatter, TextFormatter, write

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from wsserver import Turn

FORM = Form("tea is ready", "pot user", foreign="user")


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    """One that nobody else hears."""
    logger = logging.Logger("tea", logging.DEBUG)
    yield logger
    for handler in logger.handlers:
        handler.close()


class Plain(TextFormatter):
    """Without a time."""

    def format(self, record: logging.LogRecord) -> str:
        return record.getMessage()

    def line(self, created: float, name: str, form: Form, values: tuple[Any, ...]) -> str:
        return form.text(values)


def to(logger: logging.Logger, formatter: logs.Formatter | None = None) -> io.StringIO:
    logger.addHandler(Gathering(stream := io.StringIO(), formatter or Plain()))
    return stream


class TestText:
    def test_is_as_it_always_was(self, logger: logging.Logger) -> None:
        stream = to(logger, TextFormatter())
        logger.info("the %s is ready", "tea")
        assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} INFO tea: the tea is ready\n", stream.getvalue())

    def test_fields(self, logger: logging.Logger) -> None:
        stream = to(logger, TextFormatter("worker 1"))
        write(logger, FORM, 3, "ada\n")
        write(logger, FORM, MISSING, MISSING)
        one, other = stream.getvalue().splitlines()
        assert one.endswith(r' INFO worker 1 tea: tea is ready pot=3 user="ada\n"')
        assert other.endswith(" tea is ready pot=- user=-")

    def test_the_second_moves_on(self, logger: logging.Logger) -> None:
        formatter = TextFormatter()
        record = logger.makeRecord("tea", logging.INFO, "", 0, "", (), None)
        shown = []
        for created in (1e9, 1e9 + 0.5, 1e9 + 1):
            record.created = created
            shown.append(formatter.formatTime(record)[-6:])
        assert shown == ["40,000", "40,500", "41,000"]

    def test_an_exception_has_its_traceback(self, logger: logging.Logger) -> None:
        stream = to(logger, TextFormatter())
        try:
            raise ZeroDivisionError("no tea")
        except ZeroDivisionError:
            logger.exception("it failed")
        assert stream.getvalue().endswith("ZeroDivisionError: no tea\n")

    @pytest.mark.parametrize(
        "sent", ["\n", "\r", "\r\n", "\x1b[2J", "\0", "\x7f", "\x85", "\u2028", "\u202e", "\ud800"]
    )
    def test_what_comes_from_outside_neither_begins_a_line_nor_steers_a_terminal(
        self, logger: logging.Logger, sent: str
    ) -> None:
        stream = to(logger, TextFormatter())
        logger.info("they said %s2026-11-24 00:00:00,000 ERROR tea: it is cold", sent)
        try:
            raise ValueError(f"this is no tea: {sent}2026-11-24 00:00:00,000 ERROR tea: it is cold")
        except ValueError:
            logger.exception("it failed")
        lines = stream.getvalue().split("\n")[:-1]
        assert all(line.isprintable() for line in lines)
        assert [line for line in lines if not line.startswith("  ")] == [lines[0], lines[1]]
        assert "ERROR tea: it is cold" in lines[0]

    def test_what_can_be_printed_is_as_it_was(self, logger: logging.Logger) -> None:
        stream = to(logger, TextFormatter())
        logger.info("Grüße, 茶, \\n")
        assert stream.getvalue().endswith(": Grüße, 茶, \\n\n")


def said(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


class TestJson:
    def test_one_object_a_line(self, logger: logging.Logger) -> None:
        stream = to(logger, JsonFormatter("worker 1"))
        logger.warning("the %s is\nready \ud800", "tea")
        [line] = said(stream)
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line.pop("time"))
        assert line.pop("process") > 0
        assert (line["level"], line["logger"], line["worker"]) == ("warning", "tea", "worker 1")
        assert line["message"] == "the tea is\nready \ud800"

    def test_fields(self, logger: logging.Logger) -> None:
        stream = to(logger, JsonFormatter())
        write(logger, FORM, 3, "ada\n")
        write(logger, FORM, MISSING, MISSING)
        one, other = said(stream)
        assert (one["message"], one["pot"], one["user"]) == ("tea is ready", 3, "ada\n")
        assert not {"pot", "user", "worker"} & set(other)

    def test_an_exception_stands_in_a_field(self, logger: logging.Logger) -> None:
        stream = to(logger, JsonFormatter())
        try:
            raise ZeroDivisionError("no tea")
        except ZeroDivisionError:
            logger.exception("it failed")
        [line] = said(stream)
        assert line["message"] == "it failed"
        assert line["exception"].endswith("ZeroDivisionError: no tea")

    def test_what_a_message_is_about_joins_it_to_others(self, caplog: pytest.LogCaptureFixture) -> None:
        async def generate(turn: Turn) -> AsyncIterator[str]:
            logging.getLogger("app").warning("%r and %r", turn, turn.session)
            yield "a"
            raise ZeroDivisionError

        async def main() -> None:
            async with Server(generate, Config(port=0)) as server, Peer.connect(server.urls[0]) as peer:
                await peer.ask("hello")
                await peer.turn()
                names.append(peer.session["session_id"])

        names: list[str] = []
        caplog.set_level(logging.DEBUG)
        run_virtually(main())
        formatter = JsonFormatter()
        lines = {
            line["message"].partition(" ")[0]: line
            for record in caplog.records
            for line in [json.loads(formatter.format(record))]
        }
        opened, failed, mine = lines["<Connection"], lines["the"], lines["<Turn"]
        assert opened["session"] == failed["session"] == mine["session"] == names[0]
        assert failed["turn"] == mine["turn"] == 1
        assert opened["connection"] == lines["connection"]["connection"]

    def test_what_it_is_about_may_be_anything(self, logger: logging.Logger) -> None:
        stream = to(logger, JsonFormatter())
        logger.warning("%(a)s", {"a": 1})
        logger.warning("%s", 3)
        assert [line["message"] for line in said(stream)] == ["1", "3"]


class TestGathering:
    def test_lines_leave_together_a_moment_later(self, logger: logging.Logger) -> None:
        async def main() -> None:
            stream = to(logger)
            logger.info("one")
            write(logger, FORM, 1, MISSING)
            assert stream.getvalue() == ""
            await asyncio.sleep(0.11)
            assert stream.getvalue() == "one\ntea is ready pot=1 user=-\n"
            logger.info("two")
            await asyncio.sleep(0.11)
            assert stream.getvalue().endswith("\ntwo\n")

        run_virtually(main())

    def test_what_one_loop_has_left_another_writes(self, logger: logging.Logger) -> None:
        stream = to(logger)

        async def main(said: str, seconds: float) -> None:
            logger.info(said)
            await asyncio.sleep(seconds)

        run_virtually(main("one", 0))
        assert stream.getvalue() == ""
        run_virtually(main("two", 0.2))
        assert stream.getvalue() == "one\ntwo\n"

    def test_a_warning_takes_along_what_waits(self, logger: logging.Logger) -> None:
        async def main() -> None:
            stream = to(logger)
            logger.info("one")
            logger.warning("two")
            assert stream.getvalue() == "one\ntwo\n"
            await asyncio.sleep(0.2)
            assert stream.getvalue() == "one\ntwo\n"

        run_virtually(main())

    def test_without_a_loop_it_is_written_at_once(self, logger: logging.Logger) -> None:
        stream = to(logger)
        logger.info("one")
        assert stream.getvalue() == "one\n"

    def test_from_another_thread_too(self, logger: logging.Logger) -> None:
        async def main() -> None:
            stream = to(logger)
            thread = threading.Thread(target=logger.info, args=("one",))
            thread.start()
            thread.join()
            assert stream.getvalue() == "one\n"

        run_virtually(main())

    def test_the_end_of_the_process_writes_what_waits(self, logger: logging.Logger) -> None:
        async def main() -> io.StringIO:
            stream = to(logger)
            logger.info("last words")
            return stream

        stream = run_virtually(main())
        assert stream.getvalue() == ""
        logger.handlers[0].close()
        logger.handlers[0].flush()
        assert stream.getvalue() == "last words\n"

    def test_what_cannot_be_made_into_text_is_told_and_keeps_nobody(
        self, logger: logging.Logger, capsys: pytest.CaptureFixture[str]
    ) -> None:
        stream = to(logger)
        logger.info("%d", "no number")
        logger.info("two")
        assert stream.getvalue() == "two\n"
        assert "TypeError" in capsys.readouterr().err

    @pytest.mark.parametrize("raises", [True, False])
    def test_a_stream_that_takes_nothing_harms_nobody(
        self, logger: logging.Logger, raises: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr(logging, "raiseExceptions", raises)

        class Full(io.StringIO):
            full = True

            def write(self, text: str) -> int:
                if self.full:
                    raise BrokenPipeError
                return super().write(text)

        stream = Full()
        logger.addHandler(Gathering(stream, Plain()))
        logger.info("one")
        logger.warning("two")
        assert ("lines of the log are lost" in capsys.readouterr().err) is raises
        stream.full = False
        logger.info("three")
        assert stream.getvalue() == "three\n"

    def test_lines_are_records_like_others(self, logger: logging.Logger) -> None:
        """A program may have handlers and formats of its own."""
        records: queue.SimpleQueue[logging.LogRecord] = queue.SimpleQueue()
        logger.addHandler(logging.handlers.QueueHandler(records))
        write(logger, FORM, 1, "ada")
        names = (*vars(logging.makeLogRecord({})), "asctime")
        format = logging.Formatter(" ".join(f"%({name})s" for name in names if name not in ("args", "exc_info")))
        assert 'tea is ready pot=1 user="ada"' in format.format(records.get())


@pytest.fixture
def new_root(monkeypatch: pytest.MonkeyPatch) -> Callable[[], logging.Logger]:
    """Makes the root logger of a program that has just begun; pytest has put handlers to the real one."""

    def make() -> logging.Logger:
        root = logging.RootLogger(logging.WARNING)
        monkeypatch.setattr(logging, "root", root)
        return root

    return make


class TestTheShortWay:
    """A line that only our handler hears does not go through `logging`: it must come out the same."""

    @pytest.fixture(params=["text", "json"])
    def formatter(self, request: pytest.FixtureRequest) -> logs.Formatter:
        return TextFormatter("worker 1") if request.param == "text" else JsonFormatter("worker 1")

    @pytest.fixture
    def access(self) -> Iterator[logging.Logger]:
        """A child of a logger, of the root logger that a test makes."""
        names = ("tea_house", "tea_house.access")
        yield logging.getLogger(names[1])
        for name in names:
            logger = logging.getLogger(name)
            logger.handlers, logger.filters, logger.propagate = [], [], True

    def test_comes_to_the_same(
        self,
        new_root: Callable[[], logging.Logger],
        access: logging.Logger,
        formatter: logs.Formatter,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr("time.time", lambda: 1e9 + 0.25)
        parent = logging.getLogger("tea_house")
        written = []
        for interfere in (
            lambda root: None,
            lambda root: root.addHandler(logging.NullHandler()),
            lambda root: root.handlers[0].addFilter(lambda record: True),
            lambda root: parent.addHandler(logging.NullHandler()),
            lambda root: access.addFilter(lambda record: True),
        ):
            root = new_root()
            monkeypatch.setattr(parent, "parent", root)
            root.addHandler(Gathering(stream := io.StringIO(), formatter))
            interfere(root)
            write(access, FORM, 3, "ada\n")
            written.append(stream.getvalue())
        assert written[0].count("\n") == 1
        assert "ada" in written[0]
        assert len(written) == 5
        assert len(set(written)) == 1

    def test_who_does_not_want_it_does_not_get_it(
        self, new_root: Callable[[], logging.Logger], access: logging.Logger, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        parent = logging.getLogger("tea_house")
        for interfere in (
            lambda handler: handler.addFilter(lambda record: False),
            lambda handler: handler.setLevel(logging.WARNING),
            lambda handler: setattr(parent, "propagate", False),
        ):
            root = new_root()
            monkeypatch.setattr(parent, "parent", root)
            parent.handlers, parent.propagate = [], True
            root.addHandler(handler := Gathering(stream := io.StringIO(), Plain()))
            interfere(handler)
            write(access, FORM, 3, 4)
            assert stream.getvalue() == ""

    def test_lines_leave_together_a_moment_later(
        self, new_root: Callable[[], logging.Logger], access: logging.Logger, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def main() -> None:
            root = new_root()
            monkeypatch.setattr(logging.getLogger("tea_house"), "parent", root)
            root.addHandler(Gathering(stream := io.StringIO(), Plain()))
            write(access, FORM, 1, MISSING)
            root.warning("two")
            write(access, FORM, 3, MISSING)
            assert stream.getvalue() == "tea is ready pot=1 user=-\ntwo\n"
            await asyncio.sleep(0.11)
            assert stream.getvalue().endswith("\ntwo\ntea is ready pot=3 user=-\n")

        run_virtually(main())


class TestSetUp:
    @pytest.mark.parametrize(("name", "kind"), [("text", TextFormatter), ("json", JsonFormatter)])
    def test_as_the_settings_say(self, new_root: Callable[[], logging.Logger], name: Any, kind: type) -> None:
        root = new_root()
        logs.set_up(Config(log_format=name, log_level="error"))
        [handler] = root.handlers
        assert isinstance(handler, Gathering)
        assert handler.stream is sys.stderr
        assert type(handler.formatter) is kind
        assert root.level == logging.ERROR
        assert logging.getLogger("httpx").level == logging.WARNING

    def test_a_program_that_logs_by_itself_goes_on_so(self, new_root: Callable[[], logging.Logger]) -> None:
        root = new_root()
        root.addHandler(mine := logging.NullHandler())
        logs.set_up(Config(log_level="error"))
        assert (root.handlers, root.level) == ([mine], logging.WARNING)

    def test_a_worker_has_its_name_in_formats_of_the_program(
        self, logger: logging.Logger, monkeypatch: pytest.MonkeyPatch, new_root: Callable[[], logging.Logger]
    ) -> None:
        new_root()
        monkeypatch.setattr(logs.Record, "same", dict(logs.Record.same))
        process: Any = type("Process", (), {"name": "MainProcess"})()
        monkeypatch.setattr("multiprocessing.current_process", lambda: process)
        logs.set_up(Config(), "worker 2")
        logger.addHandler(mine := logging.StreamHandler(stream := io.StringIO()))
        mine.setFormatter(logging.Formatter("%(processName)s"))
        write(logger, FORM, 1, 2)
        assert (stream.getvalue(), process.name) == ("worker 2\n", "worker 2")


LOG = """
import logging
from wsserver import Config
from wsserver.net.logs import set_up
{before}
set_up(Config(log_level="warning"), {name!r})
logging.getLogger("wsserver.x").info("quiet")
logging.getLogger("wsserver.x").warning("loud")
"""


def logged(name: str, before: str = "") -> str:
    code = LOG.format(name=name, before=before)
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30).stderr


def test_the_log_names_the_worker() -> None:
    assert logged("worker 3").split(" ", 2)[2] == "WARNING worker 3 wsserver.x: loud\n"
    assert logged("").split(" ", 2)[2] == "WARNING wsserver.x: loud\n"


def test_the_program_may_have_its_own() -> None:
    before = 'logging.basicConfig(format="%(processName)s|%(message)s")'
    assert logged("worker 3", before) == "worker 3|loud\n"
