"""Proxies that are trusted, and who their client is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsserver.errors import ConfigError
from wsserver.guard.proxies import Client, Proxies

PEER = "10.0.0.1"


def elements(header: str) -> list[str]:
    return [element for part in header.split(",") if (element := part.strip())]


def client(header: str, peer: str | None = PEER, allowed: str = "10.0.0.0/8,2001:db8::/32") -> Client:
    return Proxies(allowed).client(peer, elements(header))


class TestTrust:
    @pytest.mark.parametrize(
        ("allowed", "trusted", "others"),
        [
            ("", [], [PEER, "::1", None]),
            ("10.0.0.1", ["10.0.0.1"], ["10.0.0.2", "::1", None]),
            ("10.0.0.0/8, 2001:db8::/32", ["10.9.9.9", "2001:db8:1::1"], ["11.0.0.1", "2001:db9::1", None]),
            ("unix:", [None], [PEER, "::1"]),
            ("unix:,::1", [None, "::1"], [PEER]),
            ("*", [PEER, "::1", None], []),
            ("10.0.0.1,*", [PEER, "10.0.0.2", None], []),
        ],
    )
    def test_is_given_to_those_of_the_list(
        self, allowed: str, trusted: list[str | None], others: list[str | None]
    ) -> None:
        proxies = Proxies(allowed)
        assert all(map(proxies.trusts, trusted))
        assert not any(map(proxies.trusts, others))
        assert proxies.none is (not allowed)

    @pytest.mark.parametrize("allowed", ["localhost", "10.0.0.1/8", "10.0.0.256", ",", "10.0.0.1,", "unix", "[::1]"])
    def test_what_cannot_be_trusted(self, allowed: str) -> None:
        with pytest.raises(ConfigError, match="--forwarded-allow-ips takes addresses and networks"):
            Proxies(allowed)

    def test_open_sockets_of_a_proxy_are_not_counted(self) -> None:
        proxies = Proxies("10.0.0.0/8")
        assert [proxies.socket_key(peer) for peer in (PEER, None)] == [None, None]
        assert proxies.socket_key("11.0.0.1") == "11.0.0.1"
        assert proxies.socket_key("2001:db8::1") == "2001:db8::/64"


class TestClient:
    @pytest.mark.parametrize("peer", ["11.0.0.1", None])
    def test_nobody_else_is_believed(self, peer: str | None) -> None:
        assert client("192.0.2.7", peer) == Client(peer, trusted=False)

    def test_a_proxy_that_says_nothing_is_the_client(self) -> None:
        assert client("") == Client(PEER, trusted=True)
        assert client("", None, "unix:") == Client(None, trusted=True)

    @pytest.mark.parametrize(
        ("header", "address"),
        [
            ("192.0.2.7", "192.0.2.7"),
            ("192.0.2.7, 10.0.0.2", "192.0.2.7"),
            ("192.0.2.7, 10.0.0.3, 2001:db8::9, 10.0.0.2", "192.0.2.7"),
            ("198.51.100.1, 192.0.2.7", "192.0.2.7"),
            ("198.51.100.1, 192.0.2.7, 10.0.0.2", "192.0.2.7"),
            ("10.0.0.9, 192.0.2.7", "192.0.2.7"),
            ("garbage, 192.0.2.7", "192.0.2.7"),
            ("10.0.0.3, 10.0.0.2", "10.0.0.3"),
            ("192.0.2.7:51234", "192.0.2.7"),
            ("[2001:db9::1]:443", "2001:db9::1"),
            ("[2001:db9::1]", "2001:db9::1"),
            ("2001:DB9:0::1", "2001:db9::1"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
            ("192.0.2.7, ::ffff:10.0.0.2", "192.0.2.7"),
            ("192.0.2.7,,", "192.0.2.7"),
        ],
    )
    def test_it_is_read_from_the_right_through_trusted_hops(self, header: str, address: str) -> None:
        assert client(header) == Client(address, trusted=True)

    @pytest.mark.parametrize(
        "garbage",
        [
            "unknown",
            "_hidden",
            "192.0.2",
            "192.0.2.7:",
            "192.0.2.7:x",
            "[192.0.2.7",
            "[]",
            ":80",
            "a b",
            "::1::",
            "\xe9",
        ],
    )
    def test_garbage_takes_all_trust_away(self, garbage: str) -> None:
        assert client(garbage) == Client(PEER, trusted=False)
        assert client(f"192.0.2.7, {garbage}, 10.0.0.2") == Client(PEER, trusted=False)

    def test_where_all_are_trusted_the_first_one_counts(self) -> None:
        assert client("192.0.2.7, 198.51.100.1", None, "*") == Client("192.0.2.7", trusted=True)

    @given(
        st.text(max_size=60) | st.lists(st.ip_addresses().map(str)).map(",".join), st.sampled_from(["*", "10.0.0.1"])
    )
    def test_whatever_stands_there_an_address_comes_out(self, header: str, allowed: str) -> None:
        found = client(header, PEER, allowed)
        assert found.address is not None
        assert Proxies("").socket_key(found.address)

    @given(st.text(max_size=40))
    def test_what_a_client_writes_itself_is_never_believed(self, forged: str) -> None:
        """A proxy appends whom it got the request from to whatever that one has sent."""
        assert client(f"{forged}, 192.0.2.7") == Client("192.0.2.7", trusted=True)
