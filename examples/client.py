"""A client of a dozen lines that knows only the short form of the protocol: `python examples/client.py [URL]`."""

import asyncio
import json
import sys

import websockets


async def main(url: str) -> None:
    async with websockets.connect(url) as connection:
        for question in sys.stdin:
            await connection.send(json.dumps({"content": question.strip()}))
            async for message in connection:
                event = json.loads(message)
                if event["event"] == "token":
                    sys.stdout.write(event["data"]["value"])
                elif event["data"].get("final"):
                    break
            sys.stdout.write("\n")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "ws://127.0.0.1:8765/ws/chat"))
