"""Plain requests on the port of the WebSocket: health, and a plain answer to all else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import HandshakeError
from ..wire import handshake

if TYPE_CHECKING:
    from ..wire.handshake import Request

#: The process lives.
HEALTH = "/healthz"

#: The process wants clients: not while it is going away.
READINESS = "/readyz"


def health(path: str, *, ready: bool) -> tuple[int, str] | None:
    """Status and text of the answer at one of these two paths, None for another one."""
    if path == HEALTH:
        return 200, "alive"
    if path == READINESS:
        return (200, "ready") if ready else (503, "going away")
    return None


def answer(request: Request, *, ready: bool) -> bytes:
    """The whole answer to a request for something else than the WebSocket. Raises `HandshakeError` 404 or 405."""
    found = health(request.path, ready=ready)
    if found is None:
        raise HandshakeError(404, "nothing is served at this path")
    if request.method not in ("GET", "HEAD"):
        raise HandshakeError(405, "only GET and HEAD are served here", [("Allow", "GET, HEAD")])
    status, text = found
    return handshake.respond(
        status, f"{text}\n".encode(), [("Cache-Control", "no-store")], head_only=request.method == "HEAD"
    )
