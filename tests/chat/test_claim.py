"""What a client says to come back to its session."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.chat.person import person
from wsserver.chat.claim import Claim, find
from wsserver.errors import HandshakeError


class TestQuery:
    @pytest.mark.parametrize(
        "query, claim",
        [
            ("resume=s_x.secret&last_seq=7&epoch=2", Claim("s_x.secret", 2, 7)),
            ("epoch=2&lang=zh&last_seq=7&resume=s_x.secret", Claim("s_x.secret", 2, 7)),
            ("resume=s%5Fx%2Esecret&last_seq=%37", Claim("s_x.secret", 1, 7)),
            ("resume=s_x.secret", Claim("s_x.secret", 1, 0)),
            ("resume=old&resume=new&last_seq=1&last_seq=2", Claim("new", 1, 2)),
            ("resume=s_x.secret&last_seq=0007", Claim("s_x.secret", 1, 7)),
        ],
    )
    def test_a_claim(self, query: str, claim: Claim) -> None:
        assert find(query, []) == claim

    @pytest.mark.parametrize(
        "query", ["", "lang=zh", "last_seq=7&epoch=2", "presume=x", "resume", "resume=", "x=resume", "q=a&b=resume=x"]
    )
    def test_none(self, query: str) -> None:
        assert find(query, ["wsserver.v1", "bearer.resume.x"]) is None

    @pytest.mark.parametrize(
        "number", ["", "-1", "+1", "1.0", "1e3", "x", "0x1", " 1", "1_0", "%C2%B2", "%D9%A1", "9" * 20]
    )
    @pytest.mark.parametrize("name", ["last_seq", "epoch"])
    def test_a_number_that_is_none(self, name: str, number: str) -> None:
        with pytest.raises(HandshakeError, match="a resume names its token, an epoch and the last seq") as caught:
            find(f"resume=s_x.secret&{name}={number}", [])
        assert caught.value.status == 400

    @given(st.text())
    def test_anything(self, query: str) -> None:
        try:
            find(query, [])
            find(f"resume=x&last_seq={query}", [])
        except HandshakeError as exc:
            assert exc.status == 400


class TestSubprotocol:
    def test_a_claim(self) -> None:
        assert find("", ["wsserver.v1", "resume.s_x.secret.2.7"]) == Claim("s_x.secret", 2, 7)

    def test_goes_before_the_query(self) -> None:
        assert find("resume=other", ["resume.s_x.secret.2.7"]) == Claim("s_x.secret", 2, 7)

    @pytest.mark.parametrize(
        "offered", ["resume.", "resume.x", "resume.1", "resume.1.2", "resume..1.2", "resume.x.1.", "resume.x..2"]
    )
    def test_malformed(self, offered: str) -> None:
        with pytest.raises(HandshakeError) as caught:
            find("", ["wsserver.v1", offered])
        assert caught.value.status == 400

    @given(st.integers(1, 10**18), st.integers(0, 10**18))
    def test_says_the_same_as_a_query(self, epoch: int, seq: int) -> None:
        session = person().session
        token = session.new_token()
        claims = [
            find("", [f"resume.{token}.{epoch}.{seq}"]),
            find(f"resume={quote(token)}&last_seq={seq}&epoch={epoch}", []),
        ]
        for claim in claims:
            assert claim == Claim(token, epoch, seq)
            assert claim is not None and claim.session_id == session.id


@pytest.mark.parametrize("token, session_id", [("s_x.secret", "s_x"), ("s_x", "s_x"), (".", ""), ("s_x.a.b", "s_x")])
def test_a_token_names_its_session(token: str, session_id: str) -> None:
    assert Claim(token, 1, 0).session_id == session_id


def test_it_does_not_show_its_token() -> None:
    assert repr(Claim("s_x.secret", 1, 7)) == "<Claim to s_x after 1.7>"


def test_of_a_token_that_is_none_little_is_kept() -> None:
    claims = find("resume=s_x." + "a" * 16_000, []), find("", ["resume.s_x." + "a" * 16_000 + ".1.7"])
    for claim in claims:
        assert claim is not None and claim.session_id == "s_x"
        assert len(claim.token) < 200
