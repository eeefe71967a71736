"""What the way in needs of the server."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Protocol

from ..chat.view import SessionView
from ..guard.user import User
from ..wire.handshake import Request
from .http import Site
from .sockets import Core

if TYPE_CHECKING:
    import asyncio

    from ..guard.door import Door
    from ..guard.seats import Seats
    from .dispatch import Conversation, Echo
    from .sessions import Sessions

Authenticate = Callable[[Request], Awaitable[User | None]]
OnOpen = Callable[[SessionView, Request], Awaitable[None]]


class House(Core, Site, Protocol):
    """The server, as accepting and admission see it."""

    @property
    def seats(self) -> Seats: ...
    @property
    def door(self) -> Door: ...
    @property
    def sessions(self) -> Sessions: ...
    @property
    def conversation(self) -> Conversation: ...
    @property
    def echo(self) -> Echo: ...
    @property
    def admissions(self) -> set[asyncio.Task[None]]: ...
    @property
    def authenticate(self) -> Authenticate | None: ...
    @property
    def on_open(self) -> OnOpen | None: ...
