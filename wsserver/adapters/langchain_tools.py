"""The tools of a turn, each call shown once.

A tool that interrupts its graph begins anew when that is resumed, and so do those that ran beside it: for the person
that is the same call, which goes on.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from typing import TYPE_CHECKING, Any

from ..chat.events import Tool
from .functions import jsonable
from .langchain_values import output_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

logger = logging.getLogger(__name__)


class _Call:
    __slots__ = ("end", "id", "name")

    def __init__(self, id: str, name: str) -> None:
        self.id = id
        self.name = name
        self.end: Tool | None = None  # as it was shown


class Tools:
    """Told of the runs of tools by the events of LangChain."""

    def __init__(self) -> None:
        self._calls: dict[str, list[_Call]] = {}  # by what they do: task, name and input
        self._seen: Counter[str] = Counter()  # how many of these in this run
        self._running: dict[str, _Call] = {}  # by the id of the run

    def begin(self) -> None:
        """A run begins, after an interrupt perhaps."""
        self._seen.clear()
        self._running.clear()

    def started(self, event: Mapping[str, Any], task: str) -> Iterator[Tool]:
        name, given = event["name"], jsonable(event["data"].get("input"))
        what = json.dumps([task, name, given], sort_keys=True)
        known = self._calls.setdefault(what, [])
        number = self._seen[what]
        self._seen[what] += 1
        if number == len(known):
            known.append(_Call(str(event["run_id"]), name))
            yield Tool(known[number].id, name, "started", input=given)
        self._running[event["run_id"]] = known[number]

    def ended(self, event: Mapping[str, Any]) -> Iterator[Tool]:
        output = event["data"].get("output")
        if getattr(output, "status", None) == "error":
            # What it says is for the model.
            yield from self._end(event["run_id"], "failed")
        else:
            yield from self._end(event["run_id"], "finished", output_of(output))

    def failed(self, event: Mapping[str, Any]) -> Iterator[Tool]:
        error = event["data"].get("error")
        kinds = {kind.__name__ for kind in type(error).__mro__}
        if "GraphInterrupt" in kinds:
            return  # it goes on once the person has answered
        if "GraphBubbleUp" in kinds:  # it sends the graph elsewhere
            yield from self._end(event["run_id"], "finished")
            return
        logger.warning("the tool %r failed", event["name"], exc_info=error)
        yield from self._end(event["run_id"], "failed")

    def broken(self) -> Iterator[Tool]:
        """All has ended, they too."""
        for calls in self._calls.values():
            for call in calls:
                if call.end is None:
                    call.end = Tool(call.id, call.name, "failed", error=f"{call.name} failed")
                    yield call.end

    def _end(self, run: str, status: Any, output: Any = None) -> Iterator[Tool]:
        call = self._running.pop(run, None)
        if call is None:
            return
        error = f"{call.name} failed" if status == "failed" else None
        end = Tool(call.id, call.name, status, output=output, error=error)
        # Of one that ran again only what is new.
        if end != call.end:
            call.end = end
            yield end
