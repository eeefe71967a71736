"""The figures as Prometheus reads them, from one process and from several."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client import REGISTRY
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from tests.clock import run_virtually
from tests.net.admin.program import administered, free_port
from tests.peer import Peer
from wsserver.net.admin import exposition
from wsserver.net.admin.metrics import METRICS
from wsserver.net.admin.requests import Request

if TYPE_CHECKING:
    from prometheus_client.core import Metric

OPENMETRICS = "application/openmetrics-text; version=1.0.0"


def exposed(figures: dict[str, Any], accept: str = "") -> dict[str, Metric]:
    response = exposition.response(figures, Request("GET", ("metrics",), {}, {"accept": accept}, b""))
    parse = parse_openmetrics if "openmetrics" in response.headers["Content-Type"] else parse_text
    return {family.name: family for family in parse(response.body.decode())}


def samples(family: Metric) -> dict[tuple[str, ...], float]:
    """By name, and by labels in the order of theirs."""
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value for sample in family.samples
    }


@pytest.mark.parametrize("accept", ["", "text/plain;version=0.0.4", OPENMETRICS])
def test_each_kind(accept: str) -> None:
    counts = [0] * (len(METRICS["replayed_events"].bounds) + 1)
    counts[1], counts[-1] = 2, 1
    families = exposed(
        {
            "tokens": 7,
            "unsent_bytes": 5,
            "handshakes_refused": {"429": {"rate": 2, "user": 1}, "none": {"sockets": 4}},
            "replayed_events": {"counts": counts, "sum": 1_000_002},
        },
        accept,
    )
    assert {name: family.type for name, family in families.items()} == {
        "wsserver_tokens": "counter",
        "wsserver_unsent_bytes": "gauge",
        "wsserver_handshakes_refused": "counter",
        "wsserver_replayed_events": "histogram",
    }
    assert samples(families["wsserver_tokens"]) == {("wsserver_tokens_total",): 7}
    assert samples(families["wsserver_unsent_bytes"]) == {("wsserver_unsent_bytes",): 5}
    assert samples(families["wsserver_handshakes_refused"]) == {
        ("wsserver_handshakes_refused_total", "rate", "429"): 2,
        ("wsserver_handshakes_refused_total", "user", "429"): 1,
        ("wsserver_handshakes_refused_total", "sockets", "none"): 4,
    }
    shown = samples(families["wsserver_replayed_events"])
    name = "wsserver_replayed_events"
    assert (shown[f"{name}_count",], shown[f"{name}_sum",]) == (3, 1_000_002)
    buckets = [(key[1], value) for key, value in shown.items() if key[0] == f"{name}_bucket"]
    assert [value for _, value in buckets] == [0, 2, 2, 2, 2, 2, 2, 3]
    assert [float(bound) for bound, _ in buckets] == [*METRICS["replayed_events"].bounds, float("inf")]


def test_the_registry_of_the_application_is_left_alone() -> None:
    before = {family.name for family in REGISTRY.collect()}
    exposed({"tokens": 7})
    assert {family.name for family in REGISTRY.collect()} == before


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("prometheus_client")]:
        monkeypatch.setitem(sys.modules, name, None)
    response = exposition.response({"tokens": 7}, Request("GET", ("metrics",), {}, {}, b""))
    assert (response.status, b"wsserver[metrics]" in response.body) == (501, True)


@pytest.mark.parametrize("port", [True, False])
def test_the_library_is_there_before_the_first_scrape_and_only_for_an_admin_port(port: bool) -> None:
    code = """
import asyncio, sys
from wsserver import Config, Server

async def generate(turn):
    yield "a"

async def main():
    async with Server(generate, Config(port=0, admin_port=int(sys.argv[1]))):
        print("prometheus_client" in sys.modules)

asyncio.run(main())
"""
    asked = str(free_port() if port else 0)
    run = subprocess.run([sys.executable, "-c", code, asked], capture_output=True, text=True, check=True, timeout=30)
    assert run.stdout == f"{port}\n"


def test_a_server_is_scraped() -> None:
    async def main() -> None:
        async with administered() as (server, program):
            async with Peer.connect(server.urls[0]) as peer:
                await peer.ask("hello")
                await peer.turn()
                reply = await program.call("GET", "/metrics")
                assert reply.status == 200
                assert reply.headers["content-type"].startswith("text/plain")
                families = {family.name: family for family in parse_text(reply.body.decode())}
                assert samples(families["wsserver_tokens"]) == {("wsserver_tokens_total",): 1}
                assert samples(families["wsserver_connections"])["wsserver_connections", "open"] == 1
                assert samples(families["wsserver_connections"])["wsserver_connections", "opening"] == 0
                missing = set(METRICS) - {name.removeprefix("wsserver_") for name in families}
                assert missing == {"worker_restarts", "redis_up", "redis_lag_seconds", "redis_errors"}
                reply = await program.call("GET", "/metrics", accept=OPENMETRICS)
                assert reply.body.endswith(b"# EOF\n")
                assert (await program.call("GET", "/figures")).body["tokens"] == 1
            for headers in ({"authorization": "Bearer wrong"}, {"authorization": ""}):
                assert (await program.call("GET", "/metrics", **headers)).status == 401
            assert (await program.call("POST", "/metrics")).status == 405

    run_virtually(main())
