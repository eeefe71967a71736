"""Addresses as limits see them."""

from __future__ import annotations

import pytest

from wsserver.guard.address import limit_key, plain


@pytest.mark.parametrize(
    "address, key",
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("::FFFF:c000:0207", "192.0.2.7"),
        ("::ffff:192.0.2.7%eth0", "192.0.2.7"),
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:DB8:0:0:ffff:ffff:ffff:ffff", "2001:db8::/64"),
        ("2001:db8:0:1::1", "2001:db8:0:1::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("fe80::1%", "fe80::/64"),
        ("::1", "::/64"),
        ("::", "::/64"),
    ],
)
def test_an_ipv4_address_or_an_ipv6_network(address: str, key: str) -> None:
    assert limit_key(address) == key


@pytest.mark.parametrize(
    "address", ["", "localhost", "192.0.2", "192.0.2.256", "192.0.2.7:80", "[::1]", ":::", "2001:db8::/64", "%eth0"]
)
def test_what_is_no_address(address: str) -> None:
    with pytest.raises(ValueError):
        limit_key(address)


@pytest.mark.parametrize("address", ["192.0.2.7", "2001:db8::1"])
def test_all_of_one_share_its_text(address: str) -> None:
    assert limit_key(f"{address} ".strip()) is limit_key(f" {address}".strip())


def test_a_flood_of_addresses_leaves_little_behind() -> None:
    for number in range(10_000):
        limit_key(f"2001:db8:{number:x}::1")
    assert limit_key.cache_info().currsize <= 4096


@pytest.mark.parametrize(
    "address, text",
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7%eth0", "192.0.2.7"),
        ("2001:DB8:0::1", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
    ],
)
def test_one_address_has_one_text(address: str, text: str) -> None:
    assert plain(address) == text


def test_what_is_no_address_has_none() -> None:
    with pytest.raises(ValueError):
        plain("localhost")
