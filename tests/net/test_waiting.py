"""Admission that waits for the application (decision 9): `authenticate` and `on_open`, and all that may go wrong."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from tests.clock import run_virtually
from tests.peer import TEXT, Peer, Refused, masked, request, text_of
from wsserver import Config, HandshakeError, Request, Server, SessionView, Turn, User

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

V1 = "Sec-WebSocket-Protocol: wsserver.v1"


async def answer(turn: Turn) -> AsyncIterator[str]:
    yield f"{turn.session.state.get('name')} heard {turn.content}"


def serve(
    script: Callable[[Server, str], Coroutine[Any, Any, None]],
    *,
    on_open: Any = None,
    on_close: Any = None,
    authenticate: Any = None,
    **settings: Any,
) -> None:
    """Runs the script beside a server, which must then hold nothing of anybody."""

    async def main() -> None:
        config = Config(port=0, **settings)
        async with Server(answer, config, on_open=on_open, on_close=on_close, authenticate=authenticate) as server:
            await script(server, server.urls[0])
            await server.sockets.emptied()
            assert_nothing_is_held(server)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run_virtually(main())


def assert_nothing_is_held(server: Server) -> None:
    seats = server.seats
    held = (seats.sockets, seats.connections, seats.addresses, seats.users)
    assert [len(counts) for counts in held] == [0, 0, 0, 0]


async def refused(url: str, *headers: str) -> Refused:
    with pytest.raises(Refused) as caught:
        async with Peer.connect(url, *headers):
            """Never let in."""
    return caught.value


async def closed_at_once(url: str) -> tuple[int, str]:
    """The close code that a client of `wsserver.v1` is told instead of a status; it hears nothing else."""
    async with Peer.socket(url) as peer:
        await peer.write(request("/ws/chat", V1))
        await peer.read_head()
        first, payload = await peer.frame()
        assert first == 0x88
        assert await peer.gone() == b""
        return int.from_bytes(payload[:2], "big"), payload[2:].decode()


class TestOnOpen:
    def test_it_fills_history_and_state_before_the_first_frame(self) -> None:
        requests: list[Request] = []

        async def on_open(session: SessionView, request: Request) -> None:
            requests.append(request)
            await asyncio.sleep(1)
            session.history = [{"role": "user", "content": "before"}]
            session.state["name"] = "Ann"

        async def script(server: Server, url: str) -> None:
            async with Peer.connect(f"{url}?chat=7", "X-Tenant: blue", "Sec-WebSocket-Protocol: wsserver.v1") as peer:
                await peer.send({"event": "history"})
                assert (await peer.event("history"))["data"] == {
                    "items": [{"turn": 0, "role": "user", "content": "before", "status": "completed"}],
                    "active": None,
                    "seq": 0,
                }
                await peer.ask("hello")
                assert text_of(await peer.turn()) == "Ann heard hello"

        serve(script, on_open=on_open)
        [request] = requests
        assert (request.path, request.query, request.headers["x-tenant"]) == ("/ws/chat", "chat=7", "blue")

    @pytest.mark.parametrize(
        ("status", "code"), [(401, 4501), (403, 4503), (429, 4504), (500, 1011), (503, 1013), (404, None), (409, None)]
    )
    def test_it_refuses_by_status_or_by_close_code(self, status: int, code: int | None) -> None:
        async def on_open(session: SessionView, request: Request) -> None:
            raise HandshakeError(status, "not you", [("Retry-After", "7")])

        async def script(server: Server, url: str) -> None:
            by_status = await refused(url)
            assert (by_status.status, by_status.body) == (status, "not you\n")
            assert "Retry-After: 7\r\n" in by_status.head
            if code is None:
                assert (await refused(url, V1)).status == status
            else:
                assert await closed_at_once(url) == (code, "not you")
            assert not len(server.sessions)

        serve(script, on_open=on_open)

    def test_one_that_fails_is_a_500_without_internals(self, caplog: pytest.LogCaptureFixture) -> None:
        async def on_open(session: SessionView, request: Request) -> None:
            raise RuntimeError("swordfish")

        async def script(server: Server, url: str) -> None:
            answer = await refused(url)
            assert (answer.status, answer.body) == (500, "internal error\n")
            assert (await closed_at_once(url))[0] == 1011

        serve(script, on_open=on_open)
        assert caplog.text.count("RuntimeError: swordfish") == 2

    @pytest.mark.parametrize("state", [{"x": "y" * 70_000}, {"x": object()}], ids=["too large", "no JSON"])
    def test_a_state_that_cannot_be_kept_is_a_500(self, state: Any, caplog: pytest.LogCaptureFixture) -> None:
        async def on_open(session: SessionView, request: Request) -> None:
            session.state = state

        async def script(server: Server, url: str) -> None:
            assert (await refused(url)).status == 500

        serve(script, on_open=on_open)
        assert "session.state" in caplog.text

    def test_a_cancellation_of_its_own_making_is_a_500_at_once(self, caplog: pytest.LogCaptureFixture) -> None:
        """Not a client that waits until `open_timeout`, or for ever without one."""

        async def on_open(session: SessionView, request: Request) -> None:
            raise asyncio.CancelledError

        async def script(server: Server, url: str) -> None:
            assert (await refused(url)).status == 500

        serve(script, on_open=on_open, open_timeout=0)
        assert "CancelledError" in caplog.text

    @pytest.mark.parametrize(
        "error",
        [
            HandshakeError(799, "no such status"),
            HandshakeError(403, "split", [("X-Name", "a\r\nSet-Cookie: b")]),
            HandshakeError(403, "no latin", [("X-Name", "名")]),
            HandshakeError(403, "half a \ud800"),
        ],
        ids=lambda error: error.message[:5],
    )
    def test_what_it_says_in_its_refusal_can_always_be_sent(self, error: HandshakeError) -> None:
        async def on_open(session: SessionView, request: Request) -> None:
            raise error

        async def script(server: Server, url: str) -> None:
            answer = await refused(url)
            assert answer.status == error.status
            assert "\r\nSet-Cookie" not in answer.head
            if error.status == 403:
                assert (await closed_at_once(url))[0] == 4503

        serve(script, on_open=on_open)

    def test_what_it_brought_along_is_not_counted_for_ever_where_the_session_never_began(self) -> None:
        ways: list[Callable[[], Coroutine[Any, Any, Any]]] = []

        async def on_open(session: SessionView, request: Request) -> None:
            session.history = [{"role": "user", "content": "x" * 1000}]
            await ways.pop()()

        async def refuse() -> None:
            raise HandshakeError(403, "no")

        async def fail() -> None:
            raise RuntimeError("boom")

        async def script(server: Server, url: str) -> None:
            for way in (refuse, fail, lambda: asyncio.sleep(100)):
                ways.append(way)
                await refused(url)
            ways.append(lambda: asyncio.sleep(100))
            async with Peer.socket(url) as peer:
                await peer.write(request())
                await asyncio.sleep(1)
                assert server.sessions.pool.used
            await server.sockets.emptied()
            assert not server.sessions.pool.used

        serve(script, on_open=on_open)

    def test_a_resumed_session_is_not_opened_again(self) -> None:
        opened: list[str] = []

        async def on_open(session: SessionView, request: Request) -> None:
            opened.append(session.id)

        async def script(server: Server, url: str) -> None:
            async with Peer.connect(url) as peer:
                token = peer.session["data"]["resume_token"]
            async with Peer.connect(f"{url}?resume={token}") as again:
                assert again.session["data"]["resumed"]

        serve(script, on_open=on_open)
        assert len(opened) == 1

    def test_on_close_is_called_once_for_each_session_that_began(self) -> None:
        closed: list[tuple[str, Any]] = []

        async def on_open(session: SessionView, request: Request) -> None:
            session.state["name"] = "Ann"
            if "no" in request.query:
                raise HandshakeError(403, "no")

        async def on_close(session: SessionView) -> None:
            closed.append((session.id, session.state["name"]))

        ids: list[str] = []

        async def script(server: Server, url: str) -> None:
            async with Peer.socket(url) as peer:
                await peer.write(request("/ws/chat?no"))
                assert await peer.gone()
            for _ in range(2):
                async with Peer.connect(url) as peer:
                    ids.append(peer.session["session_id"])
                    await peer.send({"event": "end"})
                    assert await peer.closed() == (1000, "ended")

        serve(script, on_open=on_open, on_close=on_close)
        assert closed == [(name, "Ann") for name in ids]

    @pytest.mark.parametrize("wrong", ["fails", "hangs"])
    def test_an_on_close_that_fails_or_hangs_holds_up_nothing(
        self, wrong: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        async def on_close(session: SessionView) -> None:
            if wrong == "fails":
                raise RuntimeError("boom")
            await asyncio.Event().wait()

        async def main() -> float:
            loop = asyncio.get_running_loop()
            async with Server(answer, Config(port=0, close_timeout=5), on_close=on_close) as server:
                async with Peer.connect(server.urls[0]):
                    """Lost."""
            return loop.time()

        assert run_virtually(main()) <= 5.5
        assert "on_close of <Session" in caplog.text


class TestTooLate:
    """`open_timeout` bounds the wait for the application too."""

    def test_the_client_is_told_to_come_back(self) -> None:
        heard: list[float] = []

        async def on_open(session: SessionView, request: Request) -> None:
            loop = asyncio.get_running_loop()
            try:
                await asyncio.Event().wait()
            finally:
                heard.append(loop.time())

        async def script(server: Server, url: str) -> None:
            answer = await refused(url)
            assert answer.status == 503
            assert "Retry-After: 5\r\n" in answer.head
            # Also a browser is told: it shows its page no status.
            assert (await closed_at_once(url))[0] == 1013

        serve(script, on_open=on_open, open_timeout=10)
        assert heard == [pytest.approx(10, abs=0.6), pytest.approx(20, abs=1.2)]

    def test_the_clean_up_of_on_open_is_not_cut_short(self) -> None:
        cleaned: list[str] = []

        async def on_open(session: SessionView, request: Request) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(2)  # meanwhile the client, refused, goes away
                cleaned.append(session.id)

        async def script(server: Server, url: str) -> None:
            assert (await refused(url)).status == 503
            await server.sockets.emptied()
            assert not cleaned
            await asyncio.sleep(3)
            assert len(cleaned) == 1

        serve(script, on_open=on_open, open_timeout=1)

    @pytest.mark.parametrize("gone", [False, True], ids=["refused", "gone"])
    @pytest.mark.parametrize("where", ["authenticate", "on_open"])
    def test_who_swallows_the_cancellation_lets_nobody_in(self, where: str, gone: bool) -> None:
        swallowed: list[str] = []

        async def wait() -> None:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                swallowed.append(where)

        async def authenticate(request: Request) -> User:
            if where == "authenticate":
                await wait()
            return User("ann")

        async def on_open(session: SessionView, request: Request) -> None:
            session.history = [{"role": "user", "content": "hello"}]
            await wait()

        async def script(server: Server, url: str) -> None:
            if gone:
                async with Peer.socket(url) as peer:
                    await peer.write(request())
                    await asyncio.sleep(1)
            else:
                assert (await refused(url)).status == 503
            await server.sockets.emptied()
            await asyncio.sleep(1)
            assert swallowed == [where]
            assert not len(server.sessions)
            assert not server.sessions.pool.used

        serve(script, authenticate=authenticate, on_open=on_open, open_timeout=10)


class TestDisconnect:
    """A client that leaves while the application thinks."""

    @pytest.mark.parametrize("how", ["abort", "half-close"])
    @pytest.mark.parametrize("where", ["authenticate", "on_open"])
    def test_the_task_is_cancelled_and_every_slot_given_back(self, where: str, how: str) -> None:
        heard: list[str] = []

        async def wait(here: str) -> None:
            if here == where:
                try:
                    await asyncio.Event().wait()
                finally:
                    heard.append(here)

        async def authenticate(request: Request) -> User:
            await wait("authenticate")
            return User("ann")

        async def on_open(session: SessionView, request: Request) -> None:
            await wait("on_open")

        async def script(server: Server, url: str) -> None:
            async with Peer.socket(url) as peer:
                await peer.write(request())
                await asyncio.sleep(1)
                assert server.seats.connections[None] == 1
                assert server.seats.users["ann"] == (where == "on_open")
                if how == "half-close":
                    peer.writer.write_eof()
                    assert await peer.gone() == b""
            await server.sockets.emptied()
            assert heard == [where]

        serve(script, authenticate=authenticate, on_open=on_open)

    def test_the_servers_end_waits_for_the_clean_up(self) -> None:
        cleaned: list[float] = []

        async def on_open(session: SessionView, request: Request) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(2)
                cleaned.append(asyncio.get_running_loop().time())

        async def main() -> None:
            async with Server(answer, Config(port=0), on_open=on_open) as server:
                async with Peer.socket(server.urls[0]) as peer:
                    await peer.write(request())
                    await asyncio.sleep(1)
                    await server.close()
                    assert cleaned == [pytest.approx(3, abs=0.1)]
            assert asyncio.all_tasks() == {asyncio.current_task()}

        run_virtually(main())


class TestEarly:
    """What a client says before it was let in."""

    def test_is_kept_in_order(self) -> None:
        async def on_open(session: SessionView, request: Request) -> None:
            await asyncio.sleep(2)

        async def script(server: Server, url: str) -> None:
            async with Peer.socket(url) as peer:
                first, second = (masked(TEXT, b'{"content":"%d"}' % number) for number in (1, 2))
                await peer.write(request() + first[:9])
                for byte in first[9:] + second:
                    await peer.write(bytes([byte]))
                    await asyncio.sleep(0.01)
                await peer.read_head()
                await peer.event("session")
                assert text_of(await peer.turn()) == "None heard 1"
                assert text_of(await peer.turn()) == "None heard 2"

        serve(script, on_open=on_open)

    def test_is_bounded_and_all_of_it_arrives(self) -> None:
        opening, count = asyncio.Event(), 400

        async def on_open(session: SessionView, request: Request) -> None:
            await opening.wait()

        async def script(server: Server, url: str) -> None:
            async with Peer.socket(url) as peer:
                payload = b'{"event":"ping","data":{"padding":"%s"}}' % (b"x" * 60_000)
                peer.writer.write(request() + count * masked(TEXT, payload))
                await asyncio.sleep(1)
                [member] = server.sockets
                transport: Any = member._transport  # type: ignore[attr-defined]
                assert not transport.is_reading()
                # One read of the transport at most beyond the bound.
                assert len(member._early) <= 2**16 + 2**18  # type: ignore[attr-defined]
                opening.set()
                await peer.read_head()
                await peer.event("session")
                for _ in range(count):
                    assert len((await peer.event("pong"))["data"]["padding"]) == 60_000

        serve(script, on_open=on_open, message_rate=0, byte_rate=0)

    def test_of_who_is_refused_is_thrown_away_and_the_client_is_seen_to_close(self) -> None:
        opening = asyncio.Event()

        async def on_open(session: SessionView, request: Request) -> None:
            await opening.wait()
            raise HandshakeError(403, "no")

        async def script(server: Server, url: str) -> None:
            async with Peer.socket(url) as peer:
                peer.writer.write(request() + bytes(10_000_000))
                await asyncio.sleep(1)
                opening.set()
                with pytest.raises(Refused):
                    await peer.read_head()
                await peer.writer.drain()
                peer.writer.close()
                before = asyncio.get_running_loop().time()
                await server.sockets.emptied()
                assert asyncio.get_running_loop().time() - before < 1, "nobody waits for close_timeout"

        serve(script, on_open=on_open, close_timeout=30)


class TestAuthenticate:
    def test_nobody_is_refused_with_401_or_4501(self) -> None:
        async def authenticate(request: Request) -> User | None:
            return None

        async def script(server: Server, url: str) -> None:
            answer = await refused(url)
            assert answer.status == 401
            assert "WWW-Authenticate: Bearer\r\n" in answer.head
            assert (await closed_at_once(url))[0] == 4501

        serve(script, authenticate=authenticate)

    def test_the_user_owns_the_session(self) -> None:
        seen: list[str | None] = []

        async def authenticate(request: Request) -> User | None:
            name = request.headers.get("authorization", "").removeprefix("Bearer ")
            return User(name) if name else None

        async def on_open(session: SessionView, request: Request) -> None:
            seen.append(session.user)

        async def script(server: Server, url: str) -> None:
            async with Peer.connect(url, "Authorization: Bearer ann") as peer:
                assert server.sessions[peer.session["session_id"]].user == "ann"

        serve(script, authenticate=authenticate, on_open=on_open)
        assert seen == ["ann"]

    @pytest.mark.parametrize("wrong", ["raises", "no user"])
    def test_one_that_fails_is_a_500(self, wrong: str, caplog: pytest.LogCaptureFixture) -> None:
        async def authenticate(request: Request) -> Any:
            return {"raises": None, "no user": "ann"}[wrong] or 1 / 0

        async def script(server: Server, url: str) -> None:
            assert (await refused(url)).status == 500

        serve(script, authenticate=authenticate)
        assert "a handshake could not be handled" in caplog.text

    def test_the_echo_wants_a_user_too(self) -> None:
        async def authenticate(request: Request) -> User | None:
            return None

        async def script(server: Server, url: str) -> None:
            with pytest.raises(Refused, match="401"):
                async with Peer.connect(url, echo=True):
                    """Never let in."""

        serve(script, authenticate=authenticate, echo=True)
