"""The tools of Kotaemon's agents: one's own in each turn, and shown while they run.

Kotaemon has one set of tools for all: building a pipeline tells the global `docsearch` whose documents it is to search,
while another user's agent may be about to call it. So pipelines are built one at a time, and each gets tools of its own
before the next one is.
"""

from __future__ import annotations

import asyncio
import copy
import threading
from typing import TYPE_CHECKING, Any

from .kotaemon_html import plain

if TYPE_CHECKING:
    from collections.abc import Callable

    from .sync_turn import SyncTurn

#: The longest output of a tool that is shown, in characters.
MAX_OUTPUT = 50_000

_building = threading.Lock()


def build(factory: Callable[[], Any], turn: SyncTurn) -> Any:
    """The pipeline of a factory, whose tools are shown in `turn` and shared with nobody."""
    with _building:
        pipeline = factory()
        agent: Any = getattr(pipeline, "agent", None)
        plugins = getattr(agent, "plugins", None)
        if isinstance(plugins, list | tuple):
            agent.plugins = [Watched(_own(tool), turn) for tool in plugins]
    return pipeline


def steps(pipeline: Any) -> list[Any]:
    """The steps that its agent has taken so far, `(action, result)` each; of an agent that counts none, none."""
    found = getattr(getattr(pipeline, "agent", None), "intermediate_steps", None)
    return found if isinstance(found, list) else []


def thought(step: Any) -> str:
    """Why a step was taken, in the words of the model; empty where it says nothing, or the answer itself."""
    action = step[0] if isinstance(step, tuple | list) and step else step
    if not hasattr(action, "tool"):
        return ""
    text = str(getattr(action, "log", "")).partition("Action")[0].strip()
    return text.removeprefix("Thought:").strip()


class Watched:
    """A tool as an agent calls it, from any thread; the person sees its name, what it is given and what it says."""

    def __init__(self, tool: Any, turn: SyncTurn) -> None:
        self._tool = tool
        self._turn = turn

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tool, name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._turn.cause is not None:
            # Nobody waits for what the agent is about to do.
            raise asyncio.CancelledError
        with self._turn.tool(str(self._tool.name), input=_input(args, kwargs)) as step:
            result = self._tool(*args, **kwargs)
            step.finish(output=self._output(result))
        return result

    def _output(self, result: Any) -> str:
        text = str(getattr(result, "content", result))
        # What is searched in documents comes as HTML; another tool may speak of it.
        return (plain(text) if hasattr(self._tool, "retrievers") else text)[:MAX_OUTPUT]


def _own(tool: Any) -> Any:
    """A tool like this one, that nobody else holds."""
    attributes = getattr(tool, "_attrx", None)
    if not isinstance(attributes, dict):
        return copy.copy(tool)
    # One of theflow. A copy would share what it remembers, and its middleware would run the original.
    own = type(tool)()
    for name, value in [item for values in attributes.values() for item in values.items()]:
        if not getattr(getattr(type(tool), name, None), "_auto_callback", None):
            setattr(own, name, value)
    return own


def _input(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if not kwargs and len(args) == 1:
        return args[0] if isinstance(args[0], str | dict) else str(args[0])
    return {**{str(index): str(value) for index, value in enumerate(args)}, **{k: str(v) for k, v in kwargs.items()}}
