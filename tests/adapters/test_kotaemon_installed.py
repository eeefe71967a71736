"""An installed Kotaemon as a callback, by an application of its shape; the real one is in `tests/real/kotaemon`."""

from __future__ import annotations

import asyncio
import threading
from contextlib import asynccontextmanager
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import pytest

from tests.adapters.kotaemon_shapes import Document, Pipeline, chat, info
from tests.adapters.running import LONG, run
from tests.peer import Event, Peer, Refused, text_of
from wsserver import Config, Server, User, bearer_token
from wsserver.adapters import kotaemon_ktem
from wsserver.adapters.kotaemon_conversation import empty
from wsserver.adapters.kotaemon_installed import Installed
from wsserver.adapters.kotaemon_ktem import Kept

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from wsserver.adapters.kotaemon import Exchange

#: What there is, `(owner, name, text)` by id.
FILES = {
    "f1": ("u-ada", "vault.md", "AMETHYST"),
    "f2": ("u-ada", "tea.md", "boils"),
    "f3": ("u-eve", "vault.md", "OBSIDIAN"),
}


class Retriever:
    """Finds all that there is, of whomever, like a store that does not look at what it is told."""

    def __init__(self, files: list[str]) -> None:
        self.files = files

    def __call__(self, text: str) -> Any:
        return self.run(text)

    def run(self, text: str) -> list[Document]:
        return [Document(text, metadata={"file_id": id_}) for id_, (_, _, text) in FILES.items()]


class Index:
    def __init__(self, id: int, *, plain: bool = True) -> None:
        self.id = id
        self.plain = plain

    def get_retriever_pipelines(self, settings: dict[str, Any], user: str, selected: Any) -> list[Retriever]:
        mode, files, of = selected
        assert (mode, of) == ("select", user)
        return [Retriever(files)] if files else []


class Simple:
    """Says what it finds, and counts in its state."""

    made: list[tuple[dict[str, Any], dict[str, Any], list[Retriever]]] = []

    @classmethod
    def get_pipeline(cls, settings: dict[str, Any], state: dict[str, Any], retrievers: list[Retriever]) -> Pipeline:
        cls.made.append((settings, deepcopy(state), retrievers))
        state["pipeline"]["turns"] = state["pipeline"].get("turns", 0) + 1
        tools.pop("enabled", None)
        found = [document.text for retriever in retrievers for document in retriever("vault")]
        return Pipeline([info(f"<b>{text}</b>") for text in found] + [chat(" ".join(found))])


#: Settings of the servers of tools, which building a pipeline spoils.
tools: dict[str, Any] = {}


class Application:
    """In memory what the real one keeps in a database; it has two users, one of which has settings."""

    empty_answer = "(Sorry)"
    languages = ("en", "ja")

    def __init__(self) -> None:
        self.indices = [Index(1), Index(2, plain=False)]
        self.reasonings = {"simple": Simple, "ReAct": Simple}
        self.tool_servers = tools
        self.kept: dict[str, Kept] = {}

    def user(self, session_user: str | None) -> str | None:
        return f"u-{session_user}" if session_user in ("ada", "eve") else None

    def settings(self, user: str) -> dict[str, Any]:
        return {"reasoning.use": "ReAct" if user == "u-eve" else "simple", "reasoning.lang": "en"}

    def files(self, index: Index, user: str) -> dict[str, str]:
        return {id_: name for id_, (owner, name, _) in FILES.items() if owner == user}

    def conversation(self, name: str) -> Kept | None:
        return self.kept.get(name)

    def begin(self, name: str, user: str, question: str) -> tuple[int, dict[str, Any]]:
        kept = self.kept.setdefault(name, Kept(user, empty()))
        kept.data_source["messages"].append([question, ""])
        return len(kept.data_source["messages"]) - 1, deepcopy(kept.data_source["state"])

    def end(self, name: str, place: int, exchange: Exchange, selected: dict[str, Any], state: dict[str, Any]) -> None:
        user, before = self.kept[name]
        self.kept[name] = Kept(user, exchange.data_source(before, place, selected=selected, state=state))


@pytest.fixture
def application(monkeypatch: pytest.MonkeyPatch) -> Application:
    monkeypatch.setattr(kotaemon_ktem, "is_plain", lambda index: index.plain)
    Simple.made.clear()
    tools.clear()
    tools["enabled"] = ["read"]
    return Application()


@pytest.fixture
def app(application: Application) -> Installed:
    return Installed(application, html=False, max_threads=4)  # type: ignore[arg-type]


async def authenticate(request: Any) -> User | None:
    token = bearer_token(request)
    return User(token.removeprefix("token-of-")) if token else None


@asynccontextmanager
async def talking(app: Installed, user: str, query: str = "") -> AsyncIterator[Peer]:
    hooks = {"authenticate": authenticate, "on_open": app.on_open}
    async with Server(app, Config(port=0), **hooks) as server:  # type: ignore[arg-type]
        async with Peer.connect(server.urls[0] + query, f"Authorization: Bearer token-of-{user}") as peer:
            yield peer


def talk(app: Installed, user: str, *contents: Any, query: str = "") -> list[list[Event]]:
    async def main() -> list[list[Event]]:
        async with talking(app, user, query) as peer:
            turns = []
            for content in contents:
                await peer.ask(content)
                turns.append(await peer.turn())
            return turns

    turns: list[list[Event]] = run(main())
    return turns


def test_a_turn_searches_what_its_user_may_see(app: Installed) -> None:
    assert text_of(talk(app, "ada", "The vault?")[0]) == "AMETHYST boils"
    assert text_of(talk(app, "eve", "The vault?")[0]) == "OBSIDIAN"
    assert [retrievers[0].files for _, _, retrievers in Simple.made] == [["f1", "f2"], ["f3"]]


@pytest.mark.parametrize(
    ("selected", "answer"),
    [(["tea.md"], "boils boils"), (["f1"], "AMETHYST AMETHYST"), (["f1", "tea.md"], "AMETHYST boils AMETHYST boils")],
)
def test_what_is_selected_is_searched_in_all_indices(app: Installed, selected: list[str], answer: str) -> None:
    assert text_of(talk(app, "ada", {"content": "The vault?", "selected": selected})[0]) == answer


def test_nothing_selected_finds_nothing(app: Installed) -> None:
    [events] = talk(app, "ada", {"content": "The vault?", "selected": []})
    assert text_of(events) == "(Sorry)"


@pytest.mark.parametrize("selected", [["f3"], ["tea.md", "f3"], ['["f3"]'], ["none.md"], [""]])
def test_what_is_not_ones_own_is_refused(app: Installed, application: Application, selected: list[str]) -> None:
    [[_, error]] = talk(app, "ada", {"content": "The vault?", "selected": selected})
    assert (error["data"]["code"], error["data"]["retryable"]) == ("unknown_document", False)
    assert (Simple.made, application.kept) == ([], {})


@pytest.mark.parametrize(
    "more",
    [
        {"selected": "tea.md"},
        {"selected": [3]},
        {"reasoning": "none"},
        {"reasoning": ["simple"]},
        {"language": "xx"},
        {"language": {}},
        {"citation": "all"},
        {"citation": []},
        {"mindmap": 1},
    ],
)
def test_what_cannot_be_asked_is_refused(app: Installed, more: dict[str, Any]) -> None:
    [[_, error]] = talk(app, "ada", {"content": "The vault?", **more})
    assert error["data"]["code"] == "bad_content"


def test_a_message_may_choose(app: Installed) -> None:
    more = {"reasoning": "ReAct", "language": "ja", "citation": "inline", "mindmap": True}
    talk(app, "ada", "The vault?", {"content": "The vault?", **more})
    (plain, _, _), (chosen, _, _) = Simple.made
    assert plain == {"reasoning.use": "simple", "reasoning.lang": "en"}
    assert chosen == {
        "reasoning.use": "simple",
        "reasoning.lang": "ja",
        "reasoning.options.ReAct.highlight_citation": "inline",
        "reasoning.options.ReAct.create_mindmap": True,
    }


@pytest.mark.parametrize("user", ["mallory", "ADA"])
def test_who_is_no_user_of_it_is_refused(app: Installed, application: Application, user: str) -> None:
    [[_, error]] = talk(app, user, "The vault?")
    assert (error["data"]["code"], error["data"]["retryable"]) == ("unknown_user", False)
    assert application.kept == {}


def test_the_conversation_is_kept(app: Installed, application: Application) -> None:
    talk(app, "ada", "One?", "Two?")
    [(name, kept)] = application.kept.items()
    assert name.startswith("s_")
    assert kept.user == "u-ada"
    assert kept.data_source == {
        "selected": {"1": ["select", ["f1", "f2"], "u-ada"], "2": ["select", [], "u-ada"]},
        "messages": [["One?", "AMETHYST boils"], ["Two?", "AMETHYST boils"]],
        "retrieval_messages": ["<b>AMETHYST</b><b>boils</b>"] * 2,
        "plot_history": [None, None],
        "state": {"app": {"regen": False}, "simple": {"turns": 2}},
        "likes": [],
    }
    assert [state["pipeline"] for _, state, _ in Simple.made] == [{}, {"turns": 1}]


def test_a_session_goes_on_with_a_conversation_of_its_user(app: Installed, application: Application) -> None:
    kept = {**empty(), "messages": [["One?", "1"]], "state": {"app": {}, "simple": {"turns": 7}}}
    application.kept["c1"] = Kept("u-ada", kept)

    async def main() -> Event:
        async with talking(app, "ada", "?conversation=c1") as peer:
            await peer.ask("Two?")
            await peer.turn()
            await peer.send({"event": "history", "data": {}})
            return await peer.event("history")

    assert [item["content"] for item in run(main())["data"]["items"]] == ["One?", "1", "Two?", "AMETHYST boils"]
    assert list(application.kept) == ["c1"]
    assert application.kept["c1"].data_source["messages"] == [["One?", "1"], ["Two?", "AMETHYST boils"]]
    assert Simple.made[0][1]["pipeline"] == {"turns": 7}


@pytest.mark.parametrize(("user", "name"), [("eve", "c1"), ("mallory", "c1"), ("ada", "c2")])
def test_no_other_conversation_is_opened(app: Installed, application: Application, user: str, name: str) -> None:
    application.kept["c1"] = Kept("u-ada", empty())
    with pytest.raises(Refused, match="403"):
        talk(app, user, query=f"?conversation={name}")


def test_building_a_pipeline_takes_nothing_from_the_servers_of_tools(app: Installed) -> None:
    talk(app, "ada", "One?", "Two?")
    assert tools == {"enabled": ["read"]}


def test_two_users_at_once(app: Installed, monkeypatch: pytest.MonkeyPatch) -> None:
    both = threading.Barrier(2, timeout=LONG)
    get_pipeline = Simple.get_pipeline

    class Slow(Pipeline):
        def stream(self, message: str, conv_id: str, history: list[tuple[str, str]]) -> Any:
            both.wait()
            return super().stream(message, conv_id, history)

    monkeypatch.setattr(Simple, "get_pipeline", lambda *args: Slow(get_pipeline(*args).documents))

    async def one(url: str, user: str) -> list[str]:
        async with Peer.connect(url, f"Authorization: Bearer token-of-{user}") as peer:
            said = []
            for _ in range(5):
                await peer.ask("The vault?")
                said.append(text_of(await peer.turn()))
            return said

    async def main() -> list[list[str]]:
        async with Server(app, Config(port=0), authenticate=authenticate) as server:
            return list(await asyncio.gather(one(server.urls[0], "ada"), one(server.urls[0], "eve")))

    assert run(main()) == [["AMETHYST boils"] * 5, ["OBSIDIAN"] * 5]
