"""The way in to an admin port: health for everybody, all else for those who have its token."""

from __future__ import annotations

import os
from hmac import compare_digest
from typing import TYPE_CHECKING, Any

from ...chat import envelope
from ...errors import ConfigError
from ...guard.host import is_allowed
from ..http import health
from .requests import MAX_SOCKETS, Requests, Response

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable

    from .requests import Request, Room


class Refused(Exception):
    """The request is not served; `response` says why."""

    def __init__(self, status: int, text: str, **headers: str) -> None:
        super().__init__(text)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.response = json_response({"error": text}, status, named)


class Gate:
    """Answers health itself, and lets to `answer` whoever may come.

    `token` opens it, `host` is the address it was bound to; `unready` says why no client is wanted,
    None where they are.
    """

    def __init__(
        self, host: str, token: str, unready: Callable[[], str | None], answer: Callable[[Request], Awaitable[Response]]
    ) -> None:
        self._host = host
        self._token = token.encode()
        self._unready = unready
        self._answer = answer

    async def __call__(self, request: Request) -> Response:
        found = health("/".join(("", *request.path)), self._unready())
        if found is not None:
            return Response(found[0], f"{found[1]}\n".encode())
        try:
            self._check(request)
        except Refused as exc:
            return exc.response
        return await self._answer(request)

    def _check(self, request: Request) -> None:
        if not is_allowed(request.headers.get("host", ""), self._host):
            raise Refused(403, "the Host header names another host than this one")
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not compare_digest(token.strip().encode("latin-1"), self._token):
            raise Refused(401, "send the token of the admin port: Authorization: Bearer …", WWW_Authenticate="Bearer")


async def listen(room: Room, gate: Gate) -> asyncio.AbstractServer:
    """Opens the admin port that the settings of `room` ask for. Raises `ConfigError` where it cannot be had."""
    host, port = room.config.admin_host, room.config.admin_port
    try:
        return await room.loop.create_server(Requests(room, gate), host, port, backlog=2 * MAX_SOCKETS)
    except OSError as exc:
        # The text of asyncio says once more where.
        reason = os.strerror(exc.errno) if exc.errno and exc.errno > 0 else exc.strerror
        raise ConfigError(
            f"cannot listen on {host} port {port}: {reason}; choose another --admin-port or --admin-host"
        ) from exc


def json_response(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """An answer that holds `value`."""
    return Response(
        status,
        envelope.encode_value(value) + b"\n",
        {"Content-Type": "application/json", "Cache-Control": "no-store", **(headers or {})},
    )
