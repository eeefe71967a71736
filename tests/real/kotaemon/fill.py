"""Puts documents into the index of a Kotaemon: `python -m tests.real.kotaemon.fill USER FILE …`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any


def fill(index: Any, settings: dict[str, Any], user: str, *paths: Path) -> None:
    """Reads, splits, embeds and stores the files of a user, as Kotaemon's page does."""
    indexing = index.get_indexing_pipeline(settings, user)
    stream = indexing.stream(list(paths), reindex=False)
    try:
        while True:
            next(stream)
    except StopIteration as end:
        _, errors, _ = end.value
    assert errors == [None] * len(paths), errors


if __name__ == "__main__":
    from ktem.app import BaseApp

    app = BaseApp()
    fill(app.index_manager.indices[0], app.default_settings.flatten(), sys.argv[1], *map(Path, sys.argv[2:]))
