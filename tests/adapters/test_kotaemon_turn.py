"""What a factory of pipelines knows of its turn."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from tests.adapters.kotaemon_shapes import Pipeline, chat
from tests.adapters.kotaemon_talking import ask
from tests.peer import text_of

if TYPE_CHECKING:
    from wsserver.adapters.kotaemon import KotaemonTurn


def test_what_a_factory_is_given() -> None:
    def factory(turn: KotaemonTurn) -> Pipeline:
        assert threading.current_thread().name == f"turn 1 of {turn.session.id}"
        assert (turn.message, turn.conversation, turn.session.user) == ("Tea?", turn.session.id, None)
        assert [said["content"] for said in turn.history] == [{"text": "Tea?"}]
        turn.session.state["seen"] = True
        turn.conversation = "c1"
        return pipelines[0]

    pipelines = [Pipeline([chat("yes")])]
    assert text_of(ask(factory, {"text": "Tea?"})) == "yes"
    assert pipelines[0].asked == [("Tea?", "c1", [])]


@pytest.mark.parametrize("content", [" ", 3, ["a"], {"selected": []}, {"content": 3}])
def test_what_is_no_question(content: Any) -> None:
    [_, error] = ask(lambda turn: Pipeline([]), content)
    assert (error["event"], error["data"]["code"], error["data"]["retryable"]) == ("error", "bad_content", False)
