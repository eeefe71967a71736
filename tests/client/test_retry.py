"""Who comes back after which loss, and when."""

from __future__ import annotations

import pytest

from wsserver.client import ConnectError
from wsserver.client.retry import FIRST_DELAY, LONGEST_DELAY, Backoff, may_return, retry_after
from wsserver.errors import HandshakeError

#: The tables of the protocol, RFC 6455, section 7.4, and its registry.
CODES = {
    1000: False,  # ended
    1001: True,  # going away
    1002: False,
    1003: False,
    1004: False,
    1005: True,  # closed without a word
    1006: True,  # broken
    1007: False,
    1008: False,
    1009: False,
    1010: False,
    1011: True,
    1012: True,
    1013: True,
    1014: True,  # a proxy's 502
    1015: False,
    3000: False,
    3999: False,
    4000: True,
    4001: True,
    4004: True,
    4005: True,
    4008: True,
    4499: True,
    4500: False,
    4501: False,
    4502: False,
    4503: False,
    4504: False,
    4506: False,
    4999: False,
    5000: False,
}
STATUSES = {
    200: False,
    302: False,
    400: False,
    401: False,
    403: False,
    404: False,
    405: False,
    408: True,
    421: False,
    425: True,
    426: False,
    429: True,
    431: False,
    500: True,
    502: True,
    503: True,
    504: True,
}


@pytest.mark.parametrize(("code", "back"), CODES.items())
def test_close_codes(code: int, back: bool) -> None:
    assert may_return(code=code) is back


@pytest.mark.parametrize(("status", "back"), STATUSES.items())
def test_statuses_of_a_refusal(status: int, back: bool) -> None:
    assert may_return(status=status) is back


def test_where_nothing_answers_it_may_yet() -> None:
    assert may_return()


DATE = "Tue, 24 Nov 2026 18:00:00 GMT"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, 0),
        ({"retry-after": "7"}, 7),
        ({"retry-after": " 120 "}, 120),
        ({"retry-after": "Tue, 24 Nov 2026 18:01:30 GMT", "date": DATE}, 90),
        ({"retry-after": "Tue, 24 Nov 2026 17:00:00 GMT", "date": DATE}, 0),
        ({"retry-after": "Tue, 24 Nov 2026 18:01:30 GMT"}, 0),
        ({"retry-after": "Tue, 24 Nov 2026 18:01:30", "date": DATE}, 0),
        ({"retry-after": "-5"}, 0),
        ({"retry-after": "inf"}, 0),
        ({"retry-after": "²"}, 0),
        ({"retry-after": "1.5"}, 0),
        ({"retry-after": "soon", "date": DATE}, 0),
        ({"retry-after": "9" * 400}, 86400),
        ({"retry-after": "Tue, 24 Nov 2099 18:00:00 GMT", "date": DATE}, 86400),
        ({"retry-after": "Mon, 01 Jan 99999999999999999999 00:00:00 GMT", "date": DATE}, 0),
        ({"retry-after": "Tue, 24 Nov 2026 18:01:30 +99999999999999999999", "date": DATE}, 0),
    ],
)
def test_what_a_refusal_asks_for(headers: dict[str, str], seconds: float) -> None:
    assert retry_after(headers) == seconds
    error = ConnectError.refused("ws://h/", HandshakeError(503, "full", list(headers.items())))
    assert (error.status, error.retry_after) == (503, seconds)


class TestBackoff:
    def test_the_bound_doubles_up_to_the_longest_delay_and_begins_anew(self) -> None:
        bounds: list[tuple[float, float]] = []

        def uniform(low: float, high: float) -> float:
            bounds.append((low, high))
            return high

        backoff = Backoff(uniform)
        assert [backoff.next() for _ in range(9)] == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]
        assert {low for low, _ in bounds} == {0}
        for _ in range(2000):
            assert backoff.next() == LONGEST_DELAY
        backoff.reset()
        assert backoff.next() == FIRST_DELAY

    def test_every_client_comes_at_another_moment(self) -> None:
        delays = {Backoff().next() for _ in range(50)}
        assert len(delays) > 40
        assert all(0 <= delay <= FIRST_DELAY for delay in delays)
