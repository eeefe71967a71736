"""The memory that all sessions share: what is counted, and when somebody is told."""

from __future__ import annotations

from wsserver.chat.pool import Pool


def test_says_once_that_it_is_over_its_limit() -> None:
    calls: list[int] = []
    pool = Pool(100, lambda: calls.append(pool.used))
    pool.add(100)
    assert calls == []
    pool.add(1)
    pool.add(50)
    assert calls == [101]


def test_and_again_only_once_it_was_relieved() -> None:
    calls: list[int] = []
    pool = Pool(100, lambda: calls.append(pool.used))
    pool.add(150)
    pool.add(-100)
    pool.add(60)
    assert calls == [150]
    pool.add(-60)
    pool.relieved()
    assert calls == [150]
    pool.add(70)
    assert calls == [150, 120]


def test_relieved_in_vain_it_says_so_at_once() -> None:
    calls: list[int] = []
    pool = Pool(100, lambda: calls.append(pool.used))
    pool.add(150)
    pool.add(-30)
    pool.relieved()
    assert calls == [150, 120]
    pool.add(1)
    assert calls == [150, 120]


def test_room_may_be_made_at_once() -> None:
    # Whoever is called may do no more than note it; but were it to free memory, nothing would be counted twice.
    pool = Pool(100, lambda: pool.add(-60))
    pool.add(120)
    assert pool.used == 60


def test_with_nobody_to_tell() -> None:
    pool = Pool(100)
    pool.add(200)
    assert pool.used == 200
