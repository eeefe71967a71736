"""What fails at a model, whichever client it is asked through."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from tests.adapters.kotaemon_shapes import Document, Pipeline, chat
from tests.adapters.kotaemon_talking import ask
from tests.peer import text_of
from wsserver import TurnError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wsserver.adapters.kotaemon import Exchange, KotaemonTurn


class UpstreamError(Exception):
    """As clients of models raise it."""

    def __init__(self, status_code: int | None = None) -> None:
        super().__init__("the key is s3cret")
        self.status_code = status_code


UpstreamError.__module__ = "openai"
APITimeoutError = type("APITimeoutError", (UpstreamError,), {"__module__": "openai"})
ConnectError = type("ConnectError", (UpstreamError,), {"__module__": "httpx"})


def tried_again(last: Exception) -> Exception:
    error = RuntimeError("gave up")
    error.last_attempt = SimpleNamespace(failed=True, exception=lambda: last)  # type: ignore[attr-defined]
    return error


@pytest.mark.parametrize(
    ("error", "code", "retryable"),
    [
        (UpstreamError(429), "upstream_rate_limited", True),
        (UpstreamError(503), "upstream_failed", True),
        (UpstreamError(401), "upstream_denied", False),
        (UpstreamError(404), "upstream_not_found", False),
        (UpstreamError(400), "upstream_rejected", False),
        (UpstreamError(), "upstream_failed", True),
        (APITimeoutError(), "upstream_timeout", True),
        (ConnectError(), "upstream_unreachable", True),
        (TimeoutError(), "upstream_timeout", True),
        (ConnectionResetError(), "upstream_unreachable", True),
        (tried_again(UpstreamError(429)), "upstream_rate_limited", True),
        (ValueError("a bug"), "generation_failed", False),
        (TurnError("mine", "so it is", retryable=True), "mine", True),
    ],
)
def test_what_a_model_raises_ends_the_turn(
    error: Exception, code: str, retryable: bool, caplog: pytest.LogCaptureFixture
) -> None:
    kept: list[Exchange] = []

    def documents() -> Iterator[Document]:
        yield chat("Half ")
        raise error

    events = ask(lambda turn: Pipeline(documents()), store=lambda turn, exchange: kept.append(exchange))
    data = events[-1]["data"]
    assert (data["code"], data["retryable"], "s3cret" in data["message"]) == (code, retryable, False)
    assert text_of(events) == kept[0].answer == "Half "
    assert all("s3cret" not in record.message for record in caplog.records)


def test_what_it_was_raised_from_counts() -> None:
    def factory(turn: KotaemonTurn) -> Any:
        try:
            raise UpstreamError(429)
        except UpstreamError as exc:
            raise RuntimeError("no embedding") from exc

    assert ask(factory)[-1]["data"]["code"] == "upstream_rate_limited"
