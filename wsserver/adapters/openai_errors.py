"""What goes wrong at a model's endpoint, as the error that ends the turn.

The person is told what happened in general words. The details are for the log, without the key, which some endpoints
repeat in their answers.
"""

from __future__ import annotations

import logging
from typing import Any

from ..errors import TurnError

logger = logging.getLogger(__name__)

#: Code, what the person is told, and whether the same message may be sent again: by what the endpoint calls it,
#: whatever the status is, else by the status.
_BY_CODE: dict[str, tuple[str, str, bool]] = {
    "insufficient_quota": ("upstream_quota", "the quota of the model is used up", False),
    "context_length_exceeded": ("upstream_too_long", "this conversation is too long for the model", False),
    "rate_limit_exceeded": ("upstream_rate_limited", "the model is asked too much; try again soon", True),
    "content_filter": ("upstream_filtered", "the model may not answer this", False),
}
_BY_STATUS: dict[int, tuple[str, str, bool]] = {
    401: ("upstream_denied", "the model does not let this server in", False),
    403: ("upstream_denied", "the model does not let this server in", False),
    404: ("upstream_not_found", "there is no such model", False),
    408: ("upstream_timeout", "the model did not answer in time; try again", True),
    409: ("upstream_failed", "the model failed; try again", True),
    429: _BY_CODE["rate_limit_exceeded"],
}
_FAILED = ("upstream_failed", "the model failed; try again", True)
_REJECTED = ("upstream_rejected", "the model does not take this request", False)
_TIMEOUT = _BY_STATUS[408]
_UNREACHABLE = ("upstream_unreachable", "the model cannot be reached; try again", True)
_TOO_MUCH = ("upstream_too_much", "the model says too much", False)
CUT = "upstream_cut"
_CUT = (CUT, "the model broke off; try again", True)


def turn_error(exc: Exception, secret: str, *, streaming: bool = False) -> TurnError:
    """What a failure of the client, `streaming` or before, means for the turn; logs it without `secret`, the key."""
    error = TurnError(*_meaning(exc, streaming))
    text = f"{type(exc).__name__}: {exc}"
    logger.warning("%s: %s", error.code, text.replace(secret, "…") if secret else text)
    return error


def cut() -> TurnError:
    """A stream that ended without saying so."""
    logger.warning("upstream_cut: the stream ended without a finish_reason")
    return TurnError(*_CUT)


def too_much() -> TurnError:
    """A stream that goes on and on, or calls more functions than anybody would run."""
    logger.warning("upstream_too_much: the stream was given up")
    return TurnError(*_TOO_MUCH)


def filtered() -> TurnError:
    """A stream that the endpoint ended because of what it was about to say."""
    return TurnError(*_BY_CODE["content_filter"])


def _meaning(exc: Any, streaming: bool) -> tuple[str, str, bool]:
    # By the names of their classes: the clients of many others than OpenAI are of the same make.
    kinds = {kind.__name__ for kind in type(exc).__mro__}
    if "APITimeoutError" in kinds:
        return _TIMEOUT
    if "APIConnectionError" in kinds:
        return _CUT if streaming else _UNREACHABLE
    if "APIError" not in kinds:
        # Of the library under the client, or of JSON: the stream was cut in the middle, or is none of this format.
        return _CUT if streaming else _FAILED
    for name in (getattr(exc, "code", None), getattr(exc, "type", None)):
        if name in _BY_CODE:
            return _BY_CODE[name]
    if "APIStatusError" not in kinds:
        return _FAILED  # an error in place of a chunk
    if exc.status_code >= 500:
        return _FAILED
    return _BY_STATUS.get(exc.status_code, _REJECTED)
