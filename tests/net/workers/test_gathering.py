"""The admin port of a supervisor, over servers that are real and speak through real sockets, all on one loop."""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests.clock import run_virtually
from tests.net.puppets import Puppet
from tests.peer import Peer
from wsserver import Config, Server, Turn
from wsserver.chat import envelope
from wsserver.net.admin.port import Admin
from wsserver.net.admin.requests import Request, Requests, Response
from wsserver.net.workers.gathering import Gathering
from wsserver.net.workers.inquiry import inquire
from wsserver.net.workers.supervisor import Supervisor
from wsserver.store.memory import Hub, MemoryStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine


async def generate(turn: Turn) -> AsyncIterator[str]:
    yield "some "
    if turn.content == "wait":
        await asyncio.Event().wait()


class Host(Puppet):
    """A worker whose server is on this loop."""

    def __init__(self, index: int, server: Server) -> None:
        super().__init__(index, 100 + index)
        self.silent = False
        self._requests = Requests(server, Admin(server))

    async def ask(self, request: Request) -> Response:
        if self.silent:
            raise ConnectionResetError("it is gone")
        ours, theirs = socket.socketpair()
        await self._loop.connect_accepted_socket(self._requests, theirs)
        ours.setblocking(False)
        return await inquire(ours, request)


class Program:
    """Calls the admin port of a supervisor of two workers."""

    def __init__(self, servers: list[Server]) -> None:
        self.servers = servers
        config = Config(workers=2, resume_ttl=0)
        self.supervisor = Supervisor(config, [[], []], lambda index, _: self.hosts[index])
        self.hosts = [Host(index, server) for index, server in enumerate(servers)]
        for host in self.hosts:
            host.serve()
        self.gathering = Gathering(self.supervisor)

    async def call(self, method: str, *path: str, body: bytes = b"", **query: str) -> tuple[int, Any]:
        reply = await self.gathering(Request(method, path, query, {}, body))
        return reply.status, envelope.decode_value(reply.body) if reply.body else None


def play(script: Callable[[Program], Coroutine[None, None, None]], *, shared: bool = False) -> None:
    """`shared`: the servers share their sessions."""

    @asynccontextmanager
    async def programmed() -> AsyncIterator[Program]:
        hub = Hub(asyncio.get_running_loop().time)
        stores = [MemoryStore(hub, lease=6.0) if shared else None for _ in range(2)]
        async with (
            Server(generate, Config(port=0), store=stores[0]) as one,
            Server(generate, Config(port=0), store=stores[1]) as other,
        ):
            program = Program([one, other])
            await program.supervisor.start()
            try:
                yield program
            finally:
                await program.supervisor.end(asyncio.Event(), asyncio.Event())

    async def main() -> None:
        async with programmed() as program:
            await script(program)

    run_virtually(main())


def test_lists_are_merged_in_order_and_pages_lose_nothing() -> None:
    async def script(program: Program) -> None:
        peers = []
        for number in range(7):
            connection = Peer.connect(program.servers[number % 2].urls[0])
            peers.append((await connection.__aenter__(), connection, number % 2))
        where = {peer.session["session_id"]: worker for peer, _, worker in peers}
        status, reply = await program.call("GET", "sessions")
        assert (status, reply["count"]) == (200, 7)
        assert [(session["id"], session["worker"]) for session in reply["sessions"]] == sorted(where.items())
        assert reply["sessions"][0]["connected"]
        seen: list[str] = []
        while True:
            _, page = await program.call("GET", "sessions", limit="2", after=seen[-1] if seen else "")
            if not page["sessions"]:
                break
            assert page["count"] == 7 and len(page["sessions"]) <= 2
            seen += [session["id"] for session in page["sessions"]]
        assert seen == sorted(where)
        assert await program.call("GET", "sessions", limit="0") == (200, {"count": 7, "sessions": []})
        assert (await program.call("GET", "sessions", limit="all"))[0] == 400
        for _, connection, _ in peers:
            await connection.__aexit__(None, None, None)

    play(script)


@pytest.mark.parametrize("worker", [0, 1])
def test_a_session_is_found_wherever_it_is(worker: int) -> None:
    async def script(program: Program) -> None:
        async with Peer.connect(program.servers[worker].urls[0]) as peer:
            name = peer.session["session_id"]
            await peer.ask("wait")
            await peer.event("start")
            await peer.event("token")
            pushed = b'{"event": "news", "data": {"text": "tea"}}'
            assert await program.call("POST", "sessions", name, "events", body=pushed) == (201, {"seq": 3})
            assert (await peer.event("news"))["data"] == {"text": "tea"}
            status, shown = await program.call("GET", "sessions", name)
            assert (status, shown["id"], shown["active_turn"]) == (200, name, 1)
            assert (await program.call("POST", "sessions", name, "events", body=b"{}"))[0] == 400
            assert (await program.call("POST", "sessions", name, "stop"))[0] == 200
            assert (await peer.event("complete"))["data"]["status"] == "stopped"
            assert (await program.call("POST", "sessions", name, "stop"))[0] == 409
            assert await program.call("DELETE", "sessions", name) == (204, None)
            assert (await peer.closed())[0] == 4506
            assert (await program.call("GET", "sessions", name))[0] == 404

    play(script)


def test_a_session_that_two_know_is_listed_once_and_told_once() -> None:
    """One writes it, the other one has its client."""

    async def script(program: Program) -> None:
        one, other = program.servers
        async with Peer.connect(one.urls[0]) as peer:
            name = peer.session["session_id"]
            await peer.ask("wait")
            await peer.event("start")
            await peer.event("token")
        await asyncio.sleep(1)
        async with Peer.connect(other.urls[0] + peer.resume(2, epoch=peer.session["data"]["epoch"])) as peer:
            assert (peer.session["data"]["recovered"], peer.session["session_id"]) == (True, name)
            await peer.event("replayed")
            _, listed = await program.call("GET", "sessions")
            assert (listed["count"], [session["id"] for session in listed["sessions"]]) == (1, [name])
            assert [name in [session.id for session in server.sessions] for server in (one, other)] == [True, True]
            for _ in range(2):
                _, shown = await program.call("GET", "sessions", name)
                assert "mirror" not in shown
                assert [said["content"] for said in shown["history"]][:1] == ["wait"]
                program.hosts[0].index, program.hosts[1].index = 1, 0
            for number in range(2):
                pushed = b'{"event": "news", "data": {"number": %d}}' % number
                assert (await program.call("POST", "sessions", name, "events", body=pushed))[0] == 201
                program.hosts[0].index, program.hosts[1].index = 0, 1
            assert [(await peer.event("news"))["data"] for _ in range(2)] == [{"number": 0}, {"number": 1}]
            assert (await program.call("POST", "sessions", name, "stop"))[0] == 200
            assert (await peer.event("complete"))["seq"] == 5

    play(script, shared=True)


def test_what_no_worker_knows() -> None:
    async def script(program: Program) -> None:
        status, reply = await program.call("GET", "sessions", "s_nowhere")
        assert (status, reply["error"]) == (404, "there is no session 's_nowhere', or none any more")
        assert (await program.call("GET", "nothing"))[0] == 404
        assert (await program.call("PUT", "sessions"))[0] == 405

    play(script)


def test_one_that_does_not_answer_may_have_it(caplog: pytest.LogCaptureFixture) -> None:
    async def script(program: Program) -> None:
        program.hosts[0].silent = True
        silent = (503, {"error": "worker 0 (process 100) does not answer"})
        assert await program.call("GET", "sessions") == silent
        assert await program.call("GET", "sessions", "s_nowhere") == silent
        async with Peer.connect(program.servers[1].urls[0]) as peer:
            assert (await program.call("GET", "sessions", peer.session["session_id"]))[0] == 200
        assert [found["worker"] for found in await program.gathering.gather("/sessions")] == [1]

    play(script)
    assert "worker 0 (process 100) does not answer: it is gone" in caplog.text


def test_what_all_say_of_themselves() -> None:
    async def script(program: Program) -> None:
        async with Peer.connect(program.servers[1].urls[0]):
            found = await program.gathering.gather("/sessions")
            assert [(one["worker"], one["count"]) for one in found] == [(0, 0), (1, 1)]
            assert await program.gathering.gather("/nothing") == []

    play(script)


def test_the_workers() -> None:
    async def script(program: Program) -> None:
        await asyncio.sleep(2)
        status, reply = await program.call("GET", "workers")
        assert status == 200
        assert [{**worker, "seconds": round(worker["seconds"])} for worker in reply["workers"]] == [
            {"worker": index, "pid": 100 + index, "state": "ready", "seconds": 2, "restarts": 0} for index in (0, 1)
        ]
        assert (await program.call("DELETE", "workers"))[0] == 405

    play(script)


def test_where_none_serves() -> None:
    async def script(program: Program) -> None:
        for host in program.hosts:
            host.ready.clear()
        assert await program.call("GET", "sessions") == (503, {"error": "no worker serves"})

    play(script)
