"""A client for asyncio: `async with connect(url) as chat:`."""

from .chat import Chat, connect
from .errors import ChatError, ConnectError, ConnectionLost, RequestRefused, SessionLost
from .events import Event

__all__ = ["Chat", "ChatError", "ConnectError", "ConnectionLost", "Event", "RequestRefused", "SessionLost", "connect"]
