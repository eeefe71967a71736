"""Who somebody is."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite


@dataclass(frozen=True, slots=True)
class User:
    """What `authenticate` found out. `id` names the person; limits are kept and sessions are owned by it.

    `expires` is when this is true no longer, in seconds since 1970 (`time.time()`), None for never: its connection is
    then closed with 4005, unless a fresh token has come.
    """

    id: str
    expires: float | None = None

    def __post_init__(self) -> None:
        if not self.id or not isinstance(self.id, str):
            raise ValueError(f"the id of a user is a text that is not empty, not {self.id!r}")
        if self.expires is not None and not isfinite(self.expires):
            raise ValueError(f"a user expires at a finite number of seconds since 1970, not {self.expires!r}")

    def has_expired(self, now: float) -> bool:
        """Whether it is too late, at `now`, in seconds since 1970."""
        return self.expires is not None and now >= self.expires
