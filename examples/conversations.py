"""A class, no program, that keeps conversations in SQLite: `ws://…?conversation=trip` goes on where it was left."""

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing, suppress
from urllib.parse import parse_qs

from wsserver import Config, HandshakeError, Request, Server, SessionNotFound, SessionView, Turn


class Conversations:
    """Its table, `conversations (name, history)`, is yours to fill. The newest session of a conversation has it."""

    def __init__(self, database: str, config: Config) -> None:
        self.database = database
        self.server = Server(self.generate, config, on_open=self.on_open, on_close=self.on_close)
        self.lock = asyncio.Lock()
        self.sessions: dict[str, SessionView] = {}

    async def on_open(self, session: SessionView, request: Request) -> None:
        name = parse_qs(request.query).get("conversation", [""])[-1]
        async with self.lock:
            rows = await asyncio.to_thread(self.query, "SELECT history FROM conversations WHERE name = ?", name)
            if not rows:
                raise HandshakeError(403, "there is no such conversation, or it is not yours")
            if older := self.sessions.get(name):
                with suppress(SessionNotFound):
                    await self.server.end(older.id, "opened elsewhere")
            session.history = older.history if older else json.loads(rows[0][0])
            session.state["conversation"] = name
            self.sessions[name] = session

    async def on_close(self, session: SessionView) -> None:
        name, history = session.state["conversation"], json.dumps(session.history)
        update = "UPDATE conversations SET history = ? WHERE name = ?"
        async with self.lock:
            if self.sessions[name].id == session.id:
                await asyncio.to_thread(self.query, update, history, name)
                del self.sessions[name]

    def query(self, statement: str, *values: str) -> list[tuple[str]]:
        with closing(sqlite3.connect(self.database)) as connection, connection:
            return connection.execute(statement, values).fetchall()

    async def generate(self, turn: Turn) -> AsyncIterator[str]:
        earlier = [said["content"] for said in turn.history[:-1] if said["role"] == "user"]
        yield f"You said {turn.content}, and before that {earlier}."
