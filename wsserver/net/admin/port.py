"""The admin port: how a program outside, such as a CRM, looks into the conversations and speaks into them. JSON.

::

    GET    /sessions?limit=100&after=s_…   how many there are, and the next ones
    GET    /sessions/{id}                  one, with its history
    POST   /sessions/{id}/events           {"event": …, "data": {…}} is shown in it
    POST   /sessions/{id}/stop             ends what runs or waits, or {"turn": 3}
    DELETE /sessions/{id}                  ends it
    GET    /count                          of instances, connections, sessions and turns, over all instances
    GET    /metrics                        figures, for Prometheus
    GET    /figures                        the same of this process, as JSON
    GET    /asyncapi.json                  the protocol of the WebSocket

Each of these carries the token, `Authorization: Bearer …`. /healthz and /readyz need none, and answer also while the
server drains, when its own port is closed.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from ...chat import envelope
from ...config import HEALTH, READINESS
from ...errors import ClientError, SessionNotFound, StoreError
from .. import pages
from ..http import UNREADY
from ..sharing.mirror import Mirror
from . import exposition, metrics
from .gate import Gate, Refused, listen
from .gate import json_response as _json
from .requests import Response

if TYPE_CHECKING:
    from ...chat.session import Session
    from ..server import Server
    from .requests import Request

#: The longest list of sessions.
MOST_AT_ONCE = 1000

#: How long a push may wait for room in the session, in seconds.
_PUSH_TIMEOUT = 5.0


async def open_port(server: Server) -> asyncio.AbstractServer:
    """Opens the admin port of `server`. Raises `ConfigError` where the address cannot be had."""

    def unready() -> str | None:
        return UNREADY if server.draining else None

    exposition.preload()
    return await listen(server, Gate(server.config.admin_host, server.admin_token, unready, Admin(server)))


class Admin:
    """Answers the requests of the admin port of `server`; who may ask has been decided before."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.routes = {
            "sessions": {"GET": self._list},
            "sessions/{id}": {"GET": self._show, "DELETE": self._end},
            "sessions/{id}/events": {"POST": self._push},
            "sessions/{id}/stop": {"POST": self._stop},
            "count": {"GET": self._count},
            "metrics": {"GET": self._metrics},
            "figures": {"GET": self._figures},
            pages.DESCRIPTION: {"GET": self._describe},
        }

    async def __call__(self, request: Request) -> Response:
        try:
            return await self._route(request)
        except Refused as exc:
            return exc.response
        except SessionNotFound as exc:
            return _json({"error": str(exc)}, 404)
        except StoreError as exc:
            return _json({"error": str(exc)}, 503, {"Retry-After": "5"})

    async def _route(self, request: Request) -> Response:
        shape = "/".join("{id}" if place == 1 else segment for place, segment in enumerate(request.path))
        methods = self.routes.get(shape)
        if methods is None:
            known = (*(f"/{route}" for route in self.routes), HEALTH, READINESS)
            raise Refused(404, f"there is {', '.join(known)}")
        if request.method not in methods:
            raise Refused(405, f"this takes {' or '.join(methods)}", Allow=", ".join(methods))
        return await methods[request.method](request)

    def _known(self, request: Request) -> str:
        """The name of a session that may be; raises `SessionNotFound`."""
        name: str = request.path[1]
        if self._server.cluster is None:
            self._session(name)
        return name

    def _session(self, name: str) -> Session:
        """One that is written here; raises `SessionNotFound`."""
        session = self._server.sessions[name]
        if isinstance(session, Mirror):
            raise SessionNotFound(name)
        return session

    # -- one request each ----------------------------------------------------------------------------------------

    async def _list(self, request: Request) -> Response:
        limit = request.query.get("limit", "100")
        if not (limit.isascii() and limit.isdigit() and len(limit) < 10):
            raise Refused(400, "limit must be a whole number of at most 9 digits")
        # One whose writer is another process is listed there.
        names = sorted(session.id for session in self._server.sessions if not isinstance(session, Mirror))
        after = request.query.get("after", "")
        shown = [name for name in names if name > after][: min(int(limit), MOST_AT_ONCE)]
        return _json({"count": len(names), "sessions": [self._brief(self._server.sessions[name]) for name in shown]})

    async def _show(self, request: Request) -> Response:
        session = self._session(request.path[1])
        return _json({**self._brief(session), "history": session.history.items()})

    async def _push(self, request: Request) -> Response:
        name, body = self._known(request), _body(request)
        event, data = body.get("event"), body.get("data", {})
        if not isinstance(event, str) or not isinstance(data, dict):
            raise Refused(400, 'send {"event": "a name", "data": {…}}')
        try:
            async with asyncio.timeout(_PUSH_TIMEOUT):
                await self._server.push(name, event, data)
        except TimeoutError:
            raise Refused(503, "the session is full of what its client has not read", Retry_After="5") from None
        except (TypeError, ValueError) as exc:
            raise Refused(400, str(exc)) from exc
        try:
            return _json({"seq": self._session(name).log.head}, 201)
        except SessionNotFound:
            # It is written elsewhere, or was ended behind it.
            return _json({"seq": None}, 201)

    async def _stop(self, request: Request) -> Response:
        name, turn = self._known(request), _body(request).get("turn")
        if turn is not None and type(turn) is not int:
            raise Refused(400, "turn must be a whole number")
        try:
            await self._server.stop(name, turn)
        except ClientError as exc:
            raise Refused(409, exc.message) from exc
        return _json({"stopped": True})

    async def _end(self, request: Request) -> Response:
        await self._server.end(request.path[1])
        return Response(204)

    async def _count(self, request: Request) -> Response:
        return _json((await self._server.count())._asdict())

    async def _metrics(self, request: Request) -> Response:
        return exposition.response(metrics.document(self._server), request)

    async def _figures(self, request: Request) -> Response:
        return _json(metrics.document(self._server))

    async def _describe(self, request: Request) -> Response:
        return Response(200, pages.description(self._server.config.path), {"Content-Type": "application/json"})

    def _brief(self, session: Session) -> dict[str, Any]:
        return {
            "id": session.id,
            "user": session.user,
            "connected": self._server.sessions.connection_of(session) is not None,
            "active_turn": session.active.id if session.active else None,
            "waiting": len(session.waiting),
            "seq": session.log.head,
            "log_size": session.log.size,
            # It is written by another process, which knows more of it.
            **({"mirror": True} if isinstance(session, Mirror) else {}),
        }


def _body(request: Request) -> dict[str, Any]:
    if not request.body:
        return {}
    try:
        body = envelope.decode_value(request.body)
    except ValueError as exc:
        raise Refused(400, "the body is not JSON") from exc
    if not isinstance(body, dict):
        raise Refused(400, "the body must be a JSON object")
    return body
