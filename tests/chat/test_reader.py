"""What a session asks of its readers and gates, they all have."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.chat.person import Person
from wsserver.chat.reader import Gate, Reader
from wsserver.net.flow import Pump
from wsserver.net.sharing.afar import Afar

if TYPE_CHECKING:
    from collections.abc import Iterator


def asked_of(protocol: type) -> Iterator[str]:
    yield from (name for name in vars(protocol) if not name.startswith("_"))
    yield from protocol.__annotations__


@pytest.mark.parametrize("reader", [Pump, Afar, Person])
def test_readers(reader: type) -> None:
    names = set(asked_of(Reader))
    assert {"marked", "full", "wake", "send"} <= names
    # An attribute that is only set where one is made does not show in its class.
    assert names - {"marked", "full"} <= set(dir(reader))


def test_gates() -> None:
    assert {"set", "wait"} == set(asked_of(Gate)) <= set(dir(asyncio.Event))
