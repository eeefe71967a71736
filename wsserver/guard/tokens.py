"""Signed tokens (JWS compact serialization, RFC 7515; JWT, RFC 7519), judged as RFC 8725 asks for.

What a token says of itself is only ever compared, never followed: no address, no key and no file it names is looked at.
PyJWT checks signatures and nothing else: it is imported here, at the first token.
"""

from __future__ import annotations

import binascii
import json
import re
from base64 import urlsafe_b64decode
from typing import TYPE_CHECKING, Any, NamedTuple

from .claims import InvalidToken, Policy, read_object, user_of_jwt

if TYPE_CHECKING:
    from .keys import Key
    from .user import User

#: Three parts. Five are an encrypted token (RFC 7516), two a mistake, and padding has no place in any.
_COMPACT = re.compile(r"([A-Za-z0-9_-]+)\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+", re.ASCII)

#: Header parameters that bring a key, or say where one is, that change how the rest is to be read, or that mark a token
#: within a token: whoever needs them needs another server.
_REFUSED = frozenset(("jku", "jwk", "x5u", "x5c", "crit", "b64", "cty", "enc", "zip"))

#: What a token may be: the ordinary kind, or an access token (RFC 9068, section 2.1). All else is for other readers.
_TYPES = frozenset(("jwt", "at+jwt", "application/at+jwt"))


class Unverified(NamedTuple):
    """A token whose header may stand: with which algorithm and which key it wants to be checked."""

    text: str
    algorithm: str
    kid: str | None

    def __repr__(self) -> str:
        return f"<Unverified {self.algorithm} {self.kid}>"


def read(text: str, policy: Policy) -> Unverified:
    """Judges the form and the header of a token. Raises `InvalidToken`."""
    parts = _COMPACT.fullmatch(text)
    if parts is None:
        raise InvalidToken("it is no signed token")
    try:
        decoded = urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4))
    except binascii.Error:
        raise InvalidToken("its header is no base64url") from None
    header = read_object(decoded)
    algorithm, kid, kind = header.get("alg"), header.get("kid"), header.get("typ", "JWT")
    if not isinstance(algorithm, str) or algorithm not in policy.algorithms:
        raise InvalidToken("its algorithm is not one of --jwt-algorithms")
    if not _REFUSED.isdisjoint(header):
        raise InvalidToken(f"its header has {', '.join(sorted(_REFUSED & header.keys()))}")
    if not isinstance(kind, str) or kind.lower() not in _TYPES:
        raise InvalidToken("it is a token of another type")
    if "kid" in header and not isinstance(kid, str):
        raise InvalidToken("its kid is no text")
    return Unverified(text, algorithm, kid)


def verify(token: Unverified, key: Key, policy: Policy, now: float) -> User:
    """Whose token it is, at `now`, in seconds since 1970. Raises `InvalidToken`."""
    from jwt import PyJWTError
    from jwt.api_jws import decode_complete

    if token.algorithm not in key.algorithms:
        raise InvalidToken("its algorithm is not one of the key's")
    try:
        payload: bytes = decode_complete(token.text, key.material, [token.algorithm])["payload"]
    except PyJWTError:
        raise InvalidToken("its signature is not right") from None
    return user_of_jwt(read_object(payload), policy, now)


def mint(claims: dict[str, Any], key: Key, algorithm: str) -> str:
    """A token that says `claims`, signed with the key of a secret."""
    from jwt.api_jws import encode

    return encode(json.dumps(claims).encode(), key.material, algorithm)
