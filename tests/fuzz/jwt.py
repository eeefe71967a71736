"""Signed tokens and what an authorization server says of others: `guard/tokens.py`, `guard/claims.py`."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

from tests.fuzz.source import Source, seed
from tests.issuer import NOW, SECRET, base64url
from wsserver.guard import keys, tokens
from wsserver.guard.claims import LEEWAY, InvalidToken, Policy, read_object, user_of_introspection
from wsserver.guard.user import User

ALGORITHMS = ("HS256", "HS384", "HS512")

POLICIES = (
    Policy(frozenset({"HS256"})),
    Policy(frozenset(ALGORITHMS), "chat", "https://issuer.example"),
    Policy(frozenset({"HS256", "none"}), "chat"),
)

#: What a header may not say (README).
_DANGEROUS = {"jwk", "jku", "x5c", "x5u", "crit", "b64", "zip", "enc", "cty"}

_KEY = keys.of_secret(SECRET + SECRET, ALGORITHMS)

_HEAD = b'{"alg":"HS256","typ":"JWT"}'
_CLAIMS = b'{"sub":"ada","exp":1800000600,"iat":1799999999}'

SEEDS = [
    seed(0, 0, _HEAD, b"\n", _CLAIMS),
    seed(0, 1, b'{"alg":"HS384","kid":"1","typ":"at+jwt"}', b"\n", _CLAIMS),
    seed(0, 1, _HEAD, b"\n", b'{"sub":"ada","exp":1.8000006e9,"aud":["x","chat"],"iss":"https://issuer.example"}'),
    seed(0, 2, b'{"alg":"none"}', b"\n", _CLAIMS),
    seed(0, 0, b'{"alg":"HS256","jwk":{},"crit":["b64"],"b64":false}', b"\n", _CLAIMS),
    seed(0, 0, b'{"alg":"HS256","jku":"https://evil.example"}', b"\n", _CLAIMS),
    seed(0, 0, b'{"alg":"HS256","alg":"none"}', b"\n", _CLAIMS),
    seed(0, 0, _HEAD, b"\n", b'{"sub":"ada","sub":"eve","exp":1800000600}'),
    seed(0, 0, _HEAD, b"\n", b'{"sub":"","exp":1e400}'),
    seed(0, 0, _HEAD, b"\n", b'{"sub":"a\\u2028b","exp":NaN,"nbf":-1}'),
    seed(0, 0, _HEAD, b"\n", b"[" * 100),
    seed(1, 0, base64url(_HEAD).encode() + b"." + base64url(_CLAIMS).encode() + b".c2lnbmF0dXJl"),
    seed(1, 0, base64url(b'{"alg":"none"}').encode() + b"." + base64url(_CLAIMS).encode() + b"."),
    seed(1, 0, b"a.b.c.d.e"),
    seed(2, 0, b'{"active":true,"sub":"ada"}'),
    seed(2, 1, b'{"active":true,"sub":"ada","aud":"chat","iss":"https://issuer.example","exp":1800000001,"nbf":0}'),
    seed(2, 0, b'{"active":"true","sub":"ada"}'),
]


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose names are all different: of two values, two readers may choose different ones."""
    assert len(dict(pairs)) == len(pairs)
    return dict(pairs)


def _signed(content: bytes) -> bytes:
    """A token that our issuer has signed: its header and its payload, one a line, and the algorithm that it says."""
    head, _, payload = content.partition(b"\n")
    text = f"{base64url(head)}.{base64url(payload)}"
    try:
        said = json.loads(head)["alg"]
    except (ValueError, LookupError, TypeError, RecursionError):
        said = None
    digest = f"sha{said[2:]}" if said in ALGORITHMS else "sha256"
    signature = hmac.new(_KEY.material, text.encode(), getattr(hashlib, digest)).digest()
    return f"{text}.{base64url(signature)}".encode()


def one(data: bytes) -> None:
    """Whoever signed it and whatever it says, a token is refused by `InvalidToken`, or our issuer has signed it, by an
    allowed algorithm, for us, and it names somebody and has an end that is not past.
    """
    source = Source(data)
    form, policy = source.choose(("signed", "raw", "introspected")), source.choose(POLICIES)
    content = source.rest()
    try:
        if form == "introspected":
            said = read_object(content)
            user = user_of_introspection(said, policy, NOW)
            assert said["active"] is True
        else:
            text = (_signed(content) if form == "signed" else content).decode("latin-1")
            unverified = tokens.read(text, policy)
            assert unverified.algorithm in policy.algorithms
            user = tokens.verify(unverified, _KEY, policy, NOW)
            assert form == "signed", "nobody else has the key"
            head, said = (json.loads(part, object_pairs_hook=_once) for part in content.split(b"\n", 1))
            assert head["alg"] == unverified.algorithm and not head.keys() & _DANGEROUS
            assert user.expires is not None
    except InvalidToken as exc:
        # It may be logged.
        assert str(exc).isascii() and len(str(exc)) < 200
        return
    assert user == User(said["sub"], None if "exp" not in said else said["exp"] + LEEWAY)
    assert 0 < len(user.id) <= 256 and user.id.isprintable()
    assert user.expires is None or NOW < user.expires < 2**53 + LEEWAY
    assert not policy.issuer or said["iss"] == policy.issuer
    assert not policy.audience or policy.audience == said["aud"] or policy.audience in said["aud"]
    assert all(said.get(name, 0) <= NOW + LEEWAY for name in ("nbf", "iat"))
