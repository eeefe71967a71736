"""One HTTP request over a socket that is connected already: how a supervisor asks its workers (h11 only here)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

import h11

from ...config import KiB
from ..admin.requests import Response

if TYPE_CHECKING:
    import socket

    from ..admin.requests import Request

#: Of the headers of an answer these are for whoever asked the supervisor.
_PASSED_ON = ("content-type", "cache-control", "retry-after", "allow")


async def inquire(sock: socket.socket, request: Request) -> Response:
    """The answer to `request`; of its headers none is sent. `sock` is closed.

    Raises `OSError` where there is no whole answer.
    """
    reader, writer = await asyncio.open_unix_connection(sock=sock)
    try:
        http = h11.Connection(h11.CLIENT)
        target = "/" + "/".join(quote(segment, safe="") for segment in request.path)
        if request.query:
            target += "?" + urlencode(request.query)
        headers = [("Host", "localhost"), ("Content-Length", str(len(request.body)))]
        for part in (
            h11.Request(method=request.method, target=target, headers=headers),
            h11.Data(data=request.body),
            h11.EndOfMessage(),
        ):
            writer.write(http.send(part) or b"")
        head, body = None, bytearray()
        while not isinstance(event := http.next_event(), h11.EndOfMessage):
            if event is h11.NEED_DATA:
                http.receive_data(await reader.read(64 * KiB))
            elif isinstance(event, h11.Response):
                head = event
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.ConnectionClosed):
                raise ConnectionResetError("it closed the connection without an answer")
        assert head is not None, "the end of a message comes behind its head"
    except h11.RemoteProtocolError as exc:
        raise ConnectionResetError(str(exc)) from exc
    finally:
        writer.transport.abort()
    named = {name.decode("ascii"): value.decode("latin-1") for name, value in head.headers}
    return Response(head.status_code, bytes(body), {name.title(): named[name] for name in _PASSED_ON if name in named})
