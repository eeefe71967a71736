"""A client that a failing network does not stop: `python examples/resume_client.py [URL]`, questions on standard input.

Three things make it right: a `reset` voids what was shown, what a turn asks is answered, and what is nobody's answer
is listened to at the same time.
"""

import asyncio
import sys

from wsserver.client import Chat, RequestRefused, SessionLost, connect


async def listen(chat: Chat) -> None:
    """What is pushed into the session, and what becomes of the connection."""
    async for event in chat.events():
        sys.stderr.write(f"[{event.name} {event.data}]\n")


async def answer(chat: Chat, question: str) -> str:
    """The text of the answer; yes to all that is asked on the way."""
    text = ""
    async for event in chat.ask(question):
        if event.name == "token":
            text += event.data["value"]
        elif event.name == "reset":
            text = ""
        elif event.name == "ask":
            await chat.answer(event.data["call_id"], True)
    return text


async def main(url: str) -> None:
    async with connect(url, reconnect=True) as chat:
        listening = asyncio.create_task(listen(chat))
        for question in sys.stdin:
            try:
                sys.stdout.write(f"{await answer(chat, question.strip())}\n")
            except (RequestRefused, SessionLost) as exc:
                sys.stdout.write(f"ask again: {exc}\n")
        listening.cancel()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "ws://127.0.0.1:8765/ws/chat"))
