"""Several servers of one program that share their sessions, and what may befall each of them."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

from tests.clock import run_virtually
from tests.net.steps import begun
from tests.peer import Peer
from wsserver import Config, Server, StoreError
from wsserver.net.sharing.letters import Letter
from wsserver.store.memory import Hub, MemoryStore
from wsserver.store.port import NOTHING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping

    from tests.net.steps import Steps
    from wsserver.net.run import Generate
    from wsserver.net.sharing.copier import Copier
    from wsserver.store.port import Batch, Copy, Count, Outcome, Record, Seat, Write

#: Of all servers here, in seconds.
LEASE = 6.0


class Way:
    """A store, as long as the way to it is open. `closed`: out of reach. `held`: nothing comes back until it is set.

    `flush_time` is what each write takes, in seconds. `writes` counts them. Places are given once `seats_open` is set.
    `sought` is set once a session has been looked up, `seats_asked` once somebody wants places.
    """

    def __init__(self, hub: Hub) -> None:
        self.closed = False
        self.open_again = asyncio.Event()
        self.open_again.set()
        self.flush_time = 0.0
        self.seats_open = asyncio.Event()
        self.seats_open.set()
        self.seats_asked, self.sought = asyncio.Event(), asyncio.Event()
        self.writes: list[Write] = []
        self.doubt: Callable[[], bool] = lambda: False  # whether what was done is not known to be
        self._hub = hub
        self._store = MemoryStore(hub, lease=LEASE)
        self.process = self._store.process
        self.lease = LEASE

    def beside(self) -> Way:
        """That of another process."""
        return Way(self._hub)

    async def _through(self, call: Coroutine[Any, Any, Any]) -> Any:
        try:
            await asyncio.sleep(0)
            await self.open_again.wait()
            if self.closed:
                raise StoreError("the store is out of reach")
            answer = await call
        finally:
            # Where it was not begun, it never will be.
            call.close()
        if self.doubt():
            raise StoreError("the store did not answer")
        return answer

    def lane(self, session_id: str) -> str:
        return self._store.lane(session_id)

    async def open(self) -> None:
        await self._through(self._store.open())

    async def close(self) -> None:
        await self._through(self._store.close())

    async def renew(self, own: Count = NOTHING) -> None:
        await self._through(self._store.renew(own))

    async def count(self) -> Count:
        count: Count = await self._through(self._store.count())
        return count

    async def is_alive(self, process: str) -> bool:
        return bool(await self._through(self._store.is_alive(process)))

    async def find(self, session_id: str) -> Record | None:
        self.sought.set()
        record: Record | None = await self._through(self._store.find(session_id))
        return record

    async def take(self, session_id: str, fence: int, *, lost: bool) -> Copy | None:
        copy: Copy | None = await self._through(self._store.take(session_id, fence, lost=lost))
        return copy

    async def write(self, writes: Iterable[Write]) -> list[Outcome]:
        given = list(writes)
        self.writes += given
        if self.flush_time:
            await asyncio.sleep(self.flush_time)
        outcomes: list[Outcome] = await self._through(self._store.write(given))
        return outcomes

    async def read(self, session_id: str, after: int, count: int) -> list[Batch]:
        batches: list[Batch] = await self._through(self._store.read(session_id, after, count))
        return batches

    async def post(self, letters: Iterable[tuple[str, bytes]]) -> None:
        await self._through(self._store.post(letters))

    async def receive(self) -> list[bytes]:
        letters: list[bytes] = await self._store.receive()
        await self.open_again.wait()
        if self.closed:
            raise StoreError("the store is out of reach")
        return letters

    async def leave(self, session_id: str, letter: bytes) -> bool:
        return bool(await self._through(self._store.leave(session_id, letter)))

    async def sit(self, seats: Mapping[Seat, int]) -> Seat | None:
        self.seats_asked.set()
        await self.seats_open.wait()
        seat: Seat | None = await self._through(self._store.sit(seats))
        return seat

    async def stand(self, seats: Iterable[Seat]) -> None:
        await self._through(self._store.stand(seats))


class Instances:
    """Servers `a`, `b` … of the same callback."""

    def __init__(self, generate: Generate, stack: AsyncExitStack, settings: dict[str, Any]) -> None:
        self.hub = Hub(asyncio.get_running_loop().time)
        self.ways: dict[Server, Way] = {}
        self._generate = generate
        self._stack = stack
        # Where a store is given, the address counts for nothing.
        self._config = Config(port=0, redis="redis://127.0.0.1", **settings)

    async def start(self, **given: Any) -> Server:
        """Another one."""
        way = Way(self.hub)
        server = Server(self._generate, self._config, store=way, **given)
        await self._stack.enter_async_context(server)
        self.ways[server] = way
        return server

    def kill(self, server: Server) -> None:
        """As a process ends that is killed: nothing of it reaches anybody any more."""
        self.ways[server].closed = True
        server.begin_to_drain()
        assert server.cluster is not None
        for session in server.sessions:
            server.cluster.turns.give_up(session)
        for member in server.sockets:
            getattr(member, "abort", member.close)(*(() if hasattr(member, "abort") else (1006,)))

    def pause(self, server: Server) -> None:
        """As a process is stopped by a signal: it goes on later, as if nothing had been."""
        self.ways[server].open_again.clear()

    def go_on(self, server: Server) -> None:
        self.ways[server].open_again.set()


def share(script: Callable[[Instances], Coroutine[Any, Any, None]], generate: Generate, **settings: Any) -> None:
    """Runs a story with servers that share a store."""

    async def main() -> None:
        async with AsyncExitStack() as stack, asyncio.timeout(24 * 3600):
            instances = Instances(generate, stack, settings)
            try:
                await script(instances)
            finally:
                # Else none of them could end.
                for server in instances.ways:
                    instances.go_on(server)

    run_virtually(main())


def copier_of(server: Server) -> Copier:
    assert server.cluster is not None
    return server.cluster.sessions.copier


async def stored(server: Server) -> None:
    """Returns once all is stored."""
    await asyncio.sleep(0.5)
    await copier_of(server).settled()


async def out_of_reach(server: Server) -> None:
    """The store has not answered for long enough."""
    await asyncio.sleep(LEASE)
    assert copier_of(server).out


@asynccontextmanager
async def mirrored(instances: Instances, steps: Steps) -> AsyncIterator[tuple[Server, Server, Peer]]:
    """The writer of a session in which an answer runs, the process of its client, and that client."""
    one, two = await instances.start(), await instances.start()
    async with Peer.connect(one.urls[0]) as peer:
        await begun(peer, steps, 1)
        await asyncio.sleep(0.5)
    async with Peer.connect(two.urls[0] + peer.resume(2)) as again:
        assert again.session["data"]["active_turn"] == 1
        await again.event("replayed")
        yield one, two, again


def lose(instances: Instances, server: Server, is_lost: Callable[[Letter], bool]) -> list[Letter]:
    """From now on such letters of a server get lost; those that did."""
    way, lost = instances.ways[server], list[Letter]()
    post = way.post

    async def filtered(letters: Iterable[tuple[str, bytes]]) -> None:
        kept = []
        for process, sealed in letters:
            letter = Letter.opened(sealed)
            if is_lost(letter):
                lost.append(letter)
            else:
                kept.append((process, sealed))
        await post(kept)

    way.post = filtered  # type: ignore[method-assign]
    return lost
