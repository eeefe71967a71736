"""Close codes and the payload of a Close frame: what may travel, and what comes of the rest."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wire.masked import examples
from wsserver.wire.close import CloseCode, decode_close, encode_close, may_travel

TRAVELLERS = {1000, 1001, 1002, 1003, *range(1007, 1014), *range(3000, 5000)}
reasons = st.text(st.characters(exclude_categories=["Cs"]), max_size=130)


class TestReservedStatusCodeRanges:  # RFC 6455, section 7.4.2
    def test_what_may_travel(self) -> None:
        assert {code for code in range(2**16) if may_travel(code)} == TRAVELLERS

    @pytest.mark.parametrize("code", [CloseCode.NO_STATUS, CloseCode.ABNORMAL, 1015])
    def test_what_only_describes_is_never_said(self, code: int) -> None:
        assert encode_close(code, "lost") == b""

    @given(st.integers(0, 2**17))
    @examples
    def test_no_other_code_is_said_either(self, code: int) -> None:
        assert encode_close(code) == (code.to_bytes(2, "big") if code in TRAVELLERS else b"")

    @pytest.mark.parametrize("code", [code for code in CloseCode if code not in (1005, 1006)])
    def test_all_of_ours_may_travel(self, code: CloseCode) -> None:
        assert may_travel(code)


class TestClose:  # RFC 6455, section 5.5.1
    def test_code_and_reason(self) -> None:
        assert encode_close(1001, "going, going …") == b"\x03\xe9going, going \xe2\x80\xa6"
        assert decode_close(b"\x03\xe9going, going \xe2\x80\xa6") == (1001, "going, going …")

    def test_without_payload(self) -> None:
        assert decode_close(b"") == (1005, "")

    def test_a_long_reason_is_cut_between_characters(self) -> None:
        assert encode_close(1000, "x" * 200) == b"\x03\xe8" + b"x" * 123
        assert encode_close(1000, "退" * 50) == b"\x03\xe8" + "退".encode() * 41
        assert encode_close(1000, "x" + "退" * 50) == b"\x03\xe8x" + "退".encode() * 40

    @pytest.mark.parametrize(
        "payload",
        [
            b"\x03",
            b"\x00\x00",
            *(code.to_bytes(2, "big") for code in (999, 1004, 1005, 1006, 1014, 1015, 1016, 2999, 5000, 65535)),
            b"\x03\xe8\xff",
            b"\x03\xe8\xed\xa0\x80",
            b"\x03\xe8cut \xe9\x80",
        ],
        ids=bytes.hex,
    )
    def test_what_no_peer_may_send(self, payload: bytes) -> None:
        assert decode_close(payload) is None

    @given(st.sampled_from(sorted(TRAVELLERS)), reasons)
    @examples
    def test_a_payload_fits_and_means_what_was_meant(self, code: int, reason: str) -> None:
        payload = encode_close(code, reason)
        heard = decode_close(payload)
        assert len(payload) <= 125
        assert heard is not None
        assert heard[0] == code
        assert reason.startswith(heard[1])
        assert heard[1] == reason or len(payload) > 125 - 4

    @given(st.binary(max_size=125))
    @examples
    def test_any_payload_is_understood_or_refused(self, payload: bytes) -> None:
        heard = decode_close(payload)
        if heard is not None:
            assert encode_close(*heard) == payload
