"""W3C Trace Context, level 1: section 3.2 says what a traceparent is, section 4.3 what becomes of later versions."""

from __future__ import annotations

import pytest

from wsserver.wire.traceparent import parse

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.mark.parametrize("flags", ["00", "01", "02", "ff"])
def test_a_valid_one_is_taken_as_it_is(flags: str) -> None:
    assert parse(f"00-{TRACE}-{PARENT}-{flags}") == f"00-{TRACE}-{PARENT}-{flags}"


@pytest.mark.parametrize("rest", ["", "-", "-what the future brings", "-01-02"])
@pytest.mark.parametrize(("flags", "known"), [("00", "00"), ("01", "01"), ("03", "01"), ("fe", "00")])
def test_of_a_later_version_what_is_known_counts(rest: str, flags: str, known: str) -> None:
    assert parse(f"cc-{TRACE}-{PARENT}-{flags}{rest}") == f"00-{TRACE}-{PARENT}-{known}"


@pytest.mark.parametrize(
    "header",
    [
        "",
        "00",
        f"00-{TRACE}-{PARENT}",
        f"00-{TRACE}-{PARENT}-1",
        f"00-{TRACE}-{PARENT}-001",
        f"00-{TRACE}-{PARENT}-01-",
        f"00-{TRACE}-{PARENT}-01-more",
        f"cc-{TRACE}-{PARENT}-01more",
        f"ff-{TRACE}-{PARENT}-01",
        f"0-{TRACE}-{PARENT}-01",
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE[1:]}-{PARENT}-01",
        f"00-{TRACE}-{PARENT}0-01",
        f"00-{TRACE.upper()}-{PARENT}-01",
        f"00-{TRACE[:-1]}g-{PARENT}-01",
        f"00-{TRACE[:-1]}\u0664-{PARENT}-01",
        f" 00-{TRACE}-{PARENT}-01",
        f"00-{TRACE}-{PARENT}-01\n",
        f"00-{TRACE}-{PARENT}-01,00-{TRACE}-{PARENT}-01",
        f"00_{TRACE}_{PARENT}_01",
    ],
)
def test_an_invalid_one_is_none(header: str) -> None:
    assert parse(header) is None
