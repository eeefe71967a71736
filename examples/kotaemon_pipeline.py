"""A pipeline of Kotaemon's shape, without Kotaemon: `wsserver serve examples.kotaemon_pipeline:generate`.

Its conversations are kept in the folder `conversations`, each in a file, in the format of Kotaemon's database.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from wsserver.adapters.kotaemon import Exchange, KotaemonTurn, kotaemon_app

PLACE = Path("conversations")
NOTES = {"tea": "Tea wants <mark>water that boils</mark>.", "coffee": "Coffee wants water that has just boiled."}


@dataclass
class Document:
    channel: str
    content: str | None


@dataclass
class Pipeline:
    user: str | None

    def stream(self, message: str, conv_id: str, history: list[tuple[str, str]]) -> Iterator[Document]:
        found = [name for name in NOTES if name in message.lower()]
        for name in found:
            yield Document("info", f"<details class='evidence'><summary>{name}</summary>{NOTES[name]}</details>")
        yield Document("chat", "Let me see … ")
        yield Document("chat", None)  # what was said so far is void
        yield Document("chat", f"I have {len(found)} notes on this. ")
        yield Document("chat", f"You have asked {len(history)} questions before.")


def store(turn: KotaemonTurn, exchange: Exchange) -> None:
    PLACE.mkdir(exist_ok=True)
    path = PLACE / f"{turn.conversation}.json"
    before = json.loads(path.read_text("utf-8")) if path.exists() else {}
    path.write_text(json.dumps(exchange.data_source(before)), "utf-8")


generate = kotaemon_app(lambda turn: Pipeline(turn.session.user), store=store)
