"""The way in to an admin port."""

from __future__ import annotations

import asyncio
import errno
import os
import socket

import pytest

from tests.clock import run_virtually
from tests.net.admin.program import TOKEN, administered, generate
from tests.peer import Peer
from wsserver import Config, ConfigError, Server


@pytest.mark.parametrize(
    "authorization", ["", "Bearer", "Bearer wrong", f"Basic {TOKEN}", f"Bearer {TOKEN}x", "Bearer \xff"]
)
def test_nobody_comes_in_without_the_token(authorization: str) -> None:
    async def main() -> None:
        async with administered() as (_, program):
            reply = await program.call("GET", "/sessions", authorization=authorization)
            assert (reply.status, reply.headers["www-authenticate"]) == (401, "Bearer")
            assert set(reply.body) == {"error"}

    run_virtually(main())


def test_nobody_is_led_in_by_a_foreign_name() -> None:
    async def main() -> None:
        async with administered() as (_, program):
            assert (await program.call("GET", "/sessions", host="rebound.example")).status == 403
            assert (await program.call("GET", "/sessions", host="localhost")).status == 200

    run_virtually(main())


def test_health_needs_no_token_and_is_told_while_the_server_drains() -> None:
    async def main() -> None:
        async with administered(drain_timeout=10) as (server, program), Peer.connect(server.urls[0]) as peer:
            assert (await program.call("GET", "/healthz", authorization="")).status == 200
            assert (await program.call("GET", "/readyz", authorization="")).status == 200
            await peer.ask("wait")
            await peer.event("start")
            await peer.event("token")
            draining = asyncio.create_task(server.drain())
            await peer.event("drain")
            assert (await program.call("GET", "/healthz", authorization="")).status == 200
            assert (await program.call("GET", "/readyz", authorization="")).status == 503
            await draining

    run_virtually(main())


def test_a_taken_port_says_what_to_do_and_leaves_nothing_open() -> None:
    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            server = Server(generate, Config(port=0, admin_port=taken.getsockname()[1]))
            with pytest.raises(
                ConfigError, match=rf"port \d+: {os.strerror(errno.EADDRINUSE)}; choose another --admin-port"
            ):
                async with server:
                    pass
            assert asyncio.all_tasks() == {asyncio.current_task()}

    run_virtually(main())
