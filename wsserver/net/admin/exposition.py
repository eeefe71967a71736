"""The figures in the formats of Prometheus, by `prometheus_client` (extra `metrics`).

Its own registry is not used: nothing is counted there, and an application that has metrics of its own keeps them apart.
"""

from __future__ import annotations

from contextlib import suppress
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from .gate import json_response
from .metrics import METRICS
from .requests import Response

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client.core import Metric as Family

    from .metrics import Document, Metric
    from .requests import Request

PREFIX = "wsserver_"


def preload() -> None:
    """Imports the library, where it is installed, before anybody could be held up by that."""
    with suppress(ImportError):
        import prometheus_client.core
        import prometheus_client.exposition  # noqa: F401


def response(figures: Document, request: Request) -> Response:
    """The answer to a request for the figures, in the format that its client has asked for.

    501 where the extra is not installed.
    """
    try:
        from prometheus_client.exposition import choose_encoder
        from prometheus_client.registry import Collector, CollectorRegistry
    except ImportError:
        return json_response({"error": "install prometheus_client first: pip install 'wsserver[metrics]'"}, 501)

    class Figures(Collector):
        def collect(self) -> Iterator[Family]:
            return _families(figures)

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Figures())
    encode, content_type = choose_encoder(request.headers.get("accept", ""))
    return Response(200, encode(registry), {"Content-Type": content_type, "Cache-Control": "no-store"})


def _families(figures: Document) -> Iterator[Family]:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

    for name, figure in figures.items():
        metric = METRICS[name]
        named, meaning = PREFIX + name, metric.meaning.replace("`", "")
        if metric.kind == "histogram":
            yield HistogramMetricFamily(
                named, meaning, buckets=_buckets(metric, figure["counts"]), sum_value=figure["sum"]
            )
            continue
        family = (CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily)(
            named, meaning, labels=metric.labels
        )
        for labels, value in _samples(figure, len(metric.labels)):
            family.add_metric(labels, value)
        yield family


def _buckets(metric: Metric, counts: list[int]) -> list[tuple[str, float]]:
    """Each counts the values up to its bound, those of the ones before too."""
    bounds = [*(str(float(bound)) for bound in metric.bounds), "+Inf"]
    return list(zip(bounds, map(float, accumulate(counts)), strict=True))


def _samples(figure: Any, depth: int) -> Iterator[tuple[list[str], float]]:
    """The values of a figure with so many labels, and what these are."""
    if not depth:
        yield [], figure
        return
    for label, inner in sorted(figure.items()):
        for labels, value in _samples(inner, depth - 1):
            yield [label, *labels], value
