"""A chat model that says what a test tells it to: LangChain's own fakes lose tool calls and count nothing."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from langchain_core.documents import Document  # noqa: TC002 - pydantic reads it
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.retrievers import BaseRetriever
from pydantic import PrivateAttr

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from langchain_core.messages import BaseMessage

USAGE: Any = {"input_tokens": 3, "output_tokens": 2, "total_tokens": 5}

#: In a script: the model says nothing more until it is released, or cancelled.
HANGS = "\0"


def says(*parts: str, **more: Any) -> AIMessage:
    """An answer that comes in these parts."""
    return AIMessage("".join(parts), usage_metadata=USAGE, additional_kwargs={"parts": list(parts)}, **more)


def calls(*functions: tuple[str, dict[str, Any]], text: str = "") -> AIMessage:
    """An answer that calls tools by their names."""
    made: Any = [{"name": name, "args": given, "id": f"call_{at}"} for at, (name, given) in enumerate(functions)]
    return says(*([text] if text else []), tool_calls=made)


class Scripted(BaseChatModel):
    """Each request is answered with the next of `script`; one that is an exception comes after its `args` as text."""

    script: list[Any]
    _asked: list[list[BaseMessage]] = PrivateAttr(default_factory=list)
    _hanging: asyncio.Event = PrivateAttr(default_factory=asyncio.Event)
    _released: asyncio.Event = PrivateAttr(default_factory=asyncio.Event)
    _cancelled: asyncio.Event = PrivateAttr(default_factory=asyncio.Event)
    _said: int = PrivateAttr(default=0)

    @property
    def _llm_type(self) -> str:
        return "scripted"

    @property
    def asked(self) -> list[list[BaseMessage]]:
        """What it was told, request by request."""
        return self._asked

    @property
    def hanging(self) -> asyncio.Event:
        """It has come to HANGS."""
        return self._hanging

    @property
    def released(self) -> asyncio.Event:
        """Set it, and it goes on there."""
        return self._released

    @property
    def said(self) -> int:
        """How many parts it has said."""
        return self._said

    @property
    def cancelled(self) -> asyncio.Event:
        """It was cancelled there."""
        return self._cancelled

    def _generate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        self._asked.append(messages)
        return ChatResult(generations=[ChatGeneration(message=self.script.pop(0))])

    async def _astream(self, messages: list[BaseMessage], *_: Any, **__: Any) -> AsyncIterator[ChatGenerationChunk]:
        self._asked.append(messages)
        message = self.script.pop(0)
        fails = isinstance(message, Exception)
        for part in message.args if fails else message.additional_kwargs["parts"]:
            if part == HANGS:
                await self._hang()
                continue
            self._said += 1
            yield _chunk(content=part)
        if fails:
            raise message
        for at, call in enumerate(message.tool_calls):
            piece = {"name": call["name"], "args": json.dumps(call["args"]), "id": call["id"], "index": at}
            yield _chunk(content="", tool_call_chunks=[piece])
        yield _chunk(content="", usage_metadata=USAGE)

    async def _hang(self) -> None:
        self._hanging.set()
        try:
            await self._released.wait()
        except asyncio.CancelledError:
            self._cancelled.set()
            raise


def _chunk(**fields: Any) -> ChatGenerationChunk:
    return ChatGenerationChunk(message=AIMessageChunk(**fields))


# `_astream` is asked for where there is one: a model that does not stream must have none.
class Whole(Scripted):
    """The same, in one piece."""

    _astream = BaseChatModel._astream


class Library(BaseRetriever):
    """Finds all its documents."""

    documents: list[Document]

    def _get_relevant_documents(self, query: str, *, run_manager: Any) -> list[Document]:
        return self.documents
