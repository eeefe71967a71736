"""What goes wrong with Redis, in words that say what to do."""

from __future__ import annotations

from typing import Any

from redis.asyncio.sentinel import MasterNotFoundError
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    ClusterDownError,
    ClusterError,
    MovedError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisClusterException,
    RedisError,
    ResponseError,
    TimeoutError,
)

from ..config import flag
from ..errors import StoreError


class MisconfigurationError(ResponseError):
    """Redis cannot save its data, and therefore takes no more of it."""


_ADVICE: tuple[tuple[type[Exception], str], ...] = (
    (AuthenticationError, f"refuses the user or the password: look at those in {flag('redis')}"),
    (NoPermissionError, "does not let this user do what is needed: its ACL must allow it"),
    (OutOfMemoryError, "has no memory left: raise its maxmemory, or keep sessions for a shorter time"),
    (ReadOnlyError, "is a replica, which takes no writes: give the address of the primary, or of the sentinels"),
    (MisconfigurationError, "takes nothing because it cannot save its data: see its log and its disk"),
    (MovedError, f"is a node of a cluster: write redis+cluster://… in {flag('redis')}"),
    (ClusterDownError, "is a cluster that does not serve now: see CLUSTER INFO on its nodes"),
    (BusyLoadingError, "is still loading its data"),
    (MasterNotFoundError, "has no primary that the sentinels know by this name, or none of them answers"),
    (TimeoutError, "does not answer in time: see whether it runs, and what keeps it busy"),
    (ResponseError, "refuses what is asked of it"),
    (ClusterError, "is a cluster that does not serve now: see CLUSTER INFO on its nodes"),
    (RedisClusterException, "cannot be used as a cluster: see whether its nodes run, and are one"),
    (RedisError, f"cannot be reached: see whether it runs, and whether {flag('redis')} is right"),
    (OSError, f"cannot be reached: see whether it runs, and whether {flag('redis')} is right"),
)


#: What an error inside a script is about, where Redis or redis-py does not say it by its class.
_INSIDE: tuple[tuple[str, type[ResponseError]], ...] = (
    ("-OOM ", OutOfMemoryError),
    ("-READONLY ", ReadOnlyError),
    ("user executing the script can't run", NoPermissionError),
    ("ACL failure in script", NoPermissionError),
    ("MISCONF ", MisconfigurationError),
)


def recognised(answer: Any) -> Any:
    """What Redis answered; where it is an error, of a class that says what it is about."""
    if type(answer) is ResponseError:
        for mark, kind in _INSIDE:
            if mark in str(answer):
                return kind(str(answer))
    return answer


def is_trouble(answer: Any) -> bool:
    """Whether that is an error that is about this Redis, and not about one command, as a plain `ResponseError` is."""
    return isinstance(answer, Exception) and type(answer) is not ResponseError


def explain(exc: Exception, shown: str) -> StoreError:
    """The error for callers; `shown` is the address as people may see it."""
    advice = next((text for kind, text in _ADVICE if isinstance(exc, kind)), f"fails with {type(exc).__name__}")
    # What this one says describes connections, with all their settings.
    detail = "" if isinstance(exc, MasterNotFoundError) else f" ({exc})"
    return StoreError(f"Redis at {shown} {advice}{detail}")
