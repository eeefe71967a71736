"""What a process says; as a process of its own it is tested in `test_cli_process`."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from wsserver import Config
from wsserver.net.output import announce

if TYPE_CHECKING:
    import pytest

LOG = """
import logging
from wsserver import Config
from wsserver.net.output import set_up_log
{before}
set_up_log(Config(log_level="warning"), {name!r})
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


def test_addresses_and_the_token_that_was_made(capsys: pytest.CaptureFixture[str]) -> None:
    announce(["ws://one", "ws://two"], Config(), "t0ken")
    assert capsys.readouterr().out == "Listening on ws://one\nListening on ws://two\n"
    announce(["ws://one"], Config(admin_port=9001), "t0ken")
    assert capsys.readouterr().out == (
        "Listening on ws://one\nAdmin on http://127.0.0.1:9001/sessions\nAdmin token t0ken\n"
    )
    announce([], Config(admin_port=9001, admin_token="t0ken"), "t0ken")
    assert "t0ken" not in capsys.readouterr().out
