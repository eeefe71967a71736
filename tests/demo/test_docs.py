"""The documents that ship with the demo say nothing that is not so."""

from __future__ import annotations

import re
from dataclasses import fields
from importlib.resources import files

import pytest

from wsserver.chat.events import RESERVED
from wsserver.config import Config, flag
from wsserver.wire.close import CloseCode

DOCS = {doc.name: doc.read_text(encoding="utf-8") for doc in (files("wsserver.demo") / "docs").iterdir()}


@pytest.mark.parametrize("name", DOCS)
def test_flags_and_variables_exist(name: str) -> None:
    flags = {flag(setting.name) for setting in fields(Config)} | {"--help"}
    assert set(re.findall(r"--[a-z][a-z-]+", DOCS[name])) <= flags
    own = {"WSSERVER_DEMO_DOCS", "WSSERVER_DEMO_PACE"}
    variables = {"WSSERVER_" + setting.name.upper() for setting in fields(Config)}
    assert set(re.findall(r"WSSERVER_[A-Z_]+", DOCS[name])) <= variables | own


def test_defaults_are_those_of_config() -> None:
    for name, default in re.findall(r"\| `--([a-z-]+)` \| (\S+) \|", DOCS["limits.md"]):
        assert str(getattr(Config(), name.replace("-", "_"))) == default


def test_events_are_those_of_the_protocol() -> None:
    named = re.findall(r"^\| `([a-z_]+)` \|", DOCS["protocol.md"], re.M)
    assert named
    assert set(named) <= RESERVED


def test_close_codes_are_those_of_the_code() -> None:
    codes = {int(code) for code in re.findall(r"^\| (\d{4}) \|", DOCS["protocol.md"], re.M)}
    assert {code for code in CloseCode if code >= 4000} <= codes <= set(CloseCode)
