"""The lease of a process, and the places that it holds of seats which all processes count together.

All keys have one hash tag, so that one script sees them all. What a process holds is one hash, which is gone when its
lease is over. Redis is always told how many places this process holds, never one more or one less: so what is done
twice, or not at all because Redis was out of reach, is right again with the next exchange.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

from ..errors import StoreError
from .memory import give_back
from .port import Count, Seat, total
from .scripts import Command, run, text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .lane import Lanes
    from .scripts import Argument

#: What a process has is told as places that nobody is refused for.
_COUNTED = [Seat("count", name) for name in Count._fields[1:]]

_Asking = tuple["Mapping[Seat, int]", "asyncio.Future[Seat | None]"]


class Seating:
    """As one process sees it. One exchange with Redis is under way at a time; what is asked meanwhile is the next."""

    def __init__(self, lanes: Lanes, process: str, prefix: str, lease: float) -> None:
        self._lanes = lanes
        self._process = process
        self._prefix = prefix
        self._lease = round(lease * 1000)
        self._held: Counter[Seat] = Counter()
        self._changed: set[Seat] = set()
        self._whole = True  # Redis has to be told all that is held
        self._others: list[str] = []
        self._number = 0  # of the exchange
        self._asking: list[_Asking] = []
        self._task: asyncio.Task[None] | None = None

    async def renew(self, own: Count) -> None:
        """As `Store.renew`."""
        for seat, held in zip(_COUNTED, own[1:], strict=True):
            self._held[seat] = held
            self._changed.add(seat)
        await self._ask({})

    async def count(self) -> Count:
        """As `Store.count`."""
        processes = await self._lanes.call(Command(self._processes, ("ZRANGE", self._processes, 0, -1)))
        # The number of its last exchange is there as long as its lease lasts.
        fields = [b"", *map(_field, _COUNTED)]
        keys = [self._key(process.decode()) for process in processes]
        found = await asyncio.gather(*(self._lanes.call(Command(key, ("HMGET", key, *fields))) for key in keys))
        return total(Count(1, *(int(held or 0) for held in rest)) for exchange, *rest in found if exchange)

    async def sit(self, seats: Mapping[Seat, int]) -> Seat | None:
        """As `Store.sit`."""
        asked = self._ask(seats)
        try:
            return await asked
        except asyncio.CancelledError:
            # Where the answer had come before, nobody takes what it gave.
            if not asked.cancelled() and asked.exception() is None and asked.result() is None:
                self._free(seats)
            raise

    async def stand(self, seats: Iterable[Seat]) -> None:
        """As `Store.stand`. What is given back is given back, though Redis may hear of it later."""
        self._free(seats)
        await self._ask({})

    def _free(self, seats: Iterable[Seat]) -> None:
        """Gives places back; Redis hears of it with the next exchange."""
        for seat in seats:
            give_back(self._held, seat)
            self._changed.add(seat)

    async def is_alive(self, process: str) -> bool:
        """As `Store.is_alive`."""
        key = self._key(process)
        return bool(await self._lanes.call(Command(key, ("EXISTS", key))))

    async def close(self) -> None:
        """Nothing more is asked."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    def farewell(self) -> list[Command]:
        """What ends the lease."""
        own, everyone = self._key(self._process), self._processes
        return [Command(own, ("DEL", own)), Command(everyone, ("ZREM", everyone, self._process))]

    @property
    def _processes(self) -> str:
        return f"{self._prefix}processes:{{seats}}"

    def _key(self, process: str) -> str:
        return f"{self._prefix}process:{{seats}}:{process}"

    def _ask(self, seats: Mapping[Seat, int]) -> asyncio.Future[Seat | None]:
        future: asyncio.Future[Seat | None] = asyncio.get_running_loop().create_future()
        self._asking.append((seats, future))
        if self._task is None:
            self._task = asyncio.create_task(self._drive())
        return future

    async def _drive(self) -> None:
        asking: list[_Asking] = []
        try:
            while self._asking:
                asking, self._asking = self._asking, []
                await self._settle(asking)
        finally:
            self._task = None
            for _, future in (*asking, *self._asking):
                if not future.done():
                    future.set_exception(StoreError("this store is closed"))
            self._asking = []

    async def _settle(self, asking: list[_Asking]) -> None:
        try:
            answers = await self._exchange([seats for seats, _ in asking])
        except StoreError as exc:
            self._whole = True
            for _, future in asking:
                if not future.done():
                    future.set_exception(exc)
            return
        for (seats, future), answer in zip(asking, answers, strict=True):
            if future.done():
                # Who asked has gone: with the next exchange Redis hears that the places are free.
                self._changed.update(seats)
            elif answer is None:
                self._held.update(seats.keys())
                future.set_result(None)
            else:
                future.set_result(answer)

    async def _exchange(self, requests: list[Mapping[Seat, int]]) -> list[Seat | None]:
        """For each request None, or the seat that has no place."""
        changed, self._changed = self._changed, set()
        while True:
            told = dict.fromkeys(
                (*(self._held if self._whole else changed), *(seat for seats in requests for seat in seats))
            )
            names = list(told)
            what, *answers = await self._lanes.call(self._command(names, requests))
            if what == b"ok":
                self._whole = False
                return [names[answer - 1] if answer else None for answer in answers]
            if what == b"who":
                self._others = [name for answer in answers if (name := answer.decode()) != self._process]
            else:
                self._whole = True

    def _command(self, names: list[Seat], requests: list[Mapping[Seat, int]]) -> Command:
        numbers = {seat: number for number, seat in enumerate(names, 1)}
        processes = [self._process, *self._others]
        self._number += 1
        words: list[Argument] = [*processes, self._lease, self._number, "all" if self._whole else "", len(names)]
        for seat in names:
            words += (_field(seat), self._held[seat])
        for seats in requests:
            words.append(len(seats))
            for seat, limit in seats.items():
                words += (numbers[seat], limit)
        return run("seats", [self._processes, *map(self._key, processes)], *words)


def _field(seat: Seat) -> bytes:
    return text(f"{seat.kind}:{seat.name}")
