"""wsserver: a WebSocket server for streaming the answers of LLMs, RAG pipelines and agents."""

from .chat.events import Custom, Item, Reset, Source, Status, Token, Tool
from .chat.tool import ToolCall
from .chat.turn import Turn
from .chat.view import SessionView
from .config import Config
from .errors import (
    ClientError,
    ConfigError,
    HandshakeError,
    ProtocolError,
    SessionNotFound,
    StoreError,
    TurnError,
    WsserverError,
)
from .guard.credentials import bearer_token
from .guard.user import User
from .net.process import run
from .net.server import Server
from .net.sharing.outside import Remote, push
from .store.port import Count
from .wire.handshake import Request

__version__ = "0.1.0"

__all__ = [
    "ClientError",
    "Config",
    "ConfigError",
    "Count",
    "Custom",
    "HandshakeError",
    "Item",
    "ProtocolError",
    "Remote",
    "Request",
    "Reset",
    "Server",
    "SessionNotFound",
    "SessionView",
    "Source",
    "Status",
    "StoreError",
    "Token",
    "Tool",
    "ToolCall",
    "Turn",
    "TurnError",
    "User",
    "WsserverError",
    "bearer_token",
    "push",
    "run",
]
