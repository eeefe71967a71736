"""What a worker is given by its supervisor."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest

from wsserver import ConfigError
from wsserver.net.workers import handover

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """A process asks once; here it is asked by each test."""
    handover.place.cache_clear()
    yield
    handover.place.cache_clear()


def test_what_was_written_is_taken_once(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = socket.socketpair()
    with ours, socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        given = [socket.socket(fileno=os.dup(sock.fileno())) for sock in (one, other)]
        for sock in (theirs, *given):
            sock.set_inheritable(True)
        monkeypatch.setenv(handover.VARIABLE, handover.written(3, theirs, given))
        place = handover.place()
        assert place is not None and place is handover.place()
        assert handover.VARIABLE not in os.environ
        assert (place.index, place.name) == (3, "worker 3")
        taken = [place.channel, *place.listeners]
        assert [sock.fileno() for sock in taken] == [sock.fileno() for sock in (theirs, *given)]
        assert [sock.getsockname() for sock in place.listeners] == [one.getsockname(), other.getsockname()]
        assert not any(sock.get_inheritable() for sock in taken)
        place.channel.sendall(handover.READY)
        assert ours.recv(8) == handover.READY
        for sock in (theirs, *given):
            # Two objects have one descriptor here.
            sock.detach()
        for sock in taken:
            sock.close()


def test_a_process_of_its_own_has_no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(handover.VARIABLE, raising=False)
    assert handover.place() is None


@pytest.mark.parametrize("text", ["", "1", "0:x:1", "0:999999:999998", "0:{pair}:{null}", "x:{pair}:{pair}"])
def test_what_no_supervisor_has_written(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    null = os.open(os.devnull, os.O_RDONLY)
    ours, theirs = socket.socketpair()
    monkeypatch.setenv(handover.VARIABLE, text.format(null=null, pair=theirs.fileno()))
    with pytest.raises(ConfigError, match="WSSERVER_WORKER is for workers, and set by their supervisor only"):
        handover.place()
    assert handover.VARIABLE not in os.environ
    os.close(null)
    if "null" in text:
        # What was taken before the rest was seen has been closed.
        theirs.detach()
        assert ours.recv(1) == b""
    theirs.close()
    ours.close()
