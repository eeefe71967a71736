"""Any endpoint that speaks OpenAI's Chat Completions, as a callback.

::

    wsserver serve wsserver.adapters.openai:app

    generate = openai.callback("gpt-4o-mini", system="You are …", tools={"weather": weather})

It is asked through the `openai` package, whose variables count: `OPENAI_BASE_URL`, `OPENAI_API_KEY` and so on; the
model is that of `OPENAI_MODEL` if none is given. The package is imported when a callback is made, and not before.

A request that fails is tried again by the client, as often as its `max_retries` says; so is a stream that breaks before
anything of it was shown, and never one that breaks later. What ends the turn closes the stream, at once: an endpoint
that is not told goes on, and is paid.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from ..chat.events import Status
from ..errors import TurnError
from .functions import ArgumentsError, Callee, Function, callees, jsonable
from .openai_clients import Clients, Given, Made
from .openai_errors import CUT, cut, filtered, too_much, turn_error
from .openai_reply import Reply, ToolCall, add_usage

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence

    from openai import AsyncOpenAI

    from ..chat.turn import Turn

__all__ = ["Chat", "Function", "callback", "messages"]

logger = logging.getLogger(__name__)

#: What is asked where neither an argument nor `OPENAI_MODEL` names a model.
DEFAULT_MODEL = "gpt-4o-mini"

#: How often a turn may ask the model, and how much it is told of the conversation, in characters.
MAX_ROUNDS = 8
MAX_HISTORY = 200_000

_CUT_MARK = " […]"


def callback(
    model: str | None = None,
    *,
    system: str | None = None,
    tools: Mapping[str, Function | Callable[..., Any]] | None = None,
    client: AsyncOpenAI | None = None,
    max_rounds: int = MAX_ROUNDS,
    max_history: int = MAX_HISTORY,
    **options: Any,
) -> Chat:
    """The callback that answers with what the model says.

    `system` is told to it before the conversation, of which it is told the last `max_history` characters. `tools` are
    functions, sync or async, by the names that it knows them by; what they take is made of their type hints. It may
    call them again and again, `max_rounds` requests in all, in the last of which it has to answer. `options` go into
    each request, such as `temperature=0`. A `client` of yours is yours to close.

    Raises `ConfigError` where the package is missing, or the client or a tool cannot be made.
    """
    return Chat(
        model or os.environ.get("OPENAI_MODEL") or DEFAULT_MODEL,
        clients=Given(client) if client is not None else Made(),
        system=system,
        tools=callees(tools or {}),
        max_rounds=max_rounds,
        max_history=max_history,
        options=options,
    )


class Chat:
    """What `callback` returns. `answer` answers other messages than those of the conversation."""

    def __init__(
        self,
        model: str,
        *,
        clients: Clients,
        system: str | None,
        tools: Mapping[str, Callee],
        max_rounds: int,
        max_history: int,
        options: Mapping[str, Any],
    ) -> None:
        self.model = model
        self._clients = clients
        self._system = system
        self._tools = tools
        self._max_rounds = max_rounds
        self._max_history = max_history
        self._request: dict[str, Any] = {
            "model": model,
            "stream": True,
            "stream_options": {"include_usage": True},
            **({"tools": [callee.tool for callee in tools.values()]} if tools else {}),
            **options,
        }

    def __repr__(self) -> str:
        return f"<Chat with {self.model} at {self._clients.base_url}>"

    async def __call__(self, turn: Turn) -> None:
        # Where no history is kept there is at least this message.
        said = turn.history or [{"role": "user", "content": turn.content}]
        await self.answer(turn, messages(said, system=self._system, max_history=self._max_history))

    async def answer(self, turn: Turn, messages: Sequence[Mapping[str, Any]]) -> None:
        """Sends `messages`, shows what the model says and what tools do, and adds to `turn.usage`.

        Raises `TurnError`.
        """
        said: list[Mapping[str, Any]] = list(messages)
        usage = dict(turn.usage or {})
        for left in reversed(range(self._max_rounds)):
            # The last time it has to answer with what it knows by then.
            choice = {} if left or not self._tools else {"tool_choice": "none"}
            reply = await self._reply(turn, {**self._request, **choice, "messages": said})
            add_usage(usage, reply.usage)
            turn.usage = usage or None
            if not reply.calls:
                return
            if left:
                said.append(reply.message())
                said += await self._run(turn, reply.calls)
        raise TurnError("too_many_rounds", "the model came to no answer")

    # -- the stream ----------------------------------------------------------------------------------------------

    async def _reply(self, turn: Turn, request: Mapping[str, Any]) -> Reply:
        client = await self._clients.get()
        left = client.max_retries
        while True:
            reply = Reply()
            try:
                async with aclosing(_chunks(client, request)) as chunks:
                    async for chunk in chunks:
                        await self._show(turn, reply, chunk)
                if reply.finish_reason is None:
                    raise cut()
            except TurnError as exc:
                # What else may be tried again the client has tried.
                if exc.code != CUT or reply.text or not left:
                    raise
                left -= 1
            else:
                break
        if reply.finish_reason == "content_filter":
            raise filtered()
        if reply.finish_reason == "length":
            await turn.send(Status("The answer has reached its greatest length."))
        return reply

    async def _show(self, turn: Turn, reply: Reply, chunk: Any) -> None:
        thought = reply.thinking
        text = reply.add(chunk)
        if reply.is_too_much:
            raise too_much()
        if text:
            await turn.send(text)
        elif reply.thinking and not thought:
            await turn.send(Status("Thinking …"))

    # -- the tools -----------------------------------------------------------------------------------------------

    async def _run(self, turn: Turn, calls: Iterable[ToolCall]) -> list[dict[str, Any]]:
        """Runs the calls beside one another; returns their results, as messages in the order of the calls."""
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._call(turn, call)) for call in calls]
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None
        return [
            {"role": "tool", "tool_call_id": call.id, "content": task.result()}
            for call, task in zip(calls, tasks, strict=True)
        ]

    async def _call(self, turn: Turn, call: ToolCall) -> str:
        """What the model is told of one call: its result, or what was wrong."""
        callee = self._tools.get(call.name)
        async with turn.tool(call.name, callee.message if callee else None, input=call.input()) as step:
            try:
                if callee is None:
                    raise ArgumentsError(f"there is no tool {call.name!r}")
                result = jsonable(await callee(call.arguments, turn))
                step.finish(output=result)
            except TurnError:
                raise
            except ArgumentsError as exc:
                step.fail(f"{call.name} was called wrongly")
                return f"error: {exc}"
            except Exception as exc:
                logger.exception("the tool %r failed", call.name)
                step.fail(f"{call.name} failed")
                return f"error: {type(exc).__name__}: {exc}"
        return result if isinstance(result, str) else json.dumps(result, ensure_ascii=False)


def messages(
    history: Iterable[Mapping[str, Any]], *, system: str | None = None, max_history: int = MAX_HISTORY
) -> list[dict[str, Any]]:
    """`Turn.history` as messages for a model, behind that of `system`.

    An answer that was not completed is there as far as it was shown, with a mark that it goes no further; one of which
    nothing was shown is not, and what a person said before and after it is one message, as some models want people and
    answers in turn. Beyond `max_history` characters the oldest are left out.
    """
    said: list[dict[str, Any]] = []
    for item in history:
        role, content = item["role"], item["content"]
        text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
        if role == "assistant" and item.get("status", "completed") != "completed" and text:
            text += _CUT_MARK
        if not text or role not in ("user", "assistant", "system"):
            continue
        if said and said[-1]["role"] == role:
            said[-1]["content"] += f"\n\n{text}"
        else:
            said.append({"role": role, "content": text})
    size = sum(len(one["content"]) for one in said)
    while size > max_history and len(said) > 1:
        size -= len(said.pop(0)["content"])
    return [{"role": "system", "content": system}, *said] if system else said


async def _chunks(client: AsyncOpenAI, request: Mapping[str, Any]) -> AsyncGenerator[Any, None]:
    create: Any = client.chat.completions.create
    try:
        stream = await create(**request)
    except Exception as exc:
        raise turn_error(exc, client.api_key) from exc
    async with stream:
        try:
            async for chunk in stream:
                yield chunk
        except Exception as exc:
            raise turn_error(exc, client.api_key, streaming=True) from exc


def __getattr__(name: str) -> Any:
    """`app`: the callback of `wsserver serve wsserver.adapters.openai:app`, made when it is first asked for."""
    if name == "app":
        globals()["app"] = made = callback()
        return made
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
