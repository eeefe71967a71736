"""Who somebody is."""

from __future__ import annotations

from typing import Any

import pytest

from wsserver.guard.user import User


def test_a_user_is_a_name() -> None:
    assert User("ada") == User("ada") != User("bob")
    assert User("界").id == "界"


@pytest.mark.parametrize("id", ["", None, 7, 0, b"ada", ["ada"], True])
def test_what_is_no_name(id: Any) -> None:
    with pytest.raises(ValueError, match="the id of a user is a text that is not empty, not "):
        User(id)
