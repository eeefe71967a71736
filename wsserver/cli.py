"""The command line: flags and `WSSERVER_…` variables → `Config`, then `serve`, `chat` or `token`."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import traceback
from dataclasses import fields
from math import inf
from typing import TYPE_CHECKING, Any, NoReturn

from .config import Config, flag
from .environment import config_from, misspelt, secret
from .errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from dataclasses import Field

PROGRAM = "wsserver"
DEFAULT_URL = "ws://127.0.0.1:8765/ws/chat"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit status: 0, or 2 with one line on standard error that says what to do."""
    options, unknown = _parser().parse_known_args(arguments)
    if unknown:
        # argparse itself would send people to the help that lists none of the flags.
        command = f"{PROGRAM} {options.command}"
        sys.stderr.write(f"{command}: unrecognized arguments: {' '.join(unknown)}; see {command} --help\n")
        return 2
    try:
        if options.command == "chat":
            from .client.terminal import chat

            return chat(
                options.url, options.token or secret(os.environ, "token"), _patience(options.max_reconnect_time)
            )
        if options.command == "token":
            sys.stdout.write(f"{token(options, os.environ)}\n")
            return 0
        serve(options.app, config_from(vars(options), os.environ))
    except ConfigError as exc:
        # One line, also where the text quotes an exception that has several.
        sys.stderr.write(f"{PROGRAM}: {' '.join(str(exc).split())}\n")
        return 2
    return 0


def serve(app: str | None, config: Config) -> None:
    """Serves `module:attribute`, or the demo."""
    from .net.process import run
    from .net.workers import handover

    is_worker = handover.place() is not None
    for hint in () if is_worker else misspelt(os.environ):
        sys.stderr.write(f"{PROGRAM}: {hint}\n")
    if config.workers > 1 and not is_worker:
        # It only starts others, who import what is to be served: so it is never older than they are.
        from .net.workers.process import supervise

        supervise(config)
    elif app is None:
        from . import demo

        demo.check()
        run(demo.generate, config)
    else:
        run(load(app), config)


def token(options: argparse.Namespace, environment: Mapping[str, str]) -> str:
    """A token for development, as `wsserver serve` with the same settings takes it. Raises `ConfigError`."""
    from .net.auth.authentication import mint

    config = config_from(vars(options), environment)
    if not 0 < options.ttl < inf:
        raise ConfigError(f"--ttl takes a number of seconds above 0, not {options.ttl}")
    return mint(config, options.sub, options.ttl)


def load(app: str) -> Any:
    """The object that `module:attribute` names, looked up from the current directory too."""
    module_name, colon, attribute = app.partition(":")
    if not (module_name and colon and attribute):
        raise ConfigError(f"{app!r} names no callback: write it as module:attribute, like app:generate")
    if module_name.endswith(".py"):
        raise ConfigError(f"{app!r} names a file: write the module, {module_name[:-3]}:{attribute}")
    sys.path.insert(0, os.getcwd())
    try:
        found: Any = importlib.import_module(module_name)
    except ConfigError as exc:
        # It says what to do by itself: neither its class nor the line that raised it tells more.
        raise ConfigError(f"{app!r} cannot be served: {exc}") from exc
    except (Exception, SystemExit) as exc:
        raise ConfigError(f"{app!r} cannot be imported: {type(exc).__name__}: {exc}{_place(exc)}") from exc
    try:
        for name in attribute.split("."):
            found = getattr(found, name)
    except AttributeError as exc:
        raise ConfigError(f"{app!r} cannot be served: the module {module_name!r} has no {attribute!r}") from exc
    return found


def _place(exc: BaseException) -> str:
    """Where an import failed, if that is not the import itself: the last line that belongs to no part of Python."""
    frames = [frame for frame in traceback.extract_tb(exc.__traceback__) if not frame.filename.startswith("<frozen")]
    own = [frame for frame in frames if frame.filename not in (__file__, importlib.__file__)]
    if own:
        return f" ({own[-1].filename}, line {own[-1].lineno})"
    return "" if isinstance(exc, SyntaxError) else f" (looked up from {os.getcwd()} too)"


def _patience(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    # NaN fails every comparison.
    if not 0 <= seconds < inf:
        raise ConfigError(f"--max-reconnect-time takes seconds, 0 for no limit, not {text!r}")
    return seconds


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        if "COMMAND" in message:
            message = "say what to do: `serve [APP]`, `chat [URL]` or `token`"
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


def _parser() -> argparse.ArgumentParser:
    from . import __version__

    parser = _Parser(prog=PROGRAM, description="A WebSocket server for streaming answers.", allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    serve = commands.add_parser(
        "serve",
        help="serve a callback, or the demo",
        description="Serves a callback, or the demo. Times in seconds, sizes in bytes.",
        allow_abbrev=False,
    )
    serve.add_argument("app", nargs="?", metavar="APP", help="module:attribute of the callback; the demo if missing")
    for setting in fields(Config):
        _add_flag(serve, setting)
    chat = commands.add_parser("chat", help="talk to a server from this terminal", allow_abbrev=False)
    chat.add_argument(
        "url", nargs="?", metavar="URL", default=DEFAULT_URL, help=f"as the server prints it (default {DEFAULT_URL})"
    )
    chat.add_argument("--token", help="who you are; rather in WSSERVER_TOKEN, or a file named by WSSERVER_TOKEN_FILE")
    chat.add_argument(
        "--max-reconnect-time",
        default="120",
        metavar="SECONDS",
        help="how long to try to replace a lost connection (default 120, 0: no limit)",
    )
    token = commands.add_parser(
        "token",
        help="make a token for development",
        description="Prints a token (JWT), signed with the secret of the server.",
        allow_abbrev=False,
    )
    settings = {setting.name: setting for setting in fields(Config)}
    _add_flag(token, settings["jwt_secret"])
    token.add_argument("--sub", default="developer", help="whose it is (default %(default)s)")
    token.add_argument("--ttl", type=float, default=3600.0, help="seconds that it is good for (default 3600)")
    for name in ("audience", "issuer"):
        setting = settings[f"jwt_{name}"]
        token.add_argument(f"--{name}", dest=setting.name, metavar="STR", help=setting.metadata["help"])
    return parser


def _add_flag(parser: argparse.ArgumentParser, setting: Field[Any]) -> None:
    text = setting.metadata["help"]
    if type(setting.default) is bool:
        other = str(not setting.default).lower()
        parser.add_argument(flag(setting.name), dest=setting.name, action="store_const", const=other, help=text)
        return
    zero = f", 0: {setting.metadata['zero']}" if setting.metadata["zero"] else ""
    parser.add_argument(
        flag(setting.name),
        action="append" if setting.metadata["repeatable"] else "store",
        choices=setting.metadata["choices"] or None,
        metavar=None if setting.metadata["choices"] else type(setting.default).__name__.upper(),
        help=f"{text} (default {setting.metadata['shown']}{zero})".replace("%", "%%"),
    )
