"""Kotaemon's reasoning pipelines as a callback.

::

    wsserver serve wsserver.adapters.kotaemon:app

    generate = kotaemon_app(lambda turn: MyPipeline.get_pipeline(settings, {}, retrievers_of(turn.session.user)))

A pipeline is built for each turn, in the thread of that turn, which it streams in: it is never shared, nor are the
tools of its agent. The library is imported when `app` is asked for, and not before; `kotaemon_app` itself takes
anything that streams documents of the same shape.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .kotaemon_callback import Kotaemon
from .kotaemon_conversation import Exchange, history
from .kotaemon_turn import KotaemonTurn
from .threads import LOOK_AHEAD, MAX_THREADS, Threads

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Exchange", "Kotaemon", "KotaemonTurn", "history", "kotaemon_app"]


def kotaemon_app(
    pipeline_factory: Callable[[KotaemonTurn], Any],
    *,
    store: Callable[[KotaemonTurn, Exchange], None] | None = None,
    html: bool = False,
    empty_answer: str = "",
    max_threads: int = MAX_THREADS,
    look_ahead: int = LOOK_AHEAD,
) -> Kotaemon:
    """The callback that shows what `pipeline_factory(turn).stream(message, conversation, history)` streams.

    The factory is called in the thread of the turn, one at a time of all turns of the process: what it waits for, all
    wait for. `store(turn, exchange)` is called in that thread too, at the end of the turn, also of one that was stopped
    or has failed. `html` adds to each source the HTML that it was made of, which nobody has sanitised. `empty_answer`
    is shown where the pipeline has none. `max_threads` and `look_ahead` are those of `threads.callback`.

    Raises `ConfigError` for a number below 1.
    """
    return Kotaemon(
        pipeline_factory,
        store=store,
        html=html,
        empty_answer=empty_answer,
        threads=Threads(max_threads, look_ahead=look_ahead),
    )


def __getattr__(name: str) -> Any:
    """`app`: the installed Kotaemon, made when it is first asked for."""
    if name == "app":
        from .kotaemon_installed import installed

        globals()["app"] = made = installed()
        return made
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
