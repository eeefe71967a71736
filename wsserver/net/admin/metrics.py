"""The figures of a server: what each of them means, and their values as one document.

A document holds numbers by name; or numbers by label, or by two labels; or a histogram. Those of several processes add
up to one. What was counted (`Counters`) is joined by what is read off the server at that moment: that takes as long as
looking at each connection once, and costs nothing before.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from ...counters import EVENTS, SECONDS, TURN_SECONDS
from ...wire.protocol import State
from ..connection import Connection
from .requests import Socket

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping, Sequence

    from ..server import Server

Document = dict[str, Any]


class Metric(NamedTuple):
    """One figure. `labels` are the names of its labels, `bounds` those of a histogram.

    Of several processes it is the sum, or the `largest`.
    """

    kind: Literal["counter", "gauge", "histogram"]
    meaning: str
    labels: tuple[str, ...] = ()
    bounds: Sequence[float] = ()
    largest: bool = False


METRICS = {
    "connections": Metric(
        "gauge", "sockets now, `state`: `opening` (no 101 yet, or refused), `open`, `closing`", ("state",)
    ),
    "connections_opened": Metric("counter", "handshakes that were accepted"),
    "connections_closed": Metric(
        "counter",
        "connections that ended, by the `code` of the first Close, whoever sent it; 1006 where there was none",
        ("code",),
    ),
    "handshakes_refused": Metric(
        "counter",
        "handshakes that were refused, by the `status` of the HTTP answer, also where a close code told it, and the"
        " `reason`; status `none`: cut without an answer",
        ("status", "reason"),
    ),
    "messages": Metric("counter", "messages, `direction`: `in` from clients, `out` to them", ("direction",)),
    "bytes": Metric("counter", "bytes behind the handshake, with frame headers, by `direction`", ("direction",)),
    "unsent_bytes": Metric("gauge", "bytes that wait for clients: in logs, in queues, and not taken by the kernel"),
    "slow_readers": Metric("gauge", "connections whose kernel takes no more, because the client does not read"),
    "sessions": Metric("gauge", "sessions, `state`: `attached` to a connection, `detached`", ("state",)),
    "sessions_opened": Metric("counter", "sessions that began"),
    "resumes": Metric(
        "counter",
        "handshakes that named a session, `result`: `recovered`, `hole` (the log no longer reaches back so far),"
        " `unknown` (a new session began)",
        ("result",),
    ),
    "replayed_events": Metric("histogram", "events that a resume had missed, where it was recovered", bounds=EVENTS),
    "log_bytes": Metric("gauge", "what the logs and histories of all sessions hold"),
    "log_limit_bytes": Metric("gauge", "what they may hold, `--max-memory`; 0 for no limit"),
    "turns_running": Metric("gauge", "callbacks that have not ended"),
    "turns": Metric(
        "counter",
        "turns that are over, `end`: `completed`, `failed` (the callback raised), `stopped`, `interrupted`,"
        " `disconnected`, `timeout`, `shutdown`",
        ("end",),
    ),
    "tokens": Metric("counter", "tokens that callbacks have shown"),
    "first_token_seconds": Metric(
        "histogram", "from the start of a callback to its first token; of turns with tokens", bounds=SECONDS
    ),
    "token_gap_seconds": Metric(
        "histogram",
        "the mean gap between tokens, one value a turn: the time from its first token to its end, shared by its tokens",
        bounds=SECONDS,
    ),
    "turn_seconds": Metric("histogram", "from the start of a callback to the final event", bounds=TURN_SECONDS),
    "stop_seconds": Metric(
        "histogram",
        "from a `stop` to its `complete` handed to the connection, behind all that is sent before it",
        bounds=SECONDS,
    ),
    "cancel_seconds": Metric(
        "histogram",
        "from the end of a turn from outside (a stop, a deadline, …) to the end of its callback",
        bounds=SECONDS,
    ),
    "loop_lag_seconds": Metric("histogram", "how late the event loop was, four times a second", bounds=SECONDS),
    "cpu_seconds": Metric("counter", "CPU time of the server's processes"),
    "workers": Metric("gauge", "processes whose figures these are"),
    "worker_restarts": Metric("counter", "workers that died and were started again; only with `--workers`"),
    "redis_up": Metric("gauge", "processes that reach Redis; these three only with `--redis`"),
    "redis_lag_seconds": Metric("gauge", "age of the oldest event that Redis does not have yet", largest=True),
    "redis_errors": Metric("counter", "calls to Redis that failed"),
}
"""By name, which `wsserver_` stands before, and `_total` behind where it is a counter."""


def document(server: Server) -> Document:
    """The figures of this process."""
    counters = server.counters
    # Looked up once, not ten thousand times.
    is_open = State.OPEN
    opening = opened = closing = messages_in = messages_out = bytes_in = bytes_out = unsent = slow = attached = 0
    for member in server.sockets:
        if type(member) is Connection:
            pump = member.pump
            if member.protocol.state is is_open:
                opened += 1
                attached += member.session is not None
            else:
                closing += 1
            messages_in += member.messages
            messages_out += pump.messages
            bytes_in += member.received
            bytes_out += pump.handed
            unsent += pump.unsent
            slow += pump.paused
        # A request for these figures is none.
        elif type(member) is not Socket:
            opening += 1
    found: Document = {
        "connections": {"opening": opening, "open": opened, "closing": closing},
        "connections_opened": counters.opened,
        "connections_closed": dict(counters.closed),
        "handshakes_refused": {status: dict(reasons) for status, reasons in counters.refused.items()},
        "messages": {"in": counters.messages_in + messages_in, "out": counters.messages_out + messages_out},
        "bytes": {"in": counters.bytes_in + bytes_in, "out": counters.bytes_out + bytes_out},
        "unsent_bytes": unsent,
        "slow_readers": slow,
        "sessions": {"attached": attached, "detached": server.sessions.absent},
        "sessions_opened": counters.sessions,
        "resumes": dict(counters.resumes),
        "replayed_events": counters.replayed.document(),
        "log_bytes": server.sessions.pool.used,
        "log_limit_bytes": server.config.max_memory,
        "turns_running": len(server.turns.runs),
        "turns": dict(counters.turns),
        "tokens": counters.tokens + sum(run.tokens for run in server.turns.runs),
        "first_token_seconds": counters.first_token.document(),
        "token_gap_seconds": counters.token_gap.document(),
        "turn_seconds": counters.turn.document(),
        "stop_seconds": counters.stop.document(),
        "cancel_seconds": counters.cancel.document(),
        "loop_lag_seconds": counters.loop_lag.document(),
        "cpu_seconds": time.process_time(),
        "workers": 1,
    }
    if server.cluster is not None:
        copier = server.cluster.sessions.copier
        found["redis_up"] = int(not copier.out)
        found["redis_lag_seconds"] = copier.lag
        found["redis_errors"] = copier.errors
    return found


def add(documents: Iterable[Document]) -> Document:
    """The figures of several processes as those of one."""
    total: Document = {}
    for one in documents:
        for name, figure in one.items():
            if name not in total:
                total[name] = figure
            elif METRICS[name].largest:
                total[name] = max(total[name], figure)
            else:
                total[name] = _sum(total[name], figure)
    return total


class Totals:
    """The figures of several processes, of which some end and others begin: what was counted never grows less."""

    def __init__(self) -> None:
        self._last: dict[int, Document] = {}  # by process
        self._past: Document = {}

    def of(self, found: Mapping[int, Document], alive: Container[int]) -> Document:
        """All together, by what was found now, and by what was found last of those that live and do not answer."""
        for process in [process for process in self._last if process not in alive]:
            gone = self._last.pop(process)
            counted = {name: figure for name, figure in gone.items() if METRICS[name].kind != "gauge"}
            self._past = add((self._past, counted))
        self._last |= found
        return add((self._past, *self._last.values()))


def _sum(one: Any, other: Any) -> Any:
    if isinstance(one, dict):
        return {
            name: _sum(one[name], other[name]) if name in one and name in other else one.get(name, other.get(name))
            for name in {**one, **other}
        }
    if isinstance(one, list):
        return [a + b for a, b in zip(one, other, strict=True)]
    return one + other
