"""The work that all peers do alike: how many tokens, which bytes, how often a heartbeat.

What a server has to do is one of `stream`, `paced`, `echo`, `idle` and `large`; several jobs may need the same of it.
"""

from __future__ import annotations

#: The answer to each message where servers `stream`.
TOKENS = 256
TOKEN = "tok "

#: What the client says to get an answer.
MESSAGE = b'{"content":"go"}'

#: What servers `echo`: 39 bytes of JSON, an event whose data comes back in a `pong`; parsed, and serialised again.
ECHO = b'{"event":"ping","data":{"value":"abc"}}'

#: Where the work is `idle` the server pings each connection once in so many seconds.
PING_INTERVAL = 3

#: Where it is `paced`: seconds from token to token, tokens of an answer. A token is the time at which it was made,
#: in nanoseconds of the monotonic clock, which processes share, with leading zeros.
PACE = 0.05
PACED_TOKENS = 40
STAMP_WIDTH = 19

#: Where it is `large`: the binary message that comes back as it is, and its size in bytes.
LARGE = 2**20
LARGE_MESSAGE = bytes(range(256)) * (LARGE // 256)
