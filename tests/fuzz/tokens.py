"""Tokens on their way out: the templates of `chat/envelope.py`, and runs of tokens, `chat/tokens.py`."""

from __future__ import annotations

import json

from tests.fuzz.source import Source, seed
from wsserver.chat import envelope
from wsserver.chat.tokens import Run

_SESSION = "s_0123456789abcdefghij-_"

SEEDS = [
    seed(0, 1, 0, 3, 0, 2, b"the", b"\0\1", b"\0\0\0\4tok \0\0\0\2%b"),
    seed(1, 0, 9, b'\0\0\0\5hello\0\0\0\6 w"\\\n\t\0\0\0\0\0\1\0\2ab'),
    seed(0, 5, 2, "\0\0\0\x0c退款 😀".encode()),
    seed(2, 3, 1, b"\1\x2c\0\1a\0\0\0\1b\1\0\0\1c\0\xff\0\1d"),
    seed(0, 0, 0, b'\0\0\0\x09","seq":%d\0\0\0\3%%b\0\0\0\2{}'),
]


def _values(source: Source) -> list[str]:
    """At most 50 texts, some of which are long."""
    found: list[str] = []
    while source and len(found) < 50:
        times = source.number(600)
        piece = source.take(source.number(600)).decode(errors="replace")
        found.append(piece * (times or 1) if len(piece) < 8 else piece)
    return found


def one(data: bytes) -> None:
    """Whatever text a callback shows, its envelopes are the JSON that the ordinary way would make, one by one or
    merged, and a run of tokens gives each of them back, compact or not, from any place on.
    """
    source = Source(data)
    first = source.number(3) * 1000 + 1
    compact_every = source.number(7)
    seq = first + source.number(60) - 2
    values = _values(source)
    template = envelope.token_template(_SESSION, 3)
    run = Run(first, template)
    texts = [envelope.encode_value(value)[1:-1] for value in values]
    for number, (value, text) in enumerate(zip(values, texts, strict=True), first):
        made = template % (text, number)
        assert made == envelope.encode_event("token", {"value": value}, _SESSION, 3, number)
        assert json.loads(made)["data"]["value"] == value == envelope.decode_text(text)
        merged = json.loads(envelope.merged_template(template) % (text, first, number))
        assert merged["data"] == {"value": value, "from_seq": first} and merged["seq"] == number
        run.values.append(text)
        if compact_every and number % compact_every == 0:
            run.compact()
    assert len(run) == len(values)
    wanted = texts[max(0, seq + 1 - first) :]
    assert run.since(seq) == wanted
    assert run.written_after(seq) == sum(map(len, wanted)) + len(wanted) * len(template)
    if wanted:
        for room in (0, 300, 2**20):
            count, joined = run.joined(seq, room)
            assert 1 <= count <= len(wanted) and joined == b"".join(wanted[:count])
            size = sum(map(len, wanted[: count - 1])) + (count - 1) * len(template)
            assert size < room or count == 1
            assert count == len(wanted) or len(joined) + count * len(template) >= room
            envelope.decode_text(joined)
