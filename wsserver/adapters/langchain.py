"""Any `Runnable` of LangChain, and any graph of LangGraph, as a callback.

::

    generate = langchain.callback(prompt | model | StrOutputParser())
    generate = langchain.callback(builder.compile(checkpointer=saver))

What it does is read from its events (`astream_events`): the text of its models, tools, documents and usage. A graph's
`interrupt` is a question to the person, whose answer resumes it. The packages are imported when a callback is made,
and not before. What ends the turn closes the stream of events, and with it whatever runs behind it.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from contextlib import aclosing
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, cast

from ..chat.events import Status
from ..errors import ConfigError
from .langchain_errors import no_answer, turn_error
from .langchain_events import Story
from .langchain_input import ConversationInput, ThreadInput, content, takes_messages
from .langchain_questions import ask as ask_person
from .langchain_values import source_of
from .langchain_watch import Watch
from .openai import MAX_HISTORY

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from langchain_core.documents import Document
    from langchain_core.runnables import Runnable, RunnableConfig
    from langgraph.types import Interrupt

    from ..chat.events import Source
    from ..chat.turn import Turn

    Event = Mapping[str, Any]

__all__ = ["Chain", "callback"]

logger = logging.getLogger(__name__)

#: How often a graph may ask the person in one turn.
MAX_INTERRUPTS = 32


def callback(
    runnable: Runnable[Any, Any],
    *,
    input: Callable[[Turn], Any] | None = None,
    config: RunnableConfig | Callable[[Turn], RunnableConfig] | None = None,
    ask: Callable[[Turn, Interrupt], Awaitable[Any]] = ask_person,
    shows: Callable[[Event], bool] | None = None,
    source: Callable[[Document], Source | None] = source_of,
    max_history: int = MAX_HISTORY,
) -> Chain:
    """The callback that answers with what `runnable` says.

    `input`, sync or async, makes of a turn what it is given. Without one, a graph gets `{"messages": […]}`; a model, or
    a chain that begins with one or with a prompt of nothing but messages, gets the messages; any other gets the
    `content` of the turn. The messages are the last `max_history` characters of the conversation; where a graph has a
    checkpointer, only those that its thread does not hold.

    `config` goes along; its `configurable` has the session's id as `thread_id`, unless it gives one. `ask` answers an
    interrupt of a graph. `shows` is given the event that a model or a node of a graph begins with, and says whether its
    text is part of the answer. `source` is what a document is shown as, None to hide it.

    Raises `ConfigError` where the package is missing, or for what is no `Runnable`.
    """
    graph = _graph(runnable)
    if input is not None:
        given: Any = input
    elif graph is None:
        given = ConversationInput(max_history) if takes_messages(runnable) else content
    elif "messages" not in graph.channels:
        raise ConfigError("the state of this graph has no messages: say what it is given, by input=lambda turn: …")
    else:
        given = ThreadInput(graph, max_history)
    return Chain(runnable, graph=graph, given=given, config=config, ask=ask, shows=shows, source=source)


class Chain:
    """What `callback` returns. `answer` gives the runnable something else than the conversation."""

    def __init__(
        self,
        runnable: Any,
        *,
        graph: Any,
        given: Any,
        config: Any,
        ask: Callable[[Turn, Interrupt], Awaitable[Any]],
        shows: Callable[[Event], bool] | None,
        source: Callable[[Document], Source | None],
    ) -> None:
        self._runnable = runnable
        self._graph = graph
        self._given = given
        self._config = config
        self._ask = ask
        self._shows = shows
        self._source = source

    def __repr__(self) -> str:
        return f"<Chain {self._runnable.get_name()}>"

    async def __call__(self, turn: Turn) -> None:
        if isinstance(self._given, ThreadInput):
            given = await self._given(turn, self.config(turn))
        else:
            given = self._given(turn)
            if isawaitable(given):
                given = await given
        await self.answer(turn, given)

    def config(self, turn: Turn) -> RunnableConfig:
        """The configuration of a turn."""
        given = self._config(turn) if callable(self._config) else self._config
        config = cast("RunnableConfig", dict(given or {}))
        config["configurable"] = {"thread_id": turn.session.id, **config.get("configurable", {})}
        return config

    async def answer(self, turn: Turn, given: Any) -> None:
        """Runs it with `given`, shows what it does, asks what it asks, and adds to `turn.usage`.

        Raises `TurnError`, or whatever the runnable raises.
        """
        from langchain_core.runnables.config import merge_configs

        watch = Watch()
        config = merge_configs(self.config(turn), {"callbacks": [watch.handler()]})
        usage = dict(turn.usage or {})
        story = Story(self._shows, self._source, usage, watch.failed, graph=self._graph is not None)
        interrupts: Mapping[str, Interrupt] = {}
        for _ in range(MAX_INTERRUPTS):
            try:
                await self._run(turn, story, watch, given, config)
                interrupts = story.interrupts
            except Exception as exc:
                interrupts = await self._open(exc, config) if interrupts else {}
                if not interrupts:
                    for item in story.broken():
                        turn.publish(item)
                    error = turn_error(exc, streaming=bool(turn.text))
                    if error is None:
                        raise
                    raise error from exc
                await turn.send(Status("This answer does not fit."))
            if not interrupts:
                return
            given = await self._resume(turn, interrupts)
        raise no_answer()

    async def _run(self, turn: Turn, story: Story, watch: Watch, given: Any, config: Any) -> None:
        # What nodes write for whoever looks comes only if it is asked for.
        more = {"stream_mode": ["updates", "custom"]} if self._graph is not None else {}
        story.begin()
        async with aclosing(self._runnable.astream_events(given, config, version="v2", **more)) as events:
            async for event in events:
                for item in story.items(event):
                    await watch.show(turn, item)
                turn.usage = story.usage or None
        for item in story.end():
            await watch.show(turn, item)
        if story.at_breakpoint:
            logger.warning("%r stands at a breakpoint: nobody is asked there, only at an interrupt()", self)

    async def _open(self, exc: Exception, config: Any) -> dict[str, Interrupt]:
        """The interrupts that are open again because an answer did not fit their `response_schema`; none else."""
        import langgraph.errors

        is_invalid = getattr(langgraph.errors, "is_invalid_resume", None)
        if is_invalid is None or not is_invalid(exc):
            return {}
        return {one.id: one for one in (await self._graph.aget_state(config)).interrupts}

    async def _resume(self, turn: Turn, interrupts: Mapping[str, Interrupt]) -> Any:
        """Asks the person, all at once; what the graph goes on with."""
        from langgraph.types import Command

        if not self._graph.checkpointer:
            raise ConfigError("a graph that interrupts needs a checkpointer: builder.compile(checkpointer=…)")
        try:
            async with asyncio.TaskGroup() as group:
                answers = {name: group.create_task(self._answer(turn, one)) for name, one in interrupts.items()}
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None
        return Command(resume={name: answer.result() for name, answer in answers.items()})

    async def _answer(self, turn: Turn, interrupt: Interrupt) -> Any:
        return await self._ask(turn, interrupt)


def _graph(runnable: Any) -> Any:
    """`runnable` if it is a graph of LangGraph. Raises `ConfigError` for what is no `Runnable`."""
    try:
        from langchain_core.runnables import Runnable
    except ImportError as exc:
        raise ConfigError("a chain needs the package langchain-core: pip install 'wsserver[langchain]'") from exc
    if not isinstance(runnable, Runnable):
        hint = ": compile() it first" if hasattr(runnable, "compile") else ""
        raise ConfigError(f"a chain or a graph is a Runnable, not {type(runnable).__name__}{hint}")
    # Whoever made a graph has loaded its package, which takes a second.
    pregel = sys.modules.get("langgraph.pregel")
    return runnable if pregel is not None and isinstance(runnable, pregel.Pregel) else None
