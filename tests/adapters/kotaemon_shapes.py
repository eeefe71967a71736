"""Objects of the shape of Kotaemon's, for where it is not installed: documents, pipelines, agents and their tools."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator


@dataclass
class Document:
    """Its truth is that of its content, as it is there."""

    content: Any = None
    channel: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)

    @property
    def text(self) -> str:
        return str(self.content or "")

    def __bool__(self) -> bool:
        return bool(self.content)


def chat(content: Any) -> Document:
    return Document(content, "chat")


def info(content: Any) -> Document:
    return Document(content, "info")


def evidence(header: str, body: str, *, score: float | None = None) -> str:
    """A part of the information panel, with a score as it is shown at the end and without as it is at the beginning."""
    if score is None:
        return f"<details class='evidence'  open><summary><i>{header}</i></summary>{body}</details><br>"
    scores = (
        f"<details class='evidence' ><summary><b>&emsp;Relevance score</b>: {score:.1f}</summary>"
        "<b>&emsp;&emsp;Vectorstore score:</b> 0.51<br><b>&emsp;&emsp;LLM relevant score:</b> 0.8<br></details><br>"
    )
    return (
        f"<details class='evidence'  open><summary><i>{header}</i> [score: {score}]</summary>"
        f"{scores}<div class='evidence-content'>{body}</div></details><br>"
    )


MINDMAP = """<details class='evidence'  open><summary>
                    <i>Mindmap</i>
                    <a href="#" id='mindmap-toggle'>
                        [Expand]</a></summary>
<div class="markmap">
<script type="text/template">
---
markmap:
    colorFreezeLevel: 2
---
# Tea
## Water
</script>
</div>
</details><br>"""


class Pipeline:
    """Streams what it is given, as a generator that returns `answer`."""

    def __init__(self, documents: Iterable[Any], answer: Any = None) -> None:
        self.documents = documents
        self.answer = answer
        self.asked: list[tuple[str, str, list[tuple[str, str]]]] = []
        self.closed = False

    def stream(self, message: str, conv_id: str, history: list[tuple[str, str]]) -> Generator[Any, None, Any]:
        self.asked.append((message, conv_id, history))
        try:
            yield from self.documents
        finally:
            self.closed = True
        return self.answer


@dataclass
class AgentAction:
    tool: str
    tool_input: str
    log: str


@dataclass
class AgentFinish:
    return_values: dict[str, Any]
    log: str


class DocSearchTool:
    """A component of the library below: what it holds is behind `_attrx`, which a copy would share."""

    description = "internal documents"

    def __init__(self) -> None:
        self.__dict__["_attrx"] = {"ParamAttr": {"name": "docsearch", "retrievers": []}, "NodeAttr": {}}

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["_attrx"]["ParamAttr"][name]
        except KeyError:
            raise AttributeError(name) from None

    def __setattr__(self, name: str, value: Any) -> None:
        self._attrx["ParamAttr"][name] = value

    def __call__(self, query: str) -> Document:
        found = [text for retriever in self.retrievers for text in retriever(query)]
        return Document("".join(f"<br><b>Content from notes: </b> {text} \n<br>" for text in found))


class PlainTool:
    """No component, and known to all."""

    name = "clock"
    description = "what time it is"

    def __init__(self) -> None:
        self.calls: list[str] = []  # also of copies

    def __call__(self, query: str) -> str:
        self.calls.append(query)
        if query == "broken":
            raise RuntimeError("the key is s3cret")
        return f"it is <{query}>"


#: What all pipelines share, as in Kotaemon.
TOOL_REGISTRY: dict[str, Any] = {"SearchDoc": DocSearchTool(), "Clock": PlainTool()}


class ReactAgent:
    def __init__(self) -> None:
        self.plugins: list[Any] = []
        self.intermediate_steps: list[tuple[Any, str]] = []


class ReactAgentPipeline:
    """Calls the tools that the plan names, one after another, each once `before` has returned."""

    def __init__(self, plan: list[tuple[str, str]], before: Callable[[], Any] = lambda: None) -> None:
        self.agent = ReactAgent()
        self.plan = plan
        self.before = before

    @classmethod
    def get_pipeline(cls, retrievers: list[Any], plan: list[tuple[str, str]], **options: Any) -> ReactAgentPipeline:
        pipeline = cls(plan, **options)
        for tool in TOOL_REGISTRY.values():
            if hasattr(tool, "retrievers"):
                tool.retrievers = retrievers
            pipeline.agent.plugins.append(tool)
        return pipeline

    def stream(self, message: str, conv_id: str, history: list[Any]) -> Iterator[Document]:
        tools = {tool.name: tool for tool in self.agent.plugins}
        for name, given in self.plan:
            self.before()
            log = f"Thought: I should ask {name}.\nAction: {name}\nAction Input: {given}"
            result = tools[name](given)
            self.agent.intermediate_steps.append(
                (AgentAction(name, given, log), str(getattr(result, "content", result)))
            )
            yield info(info(evidence(f"<b>Step {len(self.agent.intermediate_steps)}</b>: {log}", "…")))
        self.agent.intermediate_steps.append((AgentFinish({"output": "done"}, "Final Answer: done"), "done"))
        yield chat("done")
        yield info(info(evidence("<b>Step</b>: Final Answer: done", "Finished")))
