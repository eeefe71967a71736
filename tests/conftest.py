"""What all tests share: in CI, what is skipped has failed, and what measures by the real clock runs first. Everywhere
the log is looked through for what is secret (`leaks/`).

There everything a test may ask for is provided, so a skip hides a test that nobody runs. CI sets the variable CI to
``true``, and WSSERVER_TEST_TIMED_DONE to the name of a file that is made once nothing is timed any more: then it may
let other work run beside the rest.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import pytest

from tests.leaks.plugin import pytest_configure

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from tests.store.redis_server import RedisCluster

__all__ = ["pytest_configure"]

# Of whoever runs the tests: with these the demo would ask a model instead of quoting.
for _name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_MODEL"):
    os.environ.pop(_name, None)

ReportT = TypeVar("ReportT", pytest.TestReport, pytest.CollectReport)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What is timed comes first."""
    items.sort(key=lambda item: not _is_timed(item))


def pytest_runtest_teardown(nextitem: pytest.Item | None) -> None:
    """Say so where nothing more is timed."""
    done = os.environ.get("WSSERVER_TEST_TIMED_DONE")
    if done and not (nextitem is not None and _is_timed(nextitem)):
        Path(done).touch()


def _is_timed(item: pytest.Item) -> bool:
    return item.get_closest_marker("timed") is not None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Judge a test, or its fixtures, that asked to be skipped."""
    return _without_skip((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Judge a module that asked to be skipped."""
    return _without_skip((yield))


def _without_skip(report: ReportT) -> ReportT:
    """The same report; in CI a failed one instead of a skipped one. An expected failure stays what it is."""
    if os.environ.get("CI") == "true" and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"skipped, which CI forbids: {reason}"
    return report


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Redis for all tests that do it no harm; whoever uses it empties it first.

    WSSERVER_TEST_REDIS_URL names one that runs, else one is started.
    """
    url = os.environ.get("WSSERVER_TEST_REDIS_URL")
    if url:
        yield url
        return
    from tests.store.redis_server import RedisServer

    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server.url


@pytest.fixture(scope="session")
def redis_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisCluster]:
    """The same as a cluster."""
    from tests.store.redis_server import RedisCluster

    with RedisCluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster
