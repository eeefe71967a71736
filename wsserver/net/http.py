"""Plain requests on the port of the WebSocket: health, and a plain answer to all else."""

from __future__ import annotations

from typing import TYPE_CHECKING

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
    """The whole answer to a request for something else than the WebSocket."""
    headers = [("Cache-Control", "no-store")]
    status, text = health(request.path, ready=ready) or (404, "nothing is served at this path")
    if status != 404 and request.method not in ("GET", "HEAD"):
        status, text = 405, "only GET and HEAD are served here"
        headers.append(("Allow", "GET, HEAD"))
    # An answer to HEAD has no body, whatever it says (RFC 9110, section 9.3.2).
    return handshake.respond(status, f"{text}\n".encode(), headers, head_only=request.method == "HEAD")
