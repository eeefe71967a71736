"""HTTP/1.1 itself (RFC 9112)."""

from __future__ import annotations

import asyncio

import pytest

from tests.clock import run_virtually
from tests.net.admin.program import TOKEN, administered
from tests.peer import Peer


def test_a_body_that_is_waited_for_is_invited() -> None:
    async def main() -> None:
        async with administered() as (server, program), Peer.connect(server.urls[0]) as peer:
            reader, writer = await asyncio.open_connection("127.0.0.1", program.port)
            body = b'{"event":"note"}'
            head = (
                f"POST /sessions/{peer.session['session_id']}/events HTTP/1.1\r\nHost: localhost\r\n"
                f"Authorization: Bearer {TOKEN}\r\nExpect: 100-continue\r\nContent-Length: {len(body)}\r\n\r\n"
            )
            writer.write(head.encode())
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100")
            writer.write(body)
            assert (await reader.read()).startswith(b"HTTP/1.1 201")
            writer.transport.abort()

    run_virtually(main())


@pytest.mark.parametrize("cut", [1, 20, 70])
def test_byte_by_byte(cut: int) -> None:
    async def main() -> None:
        async with administered() as (_, program):
            reader, writer = await asyncio.open_connection("127.0.0.1", program.port)
            data = f"GET /sessions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode()
            for start in range(0, len(data), cut):
                writer.write(data[start : start + cut])
                await asyncio.sleep(0.01)
            assert (await reader.read()).startswith(b"HTTP/1.1 200")
            writer.transport.abort()

    run_virtually(main())


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"hello\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 20_000 + b"\r\n\r\n", 431),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 300000\r\n\r\n" + b"x" * 300_000, 413),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: many\r\n\r\n", 400),
    ],
    ids=["no HTTP", "large head", "large body", "no length"],
)
def test_what_is_malformed_or_too_large(data: bytes, status: int) -> None:
    async def main() -> None:
        async with administered() as (server, program):
            assert (await program.raw(data)).startswith(f"HTTP/1.1 {status} ".encode())
            await server.sockets.emptied()

    run_virtually(main())


@pytest.mark.parametrize("path", ["/healthz", "/sessions", "/nothing"])
@pytest.mark.parametrize("method", ["HEAD", "CONNECT"])
def test_a_method_whose_answer_has_no_body_is_answered_and_leaves_nothing(method: str, path: str) -> None:
    async def main() -> None:
        async with administered() as (server, program), asyncio.timeout(60):
            answer = await program.raw(f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            head, _, body = answer.partition(b"\r\n\r\n")
            if method == "HEAD":
                assert head.startswith(b"HTTP/1.1 200" if path == "/healthz" else b"HTTP/1.1 401")
                assert (b"Content-Length: 0" in head, body) == (False, b"")
            else:
                assert head.startswith(b"HTTP/1.1 405")
            await server.sockets.emptied()

    run_virtually(main())


def test_who_is_too_slow_or_too_many_is_cut() -> None:
    async def main() -> None:
        async with administered(open_timeout=5) as (server, program):
            began = server.loop.time()
            answers = await asyncio.gather(*(program.raw(b"GET /sess") for _ in range(140)))
            assert set(answers) == {b""}
            assert server.loop.time() - began == pytest.approx(5, abs=0.6)
            assert (await program.call("GET", "/sessions")).status == 200

    run_virtually(main())
