"""The README is true: its code runs, its tables are those of the code."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from tests.clock import run_virtually
from tests.peer import Peer, text_of
from wsserver import Config, Server
from wsserver.chat import envelope
from wsserver.chat.events import RESERVED
from wsserver.config import flag

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def block(name: str) -> str:
    """The one code block behind a marker."""
    [code] = re.findall(rf"<!-- {name} -->\n```\w+\n(.*?)```", README, re.S)
    return str(code)


def rows(heading: str) -> list[str]:
    """The first cells of the table with this heading, without their quotes."""
    table = README.split(f"| {heading} |", 1)[1].split("\n\n", 1)[0]
    return [line.split("|")[1].strip().strip("`") for line in table.splitlines()[2:]]


def test_the_callback_answers_as_shown() -> None:
    namespace: dict[str, Any] = {}
    exec(block("test: callback"), namespace)

    async def main() -> None:
        async with Server(namespace["generate"], Config(port=0)) as server, Peer.connect(server.urls[0]) as peer:
            await peer.send({"content": "where is my parcel"})
            events = await peer.turn()
            assert [event["event"] for event in events] == ["start", "tool", "tool", *["token"] * 11, "complete"]
            assert [event["seq"] for event in events] == list(range(1, 16))
            assert text_of(events) == "You asked: where is my parcel. It is on its way. "
            assert events[2]["data"]["message"] == "found the latest one"

    run_virtually(main())


def test_the_embedding_runs() -> None:
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", block("test: embed")],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert re.fullmatch(r"ws://127\.0\.0\.1:\d+/ws/chat\n", run.stdout)
    assert run.stderr == ""


def test_the_client_talks(capsys: pytest.CaptureFixture[str]) -> None:
    async def generate(turn: Any) -> Any:
        yield f"{turn.content} "
        yield "A lot."

    namespace: dict[str, Any] = {}
    exec(block("test: client").rsplit("\n\n", 1)[0], namespace)

    async def main() -> None:
        async with Server(generate, Config(port=0)) as server:
            await namespace["main"](server.urls[0])

    run_virtually(main())
    assert capsys.readouterr().out == "What can you do? A lot."


def test_the_flags_are_those_of_config() -> None:
    table = README.split("| flag | default |", 1)[1].split("\n\n", 1)[0].splitlines()[2:]
    settings = {flag(setting.name): setting for setting in fields(Config)}
    assert [line.split("|")[1].strip().strip("`") for line in table] == list(settings)
    for line in table:
        _, name, default, text, zero, _ = (cell.strip() for cell in line.split("|"))
        setting = settings[name.strip("`")]
        shown = "off" if setting.default is False else str(setting.default) or "none"
        assert (default, zero) == (shown, setting.metadata["zero"] or "")
        assert text.startswith(setting.metadata["help"])
        assert all(f"`{choice}`" in text for choice in setting.metadata["choices"])


def test_the_events_are_those_of_the_code() -> None:
    server, client = rows("server event"), rows("client event")
    assert set(server + client) <= RESERVED
    assert set(client) == set(envelope._CLIENT_EVENTS)


@pytest.mark.parametrize("link", re.findall(r"\]\((?!https?:)([^)#]+)\)", README))
def test_its_links_lead_somewhere(link: str) -> None:
    assert (Path(__file__).parents[1] / link).exists()


def test_the_first_minute_looks_as_shown() -> None:
    """The transcript of `wsserver chat` with the demo, but for what only a terminal shows."""
    transcript = README.split("$ .venv/bin/wsserver chat\n", 1)[1].split("```", 1)[0].splitlines()
    shown = [line for line in transcript if not line.startswith(("> ", "Ctrl-C"))]
    environment = {**os.environ, "WSSERVER_DEMO_PACE": "0"}
    server = subprocess.Popen(
        [sys.executable, "-m", "wsserver", "serve", "--port", "0"], stdout=subprocess.PIPE, text=True, env=environment
    )
    try:
        assert server.stdout is not None
        url = server.stdout.readline().removeprefix("Listening on ").strip()
        chat = [sys.executable, "-m", "wsserver", "chat", url]
        question = "如何申请退款?\n"
        run = subprocess.run(chat, input=question, capture_output=True, encoding="utf-8", timeout=30, check=True)
    finally:
        server.terminate()
        server.communicate(timeout=30)
    assert run.stdout.replace(url, "ws://127.0.0.1:8765/ws/chat").splitlines() == shown
