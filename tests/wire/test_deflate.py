"""permessage-deflate: what is agreed, what is squeezed, and what an inflated bomb may cost."""

from __future__ import annotations

import gc
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wire.masked import (
    BINARY,
    RSV1,
    TEXT,
    KiB,
    Squeeze,
    cut,
    ended,
    examples,
    fragmented,
    hear,
    masked,
    octets,
    squeezed,
)
from wsserver.errors import ProtocolError
from wsserver.wire.deflate import Deflate, DeflateParameters, negotiate
from wsserver.wire.frames import Frame
from wsserver.wire.protocol import Protocol, State

FORGETFUL = DeflateParameters(server_no_context_takeover=True, client_no_context_takeover=True)
REMEMBERING = DeflateParameters()
TAIL = b"\x00\x00\xff\xff"


def inflated(deflate: Deflate, *pieces: bytes) -> bytes:
    """A whole message."""
    return b"".join([*(part for piece in pieces for part in deflate.inflate(piece)), *deflate.finish()])


class TestExtensionNegotiation:  # RFC 7692, section 7.1
    @pytest.mark.parametrize(
        "offer, answer",
        [
            ("permessage-deflate", ""),
            ("PerMessage-Deflate", ""),
            ("permessage-deflate; client_max_window_bits", ""),
            ("permessage-deflate; client_max_window_bits=9", "; client_max_window_bits=9"),
            ('permessage-deflate;client_max_window_bits="10"', "; client_max_window_bits=10"),
            ("permessage-deflate; client_max_window_bits = 15", ""),
            ("permessage-deflate; server_max_window_bits=15", "; server_max_window_bits=15"),
            ("permessage-deflate; server_max_window_bits=11", "; server_max_window_bits=11"),
            ("permessage-deflate; server_no_context_takeover", "; server_no_context_takeover"),
            ("permessage-deflate; client_no_context_takeover", "; client_no_context_takeover"),
            (
                "permessage-deflate; server_max_window_bits=12; client_max_window_bits=13; client_no_context_takeover;"
                "server_no_context_takeover",
                "; server_no_context_takeover; client_no_context_takeover"
                "; server_max_window_bits=12; client_max_window_bits=13",
            ),
        ],
    )
    def test_an_offer_that_can_be_met(self, offer: str, answer: str) -> None:
        agreed = negotiate([offer], context_takeover=True)
        assert agreed is not None
        assert agreed.header() == "permessage-deflate" + answer

    def test_without_context_takeover_both_sides_forget(self) -> None:
        assert negotiate(["permessage-deflate"], context_takeover=False) == FORGETFUL
        assert FORGETFUL.header() == "permessage-deflate; server_no_context_takeover; client_no_context_takeover"

    @pytest.mark.parametrize(
        "parameters",
        [
            *(
                f"{side}_max_window_bits={bits}"
                for side in ("server", "client")
                for bits in range(17)
                if not 9 <= bits < 16
            ),
            *(
                f"{side}_max_window_bits={value}"
                for side in ("server", "client")
                for value in ("", '""', '"', '"10', '10"', "09", "+9", "-9", "9.0", "1e1", "１０", "x", "10 11")
            ),
            "server_max_window_bits",
            "server_no_context_takeover=true",
            "server_no_context_takeover=",
            "client_no_context_takeover=1",
            "client_max_window_bits; client_max_window_bits",
            "client_max_window_bits=10; client_max_window_bits=10",
            "server_no_context_takeover; server_no_context_takeover",
            "unknown",
            "unknown=1",
            "=1",
            "",
            "Client_Max_Window_Bits; ; ",
        ],
    )
    def test_an_offer_that_cannot(self, parameters: str) -> None:
        assert negotiate([f"permessage-deflate; {parameters}"], context_takeover=True) is None

    def test_the_first_that_can_be_met_is_taken(self) -> None:
        offers = [
            "x-webkit-deflate-frame",
            "permessage-bzip2",
            "permessage-deflate; server_max_window_bits=8",
            "permessage-deflate; server_max_window_bits=10",
            "permessage-deflate",
        ]
        assert negotiate(offers, context_takeover=True) == DeflateParameters(server_max_window_bits=10)

    @pytest.mark.parametrize("offers", [[], [""], [";"], ["permessage-bzip2"], ["x; permessage-deflate"]])
    def test_nothing_to_be_met(self, offers: list[str]) -> None:
        assert negotiate(offers, context_takeover=True) is None

    @given(st.lists(st.text('permessage-deflate;=" client_max_window_bits0189,\x00é', max_size=80), max_size=4))
    @examples
    def test_no_offer_is_an_error(self, offers: list[str]) -> None:
        negotiate([*offers, *(f"permessage-deflate;{offer}" for offer in offers)], context_takeover=True)


class TestCompression:  # RFC 7692, section 7.2.1
    def test_the_example_of_the_rfc(self) -> None:  # section 7.2.3.1
        assert Deflate(REMEMBERING, 100).compress(b"Hello") == bytes.fromhex("f248cdc9c90700")

    def test_the_context_is_kept(self) -> None:  # section 7.2.3.2
        deflate = Deflate(REMEMBERING, 100)
        assert [deflate.compress(b"Hello").hex() for _ in "12"] == ["f248cdc9c90700", "f200110000"]

    def test_or_forgotten(self) -> None:
        deflate = Deflate(FORGETFUL, 100)
        assert [deflate.compress(b"Hello").hex() for _ in "12"] == ["f248cdc9c90700"] * 2

    @pytest.mark.parametrize("bits", range(9, 16))
    def test_a_peer_with_the_window_agreed_can_read_it(self, bits: int) -> None:
        deflate = Deflate(DeflateParameters(server_max_window_bits=bits), 100)
        content = bytes(place * place % 251 for place in range(2**10)) * 40
        reader = zlib.decompressobj(wbits=-bits)
        for _ in "12":
            assert reader.decompress(deflate.compress(content) + TAIL) == content


class TestDecompression:  # RFC 7692, section 7.2.2
    @pytest.mark.parametrize("pieces", [["f248cdc9c90700"], ["f248cd", "c9c90700"], ["f2", "", "48cdc9c907", "00"]])
    def test_the_example_of_the_rfc(self, pieces: list[str]) -> None:
        assert inflated(Deflate(REMEMBERING, 5), *map(bytes.fromhex, pieces)) == b"Hello"

    @pytest.mark.parametrize("parameters", [REMEMBERING, FORGETFUL])
    def test_a_block_without_compression(self, parameters: DeflateParameters) -> None:  # section 7.2.3.3
        deflate = Deflate(parameters, 5)
        assert [inflated(deflate, b"\x00\x05\x00\xfa\xffHello\x00") for _ in "12"] == [b"Hello"] * 2

    @pytest.mark.parametrize("parameters", [REMEMBERING, FORGETFUL])
    def test_a_final_block(self, parameters: DeflateParameters) -> None:  # section 7.2.3.4
        deflate = Deflate(parameters, 5)
        assert [inflated(deflate, bytes.fromhex("f348cdc9c9070000")) for _ in "12"] == [b"Hello"] * 2

    @pytest.mark.parametrize("parameters", [REMEMBERING, FORGETFUL])
    def test_a_final_block_and_nothing_behind_it(self, parameters: DeflateParameters) -> None:
        deflate = Deflate(parameters, 5)
        assert [inflated(deflate, ended(b"Hello")) for _ in "12"] == [b"Hello"] * 2
        assert inflated(deflate, squeezed(b"again")) == b"again"

    def test_final_blocks_one_behind_the_other(self) -> None:
        message = ended(b"One, ") + ended(b"") + ended(b"two, ") + squeezed(b"three.")
        assert inflated(Deflate(REMEMBERING, 16), message) == b"One, two, three."
        assert inflated(Deflate(REMEMBERING, 16), *octets(message)) == b"One, two, three."

    def test_two_blocks_in_one_message(self) -> None:  # section 7.2.3.5
        assert inflated(Deflate(REMEMBERING, 5), bytes.fromhex("f248050000 00ffff cac9c90700")) == b"Hello"

    def test_an_empty_message(self) -> None:  # section 7.2.3.6
        deflate = Deflate(REMEMBERING, 0)
        assert [inflated(deflate, b"\x00") for _ in "12"] == [b""] * 2

    def test_the_context_is_kept(self) -> None:
        deflate, squeeze = Deflate(REMEMBERING, 100), Squeeze()
        messages = [squeeze(b"Hello") for _ in "123"]
        assert len(messages[1]) < len(messages[0])
        assert [inflated(deflate, message) for message in messages] == [b"Hello"] * 3

    def test_what_is_forgotten_cannot_be_referred_to(self) -> None:
        deflate, squeeze = Deflate(FORGETFUL, 100), Squeeze()
        assert inflated(deflate, squeeze(b"Hello")) == b"Hello"
        with pytest.raises(ProtocolError, match="damaged"):
            inflated(deflate, squeeze(b"Hello"))

    @pytest.mark.parametrize("bits", range(9, 16))
    def test_every_window(self, bits: int) -> None:
        content = bytes(place * place % 251 for place in range(2**10)) * 40
        deflate, squeeze = Deflate(DeflateParameters(client_max_window_bits=bits), len(content)), Squeeze(bits)
        assert [inflated(deflate, squeeze(content)) for _ in "12"] == [content] * 2

    def test_a_larger_window_than_agreed_is_read_wherever_it_is_cut(self) -> None:
        content = bytes(place * place % 65521 % 256 for place in range(2**13)) * 2
        message = squeezed(content)
        for pieces in ([message], octets(message)):
            assert inflated(Deflate(DeflateParameters(client_max_window_bits=9), 2**20), *pieces) == content

    @pytest.mark.parametrize("size", range(4090, 4700, 30))
    def test_all_that_can_be_known_is_given_at_once(self, size: int) -> None:
        message = squeezed(bytes(size))
        for end in range(1, len(message) + 1):
            whole, crumbs = Deflate(REMEMBERING, 2**20), Deflate(REMEMBERING, 2**20)
            given = b"".join(whole.inflate(message[:end]))
            assert given == b"".join(part for octet in octets(message[:end]) for part in crumbs.inflate(octet))

    @pytest.mark.parametrize("payload", [b"\x07", b"\xff\xff", b"\x00\x05\x00\x00\x00Hello"])
    def test_damage(self, payload: bytes) -> None:
        with pytest.raises(ProtocolError, match="damaged") as refusal:
            inflated(Deflate(REMEMBERING, 1000), payload)
        assert refusal.value.code == 1007

    @given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=4))
    @examples
    def test_garbage_is_inflated_or_refused(self, payload: bytes, places: list[int]) -> None:
        deflate = Deflate(REMEMBERING, 500)
        try:
            assert len(inflated(deflate, *cut(payload, places))) <= 500
        except ProtocolError as refusal:
            assert refusal.code in (1007, 1009)

    @given(st.lists(st.binary(max_size=3000), max_size=4), st.booleans(), st.lists(st.integers(0, 3000), max_size=3))
    @examples
    def test_what_we_squeeze_we_can_read(self, contents: list[bytes], takeover: bool, places: list[int]) -> None:
        deflate = Deflate(REMEMBERING if takeover else FORGETFUL, 3000)
        for content in contents:
            assert inflated(deflate, *cut(deflate.compress(content), places)) == content


class TestLimit:
    """Not in the RFCs: "implementations SHOULD impose a limit" is all that RFC 6455, section 10.4, says."""

    @pytest.mark.parametrize("limit", [1, 4095, 4096, 4097, 3 * 4096, 10_000])
    def test_it_is_the_last_byte_that_passes(self, limit: int) -> None:
        deflate = Deflate(FORGETFUL, limit)
        for _ in "12":
            assert inflated(deflate, squeezed(b"x" * limit)) == b"x" * limit
        with pytest.raises(ProtocolError, match="over the limit") as refusal:
            inflated(deflate, squeezed(b"x" * (limit + 1)))
        assert refusal.value.code == 1009

    def test_what_is_within_the_limit_is_given_before_the_refusal(self) -> None:
        pieces = Deflate(FORGETFUL, 5000).inflate(squeezed(b"x" * 100_000))
        assert next(pieces) + next(pieces) == b"x" * 5000
        with pytest.raises(ProtocolError, match="over the limit"):
            next(pieces)

    def test_damage_behind_the_limit_is_never_seen(self) -> None:
        bomb = squeezed(b"x" * 50) + TAIL + b"\x07"
        for pieces in ([bomb], octets(bomb)):
            with pytest.raises(ProtocolError, match="over the limit"):
                inflated(Deflate(FORGETFUL, 10), *pieces)

    @pytest.mark.parametrize("limit", [40 * KiB, 64 * KiB, 300 * KiB, 1024 * KiB])
    @pytest.mark.parametrize("character", ["\0", "é", "退"])
    @pytest.mark.parametrize("opcode", [TEXT, BINARY])
    @pytest.mark.parametrize("size", [10**9, 1400, 7], ids=["one chunk", "packets", "crumbs"])
    def test_a_bomb_is_never_held(self, limit: int, character: str, opcode: int, size: int) -> None:
        self.burst(opcode, squeezed(character.encode() * (3 * limit)), limit, size)

    @pytest.mark.parametrize("size", [10**9, 1400, 7], ids=["one chunk", "packets", "crumbs"])
    def test_nor_is_text_that_is_wide_in_memory(self, size: int) -> None:
        self.burst(TEXT, squeezed(("x" * 4000 + "😀").encode() * 800), 1024 * KiB, size)

    @pytest.mark.parametrize("size", [10**9, 1400])
    def test_nor_is_what_stands_behind_a_final_block(self, size: int) -> None:
        limit = 200 * KiB
        bomb = ended(bytes(limit)) + b"\x01\xff\xff\x00\x00" + bytes(limit // 2)
        self.burst(BINARY, bomb, limit, size)

    def burst(self, opcode: int, bomb: bytes, limit: int, size: int) -> None:
        """A connection that has its decompressor (zlib takes 40 KiB) grows by the limit and 64 KiB at most."""
        tracemalloc.start()
        protocol = Protocol(limit, deflate=REMEMBERING)
        assert hear(protocol, masked(TEXT, squeezed(b"x" * 40_000), rsv=RSV1)).messages == [(TEXT, b"x" * 40_000)]
        stream = b"".join(fragmented(opcode, *cut(bomb, range(0, len(bomb), len(bomb) // 3)), rsv=RSV1))
        reads = [stream[place : place + size] for place in range(0, len(stream), size)]
        gc.collect()
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        for read in reads:
            assert list(protocol.receive_data(read)) == []
        held = tracemalloc.get_traced_memory()[1] - before
        tracemalloc.stop()
        assert (protocol.state, protocol.close_code) == (State.CLOSED, 1009)
        assert protocol.close_reason == "inflated message over the limit"
        assert limit / 2 < held < limit + 64 * KiB

    def test_a_message_that_fills_the_limit_is_no_bomb(self) -> None:
        protocol = Protocol(1024 * KiB, deflate=FORGETFUL)
        outcome = hear(protocol, masked(BINARY, squeezed(bytes(1024 * KiB)), rsv=RSV1))
        assert outcome.messages == [Frame(BINARY, bytes(1024 * KiB))]
