"""The work that all peers do alike: how many tokens, which bytes, how often a heartbeat."""

from __future__ import annotations

#: The answer to each message of the job `stream`.
TOKENS = 256
TOKEN = "tok "

#: What the client says to get an answer.
MESSAGE = b'{"content":"go"}'

#: What goes to and fro in the job `echo`: 39 bytes of JSON.
ECHO = b'{"event":"ping","data":{"value":"abc"}}'

#: In the job `idle` the server pings each connection once in so many seconds.
PING_INTERVAL = 3
