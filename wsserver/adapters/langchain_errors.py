"""What goes wrong in a chain, as the error that ends the turn."""

from __future__ import annotations

from typing import Any

from ..errors import TurnError
from . import openai_errors


def turn_error(exc: Exception, *, streaming: bool) -> TurnError | None:
    """What a failure means for the turn, `streaming` or before; None for what is none of a model's endpoint.

    The clients of OpenAI, Anthropic and many others are of one make, and have the same classes.
    """
    kinds = {kind.__name__ for kind in type(exc).__mro__}
    if "GraphRecursionError" in kinds:
        return no_answer()
    if "APIError" in kinds and hasattr(exc, "request"):
        return openai_errors.turn_error(exc, _key(exc), streaming=streaming)
    return None


def no_answer() -> TurnError:
    """It goes round and round."""
    return TurnError("too_many_rounds", "the model came to no answer")


def _key(exc: Any) -> str:
    """The secret that was sent to the endpoint."""
    headers = getattr(getattr(exc, "request", None), "headers", {})
    return str(headers.get("authorization") or headers.get("x-api-key") or "").rpartition(" ")[2]
