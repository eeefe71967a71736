"""A chain that looks something up and cites it: `wsserver serve examples.langchain_chain:generate`.

It answers with a fake model that says the same whatever it is asked: put yours in its place.
"""

from langchain_core.documents import Document
from langchain_core.language_models import FakeListChatModel
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnablePassthrough

from wsserver.adapters import langchain

NOTES = {
    "tea.md": "Tea wants water that boils.",
    "coffee.md": "Coffee wants water that has just boiled.",
}


class Notes(BaseRetriever):
    """Those that share a word with the question; yours asks a vector store."""

    def _get_relevant_documents(self, query: str, **_: object) -> list[Document]:
        words = {word for word in query.lower().strip("?!.").split() if len(word) > 2}
        return [
            Document(text, metadata={"title": name})
            for name, text in NOTES.items()
            if words & set(text.lower().strip(".").split())
        ]


prompt = ChatPromptTemplate.from_template("Answer from these notes: {notes}\n\n{question}")
model = FakeListChatModel(responses=["Boil the water first, as the notes say."], sleep=0.02)

generate = langchain.callback(
    {"notes": Notes(), "question": RunnablePassthrough()} | prompt | model | StrOutputParser(),
)
