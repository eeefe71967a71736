"""What a client that is let in gets: a place, a session that the application has seen, and a protocol.

The first bytes of the protocol are the answer to the handshake.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..chat import claim
from ..chat.view import SessionView
from ..config import NO_LIMIT
from ..errors import SessionNotFound
from ..wire import deflate, handshake
from ..wire.protocol import Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..chat.session import Session
    from ..config import Config
    from ..guard.seats import Seat
    from ..wire.handshake import Request, Upgrade
    from .house import OnOpen
    from .sessions import Sessions


def taken_over(sessions: Sessions, request: Request, upgrade: Upgrade) -> Seat | None:
    """The seat of the connection which this request would take over, if its user may."""
    named = claim.find(request.query, upgrade.subprotocols)
    if named is None:
        return None
    try:
        session = sessions[named.session_id]
    except SessionNotFound:
        return None
    older = sessions.connection_of(session)
    return older.seat if older is not None and session.admits(named.token, session.user) else None


async def ask(on_open: OnOpen, session: Session, request: Request, check: Callable[[], object]) -> None:
    """Lets the application prepare the session, or refuse; `check` raises where its client was lost meanwhile."""
    try:
        await on_open(SessionView(session), request)
        check()
        session.state.save()
    except BaseException:
        # Nobody will ever end it: what it holds must not be counted for ever.
        session.leave_pool()
        raise


def accept(upgrade: Upgrade, config: Config) -> Protocol:
    """With compression where the client offers it and `config` wants it."""
    parameters = deflate.negotiate(upgrade.extensions, config.compression_context) if config.compression else None
    return Protocol(
        config.max_message_size or NO_LIMIT,
        opening=handshake.accept(upgrade, parameters.header() if parameters else None),
        deflate=parameters,
        lanes=config.framing == "lanes",
    )
