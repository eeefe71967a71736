"""What the events of LangChain (`astream_events`, version 2) mean for the person.

The same text comes several times: from the model, from each chain around it, and in the state of a graph. It is taken
from the model; from a node of a graph where no model has said it; from the whole where neither a model nor a node says
anything. What a model says inside of a tool or a retriever is for these and not for the person.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..chat.events import Custom, Reset, Source, Status, Token, Tool
from .langchain_answer import Answer
from .langchain_tools import Tools
from .langchain_values import documents_of, is_answer, messages_of, text_of, thinks
from .openai_reply import add_usage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ..chat.events import Item

    Event = Mapping[str, Any]

#: LangChain's own tags for what is not to be streamed, or not to be seen.
HIDDEN = frozenset({"nostream", "langsmith:hidden"})

_ITEMS = (Token, Tool, Source, Status, Reset, Custom)


class Story:
    """The events of one turn: of one run, or of several of a graph that is interrupted and resumed.

    `interrupts` are those that the last run ended with, by their ids. `failed` holds the runs of models that failed.
    """

    def __init__(
        self,
        shows: Callable[[Event], bool] | None,
        source: Callable[[Any], Source | None],
        usage: dict[str, Any],
        failed: set[str],
        *,
        graph: bool,
    ) -> None:
        self.usage = usage
        self.interrupts: dict[str, Any] = {}
        self.at_breakpoint = False
        self._graph = graph
        self._shows = shows
        self._source = source
        self._answer = Answer(failed)
        self._tools = Tools()
        self._within: set[str] = set()  # runs of tools and retrievers
        self._models: dict[str, bool] = {}  # those that run and are part of the answer: whether anything came
        self._known: dict[int, Any] = {}  # messages that are no news, kept so that no other one gets their `id()`
        self._ids: set[Any] = set()  # and their own ids
        self._told = False  # a model or a node has its say
        self._thinking = ""
        self._sources: set[tuple[Any, ...]] = set()
        self._meaning: dict[str, Callable[[Event], Iterator[Item]]] = {
            "on_chat_model_start": self._model_started,
            "on_chat_model_stream": self._model_says,
            "on_chat_model_end": self._model_ended,
            "on_llm_start": self._model_started,
            "on_llm_stream": self._model_says,
            "on_llm_end": self._model_ended,
            "on_tool_start": self._tool_started,
            "on_tool_end": self._tool_ended,
            "on_tool_error": self._tools.failed,
            "on_retriever_start": self._retriever_started,
            "on_retriever_end": self._retriever_ended,
            "on_chain_start": self._chain_started,
            "on_chain_stream": self._chain_says,
            "on_chain_end": self._chain_ended,
            "on_custom_event": self._custom,
        }

    def begin(self) -> None:
        """A run begins."""
        self.interrupts = {}
        self.at_breakpoint = False
        self._answer.begin()
        self._tools.begin()
        self._within.clear()
        self._models.clear()

    def items(self, event: Event) -> Iterator[Item]:
        """What to show of an event."""
        meaning = self._meaning.get(event["event"])
        if meaning is not None:
            yield from meaning(event)

    def end(self) -> Iterator[Item]:
        """The run has ended well; what to show of what was held back."""
        yield from self._answer.end()
        if not self.interrupts:
            yield from self._tools.broken()

    def broken(self) -> Iterator[Item]:
        """The run failed."""
        yield from self._tools.broken()

    # -- models --------------------------------------------------------------------------------------------------

    def _model_started(self, event: Event) -> Iterator[Item]:
        if self._speaks(event):
            self._told = True
            self._models[event["run_id"]] = False
        yield from ()

    def _model_says(self, event: Event) -> Iterator[Item]:
        run, chunk = event["run_id"], event["data"].get("chunk")
        # Not the piece itself: all of them would be kept.
        self._ids.add(getattr(chunk, "id", None))
        if run not in self._models:
            return
        text = text_of(chunk)
        if text:
            self._models[run] = True
            yield from self._answer.add(run, _task(event), text)
        elif self._thinking != run and not self._models[run] and thinks(chunk):
            self._thinking = run
            yield Status("Thinking …")

    def _model_ended(self, event: Event) -> Iterator[Item]:
        run, output = event["run_id"], event["data"].get("output")
        self._know(output)
        add_usage(self.usage, dict(getattr(output, "usage_metadata", None) or {}))
        streamed = self._models.pop(run, None)
        if streamed is None:
            return
        if not streamed:  # one that does not stream
            yield from self._answer.add(run, _task(event), text_of(output))
        yield from self._answer.end(run)

    def _speaks(self, event: Event) -> bool:
        """Whether what a model or a node says is part of the answer."""
        return (
            self._within.isdisjoint(event["parent_ids"])
            and HIDDEN.isdisjoint(event["tags"])
            and (self._shows is None or self._shows(event))
        )

    # -- tools and retrievers ------------------------------------------------------------------------------------

    def _tool_started(self, event: Event) -> Iterator[Item]:
        self._within.add(event["run_id"])
        if HIDDEN.isdisjoint(event["tags"]):
            yield from self._tools.started(event, _task(event))

    def _tool_ended(self, event: Event) -> Iterator[Item]:
        yield from self._show_sources(documents_of(event["data"].get("output")))
        yield from self._tools.ended(event)

    def _retriever_started(self, event: Event) -> Iterator[Item]:
        self._within.add(event["run_id"])
        yield from ()

    def _retriever_ended(self, event: Event) -> Iterator[Item]:
        if HIDDEN.isdisjoint(event["tags"]):
            yield from self._show_sources(event["data"].get("output") or ())

    def _show_sources(self, documents: Any) -> Iterator[Item]:
        for document in documents:
            source = self._source(document)
            if source is None:
                continue
            # Often found by several, and again by a node that runs again.
            key = (source.title, source.text, source.url)
            if key not in self._sources:
                self._sources.add(key)
                yield source

    # -- chains, graphs and their nodes --------------------------------------------------------------------------

    def _chain_started(self, event: Event) -> Iterator[Item]:
        if _is_node(event):
            for message in messages_of(event["data"].get("input")):
                self._know(message)
        yield from ()

    def _chain_says(self, event: Event) -> Iterator[Item]:
        if event["parent_ids"]:
            return
        chunk = event["data"].get("chunk")
        if self._graph:
            kind, value = chunk  # the mode of the stream
            if kind == "custom":
                yield _written(value)
            elif "__interrupt__" in value:
                self.interrupts |= {one.id: one for one in value["__interrupt__"]}
                self.at_breakpoint = not self.interrupts
        elif not self._told and (isinstance(chunk, str) or is_answer(chunk)):
            yield from self._answer.add(event["run_id"], "", text_of(chunk))

    def _chain_ended(self, event: Event) -> Iterator[Item]:
        if not _is_node(event):
            return
        speaks = self._speaks(event)
        for number, message in enumerate(messages_of(event["data"].get("output"))):
            if self._knows(message):
                continue
            self._know(message)
            if speaks and is_answer(message):
                self._told = True
                # Many nodes make a message of their own of what a model said.
                yield from self._answer.whole(f"{event['run_id']}.{number}", _task(event), text_of(message))

    def _custom(self, event: Event) -> Iterator[Item]:
        data = event["data"]
        yield Custom(event["name"], data if isinstance(data, Mapping) else {"value": data})

    def _know(self, message: Any) -> None:
        self._known[id(message)] = message
        self._ids.add(getattr(message, "id", None))

    def _knows(self, message: Any) -> bool:
        # Most get their own ids only when they have become part of the state.
        name = getattr(message, "id", None)
        return id(message) in self._known or (name is not None and name in self._ids)


def _task(event: Event) -> str:
    """The task of a graph that an event belongs to: the same where it runs again, and never another's."""
    return str(event["metadata"].get("langgraph_checkpoint_ns", ""))


def _is_node(event: Event) -> bool:
    return any(tag.startswith("graph:step:") for tag in event["tags"])


def _written(value: Any) -> Item:
    """What a node gave to its stream writer."""
    if isinstance(value, _ITEMS):
        return value
    if isinstance(value, str):
        return Status(value)
    return Custom("custom", value if isinstance(value, Mapping) else {"value": value})
