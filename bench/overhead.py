"""`python -m bench overhead`: what each layer costs on top of the one below, in nanoseconds of CPU a message.

Two ways: a token out, a message in with its answer. The transport is a mock, so the kernel is not in it; in every layer
the bytes of `BATCH` messages leave in one write, so that what is compared is work and not writes; only where a callback
runs, the server's own policy decides. The layers are run in turns, and of the rounds the median counts.
"""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import median
from time import process_time_ns
from typing import TYPE_CHECKING, Any

from bench import chart, cores, loops, report, wire
from bench.mock import MockTransport, open_connection
from bench.work import ECHO, MESSAGE, TOKEN
from wsserver import Config, Server
from wsserver.chat import envelope
from wsserver.chat.events import Message
from wsserver.chat.log import Cursor
from wsserver.chat.session import Session
from wsserver.config import NO_LIMIT
from wsserver.net.flow import Pump
from wsserver.net.flusher import Flusher
from wsserver.wire.frames import TEXT
from wsserver.wire.protocol import Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

#: Messages a write.
BATCH = 64

#: Limits that nothing here meets, but that are counted towards.
_HIGH_RATE = 1e6

_SESSION_ID = "s_0123456789abcdefghijkl"
_PING = wire.client_frame(ECHO)
_SAY = wire.client_frame(MESSAGE)


@dataclass(frozen=True)
class Layer:
    """`run(batches)` handles so many times `BATCH` messages and returns the nanoseconds of CPU time it took.

    `below` is the name of the layer that it stands on.
    """

    name: str
    below: str
    run: Callable[[int], Awaitable[int]]


@dataclass(frozen=True)
class Cost:
    """Nanoseconds a message, and how many of them this layer adds to the one below; medians of rounds."""

    name: str
    below: str
    total: float
    low: float
    high: float
    added: float


# -- a token out -------------------------------------------------------------------------------------------------


def _token(seq: int) -> bytes:
    return envelope.encode_event("token", {"value": TOKEN}, _SESSION_ID, 1, seq)


async def _out_raw(batches: int) -> int:
    transport, frame = MockTransport(), wire.server_frame(_token(100))
    began = process_time_ns()
    for _ in range(batches):
        frames: list[bytes] = []
        send = frames.append
        for _ in range(BATCH):
            send(frame)
        transport.write(b"".join(frames))
    return process_time_ns() - began


async def _out_wsproto(batches: int) -> int:
    transport, payload, protocol = MockTransport(), _token(100), Protocol(NO_LIMIT, lanes=False)
    began = process_time_ns()
    for _ in range(batches):
        for _ in range(BATCH):
            protocol.send(TEXT, payload)
        transport.write(protocol.data_to_send())
    return process_time_ns() - began


async def _out_lanes(batches: int) -> int:
    transport, payload, protocol = MockTransport(), _token(100), Protocol(NO_LIMIT)
    began = process_time_ns()
    for _ in range(batches):
        payloads: list[bytes] = []
        send = payloads.append
        for _ in range(BATCH):
            send(payload)
        protocol.send_texts(payloads)
        transport.write(protocol.data_to_send())
    return process_time_ns() - began


async def _out_json(batches: int) -> int:
    transport, protocol, seq = MockTransport(), Protocol(NO_LIMIT), 0
    began = process_time_ns()
    for _ in range(batches):
        payloads: list[bytes] = []
        send = payloads.append
        for _ in range(BATCH):
            seq += 1
            send(_token(seq))
        protocol.send_texts(payloads)
        transport.write(protocol.data_to_send())
    return process_time_ns() - began


async def _out_session(batches: int) -> int:
    config, transport = Config(), MockTransport()
    session = Session(config)
    protocol = Protocol(NO_LIMIT)
    pump = Pump(transport, protocol, Flusher(asyncio.get_running_loop(), config.flush_interval), config)
    pump.attach(session, Cursor(session.log))
    # The pump is run by hand: it is not to wait for a flush.
    pump.marked = True
    session.take(Message("go"))
    turn = session.next_turn()
    assert turn is not None
    began = process_time_ns()
    for _ in range(batches):
        for _ in range(BATCH):
            turn.publish(TOKEN)
        pump.run()
    return process_time_ns() - began


async def _out_callback(batches: int) -> int:
    ended = asyncio.Event()

    async def generate(turn: Any) -> AsyncIterator[str]:
        for _ in range(batches * BATCH):
            yield TOKEN
        ended.set()

    async with Server(generate, Config(port=0)) as server:
        connection, transport = open_connection(server)
        began = process_time_ns()
        connection.data_received(_SAY)
        await ended.wait()
        took = process_time_ns() - began
        transport.abort()
    return took


# -- a message in, and its answer --------------------------------------------------------------------------------


class _Answerer(asyncio.Protocol):
    """Has its answer ready."""

    def __init__(self, answer: bytes) -> None:
        self.answers: list[bytes] = []
        self._answer = answer

    def data_received(self, data: bytes) -> None:
        self.answers.append(self._answer)


def _pong() -> bytes:
    return envelope.encode_event("pong", {"value": "abc"}, _SESSION_ID)


async def _in_raw(batches: int) -> int:
    transport = MockTransport()
    protocol = _Answerer(wire.server_frame(_pong()))
    began = process_time_ns()
    for _ in range(batches):
        for _ in range(BATCH):
            protocol.data_received(_PING)
        transport.write(b"".join(protocol.answers))
        protocol.answers.clear()
    return process_time_ns() - began


def _in_framing(*, lanes: bool) -> Callable[[int], Awaitable[int]]:
    async def run(batches: int) -> int:
        transport, answer, protocol = MockTransport(), _pong(), Protocol(NO_LIMIT, lanes=lanes)
        began = process_time_ns()
        for _ in range(batches):
            for _ in range(BATCH):
                for _ in protocol.receive_data(_PING):
                    protocol.send(TEXT, answer)
            transport.write(protocol.data_to_send())
        return process_time_ns() - began

    return run


async def _in_json(batches: int) -> int:
    transport, protocol = MockTransport(), Protocol(NO_LIMIT)
    began = process_time_ns()
    for _ in range(batches):
        for _ in range(BATCH):
            for frame in protocol.receive_data(_PING):
                event: Any = envelope.decode_event(frame.payload)
                protocol.send(TEXT, envelope.encode_event("pong", event.data, _SESSION_ID))
        transport.write(protocol.data_to_send())
    return process_time_ns() - began


async def _one_word(turn: Any) -> AsyncIterator[str]:
    yield TOKEN


def _in_server(message_rate: float) -> Callable[[int], Awaitable[int]]:
    async def run(batches: int) -> int:
        async with Server(_one_word, Config(port=0, message_rate=message_rate)) as server:
            connection, transport = open_connection(server)
            assert connection.session is not None
            name = connection.session.id.encode()
            began = process_time_ns()
            for _ in range(batches):
                for _ in range(BATCH):
                    connection.data_received(_PING)
                # The answers are flushed, and the clock of the loop, by which limits count, goes on.
                await asyncio.sleep(0)
            took = process_time_ns() - began
            assert transport.last.endswith(b'"data":{"value":"abc"},"session_id":"%b"}' % name), transport.last
            transport.abort()
        return took

    return run


async def _in_callback(batches: int) -> int:
    answered = asyncio.Event()
    count = 0

    async def generate(turn: Any) -> AsyncIterator[str]:
        nonlocal count
        yield TOKEN
        count += 1
        if count % BATCH == 0:
            answered.set()

    config = Config(port=0, message_rate=_HIGH_RATE, max_queue=BATCH)
    async with Server(generate, config) as server:
        connection, transport = open_connection(server)
        began = process_time_ns()
        for _ in range(batches):
            for _ in range(BATCH):
                connection.data_received(_SAY)
            await answered.wait()
            answered.clear()
        took = process_time_ns() - began
        assert count == batches * BATCH
        transport.abort()
    return took


WAYS: dict[str, tuple[Layer, ...]] = {
    "a token out": (
        Layer("raw transport", "", _out_raw),
        Layer("framing, wsproto", "raw transport", _out_wsproto),
        Layer("framing, lanes", "raw transport", _out_lanes),
        Layer("JSON", "framing, lanes", _out_json),
        Layer("session and log", "JSON", _out_session),
        Layer("callback and its pace", "session and log", _out_callback),
    ),
    "a message in, and its answer": (
        Layer("raw transport", "", _in_raw),
        Layer("framing, wsproto", "raw transport", _in_framing(lanes=False)),
        Layer("framing, lanes", "raw transport", _in_framing(lanes=True)),
        Layer("JSON", "framing, lanes", _in_json),
        Layer("session", "JSON", _in_server(0)),
        Layer("limits", "session", _in_server(_HIGH_RATE)),
        Layer("callback: a whole turn", "limits", _in_callback),
    ),
}


async def measure(layers: tuple[Layer, ...], rounds: int, batches: int) -> list[Cost]:
    """Run the layers in turns; the first round only warms up."""
    samples: dict[str, list[float]] = {layer.name: [] for layer in layers}
    for number in range(rounds + 1):
        for layer in layers:
            took = await layer.run(batches) / (batches * BATCH)
            if number:
                samples[layer.name].append(took)
    costs = []
    for layer in layers:
        own = samples[layer.name]
        below = samples[layer.below] if layer.below else [0.0] * rounds
        added = median(top - base for top, base in zip(own, below, strict=True))
        costs.append(Cost(layer.name, layer.below, median(own), min(own), max(own), added))
    return costs


def table(way: str, costs: list[Cost]) -> str:
    """A row for each layer."""
    rows = [["layer", "ns/message", "(min–max)", "adds", "to"]]
    rows += [
        [
            cost.name,
            f"{cost.total:,.0f}",
            f"({cost.low:,.0f}–{cost.high:,.0f})",
            f"{cost.added:+,.0f}",
            cost.below or "–",
        ]
        for cost in costs
    ]
    return f"{way}: CPU time, {BATCH} messages a write\n" + report.aligned(rows) + "\n"


def picture(found: dict[str, list[Cost]]) -> str:
    """The chart: what each layer adds."""
    panels = []
    for way, costs in found.items():
        bars = [chart.Bar(cost.name, cost.added, 0, 0, f"{cost.added:+,.0f} = {cost.total:,.0f}") for cost in costs]
        panels.append(chart.Panel(f"{way}: ns added to the layer below = in all", bars))
    about = report.machine()
    return chart.draw("What each layer costs", f"{about['python']}, {about['loop']}, no kernel, medians", panels)


def overhead(rounds: int, messages: int, results: Path) -> None:
    """Measure both ways, print their tables, write JSON and chart."""
    batches = max(1, messages // BATCH)
    core = cores.plan()
    found = {}
    with cores.pinned(core[0] if core else None):
        for way, layers in WAYS.items():
            sys.stderr.write(f"overhead: {way} …\n")
            found[way] = loops.run(measure(layers, rounds, batches))
            sys.stdout.write(table(way, found[way]) + "\n")
            sys.stdout.flush()
    when = datetime.now(UTC)
    told = {
        "when": when.isoformat(timespec="seconds"),
        "machine": report.machine(),
        "rounds": rounds,
        "messages": batches * BATCH,
        "costs": {way: [vars(cost) for cost in costs] for way, costs in found.items()},
    }
    path = report.write(results, "overhead", when, told)
    path.with_suffix(".svg").write_text(picture(found), encoding="utf-8")
    sys.stderr.write(f"written: {path}\n")
