"""The preamble of the PROXY protocol: every cut of it, and what is none."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsserver.guard.preamble import PreambleError, missing, source

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
FOUR = bytes([192, 0, 2, 7, 10, 0, 0, 1]) + b"\xc8\x22\x01\xbb"
SIX = ip_address("2001:db9::1").packed + ip_address("2001:db8::1").packed + b"\xc8\x22\x01\xbb"
MAPPED = ip_address("::ffff:192.0.2.7").packed + ip_address("::1").packed + bytes(4)
TLVS = b"\x01\x00\x02h2\x04\x00\x03\0\0\0"


def v2(body: bytes, family: int = 0x11, command: int = 0x21) -> bytes:
    return SIGNATURE + bytes([command, family]) + len(body).to_bytes(2, "big") + body


LONGEST = b"PROXY UNKNOWN " + b" ".join([b":".join([b"ffff"] * 8)] * 2) + b" 65535 65535\r\n"
assert len(LONGEST) == 107

PREAMBLES: dict[bytes, str | None] = {
    b"PROXY TCP4 192.0.2.7 10.0.0.1 51234 443\r\n": "192.0.2.7",
    b"PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n": "0.0.0.0",
    b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n": "255.255.255.255",
    b"PROXY TCP6 2001:DB9::1 2001:db8::1 51234 443\r\n": "2001:db9::1",
    b"PROXY TCP6 :: :: 0 0\r\n": "::",
    b"PROXY TCP6 ::ffff:192.0.2.7 ::1 1 1\r\n": "192.0.2.7",
    b"PROXY UNKNOWN\r\n": None,
    b"PROXY UNKNOWN ::1 \xff\xfe\r\n": None,
    LONGEST: None,
    v2(FOUR): "192.0.2.7",
    v2(FOUR + TLVS): "192.0.2.7",
    v2(SIX, 0x21): "2001:db9::1",
    v2(SIX + TLVS, 0x21): "2001:db9::1",
    v2(MAPPED, 0x21): "192.0.2.7",
    v2(b"", 0x00, 0x20): None,
    v2(FOUR, 0x11, 0x20): None,
    v2(b"junk", 0xFF, 0x20): None,
    v2(b"", 0x00): None,
    v2(bytes(216), 0x31): None,
    v2(FOUR, 0x12): None,
    v2(FOUR + bytes(4096 - 16 - 12)): "192.0.2.7",
}


@pytest.mark.parametrize(("data", "address"), PREAMBLES.items(), ids=range(len(PREAMBLES)))
class TestWhole:
    def test_names_the_client(self, data: bytes, address: str | None) -> None:
        assert missing(data) == 0
        assert source(data) == address

    def test_every_cut_asks_for_no_more_than_the_rest(self, data: bytes, address: str | None) -> None:
        for end in range(len(data)):
            assert 0 < missing(data[:end]) <= len(data) - end

    def test_it_is_read_in_few_steps(self, data: bytes, address: str | None) -> None:
        read = steps = 0
        while more := missing(data[:read]):
            read += more
            steps += 1
        assert read == len(data)
        assert steps <= 50


def judged(data: bytes) -> str | None:
    """What comes out where bytes arrive as they are asked for. Raises `PreambleError`."""
    read = 0
    while more := missing(data[:read]):
        if read >= len(data):
            raise EOFError
        read += more
    return source(data[:read])


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 and so on",
        b"proxy UNKNOWN\r\n",
        b"PROXY  UNKNOWN\r\n",
        b"PROXY UNKNOWNS\r\n",
        b"PROXY TCP5 192.0.2.7 10.0.0.1 51234 443\r\n",
        b"PROXY TCP4 2001:db9::1 2001:db8::1 51234 443\r\n",
        b"PROXY TCP6 192.0.2.7 10.0.0.1 51234 443\r\n",
        b"PROXY TCP4 192.0.2.7 10.0.0.1 51234\r\n\r\n",
        b"PROXY TCP4 192.0.2.7 10.0.0.1 51234 443 1\r\n",
        b"PROXY TCP4 192.0.2.7 10.0.0.1 51234 65536\r\n",
        b"PROXY TCP4 192.0.2.7 10.0.0.1 -1 443\r\n",
        b"PROXY TCP4 192.0.2.7 10.0.0.1 a 443\r\n",
        b"PROXY TCP4 192.0.2.256 10.0.0.1 51234 443\r\n",
        b"PROXY TCP4 192.0.2.7 10.0.0.256 51234 443\r\n",
        b"PROXY TCP4 192.0.2.07 10.0.0.1 51234 443\r\n",
        b"PROXY TCP4 \xb2.0.2.7 10.0.0.1 51234 443\r\n",
        b"PROXY TCP6 fe80::1%eth0 2001:db8::1 51234 443\r\n",
        b"PROXY TCP6 ::ffff:10%0.0.\n1 ::1 1 2\r\n",
        b"PROXY TCP6 2001:db8::1 ::1%\t\r\n 1 2\r\n",
        b"PROXY TCP4 x\r\nGET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"PROXY UNKNOWN" + b" " * 200,
        b"PROXY UNKNOWN" + b" " * 93 + b"\n" + b" " * 200,
        b"PROXY UNKNOWN" + b"\r" * 200,
        SIGNATURE[:-1] + b"\r" + bytes(20),
        b"\r\n\r\n\0\r\nQUIt",
        v2(FOUR, 0x11, 0x11),
        v2(FOUR, 0x11, 0x31),
        v2(FOUR, 0x11, 0x22),
        v2(FOUR, 0x41),
        v2(FOUR, 0x13),
        v2(FOUR[:-1]),
        v2(FOUR, 0x21),
        v2(bytes(4096 - 15)),
        v2(bytes(65535)),
    ],
)
def test_what_is_none_is_refused(data: bytes) -> None:
    with pytest.raises(PreambleError):
        judged(data)


@pytest.mark.parametrize("data", [b"G", b"PROXX", b"\r\n\r\nG", v2(bytes(65535))[:16], b"PROXY UNKNOWN" + b" " * 94])
def test_it_is_refused_before_the_rest_has_come(data: bytes) -> None:
    with pytest.raises(PreambleError):
        missing(data)


@given(st.binary(max_size=300), st.sampled_from([b"", b"PROXY ", b"PROXY TCP4 ", SIGNATURE, SIGNATURE + b"\x21\x11"]))
def test_whatever_comes_an_address_or_nothing_comes_out(data: bytes, beginning: bytes) -> None:
    try:
        found = judged(beginning + data)
    except (PreambleError, EOFError):
        return
    assert found is None or ip_address(found)
