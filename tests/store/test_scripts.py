"""The Lua scripts, and how Redis comes to know them."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import replace
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import pytest

from tests.store.worlds import ALICE, FIRST, SECOND, opened
from wsserver.store.port import Outcome
from wsserver.store.scripts import Command, run, script, text

if TYPE_CHECKING:
    from tests.store.redis_server import RedisServer


def test_a_redis_that_has_forgotten_them_is_given_them_again(server: RedisServer) -> None:
    async def main() -> None:
        async with opened(server.url) as store:
            with server.client() as client:
                assert await store.write([FIRST]) == [Outcome.DONE]
                client.script_flush()
                flush = [SECOND, *(replace(FIRST, session_id=f"s_{number}") for number in range(2, 9))]
                assert await store.write(flush) == [Outcome.DONE] * 8
                client.script_flush()
                assert await store.sit({ALICE: 1}) is None
                client.script_flush()
                assert await store.take("s_1", 1, lost=False) is not None
                client.script_flush()
                assert not await store.leave("s_1", b"letter")
                client.script_flush()
                await store.post([(store.process, b"letter")])
                assert await store.receive() == [b"letter"]

    asyncio.run(main())


def test_they_are_sent_once(server: RedisServer) -> None:
    async def main() -> None:
        async with opened(server.url) as store:
            assert await store.write([FIRST]) == [Outcome.DONE]
            with server.client() as client:
                client.config_resetstat()
                assert await store.write([SECOND]) == [Outcome.DONE]
                commands: Any = client.info("commandstats")
            assert commands["cmdstat_evalsha"]["calls"] == 1
            assert "cmdstat_eval" not in commands

    asyncio.run(main())


def lua() -> list[str]:
    return [file.name.removesuffix(".lua") for file in files("wsserver.store").joinpath("lua").iterdir()]


@pytest.mark.parametrize("name", lua())
def test_each_says_what_its_keys_are(name: str) -> None:
    source = script(name).source
    said, _, _ = source.partition("\n\n")
    assert all(line.startswith("--") for line in said.splitlines())
    assert "-- KEYS " in said and "-- ARGV " in said and "-- Returns " in said
    assert script(name) is script(name)


def test_a_script_is_called_by_its_digest_and_sent_where_that_is_not_known() -> None:
    command = run("leave", ["record", "letters"], b"letter", "", 3)
    source, digest = script("leave")
    assert digest.decode() == hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()
    rest = (b"2", "record", "letters", b"letter", "", 3)
    assert (command.key, command.words) == ("record", ("EVALSHA", digest, *rest))
    assert command.in_full == ("EVAL", source, *rest)
    plain = Command("key", ("GET", "key"))
    assert plain.in_full == plain.words


def test_any_text_has_bytes_of_its_own() -> None:
    assert [text(value) for value in ("", "é", "\ud800")] == [b"", "é".encode(), b"\xed\xa0\x80"]
