"""When a connection is told that its token ends, and when it has ended; and what a user may be."""

from __future__ import annotations

from math import inf, nan

import pytest

from wsserver import User
from wsserver.guard.expiry import Expiry


@pytest.mark.parametrize(("lifetime", "notice"), [(3600, 60), (600, 60), (300, 30), (10, 1), (0.5, 0.05)])
def test_a_minute_or_a_tenth_before_the_end(lifetime: float, notice: float) -> None:
    expiry = Expiry(1000, 1000 + lifetime)
    assert expiry.due == pytest.approx(1000 + lifetime - notice)
    assert expiry.left(expiry.due - 0.01) is None
    assert expiry.left(expiry.due) == pytest.approx(notice)
    assert expiry.due == 1000 + lifetime
    assert expiry.left(expiry.due - 0.01) is None
    assert expiry.left(expiry.due + 7) == 0
    assert expiry.due == inf


def test_who_looks_too_late_sees_the_end() -> None:
    assert Expiry(1000, 1010).left(1010) == 0


def test_a_user() -> None:
    assert User("ada").has_expired(1e300) is False
    assert User("ada", 100).has_expired(99.9) is False
    assert User("ada", 100).has_expired(100) is True
    for name in ("", None, 7):
        with pytest.raises(ValueError, match="the id of a user"):
            User(name)  # type: ignore[arg-type]
    for time in (inf, nan):
        with pytest.raises(ValueError, match="a finite number"):
            User("ada", time)
