"""The watch over the log sees what it is there for: whoever removes it, or logs a secret, is told."""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.clock import run_virtually
from tests.leaks.plugin import WATCH, Plugin
from tests.leaks.watch import Watch
from tests.peer import Peer, request
from wsserver import Config, ConfigError, Server, Token, Turn, User
from wsserver.guard.origin import Origins
from wsserver.net import logs

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


ROOT = Path(__file__).parents[2]

logger = logging.getLogger("wsserver.example")


@pytest.fixture
def leaks(request: pytest.FixtureRequest) -> Plugin:
    plugin = request.config.pluginmanager.get_plugin("leaks")
    assert isinstance(plugin, Plugin)
    return plugin


def record(text: str, *arguments: object, raised: BaseException | None = None) -> logging.LogRecord:
    trace = (type(raised), raised, raised.__traceback__) if raised is not None else None
    return logging.LogRecord("wsserver", logging.DEBUG, __file__, 1, text, arguments, trace)


@pytest.mark.parametrize(
    "text",
    [
        "GET /ws/chat?access_token=abc",
        "/ws/chat?x=1",
        "resume=s_abc",
        "Authorization: Bearer abc",
        "wsserver.v1, bearer.abc",
        "bearer64.YWJj",
        "resume.s_abc.def.1.0",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhZGEifQ.c2ln",
        "s_0123456789abcdefghijkl.0123456789abcdefghijkl",
        "the words of somebody",
    ],
)
def test_what_is_secret_is_seen(text: str) -> None:
    watch = Watch()
    watch.hide("the words of somebody, and more")
    watch.inspect(record("said: %s", text))
    assert len(watch.found) == 1 and text in watch.found[0]


@pytest.mark.parametrize("text", ["said: %s", "said: %r", "said: %r by <Turn 1>"])
def test_short_words_are_seen_where_they_stand_alone(text: str) -> None:
    watch = Watch()
    watch.hide("the")
    watch.inspect(record(text, "the"))
    assert len(watch.found) == 1
    watch.inspect(record("%s lost: %s", "<Connection closed>", "the server is shutting down"))
    assert len(watch.found) == 1


@pytest.mark.parametrize(
    "text, arguments",
    [
        ("a token was refused: %s", ("it has expired",)),
        ("%s lost: %d %r", ("<Connection closed <Session s_0123456789abcdefghijkl seq=5>>", 1006, "")),
        ("message after %s", ("s_0123456789abcdefghijkl",)),
        ("a request for %s could not be answered", ("/sessions/s_0123456789abcdefghijkl/stop",)),
    ],
)
def test_what_is_not_secret_is_not(text: str, arguments: tuple[object, ...]) -> None:
    watch = Watch()
    for hidden in ("s_0123456789abcdefghijkl.mnopqrstuvwxyzabcdefgh", "message", "short", 7, None):
        watch.hide(hidden)
    watch.inspect(record(text, *arguments))
    assert watch.found == []


def test_a_line_of_fields_is_read_field_by_field(leaks: Plugin) -> None:
    form = logs.Form("connection closed", "session reason error")
    for reason, found in [("-", 0), ("the words of somebody", 1)]:
        WATCH.hide("the words of somebody")
        WATCH.hide("connection closed")
        logs.write(logger, form, "s_0123456789abcdefghijkl", reason, "overloaded")
        assert len(leaks.found()) == found


def test_what_our_exceptions_say_counts_and_what_an_application_says_does_not() -> None:
    watch = Watch()
    watch.hide("somebody's words")
    for function, argument, raised in [
        (Origins, "somebody's words", ConfigError),
        (json.loads, "somebody's words", ValueError),
        ({"ada": 1}.__getitem__, "somebody's words", KeyError),
    ]:
        try:
            function(argument)  # type: ignore[operator]
        except raised as exc:
            watch.inspect(record("it failed", raised=exc))
    # What json says has nothing of it, and the last was raised by a line of this file: by an application.
    assert len(watch.found) == 1 and "--origin takes" in watch.found[0]


def test_levels_and_handlers_are_as_they_were(leaks: Plugin, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        logger.debug("a secret: %s", "Bearer abc")
        logger.info("none")
    assert caplog.messages == ["none"]
    assert len(leaks.found()) == 1


def test_other_processes_are_watched(leaks: Plugin) -> None:
    code = "import logging; logging.getLogger('wsserver').debug('%s', 'Bearer abc'); logging.debug('Bearer abc')"
    subprocess.run([sys.executable, "-c", code], check=True)

    async def main() -> None:
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, env={})
        assert await process.wait() == 0

    asyncio.run(main())
    assert [line.partition(",")[0] for line in leaks.found()] == ["wsserver logged 'Bearer abc'"] * 2


def test_all_that_goes_into_a_server_is_known(leaks: Plugin) -> None:
    """Whatever is said to it, and by it, and would be logged, would be seen."""

    async def answer(turn: Turn) -> AsyncIterator[Token | str]:
        yield "the first answer"
        yield Token("another answer")

    async def authenticate(request: object) -> User:
        return User("ada")

    said = {
        "query": "the-value-of-a-query",
        "header": "the.token.of.a.header",
        "setting": "the token of the admin port",
        "content": "what a person says",
        "nested": "what a program says",
        "ping": "what a ping carries",
        "fresh": "the-fresh-token",
        "text": "the first answer",
        "token": "another answer",
    }

    async def main() -> None:
        config = Config(port=0, admin_token=said["setting"])
        async with Server(answer, config, authenticate=authenticate) as server, Peer.socket(server.urls[0]) as peer:
            header = f"Authorization: Bearer {said['header']}"
            await peer.write(request(f"/ws/chat?key={said['query']}", header))
            await peer.read_head()
            said["resume"] = (await peer.event("session"))["data"]["resume_token"].partition(".")[2]
            await peer.send({"event": "ping", "data": {"list": [said["ping"]]}})
            await peer.send({"event": "auth", "data": {"token": said["fresh"]}})
            for content in (said["content"], {"deep": [said["nested"]]}):
                await peer.ask(content)
                await peer.turn()

    run_virtually(main())
    assert WATCH.found == []
    for secret in said.values():
        logger.debug("leaked: %s", secret)
        assert len(leaks.found()) == 1, secret


def test_a_test_in_which_something_leaks_fails(leaks: Plugin, tmp_path: Path) -> None:
    (tmp_path / "test_example.py").write_text(
        "import logging\n"
        "def test_leaking():\n    logging.getLogger('wsserver').debug('Bearer abc')\n"
        "def test_tight():\n    logging.getLogger('wsserver').debug('abc')\n",
        encoding="utf-8",
    )
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "tests.leaks.plugin", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert "2 passed, 1 error" in run.stdout
    assert "something secret was logged:\nwsserver logged 'Bearer abc', in which 'Bearer a' is secret" in run.stdout
    # This process watches the other one, too.
    assert len(leaks.found()) == 1
