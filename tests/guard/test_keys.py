"""What may be a key, and what each is for."""

from __future__ import annotations

import json
from typing import Any

import pytest
from jwt.algorithms import ECAlgorithm

from tests.issuer import SECRET, jwk, pem, private, private_pem
from wsserver import ConfigError
from wsserver.guard import keys

RSA = {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}


def of_jwks(*entries: Any) -> list[keys.Key]:
    return keys.of_jwks(json.dumps({"keys": entries}).encode())


class TestSecret:
    @pytest.mark.parametrize(("name", "size"), [("HS256", 32), ("HS384", 48), ("HS512", 64)])
    def test_is_as_long_as_the_hash(self, name: str, size: int) -> None:
        assert keys.of_secret("x" * size, [name]) == keys.Key(frozenset({name}), b"x" * size)
        with pytest.raises(ConfigError, match=f"has {size - 1} bytes, and {name} needs {size}: whoever has one token"):
            keys.of_secret("x" * (size - 1), [name])

    def test_is_counted_in_bytes(self) -> None:
        assert keys.of_secret("é" * 16, ["HS256"])

    def test_is_no_public_key(self) -> None:
        with pytest.raises(ConfigError, match="no secret: use --jwt-key"):
            keys.of_secret(pem("rsa").decode(), ["HS256"])


class TestPem:
    @pytest.mark.parametrize(
        ("kind", "algorithms"), [("rsa", RSA), ("p256", {"ES256"}), ("p384", {"ES384"}), ("ed25519", {"EdDSA"})]
    )
    def test_says_what_it_is_for(self, kind: str, algorithms: set[str]) -> None:
        assert keys.of_pem(pem(kind)).algorithms == algorithms

    def test_a_certificate(self, certificate: bytes) -> None:
        assert keys.of_pem(certificate).algorithms == {"ES256"}

    @pytest.mark.parametrize("kind", ["rsa1024", "k256"])
    def test_is_strong(self, kind: str) -> None:
        with pytest.raises(ConfigError, match="2048 bits or more"):
            keys.of_pem(pem(kind))

    def test_is_the_public_half(self) -> None:
        with pytest.raises(ConfigError, match="its public half"):
            keys.of_pem(private_pem("p256"))

    @pytest.mark.parametrize("data", [b"", b"hello", b"-----BEGIN CERTIFICATE-----\n", b"\xff" * 100])
    def test_can_be_read(self, data: bytes) -> None:
        with pytest.raises(ConfigError, match="no public key that can be read"):
            keys.of_pem(data)


class TestJwkSet:  # RFC 7517
    def test_the_keys(self) -> None:
        found = of_jwks(jwk("rsa", kid="r"), jwk("p256", kid="e", use="sig"), jwk("ed25519", key_ops=["verify"]))
        assert [(key.kid, set(key.algorithms)) for key in found] == [("r", RSA), ("e", {"ES256"}), (None, {"EdDSA"})]

    def test_alg_narrows(self) -> None:
        assert of_jwks(jwk("rsa", alg="PS256"))[0].algorithms == {"PS256"}

    @pytest.mark.parametrize(
        "entry",
        [
            "no key",
            {},
            {"kty": "oct", "k": "c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0IHNlY3JldA", "alg": "HS256"},
            jwk("rsa", use="enc"),
            jwk("rsa", key_ops=["encrypt"]),
            jwk("rsa", key_ops=7),
            json.loads(ECAlgorithm.to_jwk(private("p256"))),
            jwk("rsa", alg="HS256"),
            jwk("rsa", alg="none"),
            jwk("rsa", alg=["RS256"]),
            jwk("rsa", n=None),
            jwk("rsa", n=7),
            jwk("rsa1024"),
            jwk("k256"),
            jwk("p256", crv="P-521"),
            jwk("p256", crv=["P-256"]),
        ],
    )
    def test_a_key_that_is_passed_over(self, entry: Any) -> None:
        assert [key.kid for key in of_jwks(entry, jwk("p256", kid="good"))] == ["good"]
        with pytest.raises(ValueError, match="no key that can be used"):
            of_jwks(entry)

    @pytest.mark.parametrize("document", [b"", b"[" * 100_000, b"\xff", b"[]", b'{"keys":{}}', b"{}"])
    def test_what_is_none(self, document: bytes) -> None:
        with pytest.raises(ValueError, match="this is no J"):
            keys.of_jwks(document)

    def test_is_bounded(self) -> None:
        assert len(of_jwks(*[jwk("ed25519")] * 100)) == 64


class TestChoice:
    KEYS = of_jwks(jwk("rsa", kid="r"), jwk("p256", kid="e"), jwk("p256", kid="f"))

    def test_by_name(self) -> None:
        assert keys.choose(self.KEYS, "ES256", "f") is self.KEYS[2]
        assert keys.choose(self.KEYS, "ES256", "r") is None
        assert keys.choose(self.KEYS, "ES256", "x") is None

    def test_without_a_name_only_where_there_is_no_choice(self) -> None:
        assert keys.choose(self.KEYS, "RS256", None) is self.KEYS[0]
        assert keys.choose(self.KEYS, "ES256", None) is None

    def test_not_where_a_name_is_given_twice(self) -> None:
        assert keys.choose([*self.KEYS, self.KEYS[1]], "ES256", "e") is None


def test_the_libraries_are_there() -> None:
    keys.require()
    assert keys.of_secret(SECRET, ["HS256"]).kid is None


def test_a_key_does_not_show_what_it_is_made_of() -> None:
    assert repr(keys.of_secret(SECRET * 2, ["HS384", "HS256"])) == "<Key None for HS256, HS384>"
