"""wsserver: a WebSocket server for streaming the answers of LLMs, RAG pipelines and agents."""

from .chat.events import Custom, Item, Reset, Source, Status, Token, Tool
from .chat.turn import ToolCall, Turn
from .config import Config
from .errors import (
    ClientError,
    ConfigError,
    HandshakeError,
    ProtocolError,
    TurnError,
    WsserverError,
)
from .net.process import run
from .net.server import Server

__version__ = "0.1.0"

__all__ = [
    "ClientError",
    "Config",
    "ConfigError",
    "Custom",
    "HandshakeError",
    "Item",
    "ProtocolError",
    "Reset",
    "Server",
    "Source",
    "Status",
    "Token",
    "Tool",
    "ToolCall",
    "Turn",
    "TurnError",
    "WsserverError",
    "run",
]
