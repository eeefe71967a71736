"""Streams of a client, drawn by hypothesis: conversations, mistakes and garbage, and where the network cuts them."""

from __future__ import annotations

from hypothesis import strategies as st

from tests.wire.masked import (
    BINARY,
    CLOSE,
    CONTINUATION,
    MASK,
    PING,
    PONG,
    RSV1,
    TEXT,
    Squeeze,
    close,
    ended,
    fragmented,
    header,
    masked,
    unmasked,
    xor,
)

#: The message limit that the streams are drawn for: some messages are longer.
LIMIT = 300

_masks = st.sampled_from([MASK, b"\0\0\0\0", b"\xff\x00\x80\x7f"])
_texts = st.one_of(
    st.text(max_size=20).map(str.encode),
    st.sampled_from(["退款 😀".encode(), b"x" * 125, b"x" * 126, "é".encode() * (LIMIT // 2), b"x" * (LIMIT + 1)]),
)
_contents = st.one_of(_texts, st.binary(max_size=20), st.sampled_from([b"\xed\xa0\x80", b"ok\xff", b"cut \xe9\x80"]))
_short = st.binary(max_size=125)
_codes = st.one_of(st.sampled_from([1000, 1001, 3000, 4999]), st.integers(0, 2**16 - 1))
_places = st.lists(st.integers(0, 40), max_size=3)

_controls = st.one_of(
    st.builds(masked, st.sampled_from([PING, PONG]), _short, mask=_masks),
    st.builds(close, _codes, st.one_of(st.just(b""), st.binary(max_size=123))),
    st.builds(masked, st.just(CLOSE), st.binary(max_size=2)),
)

#: Any header with any payload: opcodes, reserved bits and lengths that nobody may send among them.
_frames = st.builds(
    lambda opcode, rsv, fin, mask, payload: masked(opcode, payload, fin=fin, rsv=rsv, mask=mask),
    st.integers(0, 15),
    st.sampled_from([0, 0, 0, RSV1, 0x20, 0x10, 0x70]),
    st.booleans(),
    _masks,
    _contents,
)
_mistakes = st.one_of(
    _frames,
    st.builds(unmasked, st.sampled_from([TEXT, BINARY, PING]), _short),
    st.builds(lambda length: header(BINARY, length) + MASK, st.integers(LIMIT, 2**64 - 1)),
    st.builds(
        lambda size, width: header(BINARY, size, width=width) + MASK, st.integers(0, 200), st.sampled_from([2, 8])
    ),
    st.builds(lambda payload: masked(CONTINUATION, payload), _short),
    st.binary(max_size=30),
)


def _pieces(payload: bytes, places: list[int]) -> list[bytes]:
    bounds = [0, *sorted(min(place, len(payload)) for place in places), len(payload)]
    return [payload[start:end] for start, end in zip(bounds, bounds[1:], strict=False)]


@st.composite
def _messages(draw: st.DrawFn, squeeze: Squeeze | None) -> bytes:
    """A message: whole or in fragments, with control frames between them; with `squeeze`, maybe compressed."""
    opcode = draw(st.sampled_from([TEXT, BINARY]))
    content = draw(_contents)
    payload, rsv = content, 0
    if squeeze is not None and draw(st.booleans()):
        kind = draw(st.sampled_from(["sound", "sound", "sound", "final", "damaged"]))
        payload = ended(content) + draw(st.sampled_from([b"\0", b""])) if kind == "final" else squeeze(content)
        if kind == "damaged":
            payload = payload[:3] + xor(payload[3:], draw(_masks))
        rsv = RSV1
    frames = fragmented(opcode, *_pieces(payload, draw(_places)), rsv=rsv)
    between = [draw(st.one_of(st.just(b""), st.just(b""), _controls)) for _ in frames[1:]]
    return frames[0] + b"".join(control + frame for control, frame in zip(between, frames[1:], strict=True))


@st.composite
def streams(draw: st.DrawFn, *, compressed: bool, takeover: bool = True) -> bytes:
    """All that a client sends on one connection."""
    squeeze = Squeeze(takeover=takeover) if compressed else None
    parts = []
    for _ in range(draw(st.integers(0, 6))):
        # Of ten parts eight are sound, or no stream would ever come far.
        kind = draw(st.integers(0, 9))
        parts.append(draw(_messages(squeeze) if kind < 6 else _controls if kind < 8 else _mistakes))
    return b"".join(parts)


#: Where the network may cut a stream.
cuts = st.lists(st.integers(1, 1500), max_size=8)
