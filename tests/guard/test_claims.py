"""What a token says: whose it is, for whom, for how long."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.issuer import NOW, claims
from wsserver import User
from wsserver.guard.claims import LEEWAY, InvalidToken, Policy, read_object, user_of_introspection, user_of_jwt

PLAIN = Policy(frozenset({"HS256"}))
STRICT = PLAIN._replace(audience="chat", issuer="https://login.example")


def refusal(said: dict[str, Any], policy: Policy = PLAIN) -> str:
    with pytest.raises(InvalidToken) as caught:
        user_of_jwt(said, policy, NOW)
    return str(caught.value)


class TestTime:
    def test_it_is_good_until_its_end(self) -> None:
        assert user_of_jwt(claims(exp=NOW + 5), PLAIN, NOW) == User("ada", NOW + 5 + LEEWAY)

    def test_clocks_differ_a_little(self) -> None:
        assert user_of_jwt(claims(exp=NOW - LEEWAY + 1), PLAIN, NOW).expires == NOW + 1
        assert refusal(claims(exp=NOW - LEEWAY)) == "it has expired"
        for name in ("nbf", "iat"):
            assert user_of_jwt(claims(**{name: NOW + LEEWAY}), PLAIN, NOW)
            assert refusal(claims(**{name: NOW + LEEWAY + 1})) == "it is not valid yet"

    def test_it_has_an_end(self) -> None:
        assert refusal(claims(exp=None)) == "it has no exp: a token must end"

    @pytest.mark.parametrize("name", ["exp", "nbf", "iat"])
    @pytest.mark.parametrize("value", [None, True, "1", [], {}, -1, 2**53, 1e300, 10**400, float("nan"), float("inf")])
    def test_what_is_no_time(self, name: str, value: Any) -> None:
        assert refusal({**claims(), name: value}) == f"its {name} is no time"


class TestAudienceAndIssuer:
    GOOD = claims(aud="chat", iss="https://login.example")

    def test_they_are_asked_for(self) -> None:
        assert user_of_jwt(self.GOOD, STRICT, NOW).id == "ada"
        assert user_of_jwt({**self.GOOD, "aud": ["shop", "chat"]}, STRICT, NOW).id == "ada"

    @pytest.mark.parametrize("aud", [None, "", "shop", "chatter", [], ["shop"], ["chat", 7], {"chat": 1}, 7])
    def test_another_audience(self, aud: Any) -> None:
        assert refusal({**self.GOOD, "aud": aud}, STRICT) == "it is for another audience"

    def test_no_audience_where_one_is_asked_for(self) -> None:
        assert refusal(claims(iss="https://login.example"), STRICT) == "it is for another audience"

    def test_an_audience_where_none_is_known(self) -> None:
        assert "--jwt-audience" in refusal(claims(aud="chat"))

    @pytest.mark.parametrize("iss", [None, "", "https://login.example/", ["https://login.example"], 7])
    def test_another_issuer(self, iss: Any) -> None:
        assert refusal({**self.GOOD, "iss": iss}, STRICT) == "it is of another issuer"


class TestSubject:
    @pytest.mark.parametrize(
        "sub", [None, "", 7, ["ada"], {"id": "ada"}, "a" * 257, "ada\nroot", "ada\x1b[31m", "\ud800"]
    )
    def test_is_a_short_line(self, sub: Any) -> None:
        assert "printable characters" in refusal({**claims(), "sub": sub})

    def test_may_be_in_any_writing(self) -> None:
        assert user_of_jwt(claims(sub="阿达 ☂"), PLAIN, NOW).id == "阿达 ☂"


class TestIntrospection:  # RFC 7662, section 2.2
    def test_what_is_active(self) -> None:
        assert user_of_introspection({"active": True, "sub": "ada"}, PLAIN, NOW) == User("ada")
        assert user_of_introspection({"active": True, **claims()}, PLAIN, NOW) == User("ada", NOW + 600 + LEEWAY)
        assert user_of_introspection({"active": True, **claims(aud="elsewhere")}, PLAIN, NOW).id == "ada"

    @pytest.mark.parametrize("active", [False, None, 1, "true", [True]])
    def test_what_is_not(self, active: Any) -> None:
        with pytest.raises(InvalidToken, match="not active"):
            user_of_introspection({**claims(), "active": active}, PLAIN, NOW)

    def test_the_rest_is_judged_too(self) -> None:
        for said in (claims(exp=NOW - 60), claims(aud="shop"), claims(aud="chat", iss="x"), claims(sub=None)):
            with pytest.raises(InvalidToken):
                user_of_introspection({"active": True, **said}, STRICT, NOW)


class TestObjects:
    def test_an_object(self) -> None:
        said = {"sub": "阿达", "exp": 1.5, "x": [{"y": None}]}
        assert read_object(json.dumps(said, ensure_ascii=False).encode()) == said

    @pytest.mark.parametrize(
        "data",
        [
            b"",
            b"{",
            b"{}{}",
            b'{"a":1,"a":1}',
            b'{"x":{"a":1,"a":2}}',
            b'{"a":NaN}',
            b'{"a":-Infinity}',
            b'{"a":"\xff"}',
            b'\xef\xbb\xbf{"a":1}',
            '{"a":1}'.encode("utf-16"),
            '{"a":1}'.encode("utf-16-le"),
            b'{"a":' + b"[" * 100_000,
            b'{"a":' + b"1" * 5000 + b"}",
        ],
    )
    def test_what_is_none(self, data: bytes) -> None:
        with pytest.raises(InvalidToken, match="no JSON object in UTF-8 with different names"):
            read_object(data)

    @pytest.mark.parametrize("data", [b"[]", b"1", b'"x"', b"null", b"true"])
    def test_another_value(self, data: bytes) -> None:
        with pytest.raises(InvalidToken, match="no object"):
            read_object(data)
