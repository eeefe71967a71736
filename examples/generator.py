"""A pipeline without asyncio, in a thread for each turn: `wsserver serve examples.generator:generate`."""

import time
from collections.abc import Iterator

from wsserver import Item, Source
from wsserver.adapters.threads import SyncTurn, callback

NOTES = {"tea": "Tea wants water that boils.", "coffee": "Coffee wants water that has just boiled."}


def search(question: str) -> list[str]:
    time.sleep(0.2)  # your database, and it may block
    return [name for name in NOTES if name in question.lower()]


def answer(turn: SyncTurn) -> Iterator[Item]:
    with turn.tool("search", "looking through my notes …") as tool:
        found = search(turn.content)
        tool.finish(f"{len(found)} found")
    if not found:
        yield f"I know of {', '.join(NOTES)}."
        if not turn.ask("Shall I read you all of it?", {"type": "boolean"}):
            return
    for name in found or NOTES:
        yield Source(title=name, text=NOTES[name])
        for word in NOTES[name].split():
            time.sleep(0.02)  # your model
            yield f"{word} "


generate = callback(answer, max_threads=32)
