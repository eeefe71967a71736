"""The door to Kotaemon's packages, by modules of their shape; its database is asked in `tests/real/kotaemon`."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from tests.adapters.kotaemon_shapes import Document
from wsserver import ConfigError
from wsserver.adapters.kotaemon_context import Context
from wsserver.adapters.kotaemon_ktem import Application, confine

THEIR_CONTEXT = {"__type__": "theflow.context.Context"}


class Settings(SimpleNamespace):
    """Of the library below: nothing is there before it is loaded."""

    def load_settings(self) -> None:
        self.MIDDLEWARE = {"theflow.Function": ["theflow.middleware.Cache"], "ktem.Other": ["a", "b"]}
        self.CONTEXT = self.__dict__.get("context", THEIR_CONTEXT)


class BaseApp:
    """Knows users, and has one index."""

    def __init__(self) -> None:
        self.f_user_management = True
        self.asked: list[str] = []
        self.index_manager = SimpleNamespace(
            indices=[SimpleNamespace(get_selector_component_ui=lambda: self.asked.append("selector"))]
        )
        self.default_settings = SimpleNamespace(flatten=lambda: {"reasoning.use": "simple"})


@pytest.fixture
def settings() -> Settings:
    return Settings(KH_CHAT_EMPTY_MSG_PLACEHOLDER="(Sorry)")


@pytest.fixture
def packages(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> dict[str, ModuleType]:
    """What is imported of them, by name."""
    made: dict[str, dict[str, Any]] = {
        "theflow": {},
        "theflow.settings": {"settings": settings},
        "ktem": {},
        "ktem.app": {"BaseApp": BaseApp},
        "ktem.components": {"reasonings": {"simple": object}},
        "ktem.mcp": {},
        "ktem.mcp.manager": {"mcp_manager": SimpleNamespace(info=lambda: {"files": {}})},
        "ktem.utils": {},
        "ktem.utils.lang": {"SUPPORTED_LANGUAGE_MAP": {"en": "English"}},
    }
    modules: dict[str, ModuleType] = {}
    for name, values in made.items():
        modules[name] = ModuleType(name)
        vars(modules[name]).update(values)
        monkeypatch.setitem(sys.modules, name, modules[name])
    return modules


@pytest.mark.usefixtures("packages")
class TestApplication:
    def test_what_it_knows(self) -> None:
        application = Application()
        assert (list(application.reasonings), list(application.languages)) == (["simple"], ["en"])
        assert (application.empty_answer, application.tool_servers) == ("(Sorry)", {"files": {}})
        assert application._app.asked == ["selector"], "an index has no files of a user before"

    def test_a_setting_that_is_missing_is_told(self, packages: dict[str, ModuleType]) -> None:
        del vars(packages["ktem.app"])["BaseApp"]
        with pytest.raises(ConfigError, match="Kotaemon cannot be imported: ImportError: cannot import name 'BaseApp'"):
            Application()

    def test_without_a_reasoning_there_is_nothing_to_serve(self, packages: dict[str, ModuleType]) -> None:
        vars(packages["ktem.components"])["reasonings"] = {}
        with pytest.raises(ConfigError, match="KH_REASONINGS"):
            Application()

    def test_nothing_of_a_run_is_written_to_the_disk(self, settings: Settings) -> None:
        Application()
        assert settings.MIDDLEWARE == {"theflow.Function": [], "ktem.Other": []}
        assert settings.CONTEXT == {"__type__": "wsserver.adapters.kotaemon_context.Context"}
        module, _, name = settings.CONTEXT["__type__"].rpartition(".")
        assert getattr(sys.modules[module], name) is Context

    def test_a_context_of_the_applications_own_stays(self, settings: Settings) -> None:
        settings.context = {"__type__": "mine.Context"}
        Application()
        assert settings.CONTEXT == {"__type__": "mine.Context"}

    @pytest.mark.parametrize("nobody", [None, ""])
    def test_nobody_is_no_user_and_the_one_user_where_none_are_known(self, nobody: str | None) -> None:
        application = Application()
        assert application.user(nobody) is None
        application._app.f_user_management = False
        assert application.user(nobody) == application.user("ada") == "default"


def test_a_retriever_finds_nothing_of_other_files() -> None:
    class Retriever:
        """Finds all that there is, like a store that does not look at what it is told."""

        def run(self, text: str) -> list[Document]:
            found = {"AMETHYST": {"file_id": "f1"}, "boils": {"file_id": "f2"}, "of no file": {}}
            return [Document(text, metadata=metadata) for text, metadata in found.items()]

    retriever = Retriever()
    confine(retriever, {"f2"})
    assert [document.text for document in retriever.run("vault")] == ["boils", "of no file"]
