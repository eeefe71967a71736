"""What a session knows of those who read it, and of those who wait for them."""

from __future__ import annotations

from typing import Any, Protocol


class Reader(Protocol):
    """What a session knows of the connection that reads it. `marked`: it has been woken, and has not looked yet."""

    marked: bool

    @property
    def full(self) -> bool:
        """Whether it is too far behind for what need not be kept."""
        ...

    def wake(self) -> None:
        """There is something new in the log."""

    def send(self, payload: bytes) -> None:
        """Sends an event that is not logged."""


class Gate(Protocol):
    """Where callbacks wait until their reader has caught up."""

    def set(self) -> None:
        """Lets all of them go on."""

    async def wait(self) -> Any:
        """Waits until then."""
