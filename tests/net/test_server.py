"""The life of a server in somebody's loop: where it listens, and what it leaves behind."""

from __future__ import annotations

import asyncio
import gc
import socket
from urllib.parse import urlsplit

import pytest
import uvloop

from tests.net.talking import answer, converse
from tests.peer import Peer
from wsserver import Config, ConfigError, Server


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_it_serves_on_either_loop_and_leaves_no_task(run: object) -> None:
    async def main() -> None:
        async with Server(answer, Config(port=0)) as server:
            await converse(server.urls[0])
            await server.sockets.emptied()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run(main())  # type: ignore[operator]
    gc.collect()


def test_two_servers_share_a_loop() -> None:
    async def main() -> None:
        async with Server(answer, Config(port=0)) as one, Server(answer, Config(port=0, path="/two")) as two:
            assert one.urls[0].endswith("/ws/chat")
            assert two.urls[0].endswith("/two")
            await converse(one.urls[0])
            await converse(two.urls[0])

    asyncio.run(main())


def test_port_0_gives_all_addresses_of_a_host_the_same_port() -> None:
    async def main() -> None:
        async with Server(answer, Config(host="localhost", port=0)) as server:
            assert len({urlsplit(url).port for url in server.urls}) == 1
            for url in server.urls:
                await converse(url)

    asyncio.run(main())


@pytest.mark.skipif(not socket.has_ipv6, reason="this Python was built without IPv6")
def test_an_ipv6_address_is_shown_in_brackets() -> None:
    async def main() -> None:
        async with Server(answer, Config(host="::1", port=0)) as server:
            [url] = server.urls
            assert url.startswith("ws://[::1]:")
            await converse(url)

    asyncio.run(main())


def test_a_taken_port_says_what_to_do() -> None:
    async def main() -> None:
        async with Server(answer, Config(port=0)) as server:
            port = urlsplit(server.urls[0]).port
            assert port is not None
            with pytest.raises(ConfigError, match=f"port {port}.*choose another --port, or 0"):
                await Server(answer, Config(port=port)).__aenter__()

    asyncio.run(main())


def test_an_address_of_no_machine_says_so() -> None:
    async def main() -> None:
        with pytest.raises(ConfigError, match="--host no such host.* is no address"):
            await Server(answer, Config(host="no such host", port=0)).__aenter__()

    asyncio.run(main())


def test_a_callback_that_is_not_async_is_refused_before_anything_listens() -> None:
    with pytest.raises(ConfigError, match="must be an async generator"):
        Server(lambda turn: "hello")  # type: ignore[arg-type, return-value]


def test_a_redis_that_cannot_be_reached_is_told_at_the_start() -> None:
    async def main() -> None:
        with socket.socket() as nobody:
            nobody.bind(("127.0.0.1", 0))
            with pytest.raises(ConfigError, match="127.0.0.1"):
                async with Server(answer, Config(port=0, redis=f"redis://127.0.0.1:{nobody.getsockname()[1]}")):
                    raise AssertionError("it serves")

    asyncio.run(main())


def test_unread_bytes_in_the_kernel_are_few() -> None:
    async def main() -> int:
        async with Server(answer, Config(port=0)) as server, Peer.connect(server.urls[0]):
            [connection] = server.sockets
            transport: asyncio.Transport = connection._transport  # type: ignore[attr-defined]
            accepted = transport.get_extra_info("socket")
            return int(accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT))

    assert asyncio.run(main()) == 2**14


def test_closing_twice_does_no_harm() -> None:
    async def main() -> None:
        async with Server(answer, Config(port=0)) as server:
            await converse(server.urls[0])
            await server.close()

    asyncio.run(main())
