"""Inside of a FastAPI application, on one loop with it: `uvicorn examples.fastapi_app:app`.

`curl -d '{"text": "Your parcel has arrived"}' -H 'Content-Type: application/json' localhost:8000/push/<session_id>`
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import Body, FastAPI, HTTPException

from wsserver import Config, Server, SessionNotFound, Turn


async def generate(turn: Turn) -> AsyncIterator[str]:
    yield f"You said {turn.content}"


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with Server(generate, Config()) as app.state.chat:
        yield
        await app.state.chat.drain()


app = FastAPI(lifespan=lifespan)


@app.post("/push/{session_id}", status_code=204)
async def push(session_id: str, text: Annotated[str, Body(embed=True)]) -> None:
    try:
        await app.state.chat.push(session_id, "notice", {"text": text})
    except SessionNotFound as exc:
        raise HTTPException(404, str(exc)) from exc
