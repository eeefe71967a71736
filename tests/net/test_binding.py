"""Sockets for several processes; those of one are tested with the listeners that serve them."""

from __future__ import annotations

import asyncio
import errno
import socket
import sys
from typing import TYPE_CHECKING

import pytest

from wsserver import Config, ConfigError
from wsserver.net import binding
from wsserver.net.binding import Binding

if TYPE_CHECKING:
    from pathlib import Path

linux = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the sockets are shared")


def bound(processes: int, **settings: object) -> list[list[socket.socket]]:
    async def main() -> list[list[socket.socket]]:
        config = Config(**settings)  # type: ignore[arg-type]
        return await Binding(config).bind(asyncio.get_running_loop(), processes)

    return asyncio.run(main())


def close(lists: list[list[socket.socket]]) -> None:
    for sockets in lists:
        for sock in sockets:
            sock.close()


@linux
def test_each_process_has_a_socket_for_each_address_on_one_port() -> None:
    lists = bound(3, host="127.0.0.1,::1", port=0)
    descriptors = {sock.fileno() for sockets in lists for sock in sockets}
    assert (len(lists), len(descriptors)) == (3, 6)
    names = [[sock.getsockname()[:2] for sock in sockets] for sockets in lists]
    port = names[0][0][1]
    assert names == [[("127.0.0.1", port), ("::1", port)]] * 3
    close(lists)


@linux
def test_the_kernel_spreads_what_comes() -> None:
    lists = bound(2, port=0)
    [[one], [other]] = lists
    accepted = [0, 0]
    for sock in (one, other):
        sock.setblocking(False)
    clients = [socket.create_connection(one.getsockname()) for _ in range(40)]
    for number, sock in enumerate((one, other)):
        while True:
            try:
                sock.accept()[0].close()
            except BlockingIOError:
                break
            accepted[number] += 1
    assert sum(accepted) == 40
    assert min(accepted) > 0
    for client in clients:
        client.close()
    close(lists)


@linux
@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "0.0.0.0"])
def test_a_second_server_does_not_share_the_port_unseen(host: str) -> None:
    lists = bound(2, host=host, port=0)
    port = lists[0][0].getsockname()[1]
    with pytest.raises(ConfigError, match=f"cannot listen on {host} port {port}: Address already in use"):
        bound(2, host=host, port=port)
    close(lists)
    close(bound(2, host=host, port=port))


@linux
def test_one_that_fails_leaves_none(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[socket.socket] = []
    create = socket.create_server

    def fails_the_third_time(*arguments: object, **options: object) -> socket.socket:
        if len(made) == 2:
            raise OSError(errno.EMFILE, "too many")
        made.append(create(*arguments, **options))  # type: ignore[arg-type]
        return made[-1]

    monkeypatch.setattr(socket, "create_server", fails_the_third_time)
    with pytest.raises(ConfigError, match="Too many open files"):
        bound(3, port=0)
    assert [sock.fileno() for sock in made] == [-1, -1]


def test_elsewhere_they_share_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binding, "_SPREADS", False)
    [[one], [other]] = bound(2, port=0)
    assert one is other
    one.close()


def test_a_unix_socket_is_shared(tmp_path: Path) -> None:
    [[one], [other]] = bound(2, uds=str(tmp_path / "chat.sock"))
    assert one is other
    one.close()
