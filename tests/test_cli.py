"""The command line: flags, variables, and one line that says what to do where something is wrong."""

from __future__ import annotations

import sys
from dataclasses import Field, fields
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import jwt
import pytest

import wsserver
from wsserver import cli
from wsserver.config import Config, flag, variable
from wsserver.environment import config_from
from wsserver.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

SETTINGS = {setting.name: setting for setting in fields(Config)}

Served = list[tuple[Any, Config]]


@pytest.fixture(autouse=True)
def surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An empty directory, no variables of ours, and no trace of what is imported."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in (*SETTINGS, "token", "token_file"):
        monkeypatch.delenv(variable(name), raising=False)
        monkeypatch.delenv(f"{variable(name)}_FILE", raising=False)
    yield
    sys.modules.pop("answers", None)


@pytest.fixture
def chat(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the terminal would be called with; it returns 7."""
    calls: list[Any] = []
    terminal = ModuleType("wsserver.client.terminal")
    terminal.chat = lambda *arguments: (calls.append(arguments), 7)[1]  # type: ignore[attr-defined, func-returns-value]
    monkeypatch.setitem(sys.modules, terminal.__name__, terminal)
    return calls


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Served:
    """What would be served. The demo reads no documents for it."""
    calls: Served = []
    monkeypatch.setattr("wsserver.demo.check", lambda: None)
    monkeypatch.setattr("wsserver.net.process.run", lambda generate, config: calls.append((generate, config)))
    monkeypatch.setattr("wsserver.net.workers.process.supervise", lambda config: calls.append((None, config)))
    return calls


#: What some settings cannot do without.
NEEDED: dict[str, dict[str, Any]] = {
    "soft_limit": {"hard_limit": 2**30},
    "ssl_keyfile": {"ssl_certfile": "x"},
    "ssl_ca_certs": {"ssl_certfile": "x"},
    "durability": {"redis": "redis://x"},
    "workers": {"redis": "redis://x"},
}


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line with which the command ends, with status 2."""
    try:
        status = cli.main(arguments)
    except SystemExit as exc:
        assert isinstance(exc.code, int)
        status = exc.code
    output, errors = capsys.readouterr()
    assert (status, output) == (2, "")
    (line,) = errors.splitlines()
    return line


def other_value(setting: Field[Any]) -> Any:
    """One that is allowed and not the default."""
    if setting.metadata["choices"]:
        return next(word for word in setting.metadata["choices"] if word != setting.default)
    default: Any = setting.default
    if isinstance(default, bool):
        return not default
    return default + "x" if isinstance(default, str) else default * 2


class TestSettings:
    def test_the_defaults(self, served: Served) -> None:
        assert cli.main(["serve"]) == 0
        ((generate, config),) = served
        assert config == Config()
        assert generate.__module__.startswith("wsserver.demo")

    @pytest.mark.parametrize("name", SETTINGS)
    def test_every_flag(self, name: str, served: Served) -> None:
        settings = {name: other_value(SETTINGS[name]), **NEEDED.get(name, {})}
        arguments = ["serve"]
        for key, given in settings.items():
            arguments += [flag(key)] if isinstance(given, bool) else [flag(key), str(given)]
        assert cli.main(arguments) == 0
        assert served[0][1] == Config(**settings)

    @pytest.mark.parametrize("name", SETTINGS)
    def test_every_variable(self, name: str, served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
        settings = {name: other_value(SETTINGS[name]), **NEEDED.get(name, {})}
        for key, given in settings.items():
            monkeypatch.setenv(variable(key), str(given))
        assert cli.main(["serve"]) == 0
        assert served[0][1] == Config(**settings)

    def test_a_flag_counts_before_its_variable(self, served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("WSSERVER_PORT", "1111")
        monkeypatch.setenv("WSSERVER_BUSY", "nonsense")
        cli.main(["serve", "--port", "2222", "--busy", "reject"])
        assert (served[0][1].port, served[0][1].busy) == (2222, "reject")

    def test_a_flag_that_is_repeated(self, served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("WSSERVER_ORIGIN", "https://c.example")
        cli.main(["serve", "--origin", "https://a.example", "--origin", "https://b.example,http://localhost:3000"])
        assert served[0][1].origin == "https://a.example,https://b.example,http://localhost:3000"

    @pytest.mark.parametrize("text", ["1", "true", "yes", "on", "TRUE", "On"])
    def test_true(self, text: str) -> None:
        assert config_from({}, {"WSSERVER_ECHO": text}).echo is True

    @pytest.mark.parametrize("text", ["0", "false", "no", "off", "FALSE", "Off"])
    def test_false(self, text: str) -> None:
        assert config_from({}, {"WSSERVER_ECHO": text}).echo is False

    def test_a_flag_without_a_value_counts_before_its_variable(self) -> None:
        options = vars(cli._parser().parse_args(["serve", "--echo"]))
        assert config_from(options, {"WSSERVER_ECHO": "0"}).echo is True

    def test_other_variables_are_nobodys_business(self) -> None:
        assert config_from({}, {"WSSERVER_DEMO_PACE": "0", "PORT": "1"}) == Config()


SECRETS = [name for name, setting in SETTINGS.items() if setting.metadata["secret"]]


class TestSecrets:
    @pytest.mark.parametrize("name", SECRETS)
    def test_a_file_holds_it(self, name: str, tmp_path: Path) -> None:
        (tmp_path / "secret").write_text("  hunter2 é\n\n")
        found = config_from({}, {f"{variable(name)}_FILE": str(tmp_path / "secret")})
        assert getattr(found, name) == "hunter2 é"

    def test_a_flag_counts_before_the_file(self) -> None:
        options = {"jwt_secret": "hunter2"}
        assert config_from(options, {"WSSERVER_JWT_SECRET_FILE": "/nowhere"}).jwt_secret == "hunter2"

    def test_only_what_is_secret_is_read_from_files(self) -> None:
        assert config_from({}, {"WSSERVER_PATH_FILE": "/nowhere"}) == Config()

    def test_an_empty_variable_is_none(self) -> None:
        assert config_from({}, {"WSSERVER_JWT_SECRET_FILE": "", "WSSERVER_JWT_SECRET": ""}) == Config()

    @pytest.mark.parametrize(
        "content, reason",
        [
            (None, "cannot be read: No such file or directory"),
            (b"\xffhunter2", "cannot be read: it is not UTF-8"),
            (b" \n", "is empty"),
        ],
    )
    def test_a_file_that_holds_none(
        self,
        content: bytes | None,
        reason: str,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        path = tmp_path / "secret"
        if content is not None:
            path.write_bytes(content)
        monkeypatch.setenv("WSSERVER_JWT_SECRET_FILE", str(path))
        line = refusal(capsys, "serve")
        assert line.startswith(f"wsserver: WSSERVER_JWT_SECRET_FILE names {path}, which {reason}")
        assert "hunter2" not in line

    def test_twice(self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("WSSERVER_JWT_SECRET", "hunter2")
        monkeypatch.setenv("WSSERVER_JWT_SECRET_FILE", "/nowhere")
        expected = "wsserver: WSSERVER_JWT_SECRET and WSSERVER_JWT_SECRET_FILE are both set: choose one"
        assert refusal(capsys, "serve") == expected

    @pytest.mark.parametrize("name", SECRETS)
    def test_an_empty_flag_opens_no_door(self, name: str, capsys: pytest.CaptureFixture[str]) -> None:
        expected = f"wsserver: {flag(name)} is empty: leave it out, or give it a value"
        assert refusal(capsys, "serve", flag(name), "") == expected


class TestToken:
    SECRET = "s" * 32

    def test_it_is_what_the_server_takes(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("WSSERVER_JWT_AUDIENCE", "chat")
        arguments = ["--jwt-secret", self.SECRET, "--sub", "ada", "--ttl", "60", "--issuer", "me"]
        assert cli.main(["token", *arguments]) == 0
        output, errors = capsys.readouterr()
        assert errors == ""
        said = jwt.decode(output.strip(), self.SECRET, ["HS256"], audience="chat", issuer="me")
        assert (said["sub"], said["exp"] - said["iat"]) == ("ada", 60)

    def test_the_variable_and_the_file(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "secret").write_text(self.SECRET)
        monkeypatch.setenv("WSSERVER_JWT_SECRET_FILE", str(tmp_path / "secret"))
        assert cli.main(["token"]) == 0
        said = jwt.decode(capsys.readouterr().out.strip(), self.SECRET, ["HS256"])
        assert (said["sub"], said["exp"] - said["iat"]) == ("developer", 3600)

    @pytest.mark.parametrize(
        "arguments, line",
        [
            ([], "wsserver: a token is signed with --jwt-secret: give it, or its variable"),
            (["--jwt-secret", "short"], "wsserver: --jwt-secret has 5 bytes, and HS256 needs 32: "),
            (["--jwt-secret", SECRET, "--ttl", "0"], "wsserver: --ttl takes a number of seconds above 0, not 0.0"),
            (["--jwt-secret", SECRET, "--ttl", "nan"], "wsserver: --ttl takes a number of seconds above 0, not nan"),
            (["--jwt-secret", SECRET, "--ttl", "inf"], "wsserver: --ttl takes a number of seconds above 0, not inf"),
            (["--jwt-secret", SECRET, "--ttl", "x"], "wsserver token: argument --ttl: invalid float value: 'x'"),
        ],
    )
    def test_refusals(self, arguments: list[str], line: str, capsys: pytest.CaptureFixture[str]) -> None:
        assert refusal(capsys, "token", *arguments).startswith(line)

    def test_a_short_secret_ends_the_server_with_one_line(self, capsys: pytest.CaptureFixture[str]) -> None:
        line = refusal(capsys, "serve", "--port", "0", "--jwt-secret", "short")
        assert line.startswith("wsserver: --jwt-secret has 5 bytes, and HS256 needs 32: ")


class TestRefusals:
    @pytest.mark.parametrize(
        "arguments, line",
        [
            ([], "wsserver: say what to do: `serve [APP]`, `chat [URL]` or `token`; see wsserver --help"),
            (["serve", "--portt", "1"], "wsserver serve: unrecognized arguments: --portt; see wsserver serve --help"),
            (["serve", "--por", "1"], "wsserver serve: unrecognized arguments: --por; see wsserver serve --help"),
            (["serve", "--port"], "wsserver serve: argument --port: expected one argument; see wsserver serve --help"),
            (["serve", "--port", "abc"], "wsserver: --port takes a whole number, not 'abc'"),
            (["serve", "--port", "1.5"], "wsserver: --port takes a whole number, not '1.5'"),
            (["serve", "--port", "65536"], "wsserver: --port must be at most 65535, but is 65536"),
            (["serve", "--turn-timeout", "soon"], "wsserver: --turn-timeout takes a number, not 'soon'"),
            (["serve", "--turn-timeout", "nan"], "wsserver: --turn-timeout must be a finite number, not nan"),
            (["serve", "--soft-limit", "0"], "wsserver: --soft-limit must be more than 0"),
            (["serve", "--path", "ws"], "wsserver: --path must begin with a slash, like /ws/chat, not 'ws'"),
        ],
    )  # fmt: skip
    def test_flags(self, arguments: list[str], line: str, capsys: pytest.CaptureFixture[str]) -> None:
        assert refusal(capsys, *arguments) == line

    def test_a_command_that_is_none(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert refusal(capsys, "app:generate") == (
            "wsserver: say what to do: `serve [APP]`, `chat [URL]` or `token`; see wsserver --help"
        )

    @pytest.mark.parametrize("seconds", ["soon", "-1", "nan", "inf", ""])
    def test_a_patience_that_is_none(self, seconds: str, chat: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
        line = refusal(capsys, "chat", f"--max-reconnect-time={seconds}")
        assert line == f"wsserver: --max-reconnect-time takes seconds, 0 for no limit, not {seconds!r}"
        assert not chat

    def test_a_choice(self, capsys: pytest.CaptureFixture[str]) -> None:
        line = refusal(capsys, "serve", "--busy", "maybe")
        assert line.startswith("wsserver serve: argument --busy: invalid choice: 'maybe' (choose from ")
        assert line.endswith("; see wsserver serve --help")
        assert all(word in line for word in ("queue", "reject", "interrupt"))

    @pytest.mark.parametrize(
        "name, value, line",
        [
            ("PORT", "abc", "WSSERVER_PORT takes a whole number, not 'abc'"),
            ("CLOSE_TIMEOUT", "5s", "WSSERVER_CLOSE_TIMEOUT takes a number, not '5s'"),
            ("ECHO", "maybe", "WSSERVER_ECHO must be true or false, not 'maybe'"),
            ("BUSY", "maybe", "--busy must be one of queue, reject, interrupt, not 'maybe'"),
            ("MAX_QUEUE", "-1", "--max-queue must not be negative, but is -1"),
        ],
    )
    def test_variables(
        self, name: str, value: str, line: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv(f"WSSERVER_{name}", value)
        assert refusal(capsys, "serve") == f"wsserver: {line}"


class TestApp:
    def test_is_looked_up_from_the_current_directory(self, tmp_path: Path, served: Served) -> None:
        (tmp_path / "answers.py").write_text("async def generate(turn):\n    yield 'hello'\n")
        assert cli.main(["serve", "answers:generate"]) == 0
        assert served[0][0].__name__ == "generate"
        assert sys.modules["answers"].__file__ == str(tmp_path / "answers.py")

    def test_an_attribute_of_an_attribute(self, tmp_path: Path) -> None:
        (tmp_path / "answers.py").write_text("class House:\n    async def generate(turn): ...\n")
        assert cli.load("answers:House.generate").__qualname__ == "House.generate"

    @pytest.mark.parametrize("app", ["answers", "answers:", ":generate", ":", ""])
    def test_without_a_colon(self, app: str, capsys: pytest.CaptureFixture[str]) -> None:
        expected = f"wsserver: {app!r} names no callback: write it as module:attribute, like app:generate"
        assert refusal(capsys, "serve", app) == expected

    @pytest.mark.parametrize("app", ["nowhere:generate", "nowhere.at.all:generate"])
    def test_a_module_that_is_missing(self, app: str, capsys: pytest.CaptureFixture[str]) -> None:
        expected = f"wsserver: {app!r} cannot be imported: ModuleNotFoundError: No module named 'nowhere'"
        assert refusal(capsys, "serve", app) == f"{expected} (looked up from {Path.cwd()} too)"

    def test_a_file_instead_of_a_module(self, capsys: pytest.CaptureFixture[str]) -> None:
        expected = "wsserver: 'answers.py:generate' names a file: write the module, answers:generate"
        assert refusal(capsys, "serve", "answers.py:generate") == expected

    def test_an_attribute_that_is_missing(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (tmp_path / "answers.py").write_text("")
        line = refusal(capsys, "serve", "answers:generate")
        assert line == "wsserver: 'answers:generate' cannot be served: the module 'answers' has no 'generate'"

    def test_a_module_whose_settings_cannot_work(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (tmp_path / "answers.py").write_text("import wsserver\n\nraise wsserver.ConfigError('set OPENAI_API_KEY')\n")
        line = refusal(capsys, "serve", "answers:generate")
        assert line == "wsserver: 'answers:generate' cannot be served: set OPENAI_API_KEY"

    @pytest.mark.parametrize(
        "code, reason",
        [
            ("1 / 0", "ZeroDivisionError: division by zero"),
            ("import nowhere", "ModuleNotFoundError: No module named 'nowhere'"),
            ("import os; os.nothing", "AttributeError: module 'os' has no attribute 'nothing'"),
            ("raise SystemExit(0)", "SystemExit: 0"),
            ("raise ValueError('two\\n\\n  lines')", "ValueError: two lines"),
            ("def", "SyntaxError: invalid syntax (answers.py, line 1)"),
        ],
    )
    def test_a_module_that_raises(
        self, code: str, reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "answers.py").write_text(code + "\n")
        line = refusal(capsys, "serve", "answers:generate")
        place = "" if code == "def" else f" ({tmp_path / 'answers.py'}, line 1)"
        assert line == f"wsserver: 'answers:generate' cannot be imported: {reason}{place}"

    @pytest.mark.parametrize(
        "code, problem",
        [("def generate(turn): ...", "'generate' is not async"), ("generate = 7", "7 is a int")],
    )
    def test_a_callback_that_is_not_async(
        self, code: str, problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "answers.py").write_text(code + "\n")
        line = refusal(capsys, "serve", "answers:generate", "--port", "0")
        assert line.startswith(f"wsserver: the callback {problem}: it must be an async generator function, like ")


class TestOthers:
    def test_help_lists_every_setting(self, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit) as ended:
            cli.main(["serve", "--help"])
        text = " ".join(capsys.readouterr().out.split())
        assert ended.value.code == 0
        for name, setting in SETTINGS.items():
            assert f" {flag(name)} " in text
            assert setting.metadata["help"] in text
            if not isinstance(setting.default, bool):
                zero = f", 0: {setting.metadata['zero']}" if setting.metadata["zero"] else ""
                assert f"(default {setting.metadata['shown']}{zero})" in text

    @pytest.mark.parametrize("command", ["serve", "chat", "token"])
    def test_help_lists_every_command(self, command: str, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit):
            cli.main(["--help"])
        assert f"    {command} " in capsys.readouterr().out

    def test_version(self, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit) as ended:
            cli.main(["--version"])
        assert (ended.value.code, capsys.readouterr().out) == (0, f"wsserver {wsserver.__version__}\n")

    @pytest.mark.parametrize(
        "arguments, called",
        [
            ([], (cli.DEFAULT_URL, None, 120.0)),
            (["ws://x/y"], ("ws://x/y", None, 120.0)),
            (["--token", "t", "ws://x/y", "--max-reconnect-time", "0"], ("ws://x/y", "t", 0.0)),
        ],
    )
    def test_chat(self, arguments: list[str], called: Any, chat: list[Any]) -> None:
        assert cli.main(["chat", *arguments]) == 7
        assert chat == [called]

    def test_a_token_comes_from_its_variable_or_its_file(
        self, chat: list[Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setenv("WSSERVER_TOKEN", "from the variable")
        cli.main(["chat"])
        cli.main(["chat", "--token", "from the flag"])
        path = tmp_path / "token"
        path.write_text("from the file\n")
        monkeypatch.delenv("WSSERVER_TOKEN")
        monkeypatch.setenv("WSSERVER_TOKEN_FILE", str(path))
        cli.main(["chat"])
        assert [token for _, token, _ in chat] == ["from the variable", "from the flag", "from the file"]
        path.unlink()
        assert cli.main(["chat"]) == 2
        assert f"WSSERVER_TOKEN_FILE names {path}, which cannot be read: No such file" in capsys.readouterr().err

    def test_a_port_is_where_the_client_looks(self) -> None:
        config = Config()
        assert f"ws://{config.host}:{config.port}{config.path}" == cli.DEFAULT_URL

    def test_load_raises_what_can_be_caught(self) -> None:
        with pytest.raises(ConfigError):
            cli.load("nowhere:generate")
