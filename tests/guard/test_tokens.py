"""Signed tokens, and the attacks of JWT's best current practices (RFC 8725), one test each.

Every attack is a token that this server would take but for the one thing that is wrong with it, and every class first
takes a good one: what refuses everything proves nothing.
"""

from __future__ import annotations

import json
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.issuer import NOW, SECRET, base64url, claims, jwk, pem, private, signed
from wsserver import ConfigError, User
from wsserver.guard import keys, tokens
from wsserver.guard.claims import LEEWAY, InvalidToken, Policy

HMAC = Policy(keys.DEFAULT_SECRET_ALGORITHMS)
PUBLIC = Policy(keys.DEFAULT_PUBLIC_ALGORITHMS)
SHARED = keys.of_secret(SECRET, ["HS256"])
ADA = User("ada", NOW + 600 + LEEWAY)


def verify(text: str, key: keys.Key = SHARED, policy: Policy = HMAC) -> User:
    return tokens.verify(tokens.read(text, policy), key, policy, NOW)


def refusal(text: str, key: keys.Key = SHARED, policy: Policy = HMAC) -> str:
    with pytest.raises(InvalidToken) as caught:
        verify(text, key, policy)
    return str(caught.value)


def header(**others: Any) -> dict[str, Any]:
    return {"alg": "HS256", "typ": "JWT", **others}


class TestGood:
    def test_by_secret(self) -> None:
        assert verify(signed(claims())) == ADA

    @pytest.mark.parametrize(("kind", "alg"), [("rsa", "RS256"), ("p256", "ES256"), ("ed25519", "EdDSA")])
    def test_by_key(self, kind: str, alg: str) -> None:
        text = signed(claims(), header(alg=alg), key=private(kind))
        assert verify(text, keys.of_pem(pem(kind)), PUBLIC) == ADA

    @pytest.mark.parametrize(
        ("kind", "alg"), [("rsa", "RS384"), ("rsa", "RS512"), ("rsa", "PS256"), ("rsa", "PS512"), ("p384", "ES384")]
    )
    def test_by_others_that_are_asked_for(self, kind: str, alg: str) -> None:
        text = signed(claims(), header(alg=alg), key=private(kind))
        assert verify(text, keys.of_pem(pem(kind)), Policy(frozenset({alg}))) == ADA
        assert refusal(text, keys.of_pem(pem(kind)), PUBLIC) == "its algorithm is not one of --jwt-algorithms"

    @pytest.mark.parametrize("kind", ["JWT", "jwt", "at+jwt", "application/at+JWT"])
    def test_types(self, kind: str) -> None:
        assert verify(signed(claims(), header(typ=kind))) == ADA
        assert verify(signed(claims(), {"alg": "HS256"})) == ADA

    def test_one_that_was_minted(self) -> None:
        assert verify(tokens.mint(claims(), SHARED, "HS256")) == ADA


class TestSection21WeakSignatures:
    @pytest.mark.parametrize("alg", ["none", "None", "NONE", "", None, 7, ["HS256"], "hs256", "HS256 "])
    def test_none_and_its_like(self, alg: Any) -> None:
        good = signed(claims())
        for signature in ("", good.rpartition(".")[2]):
            text = f"{base64url(json.dumps(header(alg=alg)).encode())}.{good.split('.')[1]}.{signature}"
            assert refusal(text) in ("it is no signed token", "its algorithm is not one of --jwt-algorithms")

    def test_a_signature_that_is_missing_or_another_ones(self) -> None:
        good, other = signed(claims()), signed(claims(sub="eve"))
        content, _, signature = good.rpartition(".")
        assert refusal(content) == refusal(content + ".") == "it is no signed token"
        assert refusal(f"{content}.{other.rpartition('.')[2]}") == "its signature is not right"
        assert refusal(f"{content}.{signature[:20]}") == "its signature is not right"


class TestSection22WeakSymmetricKeys:
    def test_a_secret_that_can_be_guessed_is_not_served(self) -> None:
        with pytest.raises(ConfigError, match="could find out a shorter one by trying"):
            keys.of_secret("secret", ["HS256"])


class TestSection23EncryptionAndSignature:
    def test_an_encrypted_token_is_not_taken_for_a_signed_one(self) -> None:
        encrypted = header(alg="dir", enc="A256GCM")
        assert refusal(f"{base64url(json.dumps(encrypted).encode())}..YQ.YQ.YQ") == "it is no signed token"
        assert refusal(signed(claims(), header(enc="A256GCM"))) == "its header has enc"


class TestSection24PlaintextLengths:
    def test_nothing_is_inflated(self) -> None:
        deflated = zlib.compress(json.dumps(claims()).encode())[2:-4]
        assert refusal(signed(deflated, header(zip="DEF"))) == "its header has zip"


class TestSection25InvalidCurves:
    def test_a_point_that_is_not_on_the_curve_is_no_key(self) -> None:
        moved = jwk("p256", y=jwk("p256")["x"])
        with pytest.raises(ValueError, match="no key that can be used"):
            keys.of_jwks(json.dumps({"keys": [moved]}).encode())

    def test_a_signature_of_nothing(self) -> None:
        """r = s = 0 satisfied verifiers that did not look (CVE-2022-21449)."""
        content = signed(claims(), header(alg="ES256"), key=private("p256")).rpartition(".")[0]
        assert refusal(f"{content}.{base64url(bytes(64))}", keys.of_pem(pem("p256")), PUBLIC) == (
            "its signature is not right"
        )


class TestSection26JsonEncodings:
    @pytest.mark.parametrize(
        "said",
        [
            b'{"sub":"ada","sub":"eve","exp":1900000000}',
            '{"sub":"ada","exp":1900000000}'.encode("utf-16"),
            b'{"sub":"ad\xe1","exp":1900000000}',
            b'\xef\xbb\xbf{"sub":"ada","exp":1900000000}',
        ],
    )
    def test_claims_that_two_readers_read_differently(self, said: bytes) -> None:
        assert refusal(signed(said)) == "it holds no JSON object in UTF-8 with different names"

    def test_headers_that_two_readers_read_differently(self) -> None:
        twice = b'{"alg":"HS256","alg":"none"}'
        assert refusal(signed(claims(), twice)) == "it holds no JSON object in UTF-8 with different names"

    @pytest.mark.parametrize("change", [".", " ", "=", "\n", "+"])
    def test_base64_that_two_readers_read_differently(self, change: str) -> None:
        assert refusal(signed(claims()) + change) == "it is no signed token"
        assert refusal(signed(claims()).replace(".", f"{change}.", 1)) == "it is no signed token"


class TestSection27Substitution:
    def test_a_token_for_another_audience(self) -> None:
        policy = HMAC._replace(audience="chat")
        assert verify(signed(claims(aud="chat")), policy=policy) == ADA
        assert refusal(signed(claims(aud="shop")), policy=policy) == "it is for another audience"


class TestSection28CrossJwtConfusion:
    @pytest.mark.parametrize("kind", ["secevent+jwt", "logout+jwt", "dpop+jwt", "JOSE", "", None, 7])
    def test_a_token_of_another_type(self, kind: Any) -> None:
        assert refusal(signed(claims(), header(typ=kind))) == "it is a token of another type"


class TestSection29IndirectAttacks:
    @pytest.mark.parametrize("kid", ["../../../dev/null", "x' UNION SELECT 'key", "http://127.0.0.1/", "|id", "\0" * 9])
    def test_kid_is_compared_and_nothing_else(self, kid: str) -> None:
        assert verify(signed(claims(), header(kid=kid))) == ADA  # there is but one key, whatever its name
        published = keys.of_jwks(json.dumps({"keys": [jwk("p256", kid="e")]}).encode())
        assert keys.choose(published, "ES256", tokens.read(signed(claims(), header(kid=kid)), HMAC).kid) is None

    @pytest.mark.parametrize("kid", [None, 7, ["e"], {"e": 1}])
    def test_kid_is_a_text(self, kid: Any) -> None:
        assert refusal(signed(claims(), header(kid=kid))) == "its kid is no text"


class TestSection31AlgorithmVerification:
    def test_a_public_key_is_no_secret(self) -> None:
        """Key confusion: the token is signed with HMAC, and what everybody knows as the secret."""
        for secret in (pem("rsa"), json.dumps(jwk("rsa")).encode()):
            forged = signed(claims(), key=secret)
            rsa = keys.of_pem(pem("rsa"))
            assert refusal(forged, rsa, PUBLIC) == "its algorithm is not one of --jwt-algorithms"
            # Also where the list of algorithms is wrong: the key itself says what it is for.
            careless = Policy(frozenset({"HS256", "RS256"}))
            assert refusal(forged, rsa, careless) == "its algorithm is not one of the key's"

    def test_the_header_does_not_choose_another_algorithm(self) -> None:
        text = signed(claims(), header(alg="HS512"))
        assert refusal(text) == "its algorithm is not one of --jwt-algorithms"
        assert refusal(signed(claims(), header(alg="HS256"), using="HS512")) == "its signature is not right"
        assert refusal(text, policy=Policy(frozenset({"HS256", "HS512"}))) == "its algorithm is not one of the key's"


class TestSection32AppropriateAlgorithms:
    @pytest.mark.parametrize(("kind", "alg"), [("rsa", "RS512"), ("p384", "ES384"), ("k256", "ES256K")])
    def test_what_was_not_asked_for(self, kind: str, alg: str) -> None:
        text = signed(claims(), header(alg=alg), key=private(kind))
        assert refusal(text, policy=PUBLIC) == "its algorithm is not one of --jwt-algorithms"

    def test_a_weak_key_is_not_served(self) -> None:
        with pytest.raises(ConfigError, match="2048 bits or more"):
            keys.of_pem(pem("rsa1024"))


class TestSection33AllOperations:
    @pytest.mark.parametrize("kind", ["JWT", "jwt", "application/jwt", None])
    def test_a_token_within_a_token(self, kind: Any) -> None:
        nested = signed(claims(), key="of somebody else, who is not asked for anything")
        assert refusal(signed(nested.encode(), header(cty=kind))) == "its header has cty"
        assert refusal(signed(nested.encode())) == "it holds no JSON object in UTF-8 with different names"

    @pytest.mark.parametrize(
        "others", [{"crit": ["exp"]}, {"crit": ["b64"], "b64": False}, {"b64": False}, {"crit": []}]
    )
    def test_what_is_critical_and_unknown(self, others: dict[str, Any]) -> None:
        assert refusal(signed(claims(), header(**others))).startswith(
            "its header has b64" if "b64" in others else "its header has crit"
        )


class TestSection34CryptographicInputs:
    def test_keys_for_something_else(self) -> None:
        exchange = {"kty": "OKP", "crv": "X25519", "x": jwk("ed25519")["x"]}
        with pytest.raises(ValueError, match="no key that can be used"):
            keys.of_jwks(json.dumps({"keys": [exchange, jwk("rsa", use="enc")]}).encode())


class TestSection35Entropy:
    @pytest.mark.parametrize(("alg", "size"), [("HS256", 31), ("HS384", 47), ("HS512", 63)])
    def test_a_secret_is_as_long_as_its_hash(self, alg: str, size: int) -> None:
        with pytest.raises(ConfigError, match=f"{alg} needs {size + 1}"):
            keys.of_secret("x" * size, [alg])


class TestSection36Compression:
    def test_a_bomb_is_not_inflated(self) -> None:
        bomb = zlib.compress(b" " * 10_000_000)[2:-4]
        assert refusal(signed(bomb, header(zip="DEF"))) == "its header has zip"


class TestSection37Utf8:
    @pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "latin-1"])
    def test_another_encoding(self, encoding: str) -> None:
        said = '{"alg":"HS256","kid":"é"}'.encode(encoding)
        assert refusal(signed(claims(), said)) == "it holds no JSON object in UTF-8 with different names"


class TestSection38IssuerAndSubject:
    def test_another_issuer(self) -> None:
        policy = HMAC._replace(issuer="https://login.example")
        assert verify(signed(claims(iss="https://login.example")), policy=policy) == ADA
        assert refusal(signed(claims(iss="https://evil.example")), policy=policy) == "it is of another issuer"
        assert refusal(signed(claims()), policy=policy) == "it is of another issuer"

    def test_no_subject(self) -> None:
        assert "its sub is no text" in refusal(signed(claims(sub=None)))


class TestSection39Audience:
    def test_a_token_for_somebody_is_for_nobody_else(self) -> None:
        assert "--jwt-audience" in refusal(signed(claims(aud="chat")))
        policy = HMAC._replace(audience="chat")
        assert refusal(signed(claims()), policy=policy) == "it is for another audience"


class TestSection310ReceivedClaims:
    @pytest.mark.parametrize(
        "others",
        [
            {"jku": "https://evil.example/keys"},
            {"x5u": "https://evil.example/chain"},
            {"jwk": jwk("p256")},
            {"x5c": ["MIIB"]},
            {"jku": None},
        ],
    )
    def test_keys_and_addresses_that_the_token_brings(self, others: dict[str, Any]) -> None:
        name = next(iter(others))
        text = signed(claims(), header(alg="ES256", **others), key=private("p256"))
        assert refusal(text, keys.of_pem(pem("p256")), PUBLIC) == f"its header has {name}"


class TestSection311ExplicitTyping:
    def test_what_is_typed_otherwise_is_something_else(self) -> None:
        assert refusal(signed(claims(), header(typ="reset-password+jwt"))) == "it is a token of another type"


class TestSection312MutuallyExclusiveRules:
    def test_each_kind_of_token_fails_the_rules_of_another(self) -> None:
        """One issuer and key, two services: audience, issuer, algorithm and type are all asked for."""
        chat = HMAC._replace(audience="chat", issuer="https://login.example")
        good = claims(aud="chat", iss="https://login.example")
        assert verify(signed(good), policy=chat) == ADA
        for other in ({**good, "aud": "shop"}, {**good, "iss": "https://shop.example"}, {**good, "exp": NOW - 60}):
            with pytest.raises(InvalidToken):
                verify(signed(other), policy=chat)
        with pytest.raises(InvalidToken):
            verify(signed(good, header(typ="id+jwt")), policy=chat)


class TestForms:
    @pytest.mark.parametrize("text", ["", ".", "..", "a.b", "a.b.c.d", "a.b.c.d.e", "é.b.c", "a b.c.d"])
    def test_what_is_no_signed_token(self, text: str) -> None:
        assert refusal(text) == "it is no signed token"

    def test_a_header_that_is_no_base64(self) -> None:
        assert refusal("a.b.c") == "its header is no base64url"

    @given(st.data())
    def test_no_change_of_a_good_one_is_taken(self, data: st.DataObject) -> None:
        """Nothing but `InvalidToken` is raised, and no token is taken but the one that was signed."""
        good = signed(claims())
        place = data.draw(st.integers(0, len(good) - 1))
        letter = data.draw(st.sampled_from("ABCxyz019-_.= é"))
        changed = good[:place] + letter + good[place + data.draw(st.integers(0, 1)) :]
        if changed != good:
            with pytest.raises(InvalidToken):
                verify(changed)

    def test_the_reasons_hold_nothing_of_the_token(self) -> None:
        for said in ({"sub": "ada\nx"}, {"exp": "soon"}, {"aud": "elsewhere"}, {"exp": 1}):
            reason = refusal(signed(claims(**said)))
            assert not any(str(value) in reason.split() for value in said.values())

    def test_it_does_not_show_itself(self) -> None:
        token = signed(claims(), {"alg": "HS256", "kid": "1"})
        assert repr(tokens.read(token, Policy(frozenset({"HS256"})))) == "<Unverified HS256 1>"
