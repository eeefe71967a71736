"""Models without a network for a real Kotaemon: what they say is a function of what they are asked.

Loaded by Kotaemon itself, by the names in `settings`.
"""

from __future__ import annotations

import hashlib
import math
import re
import threading
from typing import TYPE_CHECKING, Any

from kotaemon.base import DocumentWithEmbedding, LLMInterface
from kotaemon.embeddings import BaseEmbeddings
from kotaemon.indices.rankings import BaseReranking
from kotaemon.llms import ChatLLM

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Script = list[tuple[str, "str | Exception | Callable[[str], str]"]]

#: What the model answers: the first pattern that is found in all that it was told, searched in order.
script: Script = []
#: All that it was asked, oldest first.
asked: list[str] = []
#: Held back after the first token of an answer while this is not set.
go_on = threading.Event()
go_on.set()
waits = threading.Event()


def _prompt(messages: Any) -> str:
    if isinstance(messages, str):
        return messages
    return "\n".join(str(getattr(message, "content", message)) for message in messages)


class ScriptedLLM(ChatLLM):  # type: ignore[misc]
    """Answers what `script` says, word by word."""

    def answer(self, messages: Any) -> str:
        prompt = _prompt(messages)
        asked.append(prompt)
        for pattern, answer in script:
            if re.search(pattern, prompt, re.S):
                if isinstance(answer, Exception):
                    raise answer
                return answer(prompt) if callable(answer) else answer
        return "no"

    def run(self, messages: Any, *args: Any, **kwargs: Any) -> LLMInterface:
        return LLMInterface(text=self.answer(messages), logprobs=[])

    def invoke(self, messages: Any, *args: Any, tools: Any = None, **kwargs: Any) -> LLMInterface:
        if not tools:
            return self.run(messages)
        call = {"function": {"arguments": self.answer(messages)}}
        return LLMInterface(text="", additional_kwargs={"tool_calls": [call]})

    def stream(self, messages: Any, *args: Any, **kwargs: Any) -> Iterator[LLMInterface]:
        for index, word in enumerate(re.findall(r"\S+\s*", self.answer(messages))):
            if index == 1:
                waits.set()
                go_on.wait(20)
            yield LLMInterface(text=word, logprobs=[math.log(0.5)])


class Letters(BaseEmbeddings):  # type: ignore[misc]
    """A vector of the words of a text: texts that share words are near one another."""

    def invoke(self, text: Any, *args: Any, **kwargs: Any) -> list[DocumentWithEmbedding]:
        found = []
        for document in self.prepare_input(text):
            vector = [0.01] * 64
            for word in re.findall(r"\w+", str(document.text).lower()):
                vector[hashlib.sha256(word.encode()).digest()[0] % 64] += 1.0
            length = math.sqrt(sum(value * value for value in vector))
            found.append(DocumentWithEmbedding(content=document, embedding=[value / length for value in vector]))
        return found


class AsTheyCome(BaseReranking):  # type: ignore[misc]
    """No other order."""

    def run(self, documents: Any, query: str) -> Any:
        return documents
