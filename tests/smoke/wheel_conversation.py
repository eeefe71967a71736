"""Starts the installed ``wsserver serve`` and holds one conversation with it over a plain socket.

For a fresh environment that holds the wheel and its dependencies only: ``python -I wheel_conversation.py``, from
outside of the checkout. The handshake and the frames are made here by hand, so the server is not its own witness.
Ends with 0 and a line about what came, or with a traceback.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, BinaryIO

SECONDS = 1
TIMEOUT = 20 * SECONDS

ACCEPT_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 section 1.3
FIN_TEXT, FIN_CLOSE, FIN_PING, FIN_PONG = 0x81, 0x88, 0x89, 0x8A
MASKED = 0x80
NORMAL_CLOSURE = (1000).to_bytes(2, "big")


def main() -> None:
    """Serve, talk, end; every wait has an end.

    Raises:
        AssertionError: the server said something else than the protocol promises.
        OSError: it did not answer in time.
    """
    command = Path(sys.executable).with_name("wsserver")
    with subprocess.Popen([command, "serve", "--port", "0"], stdout=subprocess.PIPE, text=True) as server:
        watchdog = threading.Timer(3 * TIMEOUT, server.kill)
        watchdog.start()
        try:
            port, path = listening(server)
            events = converse(port, path)
            page = fetch(port, "/") + fetch(port, "/wsserver.js") + fetch(port, "/asyncapi.json")
            server.terminate()
            status = server.wait(TIMEOUT)
        finally:
            server.kill()
            watchdog.cancel()
    names = [event["event"] for event in events]
    assert names[0] == "session", names
    assert "source" in names, f"did the documents come with the wheel? {names}"
    assert names.count("token") > 1, names
    assert page.count(b"HTTP/1.1 200 ") == 3, f"did the chat page come with the wheel? {page[:100]!r}"
    assert events[-1]["data"]["final"] is True, events[-1]
    assert events[-1]["data"].get("status", "completed") == "completed", events[-1]
    assert status == 0, f"ended with {status} on SIGTERM"
    sys.stdout.write(f"{names.count('token')} tokens, then {names[-1]}; close 1000\n")


def listening(server: subprocess.Popen[str]) -> tuple[int, str]:
    """Port and path of the chat, from the line the server prints."""
    assert server.stdout is not None
    for line in server.stdout:
        if match := re.search(r"Listening on ws://127\.0\.0\.1:(\d+)(/\S*)", line):
            return int(match[1]), match[2]
    raise AssertionError("the server ended without listening")


def converse(port: int, path: str) -> list[dict[str, Any]]:
    """One question, all events up to the final one, and a closing handshake."""
    with socket.create_connection(("127.0.0.1", port), TIMEOUT) as connection, connection.makefile("rb") as stream:
        key = base64.b64encode(os.urandom(16))
        request = (
            f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key.decode()}\r\n\r\n"
        )
        connection.sendall(request.encode())
        assert stream.readline().startswith(b"HTTP/1.1 101 ")
        headers = {}
        while (line := stream.readline()) not in (b"\r\n", b""):
            name, _, value = line.partition(b":")
            headers[name.lower()] = value.strip()
        digest = hashlib.sha1(key + ACCEPT_GUID).digest()
        assert headers[b"sec-websocket-accept"] == base64.b64encode(digest), headers

        connection.sendall(frame(FIN_TEXT, json.dumps({"content": "How do I stop an answer?"}).encode()))
        events: list[dict[str, Any]] = []
        while not events or events[-1]["data"].get("final") is not True:
            opcode, payload = receive(connection, stream)
            assert opcode == FIN_TEXT, (opcode, payload)
            events.append(json.loads(payload))

        connection.sendall(frame(FIN_CLOSE, NORMAL_CLOSURE))
        assert receive(connection, stream) == (FIN_CLOSE, NORMAL_CLOSURE)
        assert stream.read() == b"", "the server closes the connection first, RFC 6455 section 7.1.1"
    return events


def fetch(port: int, path: str) -> bytes:
    """The whole answer to a plain request."""
    with socket.create_connection(("127.0.0.1", port), TIMEOUT) as connection, connection.makefile("rb") as stream:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
        return stream.read()


def frame(opcode: int, payload: bytes) -> bytes:
    """A whole masked frame with a payload of at most 125 bytes."""
    mask = os.urandom(4)
    masked = bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))
    return bytes([opcode, MASKED | len(payload)]) + mask + masked


def receive(connection: socket.socket, stream: BinaryIO) -> tuple[int, bytes]:
    """First byte and payload of the next unmasked frame; a ping, which may come at any time, is answered instead."""
    while True:
        opcode, length = stream.read(2)
        if length > 125:
            length = int.from_bytes(stream.read(2 if length == 126 else 8), "big")
        payload = stream.read(length)
        if opcode != FIN_PING:
            return opcode, payload
        connection.sendall(frame(FIN_PONG, payload))


if __name__ == "__main__":
    main()
