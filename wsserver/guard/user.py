"""Who somebody is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class User:
    """What `authenticate` found out. `id` names the person; limits are kept and sessions are owned by it."""

    id: str

    def __post_init__(self) -> None:
        if not self.id or not isinstance(self.id, str):
            raise ValueError(f"the id of a user is a text that is not empty, not {self.id!r}")
