"""A client for asyncio: `async with connect(url) as chat:`."""

from .connection import Chat, connect
from .errors import ChatError, ConnectError, ConnectionLost, RequestRefused
from .events import Event

__all__ = ["Chat", "ChatError", "ConnectError", "ConnectionLost", "Event", "RequestRefused", "connect"]
