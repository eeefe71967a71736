"""What fails at a model of Kotaemon, whichever client it is asked through, as the error that ends the turn.

The person is told what happened in general words; the details are for the log.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from ..errors import TurnError

if TYPE_CHECKING:
    from collections.abc import Iterator

logger = logging.getLogger(__name__)

_TIMEOUT = ("upstream_timeout", "the model did not answer in time; try again", True)
_UNREACHABLE = ("upstream_unreachable", "the model cannot be reached; try again", True)
_FAILED = ("upstream_failed", "the model failed; try again", True)
_REJECTED = ("upstream_rejected", "the model does not take this request", False)
_DENIED = ("upstream_denied", "the model does not let this server in", False)
_BY_STATUS = {
    401: _DENIED,
    403: _DENIED,
    404: ("upstream_not_found", "there is no such model", False),
    408: _TIMEOUT,
    409: _FAILED,
    429: ("upstream_rate_limited", "the model is asked too much; try again soon", True),
}
#: Clients of models and what they stand on; their exceptions have names in common, and no class.
_CLIENTS = frozenset("openai anthropic cohere google groq httpx httpcore requests urllib3 aiohttp ollama".split())


def turn_error(exc: Exception) -> TurnError | None:
    """The meaning of what a pipeline raised; None for what is no failure of a model."""
    for cause in _causes(exc):
        meaning = _meaning(cause)
        if meaning is not None:
            # What a client says may hold the key; its class and the code say enough.
            logger.warning("%s: %s", meaning[0], type(cause).__qualname__)
            return TurnError(*meaning)
    return None


def _causes(exc: BaseException) -> Iterator[BaseException]:
    """It, and what it stands for."""
    seen: set[int] = set()
    queue: list[BaseException | None] = [exc]
    while queue:
        one = queue.pop(0)
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        # What tried again and again has the last failure in a future.
        attempt = getattr(one, "last_attempt", None)
        if attempt is not None and attempt.failed:
            queue.append(attempt.exception())
        queue += [one.__cause__, None if one.__suppress_context__ else one.__context__]


def _meaning(exc: BaseException) -> tuple[str, str, bool] | None:
    if type(exc).__module__.partition(".")[0] not in _CLIENTS:
        if isinstance(exc, TimeoutError):
            return _TIMEOUT
        return _UNREACHABLE if isinstance(exc, ConnectionError) else None
    status = getattr(exc, "status_code", None) or getattr(getattr(exc, "response", None), "status_code", None)
    if isinstance(status, int):
        return _FAILED if status >= 500 else _BY_STATUS.get(status, _REJECTED)
    name = type(exc).__name__
    if "Timeout" in name:
        return _TIMEOUT
    return _UNREACHABLE if "Connect" in name else _FAILED
