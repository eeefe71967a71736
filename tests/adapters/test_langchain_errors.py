"""What goes wrong in a chain, as the person is told it."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.runnables import RunnableLambda

from tests.adapters.langchain_talking import ask, names
from tests.adapters.scripted import Scripted, says
from tests.peer import text_of
from wsserver import TurnError


@pytest.mark.parametrize(
    "kind, code, retryable",
    [
        ("RateLimitError", "upstream_rate_limited", True),
        ("InternalServerError", "upstream_failed", True),
        ("AuthenticationError", "upstream_denied", False),
        ("APIConnectionError", "upstream_cut", True),
        ("APITimeoutError", "upstream_timeout", True),
    ],
)
def test_of_an_endpoint(kind: str, code: str, retryable: bool, caplog: pytest.LogCaptureFixture) -> None:
    import httpx
    import openai

    request = httpx.Request("POST", "http://127.0.0.1/", headers={"Authorization": "Bearer s3cret"})
    made = getattr(openai, kind)
    if issubclass(made, openai.APIStatusError):
        status = {"RateLimitError": 429, "AuthenticationError": 401}.get(kind, 500)
        error = made("the key s3cret", response=httpx.Response(status, request=request), body=None)
    else:
        error = made(request=request)

    def fail(said: Any) -> str:
        raise error

    events = ask(Scripted(script=[says("Hel")]) | RunnableLambda(fail))
    assert text_of(events) == "Hel"
    assert events[-1]["data"].items() >= {"code": code, "retryable": retryable}.items()
    assert code in caplog.text and "s3cret" not in caplog.text


def test_of_the_application() -> None:
    def fail(said: Any) -> str:
        raise TurnError("closed", "We are closed.", retryable=True)

    events = ask(RunnableLambda(fail))
    assert events[-1]["data"].items() >= {"code": "closed", "retryable": True}.items()


def test_of_any_other_kind(caplog: pytest.LogCaptureFixture) -> None:
    events = ask(Scripted(script=[OSError("Hel")]))
    assert names(events) == ["start", "token", "error"]
    assert events[-1]["data"].items() >= {"code": "generation_failed", "retryable": False}.items()
    assert "OSError: Hel" in caplog.text
