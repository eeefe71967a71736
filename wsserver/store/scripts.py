"""The Lua scripts of this store, one an operation; each file says at its head what its keys and arguments are."""

from __future__ import annotations

from functools import cache
from hashlib import sha1
from importlib.resources import files
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

#: What Redis takes as an argument; bytes cost redis-py the least.
Argument = bytes | str | int


class Script(NamedTuple):
    """A script by its source, and by the name that Redis knows it by once it has seen it."""

    source: str
    digest: bytes


@cache
def script(name: str) -> Script:
    """The script of that name."""
    source = files(__package__).joinpath("lua", f"{name}.lua").read_text("utf-8")
    return Script(source, sha1(source.encode(), usedforsecurity=False).hexdigest().encode())


def text(value: str) -> bytes:
    """The bytes of a text that came from outside; tokens in JSON may name users by halves of a character, too."""
    return value.encode("utf-8", "surrogatepass")


class Command(NamedTuple):
    """What is sent to Redis; `key` says to which node of a cluster."""

    key: Argument
    words: tuple[Argument, ...]
    script: Script | None = None

    @property
    def in_full(self) -> tuple[Argument, ...]:
        """For a Redis that does not know the script yet."""
        return self.words if self.script is None else ("EVAL", self.script.source, *self.words[2:])


def run(name: str, keys: Sequence[Argument], *arguments: Argument) -> Command:
    """The script of that name, as a command; all its keys are on one node."""
    found = script(name)
    return Command(keys[0], ("EVALSHA", found.digest, b"%d" % len(keys), *keys, *arguments), found)
