"""Many servers: each connection leads to another one, and servers die, stand still or lose their store."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.chaos.storm import SETTINGS, Storm
from tests.chaos.tempest import Tempest, watch_numbers
from tests.net.instances import Instances, share

if TYPE_CHECKING:
    from wsserver import Server

both = pytest.mark.parametrize("durability", ["fast", "strict"])


async def left_clean(servers: list[Server]) -> None:
    """What is left in them is no more than the sessions of clients that never heard of them."""
    await asyncio.sleep(60)
    for server in servers:
        assert server.cluster is not None
        directory = server.cluster.sessions
        journals = directory.journals.values()
        assert all(journal.session.log.head == 0 for journal in journals)
        assert len(journals) == len(directory) == len(directory.copier.journals)
        assert directory.pool.used == 0
        assert server.cluster.letters_at_rest


def through(storm: Storm, durability: str) -> None:
    async def story(instances: Instances) -> None:
        servers = [await instances.start() for _ in range(3)]
        await storm.blow(servers)
        await left_clean(servers)

    share(story, storm.generate, durability=durability, **SETTINGS)


def against(tempest: Tempest, durability: str, *strikes: str) -> None:
    async def story(instances: Instances) -> None:
        servers = [await instances.start() for _ in range(3)]
        await tempest.rage(instances, servers, *strikes)

    share(story, tempest.generate, durability=durability, **SETTINGS)


@both
def test_cuts_that_lead_from_server_to_server(durability: str) -> None:
    storm = Storm(seed=6, sessions=12, questions=2)
    through(storm, durability)
    assert storm.cuts > 20


@pytest.mark.parametrize(
    ("strike", "durability"),
    [("kill", "fast"), ("kill", "strict"), ("pause", "fast"), ("cut off", "strict"), ("outage", "fast")],
)
def test_what_is_not_right_was_told(strike: str, durability: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = watch_numbers(monkeypatch)
    tempest = Tempest(seed=7, sessions=8, questions=2)
    against(tempest, durability, strike)
    assert tempest.strikes > 0
    assert sum(tempest.told.values()) + tempest.whole >= 8 * 3
    assert [name for name, times in seen.items() if times > 1] == []


@both
def test_a_rolling_restart_loses_nothing(durability: str) -> None:
    tempest = Tempest(seed=8, sessions=10, questions=2)
    against(tempest, durability, "roll")
    assert tempest.strikes > 0
    # Who asks a person that is away may wait for longer than a drain.
    assert tempest.whole + tempest.told.pop("server_shutdown", 0) == 10 * 3
    assert dict(tempest.told) == {}


@pytest.mark.soak
@both
@pytest.mark.parametrize("seed", range(10))
def test_a_thousand_cuts(seed: int, durability: str) -> None:
    through(Storm(seed, sessions=60, questions=3), durability)


@pytest.mark.soak
@both
@pytest.mark.parametrize("seed", range(10))
def test_everything_at_once(seed: int, durability: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = watch_numbers(monkeypatch)
    against(Tempest(seed, sessions=40, questions=3), durability, "kill", "pause", "cut off", "outage", "roll")
    assert [name for name, times in seen.items() if times > 1] == []
