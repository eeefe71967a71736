"""Plain requests on the port of the WebSocket: health, the chat page, and a plain answer to all else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from ..config import HEALTH, READINESS
from ..wire import handshake

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..wire.handshake import Request
    from .pages import Page


#: Why no client is wanted in a drain.
UNREADY = "going away"


class Site(Protocol):
    """What plain requests need of the server."""

    @property
    def draining(self) -> bool: ...
    @property
    def pages(self) -> Mapping[str, Page]: ...


def health(path: str, unready: str | None) -> tuple[int, str] | None:
    """Status and text of the answer at one of these two paths, None for another one.

    `unready` says why no client is wanted, None where they are.
    """
    if path == HEALTH:
        return 200, "alive"
    if path == READINESS:
        return (200, "ready") if unready is None else (503, unready)
    return None


def answer(request: Request, site: Site) -> bytes:
    """The whole answer to a request for something else than the WebSocket."""
    page, head_only = site.pages.get(request.path), request.method == "HEAD"
    status, text = health(request.path, "going away" if site.draining else None) or (
        404,
        "nothing is served at this path",
    )
    headers = [("Cache-Control", "no-store")]
    if request.method not in ("GET", "HEAD"):
        if page is not None or status != 404:
            status, text = 405, "only GET and HEAD are served here"
            headers.append(("Allow", "GET, HEAD"))
    elif page is not None:
        # A 304 has the headers of the 200, its length too, and no body (RFC 9110, section 15.4.5).
        known = page.is_known(request.elements("if-none-match"))
        return handshake.respond(304 if known else 200, page.body, page.headers, head_only=head_only or known)
    # An answer to HEAD has no body, whatever it says (RFC 9110, section 9.3.2).
    return handshake.respond(status, f"{text}\n".encode(), headers, head_only=head_only)
