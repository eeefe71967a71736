"""What a refused client is told: by HTTP, or by a close code where it could not read that."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..wire import handshake
from ..wire.close import CloseCode

if TYPE_CHECKING:
    from ..errors import HandshakeError
    from ..wire.handshake import Upgrade

#: What a refusal by HTTP becomes for a client that is told by a close code.
CLOSE_CODES = {
    401: CloseCode.UNAUTHORIZED,
    403: CloseCode.FORBIDDEN,
    429: CloseCode.TOO_MANY,
    500: CloseCode.INTERNAL_ERROR,
    503: CloseCode.TRY_AGAIN_LATER,
}


def answer(error: HandshakeError, upgrade: Upgrade | None) -> bytes:
    """All that is said; `upgrade` is what a well-formed request has asked for."""
    code = CLOSE_CODES.get(error.status)
    if code is not None and upgrade is not None and upgrade.subprotocol:
        return handshake.accept_and_close(upgrade, code, error.message)
    return handshake.refuse(error)
