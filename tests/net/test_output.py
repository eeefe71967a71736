"""What a process says on its output; as a process of its own it is tested in `test_cli_process`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wsserver import Config
from wsserver.net.output import announce

if TYPE_CHECKING:
    import pytest


def test_addresses_and_the_token_that_was_made(capsys: pytest.CaptureFixture[str]) -> None:
    announce(["ws://one", "ws://two"], Config(), "t0ken")
    assert capsys.readouterr().out == "Listening on ws://one\nListening on ws://two\n"
    announce(["ws://one"], Config(admin_port=9001), "t0ken")
    assert capsys.readouterr().out == (
        "Listening on ws://one\nAdmin on http://127.0.0.1:9001/sessions\nAdmin token t0ken\n"
    )
    announce([], Config(admin_port=9001, admin_token="t0ken"), "t0ken")
    assert "t0ken" not in capsys.readouterr().out
