"""What processes write to each other, and how it gets there."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.clock import run_virtually
from tests.net.instances import Way
from wsserver.net.sharing.letters import Letter, Post, batch_of, events
from wsserver.store.memory import Hub
from wsserver.store.port import Batch, Piece

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine


@pytest.mark.parametrize("body", [b"", b"{}", b'{\n  "event": "ping"\n}\n', "é\n".encode()])
def test_a_letter_is_opened_as_it_was_sealed(body: bytes) -> None:
    letter = Letter("say", {"link": "l1", "n": 3, "text": "line\nbreak"}, body)
    assert Letter.opened(letter.sealed()) == letter


@pytest.mark.parametrize("sealed", [b"", b"[]", b"{}", b"no letter"])
def test_what_is_none_is_refused(sealed: bytes) -> None:
    with pytest.raises((ValueError, KeyError, AttributeError, TypeError)):
        Letter.opened(sealed)


def test_events_keep_their_pieces() -> None:
    pieces = (Piece(None, (b'{"event":"start"}',)), Piece(1, (b"a", b'\\"', b"")), Piece(2, (b"c",)))
    batch = Batch(7, pieces)
    letter = Letter.opened(events("l1", 2, batch).sealed())
    assert (letter.kind, letter.fields["before"]) == ("events", 2)
    assert batch_of(letter) == batch


def between(script: Callable[[Post, Way, list[Letter]], Coroutine[None, None, None]]) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        way, letters = Way(Hub(loop.time)), list[Letter]()
        await way.open()

        def received(letter: Letter) -> None:
            if letter.kind == "bad":
                raise RuntimeError("this one cannot be handled")
            letters.append(letter)

        post = Post(way, loop, received)
        await script(post, way, letters)
        await post.stop()
        await way.close()

    run_virtually(main())


def test_letters_come_in_order_and_a_bad_one_holds_up_no_other(caplog: pytest.LogCaptureFixture) -> None:
    async def script(post: Post, way: Way, letters: list[Letter]) -> None:
        for number in range(10):
            post.send(way.process, Letter("bad" if number == 4 else "good", {"n": number}))
        await asyncio.sleep(1)
        assert [letter.fields["n"] for letter in letters] == [0, 1, 2, 3, 5, 6, 7, 8, 9]

    between(script)
    assert "could not be handled" in caplog.text


def test_what_waits_is_posted_before_the_end() -> None:
    async def script(post: Post, way: Way, letters: list[Letter]) -> None:
        other = way.beside()
        await other.open()
        post.send(other.process, Letter("last", {}))
        await post.stop()
        assert [Letter.opened(sealed).kind for sealed in await other.receive()] == ["last"]
        await other.close()

    between(script)


def test_letters_that_cannot_be_posted_are_dropped_and_later_ones_are_not() -> None:
    async def script(post: Post, way: Way, letters: list[Letter]) -> None:
        way.closed = True
        post.send(way.process, Letter("lost", {}))
        await asyncio.sleep(1)
        way.closed = False
        post.send(way.process, Letter("next", {}))
        await asyncio.sleep(1)
        assert [letter.kind for letter in letters] == ["next"]

    between(script)
