"""One request over a socket that is connected already."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

import pytest

from wsserver.net.admin.requests import Request, Response
from wsserver.net.workers.inquiry import inquire

if TYPE_CHECKING:
    from collections.abc import Mapping


def asked(
    answer: bytes,
    method: str = "GET",
    path: tuple[str, ...] = (),
    query: Mapping[str, str] | None = None,
    body: bytes = b"",
) -> tuple[bytes, Response]:
    """What was sent, and what was made of this answer, behind which the connection ends."""

    async def main() -> tuple[bytes, Response]:
        ours, theirs = socket.socketpair()
        reader, writer = await asyncio.open_unix_connection(sock=theirs)
        writer.write(answer)
        writer.write_eof()
        try:
            response = await inquire(ours, Request(method, path, query or {}, {"authorization": "secret"}, body))
        finally:
            sent = await reader.read()
            writer.transport.abort()
        return sent, response

    return asyncio.run(main())


def test_a_request_as_it_was_decoded() -> None:
    sent, response = asked(
        b"HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nRetry-After: 5\r\nConnection: close\r\n"
        b"Content-Length: 2\r\n\r\n{}",
        "POST",
        ("sessions", "a/b ü", "events"),
        {"after": "x&y", "limit": "2"},
        b"{}",
    )
    assert sent.partition(b"\r\n")[0] == b"POST /sessions/a%2Fb%20%C3%BC/events?after=x%26y&limit=2 HTTP/1.1"
    assert sent.endswith(b"\r\n\r\n{}")
    assert b"secret" not in sent
    assert response == Response(201, b"{}", {"Content-Type": "application/json", "Retry-After": "5"})


def test_an_answer_without_a_body() -> None:
    assert asked(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n", "DELETE")[1] == Response(204)


@pytest.mark.parametrize(
    "answer", [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc", b"nonsense\r\n\r\n"]
)
def test_no_whole_answer(answer: bytes) -> None:
    with pytest.raises(ConnectionError):
        asked(answer)
