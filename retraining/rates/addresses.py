"""Whose address a request comes from, and which addresses count as one."""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
UNKNOWN = "unknown"
"""Of a peer without an IP address: on a Unix socket."""


def sender_of(peer: str | None, forwarded: Iterable[str], trusted: Sequence[Network]) -> str:
    """The address that a request comes from.

    The peer's, unless that is a trusted proxy: then the right-most address of X-Forwarded-For that is none.
    Whatever stands left of it, and all of it if the peer is not trusted, is what a sender says of itself.
    """
    sender = _parsed(peer or "")
    hops = [hop for line in forwarded for hop in line.split(",")]
    while sender is not None and hops and _among(sender, trusted):
        before = _parsed(hops.pop())
        if before is None:
            break
        sender = before
    return str(sender) if sender is not None else UNKNOWN


def counted_as(address: str) -> str:
    """Whose budget an address spends: of IPv6 that of its /64, which is the least that anybody is given."""
    parsed = _parsed(address)
    if isinstance(parsed, IPv6Address):
        return str(IPv6Network((int(parsed) >> 64 << 64, 64)))
    return address


def _among(address: Address, networks: Sequence[Network]) -> bool:
    return any(address in network for network in networks)


@lru_cache(maxsize=1_024)
def _parsed(text: str) -> Address | None:
    """An address as proxies write it: with a port sometimes, and IPv6 then in brackets."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
