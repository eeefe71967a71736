"""The sockets of a server, and how one of them ends."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.clock import run_virtually
from wsserver.net.sockets import Sockets, end_sending, plain_address


class Member:
    """Leaves as soon as it is closed."""

    def __init__(self, sockets: Sockets) -> None:
        self.sockets = sockets
        sockets.add(self)

    def close(self, code: int, reason: str = "") -> None:
        self.sockets.remove(self)


def test_they_may_leave_while_they_are_gone_through() -> None:
    async def main() -> None:
        sockets = Sockets()
        await sockets.emptied()
        for _ in range(3):
            Member(sockets)
        waiting = asyncio.create_task(sockets.emptied())
        await asyncio.sleep(0)
        assert (len(sockets), waiting.done()) == (3, False)
        for member in sockets:
            member.close(1001)
        await waiting
        assert len(sockets) == 0

    run_virtually(main())


class Transport(asyncio.Transport):
    """Notes how it was ended."""

    def __init__(self, *, closing: bool = False, half: bool = True, reset: bool = False) -> None:
        super().__init__()
        self.done: list[str] = []
        self._closing, self._half, self._reset = closing, half, reset

    def is_closing(self) -> bool:
        return self._closing

    def can_write_eof(self) -> bool:
        return self._half

    def write_eof(self) -> None:
        if self._reset:
            raise OSError("not connected")
        self.done.append("eof")

    def close(self) -> None:
        self.done.append("close")

    def abort(self) -> None:
        self.done.append("abort")


@pytest.mark.parametrize(
    ("state", "done"),
    [({}, ["eof"]), ({"half": False}, ["close"]), ({"reset": True}, ["abort"]), ({"closing": True}, [])],
)
def test_only_our_side_ends_where_that_can_be(state: dict[str, bool], done: list[str]) -> None:
    transport = Transport(**state)
    end_sending(transport)
    assert transport.done == done


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        (("192.0.2.1", 7), "192.0.2.1"),
        (("::ffff:192.0.2.1", 7, 0, 0), "192.0.2.1"),
        ("", None),
        (b"", None),
        (None, None),
    ],
)
def test_an_address_is_plain_and_a_unix_socket_has_none(peer: Any, address: str | None) -> None:
    assert plain_address(peer) == address
