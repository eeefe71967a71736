"""How much an object holds, as the garbage collector sees it: whatever name it has, and whoever holds it for it."""

from __future__ import annotations

import gc
from types import CodeType, FunctionType, ModuleType


def held(root: object) -> int:
    """The bytes of all that can be reached from here."""
    seen, stack, total = {id(root)}, [root], 0
    while stack:
        for thing in gc.get_referents(stack.pop()):
            if id(thing) in seen or isinstance(thing, type | CodeType | ModuleType | FunctionType):
                continue
            seen.add(id(thing))
            if isinstance(thing, bytes | bytearray):
                total += len(thing)
            else:
                stack.append(thing)
    return total
