"""Whose address a request comes from."""

from ipaddress import ip_network

import pytest

from retraining.rates.addresses import counted_as, sender_of

PROXIES = tuple(ip_network(text) for text in ("10.0.0.0/8", "192.168.1.1/32", "fd00::/8"))


@pytest.mark.parametrize(
    ("peer", "forwarded", "sender"),
    [
        ("203.0.113.5", [], "203.0.113.5"),
        ("203.0.113.5", ["198.51.100.1"], "203.0.113.5"),  # says so itself
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["198.51.100.1, 10.2.3.4, 192.168.1.1"], "198.51.100.1"),
        ("10.0.0.1", ["127.0.0.1, 8.8.8.8, 198.51.100.1"], "198.51.100.1"),  # the left ones are made up
        ("10.0.0.1", ["8.8.8.8", "198.51.100.1"], "198.51.100.1"),  # in two lines
        ("10.0.0.1", ["10.9.9.9"], "10.9.9.9"),
        ("10.0.0.1", ["198.51.100.1:4711"], "198.51.100.1"),
        ("fd00::1", ["[2001:db8::7]:443"], "2001:db8::7"),
        ("::ffff:10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["8.8.8.8, nonsense"], "10.0.0.1"),
        ("10.0.0.1", ["8.8.8.8, unknown, 10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1", [","], "10.0.0.1"),
        ("fe80::1%eth0", [], "fe80::1"),
        (None, ["8.8.8.8"], "unknown"),
        ("", [], "unknown"),
    ],
)
def test_the_right_most_address_that_is_no_proxy_of_ours(
    peer: str | None, forwarded: list[str], sender: str
) -> None:
    assert sender_of(peer, forwarded, PROXIES) == sender


def test_without_trusted_proxies_nothing_that_is_forwarded_is_believed() -> None:
    assert sender_of("127.0.0.1", ["8.8.8.8"], ()) == "127.0.0.1"


def test_of_ipv6_the_whole_network_of_a_customer_counts_as_one() -> None:
    assert counted_as("2001:db8:1:2:3:4:5:6") == counted_as("2001:db8:1:2:ffff::") == "2001:db8:1:2::/64"
    assert counted_as("2001:db8:1:3::1") != counted_as("2001:db8:1:2::1")
    assert counted_as("198.51.100.1") == "198.51.100.1"
    assert counted_as("unknown") == "unknown"
