"""The whole suite is watched: what goes into the package as a secret, or as somebody's words, must not be logged.

A test in whose time something leaks fails, whatever it is about. Processes that it starts are watched too.
"""

from __future__ import annotations

import functools
import os
import subprocess
import tempfile
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

import pytest

from tests.leaks.watch import Watch, install
from wsserver import Config
from wsserver.chat import envelope, events
from wsserver.chat.session import Session
from wsserver.chat.turn import Turn
from wsserver.wire.handshake import RequestReader

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

WATCH = Watch()

_VARIABLE = "WSSERVER_TEST_LEAKS"
_SITE = str(Path(__file__).with_name("site"))
_SECRET_SETTINGS = [setting.name for setting in fields(Config) if setting.metadata["secret"]]


class Plugin:
    """Watches from its making on."""

    def __init__(self) -> None:
        handle, name = tempfile.mkstemp(prefix="leaks-")
        os.close(handle)
        self._elsewhere = Path(name)
        install(WATCH.inspect)
        _watch_processes(self._elsewhere)
        _hide_what_comes_in()

    def found(self) -> list[str]:
        """What has leaked since the last time, here and in other processes."""
        told = [*WATCH.found, *self._elsewhere.read_text(encoding="utf-8").splitlines()]
        self._elsewhere.write_bytes(b"")
        WATCH.found.clear()
        return told

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_teardown(self) -> Generator[None, None, None]:
        """The verdict, once the servers of the test have ended."""
        try:
            yield
        finally:
            told = self.found()
            WATCH.forget()
        if told:
            pytest.fail("something secret was logged:\n" + "\n".join(told), pytrace=False)

    def pytest_unconfigure(self) -> None:
        self._elsewhere.unlink()


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Plugin(), "leaks")


def _watch_processes(file: Path) -> None:
    """Has Python import `site/sitecustomize.py` in all processes that are started from now on."""
    popen: Any = subprocess.Popen
    start = popen.__init__

    @functools.wraps(start)
    def start_watched(self: Any, *args: Any, env: dict[str, str] | None = None, **options: Any) -> None:
        env = {**(os.environ if env is None else env), _VARIABLE: str(file)}
        env["PYTHONPATH"] = os.pathsep.join(filter(None, (_SITE, env.get("PYTHONPATH"))))
        start(self, *args, env=env, **options)

    popen.__init__ = start_watched


def _before(owner: Any, name: str, look: Callable[..., None]) -> None:
    """Has `look` see the arguments of a function before it is called."""
    function = getattr(owner, name)

    @functools.wraps(function)
    def watched(*args: Any, **options: Any) -> Any:
        look(*args, **options)
        return function(*args, **options)

    setattr(owner, name, watched)


def _behind(owner: Any, name: str, look: Callable[[Any], None]) -> None:
    """Has `look` see what a function returns."""
    function = getattr(owner, name)

    @functools.wraps(function)
    def watched(*args: Any, **options: Any) -> Any:
        result = function(*args, **options)
        look(result)
        return result

    setattr(owner, name, watched)


def _hide_what_comes_in() -> None:
    _behind(RequestReader, "receive_data", _hide_request)
    _behind(Session, "new_token", WATCH.hide)
    _behind(envelope, "decode_event", _hide_event)
    _before(Turn, "publish", lambda turn, item: _hide_all(item if isinstance(item, str) else _data_of(item)))
    _before(Config, "__post_init__", lambda config: _hide_all([getattr(config, name) for name in _SECRET_SETTINGS]))


def _hide_request(request: Any) -> None:
    if request is None:
        return
    # The names in a query are no secret, or are seen by their looks.
    _hide_all([value for _, value in parse_qsl(request.query)] or request.query)
    WATCH.hide(request.headers.get("authorization", "").rpartition(" ")[2])
    WATCH.hide(request.headers.get("cookie"))
    for offered in request.elements("sec-websocket-protocol"):
        name, _, credentials = offered.partition(".")
        if name in ("bearer", "bearer64", "resume"):
            WATCH.hide(credentials)


def _hide_event(event: events.ClientEvent) -> None:
    match event:
        case events.Message(content=content):
            _hide_all(content)
        case events.Answer(value=value):
            _hide_all(value)
        case events.Ping(data=data):
            _hide_all(data)
        case events.Auth(token=token):
            WATCH.hide(token)


def _data_of(item: Any) -> Any:
    match item:
        case events.Tool():
            # Its name is the application's.
            return [item.message, item.input, item.output, item.error]
        case events.Token() | events.Source() | events.Status() | events.Custom():
            return item.data()


def _hide_all(value: Any) -> None:
    """All texts in a value of JSON that are no names of its own structure."""
    waiting = [value]
    for _ in range(100):
        if not waiting:
            return
        part = waiting.pop()
        if isinstance(part, dict):
            waiting.extend(part.values())
        elif isinstance(part, list):
            waiting.extend(part)
        else:
            WATCH.hide(part)
