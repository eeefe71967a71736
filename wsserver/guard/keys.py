"""What signatures are checked with. Each key says itself which algorithms it is for: a token only chooses among them.

PyJWT and cryptography are imported where a key is made, and nowhere else.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable

#: With a secret (HMAC), and the bytes that it must have: as many as the hash (RFC 7518, section 3.2).
SECRET_ALGORITHMS = {"HS256": 32, "HS384": 48, "HS512": 64}

_RSA = frozenset(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"))
_CURVES = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}

#: With the public half of a pair of keys.
PUBLIC_ALGORITHMS = _RSA | frozenset(_CURVES.values()) | {"EdDSA"}

#: What is taken where nothing else was said.
DEFAULT_SECRET_ALGORITHMS = frozenset(("HS256",))
DEFAULT_PUBLIC_ALGORITHMS = frozenset(("RS256", "ES256", "EdDSA"))

#: RFC 7518, section 3.3.
_MIN_RSA_BITS = 2048

#: More keys than anybody needs: each costs time to read.
_MAX_KEYS = 64


def require() -> None:
    """Raises `ModuleNotFoundError` where the libraries are missing."""
    import cryptography  # noqa: F401
    import jwt  # noqa: F401


class Key(NamedTuple):
    """`material` is what PyJWT takes; `kid` is what tokens call it, None where it has no name."""

    algorithms: frozenset[str]
    material: Any
    kid: str | None = None

    def __repr__(self) -> str:
        return f"<Key {self.kid} for {', '.join(sorted(self.algorithms))}>"


def of_secret(secret: str, algorithms: Iterable[str]) -> Key:
    """The key of a shared secret. Raises `ConfigError` for one that can be guessed, or that is no secret at all."""
    from jwt.algorithms import HMACAlgorithm
    from jwt.exceptions import InvalidKeyError

    material = secret.encode()
    for name in algorithms:
        if len(material) < SECRET_ALGORITHMS[name]:
            raise ConfigError(
                f"--jwt-secret has {len(material)} bytes, and {name} needs {SECRET_ALGORITHMS[name]}: whoever has one"
                " token could find out a shorter one by trying"
            )
    try:
        HMACAlgorithm(HMACAlgorithm.SHA256).prepare_key(material)
    except InvalidKeyError:
        raise ConfigError("--jwt-secret is a key that may be public, and no secret: use --jwt-key") from None
    return Key(frozenset(algorithms), material)


def of_pem(pem: bytes) -> Key:
    """The public key in a PEM file, which may be a certificate. Raises `ConfigError`."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_public_key
    from cryptography.x509 import load_pem_x509_certificate

    if b" PRIVATE KEY-----" in pem:
        raise ConfigError("--jwt-key is a private key: give the server its public half")
    try:
        is_certificate = b"BEGIN CERTIFICATE" in pem
        public: Any = load_pem_x509_certificate(pem).public_key() if is_certificate else load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm):
        raise ConfigError("--jwt-key holds no public key that can be read: it must be a PEM file") from None
    algorithms = _algorithms_of(public)
    if not algorithms:
        raise ConfigError(
            f"--jwt-key must be an RSA key of {_MIN_RSA_BITS} bits or more, a key on the curves P-256, P-384 or P-521,"
            " or an Ed25519 key"
        )
    return Key(algorithms, public)


def of_jwks(document: bytes) -> list[Key]:
    """The keys of a JWK Set (RFC 7517, section 5) that can check signatures; others are passed over.

    Raises `ValueError` for what is no such set, and for one without a key that can be used.
    """
    try:
        value = json.loads(document)
    except (ValueError, RecursionError):
        raise ValueError("this is no JSON") from None
    entries = value.get("keys") if isinstance(value, dict) else None
    if not isinstance(entries, list):
        raise ValueError("this is no JWK Set")
    found = [key for entry in entries[:_MAX_KEYS] if (key := _of_jwk(entry)) is not None]
    if not found:
        raise ValueError("the JWK Set has no key that can be used")
    return found


def _of_jwk(jwk: Any) -> Key | None:
    from jwt import PyJWK, PyJWTError

    # A secret that is published is none.
    if not isinstance(jwk, dict) or jwk.get("kty") not in ("RSA", "EC", "OKP"):
        return None
    operations = jwk.get("key_ops", ["verify"])
    if jwk.get("use", "sig") != "sig" or not isinstance(operations, list) or "verify" not in operations:
        return None
    try:
        public = PyJWK({**jwk, "alg": None}).key
    except (PyJWTError, AttributeError, LookupError, TypeError, ValueError):
        return None
    kid, only = jwk.get("kid"), jwk.get("alg")
    algorithms = frozenset(name for name in _algorithms_of(public) if only in (None, name))
    return Key(algorithms, public, kid if isinstance(kid, str) else None) if algorithms else None


def _algorithms_of(public: Any) -> frozenset[str]:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

    # A private key, which somebody has published by mistake, is none of these.
    if isinstance(public, RSAPublicKey):
        return _RSA if public.key_size >= _MIN_RSA_BITS else frozenset()
    if isinstance(public, EllipticCurvePublicKey):
        return frozenset(name for curve, name in _CURVES.items() if curve == public.curve.name)
    return frozenset(("EdDSA",)) if isinstance(public, Ed25519PublicKey) else frozenset()


def choose(keys: Iterable[Key], algorithm: str, kid: str | None) -> Key | None:
    """The key for a token: that of its name, or without a name the only one there is (OpenID Connect Core, 10.1)."""
    fitting = [key for key in keys if algorithm in key.algorithms and (kid is None or key.kid == kid)]
    return fitting[0] if len(fitting) == 1 else None
