"""What goes wrong with Redis, in words that say what to do."""

from __future__ import annotations

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

_ADVICE: tuple[tuple[type[Exception], str], ...] = (
    (AuthenticationError, f"refuses the user or the password: look at those in {flag('redis')}"),
    (NoPermissionError, "does not let this user do what is needed: its ACL must allow it"),
    (OutOfMemoryError, "has no memory left: raise its maxmemory, or keep sessions for a shorter time"),
    (ReadOnlyError, "is a replica, which takes no writes: give the address of the primary, or of the sentinels"),
    (MovedError, f"is a node of a cluster: write redis+cluster://… in {flag('redis')}"),
    (ClusterDownError, "is a cluster that does not serve now: see CLUSTER INFO on its nodes"),
    (BusyLoadingError, "is still loading its data"),
    (TimeoutError, "does not answer in time: see whether it runs, and what keeps it busy"),
    (ResponseError, "refuses what is asked of it"),
    (ClusterError, "is a cluster that does not serve now: see CLUSTER INFO on its nodes"),
    (RedisClusterException, "cannot be used as a cluster: see CLUSTER INFO on its nodes"),
    (RedisError, f"cannot be reached: see whether it runs, and whether {flag('redis')} is right"),
    (OSError, f"cannot be reached: see whether it runs, and whether {flag('redis')} is right"),
)


def explain(exc: Exception, shown: str) -> StoreError:
    """The error for callers; `shown` is the address as people may see it."""
    advice = next(text for kind, text in _ADVICE if isinstance(exc, kind))
    error = StoreError(f"Redis at {shown} {advice} ({exc})")
    error.__cause__ = exc
    return error
