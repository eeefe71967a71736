"""The README is true: its code runs, its tables are those of the code."""

from __future__ import annotations

import ast
import asyncio
import json
import os
import re
import socket
import subprocess
import sys
import tomllib
from contextlib import AsyncExitStack
from dataclasses import fields
from fnmatch import fnmatchcase
from pathlib import Path
from types import ModuleType
from typing import Any

import aiohttp
import pytest

from tests.adapters.endpoint import Endpoint, calls, says
from tests.adapters.kotaemon_shapes import Document
from tests.clock import run_virtually
from tests.peer import Peer, Refused, request, text_of
from tests.store.redis_server import RedisCluster, RedisServer
from tests.store.worlds import exercise
from wsserver import Config, Server
from wsserver.adapters import kotaemon_errors, openai_errors
from wsserver.adapters.openai import DEFAULT_MODEL
from wsserver.config import flag
from wsserver.counters import REASONS
from wsserver.net import ledger, refusal
from wsserver.net.admin.metrics import METRICS
from wsserver.net.admin.port import Admin
from wsserver.net.logs import MISSING, JsonFormatter
from wsserver.store.redis import RedisStore
from wsserver.wire.close import CloseCode

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def block(name: str) -> str:
    """The one code block behind a marker."""
    [code] = re.findall(rf"<!-- {name} -->\n```\w+\n(.*?)```", README, re.S)
    return str(code)


def rows(heading: str) -> list[str]:
    """The first cells of the table with this heading, without their quotes."""
    table = README.split(f"\n| {heading} |", 1)[1].split("\n\n", 1)[0]
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


def test_the_hooks_and_the_news() -> None:
    async def main() -> None:
        namespace: dict[str, Any] = {}
        exec(block("test: hooks").rsplit("\n\n", 1)[0], namespace)
        loop = asyncio.get_running_loop()
        address: asyncio.Future[str] = loop.create_future()
        namespace["print"] = address.set_result
        serving = asyncio.create_task(namespace["main"](Config(port=0)))
        url = await address
        for headers, status in [((), 401), (("Authorization: Bearer 5ecret",), 403)]:
            with pytest.raises(Refused, match=str(status)):
                async with Peer.connect(url, *headers):
                    pass
        async with Peer.connect(url, "Authorization: Bearer s3cret") as peer:
            await peer.ask("I like tea.")
            assert text_of(await peer.turn()) == "ada has said 2 things"
            namespace["news"].put_nowait("tea is ready")
            assert (await peer.event("news"))["data"] == {"text": "tea is ready"}
            namespace["news"].put_nowait("closing time")
            await peer.event("drain")
            assert (await peer.closed())[0] == 1012
        await serving
        assert [said["content"] for said in namespace["kept"]["ada"]][:2] == ["My name is Ada.", "I like tea."]
        assert not namespace["sessions"]

    run_virtually(main())


def test_a_client_comes_back_as_shown() -> None:
    """The transcript of a resume: the same events, but for the name of the session and what is left out."""
    transcript = README.split("beside `wsserver.v1`:\n\n```\n", 1)[1].split("  …\n", 1)[0].splitlines()
    namespace: dict[str, Any] = {}
    exec(block("test: callback"), namespace)

    async def main() -> None:
        async with Server(namespace["generate"], Config(port=0)) as server:
            async with Peer.connect(server.urls[0]) as peer:
                token, name = peer.session["data"]["resume_token"], peer.session["session_id"]
                await peer.ask("where is my parcel")
                while (await peer.event()).get("seq") != 7:
                    pass
            await asyncio.sleep(0.25)
            resume = f"Sec-WebSocket-Protocol: wsserver.v1, resume.{token}.1.7"
            async with Peer.connect(server.urls[0], resume) as peer:
                shown = [json.loads(line[2:].replace(",…", "").replace("s_9g0vkF…", name)) for line in transcript]
                assert peer.session["data"].items() >= shown[0]["data"].items()
                assert [await peer.event() for _ in shown[1:]] == shown[1:]
            async with Peer.socket(server.urls[0]) as peer:
                await peer.write(request(f"/ws/chat?resume={token}&last_seq=7&epoch=1"))
                await peer.read_head()
                assert (await peer.event("session"))["data"]["recovered"]

    run_virtually(main())


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
    assert capsys.readouterr().out == "How do I stop an answer? A lot."


def test_the_flags_are_those_of_config() -> None:
    table = README.split("| flag | default |", 1)[1].split("\n\n", 1)[0].splitlines()[2:]
    settings = {flag(setting.name): setting for setting in fields(Config)}
    assert [line.split("|")[1].strip().strip("`") for line in table] == list(settings)
    for line in table:
        _, name, default, text, zero, _ = (cell.strip() for cell in line.split("|"))
        setting = settings[name.strip("`")]
        shown = "off" if isinstance(setting.default, bool) else setting.metadata["shown"]
        assert (default, zero) == (shown, setting.metadata["zero"] or "")
        assert text.startswith(setting.metadata["help"])
        assert all(f"`{choice}`" in text for choice in setting.metadata["choices"])


def test_the_admin_port_answers_what_is_shown() -> None:
    async def generate(turn: Any) -> Any:
        yield "hello"

    routes = Admin(Server(generate)).routes
    served = {f"{method} /{path}" for path, methods in routes.items() for method in methods}
    assert {row.partition("?")[0] for row in rows("request")} == served
    [(name, value, url), (_, _, push)] = re.findall(r'curl -H "(\S+): (.+)" (\S+)', README)
    [pushed] = re.findall(r"-d '(.+)'\n", README)

    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        config = Config(port=0, admin_port=port, admin_token="t0ken")
        headers = {name: value.replace("$WSSERVER_ADMIN_TOKEN", "t0ken")}
        async with Server(generate, config) as server, aiohttp.ClientSession() as http:
            async with http.get(url.replace(":9001", f":{port}"), headers=headers) as response:
                assert (response.status, await response.json()) == (200, {"count": 0, "sessions": []})
            async with Peer.connect(server.urls[0]) as peer:
                there = push.replace(":9001", f":{port}").replace("s_9g0vkF…", peer.session["session_id"])
                async with http.post(there, headers=headers, data=pushed) as response:
                    assert (response.status, await response.json()) == (201, {"seq": 1})
                assert (await peer.event("news"))["data"] == {"text": "Your parcel has arrived"}

    asyncio.run(main())


def test_the_metrics_are_those_of_the_code() -> None:
    table = README.split("| metric | type |", 1)[1].split("\n\n", 1)[0].splitlines()[2:]
    shown = [[cell.strip() for cell in line.split(" | ")] for line in (line.strip("| ") for line in table)]
    assert shown == [
        [
            f"`wsserver_{name}{'_total' if metric.kind == 'counter' else ''}`",
            metric.kind,
            *([", ".join(f"`{label}`" for label in metric.labels)] if metric.labels else [""]),
            metric.meaning,
        ]
        for name, metric in METRICS.items()
    ]
    [reasons] = re.findall(r"`reason` is one of (.*?)\n\n", README, re.S)
    assert set(re.findall(r"`(\w+)`", reasons)) - {"on_open", "authenticate"} == REASONS


def test_every_refusal_has_its_reason() -> None:
    raised = set()
    for path in (ROOT / "wsserver").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("HandshakeError", "_too_many"):
                if path.parent.name == "wire" and path.name == "client.py":
                    continue  # a client that was refused itself
                given = [keyword.value for keyword in node.keywords if keyword.arg == "reason"] or node.args[2:]
                raised |= {ast.literal_eval(value) for value in given if isinstance(value, ast.Constant)}
                assert given, f"{path.name}:{node.lineno}"
            elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith((".cut", "too_many")):
                raised |= {one.value for one in ast.walk(node) if isinstance(one, ast.Constant)}
    assert raised | {"application"} == REASONS


def test_the_lines_of_the_log_are_those_of_the_code() -> None:
    lines = re.findall(r"^2026-.*? INFO wsserver\.access: (.*)$", README, re.M)
    for line, form in zip(lines, (ledger._OVER, ledger._CLOSED), strict=True):
        assert line.startswith(f"{form.message} ")
        assert re.findall(r"(\w+)=", line) == list(form.fields)
    [shown] = re.findall(r'^\{"time".*\}$', README, re.M)
    values = "s_9g0vkF…", 1, "completed", MISSING, 1.212, 1.001, 11, MISSING
    written = json.loads(JsonFormatter().line(0.0, "wsserver.access", ledger._OVER, values))
    assert {**json.loads(shown), "time": 0, "process": 0} == {**written, "time": 0, "process": 0}
    assert list(json.loads(shown)) == list(written)


def test_the_close_codes_are_those_of_the_code() -> None:
    codes = {int(code) for row in rows("close code") for code in row.split()}
    assert codes <= set(CloseCode)
    assert {code for code in CloseCode if code >= 4000} <= codes
    told = dict(re.findall(r"(\d{4}) for\s+(\d{3})", README))
    assert {int(status): int(code) for code, status in told.items()} == refusal.CLOSE_CODES


def test_the_extras_are_those_of_the_package() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    table = README.split("\n| extra |", 1)[1].split("\n\n", 1)[0].splitlines()[2:]
    told = {}
    for line in table:
        _, name, brings, *_ = (cell.strip() for cell in line.split("|"))
        told[name.strip("`")] = brings.split(", ")
    assert list(told) == sorted(extras.keys() - {"test", "bench"})
    for name, packages in told.items():
        assert packages == [re.split(r"[^\w-]", requirement)[0] for requirement in extras[name]]


def test_a_generator_answers_as_shown() -> None:
    namespace: dict[str, Any] = {}
    exec(block("test: threads"), namespace)

    async def main() -> None:
        async with Server(namespace["generate"], Config(port=0)) as server, Peer.connect(server.urls[0]) as peer:
            await peer.ask("tea")
            events = await peer.turn()
            assert [event["event"] for event in events] == ["start", "tool", "tool", *["token"] * 3, "complete"]
            assert text_of(events) == "You asked: tea "

    asyncio.run(main())


def test_a_pipeline_of_kotaemon_answers_as_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kotaemon is not there, so its two classes are made up; the real ones are used in `tests/real/kotaemon`."""

    class BaseReasoning:
        def __init__(self, **parameters: Any) -> None:
            vars(self).update(parameters)

    for name, contents in (
        ("kotaemon.base", {"Document": Document}),
        ("ktem.reasoning.base", {"BaseReasoning": BaseReasoning}),
    ):
        module = ModuleType(name)
        vars(module).update(contents)
        monkeypatch.setitem(sys.modules, name, module)
    namespace: dict[str, Any] = {}
    exec(block("test: kotaemon"), namespace)

    async def main() -> None:
        async with Server(namespace["generate"], Config(port=0)) as server, Peer.connect(server.urls[0]) as peer:
            await peer.ask("tea")
            events = await peer.turn()
            assert events[1]["data"] == {"text": "Notes\nNone yet."}
            assert text_of(events) == "You asked: tea "

    asyncio.run(main())


def test_the_errors_that_kotaemon_has_are_those_of_the_code() -> None:
    section = README.split("### Kotaemon\n", 1)[1].split("\n## ", 1)[0]
    told = section.split("- **Errors**", 1)[1].split("Give the", 1)[0].split("Not so")
    known = {kotaemon_errors._TIMEOUT, kotaemon_errors._UNREACHABLE, kotaemon_errors._FAILED, kotaemon_errors._REJECTED}
    known |= set(kotaemon_errors._BY_STATUS.values())
    for text, retryable in zip(told, (True, False), strict=True):
        assert set(re.findall(r"`(upstream_\w+)`", text)) == {code for code, _, again in known if again is retryable}


def test_a_model_is_asked_as_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with Endpoint.serve(calls(("weather", '{"city": "Rome"}')), says("Sun.")) as endpoint:
            monkeypatch.setenv("OPENAI_BASE_URL", endpoint.url)
            namespace: dict[str, Any] = {}
            exec(block("test: openai"), namespace)
            async with Server(namespace["generate"], Config(port=0)) as server, Peer.connect(server.urls[0]) as peer:
                await peer.ask("Is it warm?")
                assert text_of(await peer.turn()) == "Sun."
        first, second = endpoint.bodies
        assert (first["model"], first["temperature"]) == (DEFAULT_MODEL, 0)
        assert second["messages"][-1]["content"] == "sun in Rome for 1 days"

    asyncio.run(main())


@pytest.mark.parametrize("value, end", [(True, "Done."), (False, "Then not.")])
def test_a_graph_asks_as_shown(value: bool, end: str) -> None:
    async def main() -> None:
        namespace: dict[str, Any] = {}
        exec(block("test: langchain"), namespace)
        async with Server(namespace["generate"], Config(port=0)) as server, Peer.connect(server.urls[0]) as peer:
            await peer.ask("I want my money back.")
            await peer.event("start")
            question = (await peer.event("ask"))["data"]
            assert (question["message"], question["schema"]) == ("Refund it?", {"type": "boolean"})
            await peer.send({"event": "answer", "data": {"call_id": question["call_id"], "value": value}})
            assert text_of(await peer.turn()) == end

    asyncio.run(main())


def test_the_errors_of_a_model_are_those_of_the_code() -> None:
    [(retryable, final)] = re.findall(r"retryable are (.*?); not retryable are (.*?)\.", README, re.S)
    meanings = [
        *openai_errors._BY_CODE.values(),
        *openai_errors._BY_STATUS.values(),
        *(value for name, value in vars(openai_errors).items() if name.isupper() and isinstance(value, tuple)),
    ]
    codes = {code: again for code, _, again in meanings} | {"too_many_rounds": False}
    told = dict.fromkeys(re.findall(r"`(\w+)`", retryable), True) | dict.fromkeys(re.findall(r"`(\w+)`", final), False)
    assert told == codes


@pytest.mark.parametrize("link", re.findall(r"\]\((?!https?:)([^)#]+)\)", README))
def test_its_links_lead_somewhere(link: str) -> None:
    assert (ROOT / link).exists()


@pytest.mark.parametrize("anchor", sorted(set(re.findall(r"\]\(#([^)]+)\)", README))))
def test_its_sections_are_where_it_says(anchor: str) -> None:
    prose = re.sub(r"```.*?```", "", README, flags=re.S)
    assert anchor in [heading.lower().replace(" ", "-") for heading in re.findall(r"^#+ (.+)$", prose, re.M)]


def test_the_first_minute_looks_as_shown() -> None:
    """The transcript of `wsserver chat` with the demo, but for what only a terminal shows; it is the beginning."""
    transcript = README.split("$ .venv/bin/wsserver chat\n", 1)[1].split("  …\n", 1)[0].splitlines()
    [question] = [line[2:] for line in transcript if line.startswith("> ")]
    shown = [line for line in transcript if not line.startswith(("> ", "Ctrl-C"))]
    environment = {**os.environ, "WSSERVER_DEMO_PACE": "0"}
    server = subprocess.Popen(
        [sys.executable, "-m", "wsserver", "serve", "--port", "0"], stdout=subprocess.PIPE, text=True, env=environment
    )
    try:
        assert server.stdout is not None
        url = server.stdout.readline().removeprefix("Listening on ").strip()
        chat = [sys.executable, "-m", "wsserver", "chat", url]
        run = subprocess.run(chat, input=f"{question}\n", capture_output=True, encoding="utf-8", timeout=30, check=True)
    finally:
        server.terminate()
        server.communicate(timeout=30)
    said = run.stdout.replace(url, "ws://127.0.0.1:8765/ws/chat").splitlines()
    assert said[: len(shown)] == shown


def test_redis_is_used_as_shown(tmp_path: Path, redis_cluster: RedisCluster) -> None:
    """A user with these rights does all there is to do, and the keys are those of the table."""
    patterns = [name.replace("…", "*") for name in rows("key")]
    [user] = re.findall(r"<!-- test: acl -->\n```\n(.*)\n```", README)

    async def main(url: str, nodes: list[Any]) -> None:
        async with AsyncExitStack() as stack:
            one, two = (RedisStore(url.replace("//", "//chat:secret@")) for _ in range(2))
            for store in (one, two):
                stack.push_async_callback(store.close)
                await store.open()
            await exercise(one, two)
            keys = [key.decode() for node in nodes for key in node.scan_iter()]
            matches = [[pattern for pattern in patterns if fnmatchcase(key, pattern)] for key in keys]
            assert all(len(found) == 1 for found in matches), keys
            assert {found[0] for found in matches} == set(patterns)

    with RedisServer(tmp_path) as server:
        for url, servers in ((server.url, [server]), (redis_cluster.url, redis_cluster.nodes)):
            nodes: list[Any] = [server.client() for server in servers]
            for node in nodes:
                node.flushall()
                node.execute_command(f"ACL SETUSER {user}")
            asyncio.run(main(url, nodes))
            for node in nodes:
                node.acl_deluser("chat")
                node.close()


def test_what_is_defended_is_named_after_its_flags() -> None:
    section = README.split("\n## Limits and security\n")[1].split("\n## ")[0]
    table = section.split("| against |")[1].split("\n\n")[0]
    named = set(re.findall(r"`(--[a-z-]+)`", table))
    settings = {flag(setting.name): setting for setting in fields(Config)}
    assert named <= set(settings)
    # No limit is left out: what has none at 0, and deadlines.
    limits = {
        name for name, setting in settings.items() if setting.metadata["zero"] in ("no limit", "none", "queue nothing")
    }
    assert limits - named <= {"--admin-port", "--max-age"}
