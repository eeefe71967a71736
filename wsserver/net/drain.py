"""How a server runs empty, so that its clients find another one and few of them notice."""

from __future__ import annotations

import asyncio
import logging
from random import random
from typing import TYPE_CHECKING

from .admission import Opening
from .arrivals import Arrival

if TYPE_CHECKING:
    from .server import Server

logger = logging.getLogger(__name__)

#: So many clients are sent away each second, because the next server has to take all of them; but all of them within
#: this time, in seconds, and within half of the time that there is.
_CLIENTS_PER_SECOND = 200
_LONGEST_SPREAD = 5.0

#: How long those who were accepted last have for their handshakes, and how often they are looked at, in seconds.
_LAST_HANDSHAKES = 1.0
_GLANCE = 0.02


async def drain(server: Server) -> None:
    """Lets `server` run empty, within its `drain_timeout`, and closes it."""
    timeout = server.config.drain_timeout
    spread = min(_LONGEST_SPREAD, timeout / 2, len(server.sockets) / _CLIENTS_PER_SECOND)
    loop = server.loop
    began = loop.time()
    server.begin_to_drain()
    logger.info("draining: %d sessions, %d connections", len(server.sessions), len(server.sockets))
    leaving = []
    for session in server.sessions:
        if server.sessions.connection_of(session) is not None:
            session.tell("drain", {"reconnect_in": round(random() * spread, 3)})
        leaving.append((began + random() * spread, session))
    for when, session in sorted(leaving, key=lambda one: one[0]):
        if when > loop.time():
            await asyncio.sleep(when - loop.time())
        if not session.busy:
            server.send_away(session)
    try:
        async with asyncio.timeout_at(began + timeout):
            await server.turns.all_ended()
    except TimeoutError:
        logger.warning("draining took too long: %d answers are cut", len(server.turns.runs))
    await server.close()


async def drain_beside(server: Server) -> None:
    """The same where others accept on the same sockets: those that were accepted here last are let in all the same.

    To their clients the service is there. Who does not say in time what it wants is refused.
    """
    server.stop_listening()
    deadline = server.loop.time() + _LAST_HANDSHAKES
    while True:
        # Also for those that the loop has accepted and not shown yet.
        await asyncio.sleep(_GLANCE)
        under_way = any(isinstance(member, Opening | Arrival) for member in server.sockets)
        if not under_way or server.loop.time() >= deadline:
            break
    await server.drain()
