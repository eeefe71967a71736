"""The real Kotaemon: its pipelines, indices, stores, users and database; only its models are scripted.

By hand, in an environment of its own, because of what it pins. Kotaemon is on no package index: clone it, and build
from copies of `libs/kotaemon` and `libs/ktem`::

    python3.11 -m venv venv
    venv/bin/pip install -r tests/real/kotaemon/requirements.txt
    venv/bin/pip install --no-deps -r tests/real/kotaemon/requirements-no-deps.txt
    venv/bin/pip install --no-deps path/to/libs/kotaemon path/to/libs/ktem
    venv/bin/pip install . pytest
    venv/bin/python -m pytest -p no:warnings tests/real/kotaemon

About two minutes, most of which is the import.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import threading
from contextlib import asynccontextmanager
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

from tests.peer import Event, Peer, Refused, text_of
from tests.real.kotaemon.fill import fill
from wsserver import Config, Server, User

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine, Iterator

ROOT = Path(__file__).parents[3]
LONG = 180  # seconds; a first figure compiles a library

#: Documents of two people, which share the words that are asked for.
SECRETS = {
    "ada": "# The vault\n\nThe password of the vault is AMETHYST. Ada wrote it down on a Monday.\n",
    "eve": "# The vault\n\nThe password of the vault is OBSIDIAN. Eve wrote it down on a Friday.\n",
}
TEA = "# Tea\n\nGreen tea wants water of 80 degrees, and black tea water that boils. It draws for three minutes.\n"


def environment(place: Path, **more: str) -> dict[str, str]:
    import llama_index.core

    cache = Path(llama_index.core.__file__).parent / "_static" / "tiktoken_cache"
    return {
        "THEFLOW_SETTINGS_MODULE": "tests.real.kotaemon.settings",
        "THEFLOW_TEMP_PATH": str(place / "theflow"),
        "WSSERVER_REAL_KOTAEMON": str(place),
        "TIKTOKEN_CACHE_DIR": str(cache),
        "GRADIO_ANALYTICS_ENABLED": "False",
        **more,
    }


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kotaemon")


@pytest.fixture(scope="module")
def app(place: Path) -> Iterator[Any]:
    """The installed Kotaemon, with the users ada and eve and their documents."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment(place).items():
            patch.setenv(name, value)
        patch.chdir(place)
        from ktem.db.models import User as KotaemonUser
        from ktem.db.models import engine
        from sqlmodel import Session

        from wsserver.adapters.kotaemon import app

        index = app._application.indices[0]
        with Session(engine) as database:
            for name, secret in SECRETS.items():
                (place / name).mkdir()
                (place / name / "vault.md").write_text(secret, encoding="utf-8")
                (place / name / "tea.md").write_text(TEA, encoding="utf-8")
                user = KotaemonUser(id=f"id-of-{name}", username=name, username_lower=name, password="", admin=False)
                database.add(user)
            database.commit()
        for name in SECRETS:
            paths = (place / name / "vault.md", place / name / "tea.md")
            fill(index, app._application.settings(f"id-of-{name}"), f"id-of-{name}", *paths)
        yield app


@pytest.fixture
def models(app: Any) -> Iterator[Any]:
    from tests.real.kotaemon import models

    models.script[:] = [
        (r"RELEVANCE", "8"),
        (
            r"CiteEvidence",
            lambda prompt: json.dumps({"evidences": re.findall(r"password of the vault is \w+", prompt)[:1]}),
        ),
        (r"@startmindmap", "@startmindmap\n* Vault\n** Password\n@endmindmap"),
    ]
    models.asked.clear()
    models.waits.clear()
    yield models
    models.go_on.set()


def run(main: Coroutine[Any, Any, Any]) -> Any:
    async def within() -> Any:
        async with asyncio.timeout(LONG):
            return await main

    return asyncio.run(within())


async def authenticate(request: Any) -> User | None:
    from wsserver import bearer_token

    token = bearer_token(request)
    return User(token.removeprefix("token-of-")) if token else None


@asynccontextmanager
async def serving(app: Any) -> AsyncIterator[str]:
    config = Config(port=0, ping_interval=0)
    async with Server(app, config, authenticate=authenticate, on_open=app.on_open) as server:
        yield server.urls[0]


def talk(app: Any, user: str, *contents: Any, query: str = "") -> list[list[Event]]:
    """The events of each turn of one conversation; afterwards no thread is left."""

    async def main() -> list[list[Event]]:
        async with serving(app) as url, Peer.connect(url + query, f"Authorization: Bearer token-of-{user}") as peer:
            turns = []
            for content in contents:
                await peer.ask(content)
                turns.append(await peer.turn())
            return turns

    turns: list[list[Event]] = run(main())
    assert (app.threads.running, app.threads.orphans) == (0, 0)
    return turns


def of(events: list[Event], name: str) -> list[dict[str, Any]]:
    return [event["data"] for event in events if event["event"] == name]


def conversations(user: str) -> list[Any]:
    from ktem.db.models import Conversation, engine
    from sqlmodel import Session, select

    with Session(engine) as database:
        statement = select(Conversation).where(Conversation.user == user).order_by(Conversation.date_created)
        return list(database.exec(statement))


def answer_of_vault(prompt: str) -> str:
    """What a model says that has read the prompt."""
    [*_, password] = re.findall(r"password of the vault is (\w+)", prompt)
    return f"It is {password}."


def test_simple_qa(app: Any, models: Any) -> None:
    models.script.append((r"password of the vault", answer_of_vault))
    [events] = talk(app, "ada", "What is the password of the vault?")
    names = [event["event"] for event in events]
    first = names.index("token")
    assert set(names[1:first]) == {"source"}
    assert text_of(events) == "It is AMETHYST."
    assert events[-1]["data"]["status"] == "completed"
    # What was found at first is void once it has been judged.
    reset = names.index("reset")
    assert events[reset]["data"] == {"channel": "sources"}
    assert reset > first
    cited = [event["data"] for event in events[reset:] if event["event"] == "source" and "highlights" in event["data"]]
    assert cited == [
        {
            "title": "vault.md",
            "text": "The vault\nThe password of the vault is AMETHYST. Ada wrote it down on a Monday.",
            "score": 0.8,
            "highlights": ["password of the vault is AMETHYST"],
        }
    ]
    assert of(events, "answer_metadata") == [{"qa_score": 0.5, "citations": ["password of the vault is AMETHYST"]}]


def test_it_goes_on_with_the_conversation(app: Any, models: Any) -> None:
    models.script += [(r"Say it again", "Again."), (r"password of the vault", answer_of_vault)]
    question = "What is the password of the vault?"
    first, second = talk(app, "ada", question, "Say it again")
    assert (text_of(first), text_of(second)) == ("It is AMETHYST.", "Again.")
    assert any("Say it again" in prompt and question in prompt for prompt in models.asked)
    kept = conversations("id-of-ada")[-1]
    assert kept.name == question
    assert kept.data_source["messages"] == [[question, "It is AMETHYST."], ["Say it again", "Again."]]
    assert len(kept.data_source["retrieval_messages"]) == len(kept.data_source["plot_history"]) == 2
    assert "<mark>password of the vault is AMETHYST</mark>" in kept.data_source["retrieval_messages"][0]
    assert kept.data_source["state"]["app"] == {"regen": False}
    [(index, (mode, files, user))] = kept.data_source["selected"].items()
    assert (index, mode, len(files), user) == ("1", "select", 2, "id-of-ada")
    # Another session, on another day.
    models.asked.clear()
    [events] = talk(app, "ada", "Say it again", query=f"?conversation={kept.id}")
    assert text_of(events) == "Again."
    assert any("It is AMETHYST." in prompt for prompt in models.asked)
    assert len(conversations("id-of-ada")[-1].data_source["messages"]) == 3
    for stranger in "eve", "mallory":
        with pytest.raises(Refused, match="403"):
            talk(app, stranger, "Say it again", query=f"?conversation={kept.id}")


def test_inline_citations_and_a_mind_map(app: Any, models: Any) -> None:
    cited = (
        "CITATION LIST\n\nCITATION【1】\n\nSTART_PHRASE: The password of the\nEND_PHRASE: vault is AMETHYST\n\n"
        "FINAL ANSWER\nIt is AMETHYST【1】."
    )
    models.script.append((r"STRICTLY FOLLOW", cited))
    content = {"content": "What is the password of the vault?", "citation": "inline", "mindmap": True}
    [events] = talk(app, "ada", content)
    resets = [index for index, event in enumerate(events) if event["event"] == "reset"]
    assert [events[index]["data"]["channel"] for index in resets] == ["answer", "sources"]
    assert text_of(events[: resets[0]]).strip().endswith("It is AMETHYST【1】.")
    assert text_of(events[resets[0] :]) == "It is AMETHYST【1】."
    assert of(events, "mindmap") == [{"markdown": "# Vault\n## Password"}]
    [metadata] = of(events, "answer_metadata")
    assert metadata["citations"][0]["start"] == "The password of the"
    kept = conversations("id-of-ada")[-1].data_source
    assert "class='citation'" in kept["messages"][0][1]
    assert 'class="markmap"' in kept["retrieval_messages"][0]


def test_thoughts_are_shown_again_without_doubling(app: Any, models: Any) -> None:
    models.script.append((r"How are you", "<think>well enough</think> I am well."))
    [events] = talk(app, "ada", {"content": "How are you?", "selected": []})
    reset = next(index for index, event in enumerate(events) if event["event"] == "reset")
    assert text_of(events[:reset]) == "<think>well enough</think> I am well."
    assert text_of(events[reset:]).count("I am well.") == 1
    assert of(events, "source")[-1]["text"] == "No evidence found."


def react(prompt: str) -> str:
    """Searches first, then answers with what was found."""
    observed = prompt.rpartition("Question: ")[2]
    if "Observation:" not in observed:
        return "I should look into the documents.\nAction: docsearch\nAction Input: password of the vault"
    return f"I now know it.\nFinal Answer: {' '.join(re.findall(r'AMETHYST|OBSIDIAN', observed))}"


def test_a_figure_of_what_was_found(app: Any, models: Any, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ktem.db.models import User as KotaemonUser
    from ktem.db.models import engine
    from sqlmodel import Session

    with Session(engine) as database:
        database.add(KotaemonUser(id="id-of-dan", username="dan", username_lower="dan", password="", admin=False))
        database.commit()
    paths = [place / f"{word}.md" for word in "green black white red yellow dark herbal fruit iced".split()]
    for path in paths:
        path.write_text(f"# Tea\n\nThis is all about {path.stem} tea, which {path.stem[::-1]} people drink.\n", "utf-8")
    fill(app._application.indices[0], app._application.settings("id-of-dan"), "id-of-dan", *paths)
    monkeypatch.setitem(app._application._defaults, "reasoning.options.simple.create_citation_viz", True)
    [events] = talk(app, "dan", "What is tea?")
    [figure] = of(events, "plot")
    assert {"data", "layout"} <= figure.keys()
    kept = conversations("id-of-dan")[-1].data_source["plot_history"]
    assert [json.loads(plot) for plot in kept] == [figure]


def test_react_shows_its_steps(app: Any, models: Any) -> None:
    models.script.append((r"Begin! After each Action Input", react))
    [events] = talk(app, "ada", {"content": "What is the password of the vault?", "reasoning": "ReAct"})
    started, finished = of(events, "tool")
    assert (started["name"], started["status"], started["input"]) == ("docsearch", "started", "password of the vault")
    assert (finished["call_id"], finished["status"]) == (started["call_id"], "finished")
    assert "Content from vault.md: # The vault The password of the vault is AMETHYST." in finished["output"]
    assert of(events, "status") == [{"message": "I should look into the documents."}]
    assert of(events, "source") == []
    assert text_of(events) == "AMETHYST"
    kept = conversations("id-of-ada")[-1].data_source
    assert kept["messages"] == [["What is the password of the vault?", "AMETHYST"]]
    assert "docsearch[password of the vault]" in kept["retrieval_messages"][0]


def test_rewoo_shows_its_steps(app: Any, models: Any) -> None:
    plan = "#Plan1: look for the password\n#E1: docsearch[password of the vault]\n"
    models.script += [
        (r"#Plan1: look for the password", answer_of_vault),
        (r"#E1", plan),
    ]
    [events] = talk(app, "ada", {"content": "What is the password of the vault?", "reasoning": "ReWOO"})
    started, finished = of(events, "tool")
    assert (started["name"], started["input"]) == ("docsearch", "password of the vault")
    assert "AMETHYST" in finished["output"]
    assert text_of(events) == "It is AMETHYST."
    last = max(index for index, event in enumerate(events) if event["event"] == "reset")
    assert ["AMETHYST" in event["data"]["text"] for event in events[last:] if event["event"] == "source"] == [True]


@pytest.mark.parametrize("reasoning", ["simple", "complex", "ReAct", "ReWOO"])
def test_two_users_at_once_never_see_each_others_documents(app: Any, models: Any, reasoning: str) -> None:
    """Their turns run at the same time: no model answers before both have asked one."""
    both = threading.Barrier(2, timeout=LONG)
    waited = threading.local()

    def together(answer: Any) -> Any:
        def say(prompt: str) -> str:
            if not getattr(waited, "done", False):
                waited.done = True
                both.wait()
            return str(answer(prompt))

        return say

    plan = "#Plan1: look for the password\n#E1: docsearch[password of the vault]\n"
    models.script += [
        (r"Begin! After each Action Input", together(react)),
        (r"#Plan1: look for the password", answer_of_vault),
        (r"#E1", together(lambda prompt: plan)),
        (r"password of the vault is", together(answer_of_vault) if reasoning == "simple" else answer_of_vault),
    ]
    rounds = 3

    async def one(url: str, user: str) -> list[list[Event]]:
        async with Peer.connect(url, f"Authorization: Bearer token-of-{user}") as peer:
            turns = []
            for _ in range(rounds):
                await peer.ask({"content": "What is the password of the vault?", "reasoning": reasoning})
                turns.append(await peer.turn())
            return turns

    async def main() -> list[list[list[Event]]]:
        async with serving(app) as url:
            return list(await asyncio.gather(one(url, "ada"), one(url, "eve")))

    for turns, mine, theirs in zip(run(main()), ("AMETHYST", "OBSIDIAN"), ("OBSIDIAN", "AMETHYST"), strict=True):
        for events in turns:
            assert mine in text_of(events), events
            assert mine in json.dumps(of(events, "source") + of(events, "tool"))
            assert theirs not in json.dumps(events)
    for user, theirs in ("id-of-ada", "OBSIDIAN"), ("id-of-eve", "AMETHYST"):
        assert all(theirs not in json.dumps(kept.data_source) for kept in conversations(user))


def test_a_selection_is_of_ones_own_documents(app: Any, models: Any) -> None:
    models.script.append((r"tea", "Boiling."))
    [events] = talk(app, "ada", {"content": "How hot is water for tea?", "selected": ["tea.md"]})
    assert {source.get("title") for source in of(events, "source")} <= {"tea.md", None}
    theirs = list(app._application.files(app._application.indices[0], "id-of-eve"))
    assert len(theirs) == 2
    for selected in ([theirs[0]], ["nothing.md"], [f'["{theirs[0]}"]'], ["tea.md", theirs[1]]):
        [events] = talk(app, "ada", {"content": "How hot?", "selected": selected})
        assert events[-1]["data"]["code"] == "unknown_document"
    for content in ({"content": "How hot?", "selected": "tea.md"}, {"content": "a", "reasoning": "none"}):
        [events] = talk(app, "ada", content)
        assert events[-1]["data"]["code"] == "bad_content"


def test_a_store_that_finds_too_much_opens_no_door(app: Any, models: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kotaemon itself asks so where it looks for the tables of a page: by the name of its file, of whoever that is."""
    store = app._application.indices[0]._vs
    query = store.query

    def of_all(*args: Any, doc_ids: Any = None, filters: Any = None, **kwargs: Any) -> Any:
        return query(*args, **kwargs)

    monkeypatch.setitem(store.__dict__, "query", of_all)
    models.script += [(r"Begin! After each Action Input", react), (r"password of the vault", answer_of_vault)]
    for reasoning in "simple", "ReAct":
        [events] = talk(app, "ada", {"content": "What is the password of the vault?", "reasoning": reasoning})
        assert "AMETHYST" in text_of(events)
        assert "OBSIDIAN" not in json.dumps(events)
    assert all("OBSIDIAN" not in prompt for prompt in models.asked)


def test_who_is_no_user_is_refused(app: Any, models: Any) -> None:
    for user in "mallory", "ADA":
        [events] = talk(app, user, "What is the password of the vault?")
        assert (events[-1]["data"]["code"], events[-1]["data"]["retryable"]) == ("unknown_user", False)
    [events] = talk(app, "id-of-eve", {"content": "Hello", "selected": []})
    assert events[-1]["data"]["status"] == "completed"


def test_a_stop_is_stored_as_it_was_shown(app: Any, models: Any) -> None:
    models.script.append((r"password of the vault", "It is a secret."))
    models.go_on.clear()

    async def main() -> None:
        async with serving(app) as url, Peer.connect(url, "Authorization: Bearer token-of-ada") as peer:
            await peer.ask("What is the password of the vault?")
            while (await peer.event())["event"] != "token":
                pass
            await asyncio.to_thread(models.waits.wait, LONG)
            await peer.send({"event": "stop", "data": {}})
            events = await peer.turn()
            assert events[-1]["data"]["status"] == "stopped"
            models.go_on.set()

    run(main())
    assert app.threads.running == 0
    assert conversations("id-of-ada")[-1].data_source["messages"] == [["What is the password of the vault?", "It "]]


def test_what_the_model_raises_ends_the_turn(app: Any, models: Any) -> None:
    import httpx

    openai: Any = import_module("openai")  # a version that takes another HTTP client than the newest

    request = httpx.Request("POST", "http://127.0.0.1/v1/chat/completions")
    for error, code, retryable in (
        (
            openai.RateLimitError("slow", response=httpx.Response(429, request=request), body=None),
            "upstream_rate_limited",
            True,
        ),
        (
            openai.AuthenticationError("no", response=httpx.Response(401, request=request), body=None),
            "upstream_denied",
            False,
        ),
        (openai.APITimeoutError(request), "upstream_timeout", True),
        (openai.APIConnectionError(request=request), "upstream_unreachable", True),
    ):
        models.script[:] = [(r"RELEVANCE", "8"), (r"CiteEvidence", "{}"), (r"", error)]
        [events] = talk(app, "ada", "What is the password of the vault?")
        assert (events[-1]["data"]["code"], events[-1]["data"]["retryable"]) == (code, retryable)


def test_a_pipeline_of_ones_own_answers_as_the_readme_shows(app: Any) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    [block] = re.findall(r"<!-- test: kotaemon -->\n```python\n(.*?)```", readme, re.S)
    namespace: dict[str, Any] = {"__name__": "notes"}
    sys.modules["notes"] = ModuleType("notes")
    exec(block, namespace)

    async def main() -> list[Event]:
        async with Server(namespace["generate"], Config(port=0), authenticate=authenticate) as server:
            async with Peer.connect(server.urls[0], "Authorization: Bearer token-of-ada") as peer:
                await peer.ask("tea")
                return await peer.turn()

    events = run(main())
    assert text_of(events) == "You asked: tea "
    assert of(events, "source") == [{"text": "Notes\nTea wants water that boils."}]


def test_settings_of_a_user_count(app: Any, models: Any) -> None:
    from ktem.db.models import Settings, engine
    from sqlmodel import Session

    settings = {**app._application.settings("id-of-eve"), "reasoning.use": "ReAct"}
    with Session(engine) as database:
        row = Settings(user="id-of-eve", setting=settings)
        database.add(row)
        database.commit()
        database.refresh(row)
    models.script += [(r"Begin! After each Action Input", react), (r"password of the vault", answer_of_vault)]
    try:
        assert of(talk(app, "eve", "What is the password of the vault?")[0], "tool")
        assert not of(talk(app, "ada", "What is the password of the vault?")[0], "tool")
    finally:
        with Session(engine) as database:
            database.delete(database.get(Settings, row.id))
            database.commit()


def test_a_tool_server_keeps_what_it_was_told(app: Any, models: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Building an agent takes the list of the tools that are enabled away: without it, all are."""
    from kotaemon.agents import LLMTool
    from ktem.reasoning import react as module

    made: list[Any] = []

    def tools(config: dict[str, Any], enabled: list[str] | None) -> list[Any]:
        made.append((config, enabled))
        return [LLMTool(name="read")]

    monkeypatch.setattr(module, "create_tools_from_config", tools)
    config = {"command": "x", "enabled_tools": ["read"]}
    monkeypatch.setitem(app._application.tool_servers, "files", {"name": "files", "config": config})
    monkeypatch.setitem(app._application._defaults, "reasoning.options.ReAct.tools", ["[MCP] files"])
    models.script.append((r"Begin! After each Action Input", "Final Answer: done"))
    for _ in range(2):
        assert text_of(talk(app, "ada", {"content": "Read it", "reasoning": "ReAct"})[0]) == "done"
    assert [enabled for _, enabled in made] == [["read"], ["read"]]


def test_no_prompt_is_written_to_the_disk(app: Any, place: Path) -> None:
    """By what Kotaemon stands on, which keeps each call with what it was given."""
    kept = [path for path in place.rglob("*") if ".theflow" in path.parts or "theflow" in path.parts]
    assert [path for path in kept if path.is_file()] == []
    assert not (ROOT / ".theflow").exists()


def test_it_is_served_by_name(tmp_path: Path) -> None:
    """A Kotaemon that knows no users has one, whom everybody is."""
    more = {"WSSERVER_REAL_KOTAEMON_USERS": "0", "PYTHONPATH": str(ROOT)}
    variables = {**os.environ, **environment(tmp_path, **more)}
    (tmp_path / "tea.md").write_text(TEA, encoding="utf-8")
    subprocess.run(
        [sys.executable, "-m", "tests.real.kotaemon.fill", "default", str(tmp_path / "tea.md")],
        env=variables, cwd=tmp_path, check=True, capture_output=True, timeout=300,
    )  # fmt: skip
    command = [sys.executable, "-m", "wsserver", "serve", "wsserver.adapters.kotaemon:app", "--port", "0"]
    with subprocess.Popen(
        command, env=variables, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as server:
        assert server.stdout is not None
        try:
            url = next(found[0] for line in server.stdout if (found := re.search(r"ws://127\S+", line)))
            output = threading.Thread(target=server.stdout.read)
            output.start()

            async def main() -> list[Event]:
                async with Peer.connect(url) as peer:
                    await peer.ask("How hot is water for tea?")
                    return await peer.turn()

            events = run(main())
        finally:
            server.terminate()
        output.join()
    assert server.returncode == 0
    assert text_of(events) == "no"
    assert of(events, "source")[0]["title"] == "tea.md"
