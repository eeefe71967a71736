"""What LangChain's messages and documents hold, read without its packages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..chat.events import Source
from .functions import jsonable

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Where retrievers put what a citation shows, in a document's metadata: the first that is there.
_TITLES = ("title", "source", "file_name", "filename")
_URLS = ("url", "source", "link")
_SCORES = ("score", "relevance_score", "similarity")


def text_of(said: Any) -> str:
    """The text of a message, also one written as a mapping, of a piece of one, or of what a model gives that knows no
    messages.
    """
    if isinstance(said, str):
        return said
    if isinstance(said, Mapping):
        content = said.get("content")
        if "generations" in said:
            content = [generation["text"] for generations in said["generations"] for generation in generations]
    else:
        content = said.content if hasattr(said, "content") else getattr(said, "text", None)
    if isinstance(content, str):
        return content
    blocks = content if isinstance(content, list) else []
    return "".join(block if isinstance(block, str) else block["text"] for block in blocks if _is_text(block))


def thinks(said: Any) -> bool:
    """Whether a piece of a message is what a model thinks, not what it says."""
    content = getattr(said, "content", None)
    blocks = content if isinstance(content, list) else []
    return bool(getattr(said, "additional_kwargs", {}).get("reasoning_content")) or any(
        isinstance(block, Mapping) and block.get("type") in ("reasoning", "thinking") for block in blocks
    )


def messages_of(state: Any) -> Iterator[Any]:
    """The messages in the state of a graph, or in what a node changes of it: a mapping, an object, a command, or
    several.
    """
    if isinstance(state, list | tuple):
        for one in state:
            yield from messages_of(one)
        return
    if not isinstance(state, Mapping) and hasattr(state, "goto"):  # a Command
        yield from messages_of(state.update)
        return
    messages = state.get("messages") if isinstance(state, Mapping) else getattr(state, "messages", None)
    if messages is not None:
        yield from messages if isinstance(messages, list | tuple) else [messages]


def is_answer(message: Any) -> bool:
    """Whether a message is the model's, also where it is written as a mapping."""
    kind = getattr(message, "type", None)
    if isinstance(message, Mapping):
        kind = message.get("role") or message.get("type")
    return kind in ("ai", "assistant", "AIMessageChunk")


def source_of(document: Any) -> Source:
    """A document as a citation: its text, and title, address and score as far as its metadata know them."""
    metadata = document.metadata
    url = next((str(metadata[name]) for name in _URLS if "://" in str(metadata.get(name, ""))), None)
    score = next((metadata[name] for name in _SCORES if metadata.get(name) is not None), None)
    try:
        score = None if score is None else float(score)  # of numpy, often
    except (TypeError, ValueError):
        score = None
    return Source(
        title=next((str(metadata[name]) for name in _TITLES if metadata.get(name)), None),
        text=document.page_content,
        url=url,
        score=score,
    )


def output_of(output: Any) -> Any:
    """What a tool returned, as JSON values; of messages, and of what it changes of a graph's state, their text."""
    if hasattr(output, "content"):
        return output.content if isinstance(output.content, str) else jsonable(output.content)
    if hasattr(output, "goto"):
        return "\n".join(text_of(message) for message in messages_of(output)) or None
    return jsonable(output)


def documents_of(output: Any) -> list[Any]:
    """The documents that a tool returned beside its text."""
    artifact = getattr(output, "artifact", None)
    return [one for one in artifact if hasattr(one, "page_content")] if isinstance(artifact, list | tuple) else []


def _is_text(block: Any) -> bool:
    return isinstance(block, str) or (isinstance(block, Mapping) and isinstance(block.get("text"), str))
