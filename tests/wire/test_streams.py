"""Any stream of a client, however wrong, means one thing: with the lanes or wsproto alone, wherever it is cut."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wire.masked import CLOSE, PONG, Outcome, cut, examples, hear, octets
from tests.wire.streams import LIMIT, cuts, streams
from wsserver.wire.deflate import DeflateParameters
from wsserver.wire.protocol import Protocol, State

REMEMBERING = DeflateParameters()
FORGETFUL = DeflateParameters(server_no_context_takeover=True, client_no_context_takeover=True)


def whole_or_cut(stream: bytes, places: list[int], **options: Any) -> list[Outcome]:
    """The same stream with the lanes and without, whole, cut at these places, and byte by byte."""
    opened = partial(Protocol, LIMIT, **options)
    reads = ([stream], list(cut(stream, places)), octets(stream))
    return [hear(opened(lanes=lanes), *chunks) for lanes in (True, False) for chunks in reads]


class TestAnyStream:
    @given(streams(compressed=False), cuts)
    @examples
    def test_plain(self, stream: bytes, places: list[int]) -> None:
        first, *others = whole_or_cut(stream, places)
        assert others == [first] * 5

    @pytest.mark.parametrize("takeover", [True, False])
    @given(data=st.data(), places=cuts)
    @examples
    def test_compressed(self, takeover: bool, data: st.DataObject, places: list[int]) -> None:
        stream = data.draw(streams(compressed=True, takeover=takeover))
        first, *others = whole_or_cut(stream, places, deflate=REMEMBERING if takeover else FORGETFUL)
        assert others == [first] * 5

    @given(st.binary(max_size=300), cuts, st.sampled_from([None, REMEMBERING]))
    @examples
    def test_garbage(self, stream: bytes, places: list[int], parameters: DeflateParameters | None) -> None:
        first, *others = whole_or_cut(stream, places, deflate=parameters)
        assert others == [first] * 5

    @given(streams(compressed=False), streams(compressed=False), cuts)
    @examples
    def test_with_a_close_of_ours_in_the_midst(self, before: bytes, after: bytes, places: list[int]) -> None:
        outcomes = []
        for lanes in (True, False):
            for chunks in ([after], cut(after, places), octets(after)):
                protocol = Protocol(LIMIT, lanes=lanes)
                earlier = hear(protocol, before)
                protocol.send_close(1001)
                outcomes.append((earlier, hear(protocol, *chunks)))
        assert outcomes == outcomes[:1] * 6
        assert all(later.messages == [] for _, later in outcomes)

    @given(streams(compressed=True), st.sampled_from([None, REMEMBERING]))
    @examples
    def test_at_most_one_close_and_it_is_the_last_frame(
        self, stream: bytes, parameters: DeflateParameters | None
    ) -> None:
        outcome = hear(Protocol(LIMIT, deflate=parameters), stream)
        opcodes = []
        sent = outcome.sent
        while sent:  # pongs and Closes only: their lengths take one byte
            opcodes.append(sent[0] & 0x0F)
            sent = sent[2 + sent[1] :]
        assert set(opcodes[:-1]) <= {PONG}
        assert (opcodes[-1:] == [CLOSE]) == (outcome.state is State.CLOSED)
        assert all(len(frame.payload) <= LIMIT for frame in outcome.messages)
