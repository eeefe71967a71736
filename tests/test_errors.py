"""The exceptions: one tree, each with the answer it carries."""

from __future__ import annotations

import pytest

import wsserver
from wsserver import errors


def everything() -> list[type[BaseException]]:
    return [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, BaseException)]


def test_all_have_one_base_and_a_public_name() -> None:
    assert len(everything()) == 8
    for error in everything():
        assert issubclass(error, errors.WsserverError)
        assert getattr(wsserver, error.__name__) is error


def test_the_tree_on_the_first_page_is_the_real_one() -> None:
    assert errors.__doc__ is not None
    shown = [text.split()[1] for text in errors.__doc__.splitlines() if "──" in text]
    assert {"WsserverError", *shown} == {error.__name__ for error in everything()}


def test_builtin_relatives() -> None:
    assert issubclass(errors.ConfigError, ValueError)


def test_handshake_error() -> None:
    error = errors.HandshakeError(429, "too many", [("Retry-After", "5")])
    assert (error.status, error.message, error.headers) == (429, "too many", (("Retry-After", "5"),))
    assert str(error) == "too many"
    assert errors.HandshakeError(404, "nothing here").headers == ()


def test_protocol_error() -> None:
    error = errors.ProtocolError(1002, "a mask is missing")
    assert (error.code, error.reason, str(error)) == (1002, "a mask is missing", "a mask is missing")


def test_client_error() -> None:
    error = errors.ClientError("queue_full", "too many", retryable=True, ref="m7")
    assert (error.code, error.message, error.retryable, error.ref) == ("queue_full", "too many", True, "m7")
    plain = errors.ClientError("bad_message", "no")
    assert (plain.retryable, plain.ref, str(plain)) == (False, None, "no")


def test_what_a_client_is_told_of_its_error() -> None:
    plain = errors.ClientError("bad_message", "no")
    assert plain.data() == {"code": "bad_message", "message": "no", "retryable": False, "final": False}
    error = errors.ClientError("rate_limited", "too fast", retryable=True, ref="", retry_after=1.23456)
    assert error.data() == {
        "code": "rate_limited",
        "message": "too fast",
        "retryable": True,
        "final": False,
        "ref": "",
        "retry_after": 1.235,
    }


def test_session_not_found() -> None:
    error = errors.SessionNotFound("s_x")
    assert (error.session_id, str(error)) == ("s_x", "there is no session 's_x', or none any more")
    assert isinstance(error, LookupError)


@pytest.mark.parametrize("retryable", [True, False])
def test_turn_error(retryable: bool) -> None:
    error = errors.TurnError("quota", "come back tomorrow", retryable)
    assert (error.code, error.message, error.retryable) == ("quota", "come back tomorrow", retryable)
    assert errors.TurnError("quota", "no").retryable is False
