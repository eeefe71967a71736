"""What a token says, once it is known to be true: whose it is, for whom, and for how long (RFC 7519, section 4.1).

The reasons given for a refusal hold nothing of the token: they may be logged.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from .user import User

if TYPE_CHECKING:
    from collections.abc import Mapping

#: How far the clock of who issues tokens may be from ours, in seconds.
LEEWAY = 30

#: Seconds since 1970 that are no time but an attempt: floats count whole ones up to here.
_END_OF_TIME = 2**53

_MAX_ID_LENGTH = 256


class InvalidToken(ValueError):
    """The token is not to be trusted; the text says why."""


class Policy(NamedTuple):
    """What is asked of tokens: one of the algorithms, the audience, the issuer. Empty for any, where it is a text."""

    algorithms: frozenset[str]
    audience: str = ""
    issuer: str = ""


def read_object(data: bytes) -> dict[str, Any]:
    """A JSON object in UTF-8 whose names are all different. Raises `InvalidToken`.

    Of several values for one name, two readers may choose different ones (RFC 8725, section 2.6).
    """
    try:
        value = json.loads(data.decode(), object_pairs_hook=_unique, parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise InvalidToken("it holds no JSON object in UTF-8 with different names") from None
    if not isinstance(value, dict):
        raise InvalidToken("it holds JSON that is no object")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a name stands there twice")
    return value


def _refuse(constant: str) -> None:
    raise ValueError("not a number of JSON")


def user_of_jwt(claims: Mapping[str, Any], policy: Policy, now: float) -> User:
    """Whose token it is, at `now`, in seconds since 1970. Raises `InvalidToken`.

    A token that is for an audience is refused where `policy` names none (RFC 7519, section 4.1.3), and so is one
    without end.
    """
    if "exp" not in claims:
        raise InvalidToken("it has no exp: a token must end")
    if "aud" in claims and not policy.audience:
        raise InvalidToken("it is for an audience, and --jwt-audience says of none that it is ours")
    return _user_of(claims, policy, now)


def user_of_introspection(answer: Mapping[str, Any], policy: Policy, now: float) -> User:
    """The same for what an authorization server says of a token (RFC 7662, section 2.2), which may leave `exp` out."""
    if answer.get("active") is not True:
        raise InvalidToken("it is not active")
    return _user_of(answer, policy, now)


def _user_of(claims: Mapping[str, Any], policy: Policy, now: float) -> User:
    begins, issued, ends = (_time(claims, name) for name in ("nbf", "iat", "exp"))
    if ends is not None and now >= ends + LEEWAY:
        raise InvalidToken("it has expired")
    if any(time is not None and now < time - LEEWAY for time in (begins, issued)):
        raise InvalidToken("it is not valid yet")
    if policy.audience and policy.audience not in _texts(claims.get("aud")):
        raise InvalidToken("it is for another audience")
    if policy.issuer and claims.get("iss") != policy.issuer:
        raise InvalidToken("it is of another issuer")
    name = claims.get("sub")
    # It goes into logs and tables: no line breaks, no book.
    if not (isinstance(name, str) and name and len(name) <= _MAX_ID_LENGTH and name.isprintable()):
        raise InvalidToken(f"its sub is no text of at most {_MAX_ID_LENGTH} printable characters")
    return User(name, None if ends is None else ends + LEEWAY)


def _time(claims: Mapping[str, Any], name: str) -> float | None:
    if name not in claims:
        return None
    value: Any = claims[name]
    if type(value) not in (int, float) or not 0 <= value < _END_OF_TIME:
        raise InvalidToken(f"its {name} is no time")
    return float(value)


def _texts(value: Any) -> list[str]:
    """One text, or a list of them (RFC 7519, section 4.1.3)."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, list) and all(isinstance(text, str) for text in value):
        return value
    return []
