"""What was asked of the server and is not answered yet. It outlives connections: each gets it again, in order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .errors import ChatError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: What a request comes to: the data of its answer, or an error.
Result = dict[str, Any] | ChatError


@dataclass(slots=True, eq=False)
class Request:
    """A client event under the name `ref`, as `text`; `settle` is called once, with what came of it."""

    ref: str
    name: str
    text: str
    settle: Callable[[Result], object]
    for_all: bool = False  # a stop of all that runs or waits
    copies: int = 0  # how often it was sent
    sent: bool = False  # on the present connection


class Outbox:
    """Requests in the order they were made."""

    def __init__(self) -> None:
        self._requests: dict[str, Request] = {}

    def add(self, request: Request) -> None:
        self._requests[request.ref] = request

    def find(self, ref: str) -> Request | None:
        return self._requests.get(ref)

    def first(self, name: str) -> Request | None:
        """The oldest request for an event that is answered without a name."""
        return next((request for request in self._requests.values() if request.name == name), None)

    def remove(self, request: Request) -> None:
        self._requests.pop(request.ref, None)

    def clear(self) -> list[Request]:
        """Takes all of them out."""
        requests = list(self._requests.values())
        self._requests.clear()
        return requests

    def disconnected(self) -> None:
        """All have to be sent again."""
        for request in self._requests.values():
            request.sent = False

    def due(self) -> Iterator[Request]:
        """What is to be sent now; it counts as sent.

        No message overtakes a stop of all: were both lost and sent again, the stop would end what the message began.
        """
        stopping = False
        for request in self._requests.values():
            stopping = stopping or request.for_all
            if not request.sent and not (stopping and request.name == "message"):
                request.sent = True
                request.copies += 1
                yield request
