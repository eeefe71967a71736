"""Variables of the environment that are none of ours, and those that were meant to be. Settings: see test_cli."""

from __future__ import annotations

from dataclasses import fields

import pytest

from wsserver import cli
from wsserver.config import Config, variable
from wsserver.environment import misspelt


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("WSSERVER_PING_INTERVALL", "WSSERVER_PING_INTERVAL"),
        ("WSSERVER_MAX_CONNECTION", "WSSERVER_MAX_CONNECTIONS"),
        ("WSSERVER_JWT_SECRETS", "WSSERVER_JWT_SECRET"),
        ("WSSERVER_JWT_SECRET_FILES", "WSSERVER_JWT_SECRET_FILE"),
    ],
)
def test_a_slip_is_told(name: str, meant: str) -> None:
    assert list(misspelt({name: "1"})) == [f"{name} is no setting: did you mean {meant}?"]


def test_what_is_meant_or_is_for_others_is_not() -> None:
    ours = [variable(setting.name) for setting in fields(Config)]
    secrets = [f"{variable(setting.name)}_FILE" for setting in fields(Config) if setting.metadata["secret"]]
    # As Kubernetes sets them for a Service of this name, and those of other commands.
    others = ["WSSERVER_SERVICE_HOST", "WSSERVER_SERVICE_PORT", "WSSERVER_PORT_8765_TCP_PORT", "WSSERVER_DEMO_DOCS"]
    assert not list(misspelt(dict.fromkeys([*ours, *secrets, *others, "WSSERVER_TOKEN", "HOME"], "1")))


def test_the_server_starts_all_the_same(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("WSSERVER_PING_INTERVALL", "1")
    monkeypatch.setattr("wsserver.net.process.run", lambda generate, config: None)
    assert cli.main(["serve"]) == 0
    assert capsys.readouterr().err == (
        "wsserver: WSSERVER_PING_INTERVALL is no setting: did you mean WSSERVER_PING_INTERVAL?\n"
    )
