"""What sessions take in Redis: a small round against a real one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench import cli
from tests.store.redis_server import RedisServer

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_a_small_round(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with RedisServer(tmp_path) as server:
        assert cli.main(["store", "--redis", server.url, "--sessions", "50"]) == 0
        rows = [line.split("|")[1:-1] for line in capsys.readouterr().out.splitlines() if line.startswith("| ")][1:]
        assert [row[0].strip() for row in rows] == ["being opened", "a message", "an answer", "its end"]
        # The record; the log, its history, its facts and what is to be answered; which is over in the end.
        assert [float(row[1]) for row in rows] == [1.0, 5.0, 5.0, 4.0]
        assert float(rows[0][2]) < float(rows[2][2])
        assert all(float(cost) > 0 for row in rows for cost in row[3:])

        assert cli.main(["store", "--redis", server.url]) == 1
        assert "this Redis is not empty" in capsys.readouterr().err
    assert cli.main(["store", "--redis", server.url]) == 1
    assert "cannot be reached" in capsys.readouterr().err
