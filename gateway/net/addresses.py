"""Finds the client's address behind trusted proxies. Pure functions.

Any sender can set X-Forwarded-For, so only the part written by trusted proxies counts: each proxy
appends, on the right, the address of its peer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

Address = IPv4Address | IPv6Address

USUAL_LOOPBACK: Final = ("127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class TrustedProxies:
    """The networks of proxies whose X-Forwarded-For is trusted; if empty, none is."""

    networks: tuple[IPv4Network | IPv6Network, ...] = ()

    @classmethod
    def parse(cls, texts: Sequence[str]) -> TrustedProxies:
        """Parse addresses and networks in CIDR notation. Raises a readable ValueError."""
        return cls(tuple(map(_read_network, texts)))

    def trusts(self, address: str) -> bool:
        """Whether ``address`` is that of a trusted proxy."""
        return bool(self.networks) and self._contains(read_address(address))

    def client_of(self, peer: str, forwarded_for: Sequence[str]) -> str:
        """The client's address, from the peer's and the lines of X-Forwarded-For.

        It is the last address that is no trusted proxy's, or the first if all are. With a malformed
        header it is the peer.
        """
        if not self.trusts(peer):
            return peer
        client = peer
        for entry in _from_the_right(forwarded_for):
            address = read_address(entry)
            if address is None:
                return peer
            client = str(address)
            if not self._contains(address):
                break
        return client

    def _contains(self, address: Address | None) -> bool:
        return address is not None and any(address in network for network in self.networks)


def is_loopback_chain(forwarded_for: Sequence[str]) -> bool:
    """Whether every address in X-Forwarded-For, if there is any, is a loopback address."""
    return all(is_loopback(entry) for entry in _from_the_right(forwarded_for))


def is_loopback(text: str) -> bool:
    """Whether ``text`` is a loopback address."""
    # A fast path: this runs for every request, and parsing is slow.
    if text in USUAL_LOOPBACK:
        return True
    address = read_address(text)
    return address is not None and address.is_loopback


def is_loopback_host(host: str) -> bool:
    """Whether a URL's host, with or without a port, is loopback whatever DNS says."""
    return host.partition(":")[0].lower() == "localhost" or is_loopback(host)


def rate_limit_network(text: str) -> str:
    """The network that rate limits count for an address: the /64 for IPv6.

    An IPv6 host may use any address of its /64 network (RFC 4291, section 2.5.4).
    """
    address = read_address(text)
    if not isinstance(address, IPv6Address):
        return str(address or text)
    return str(IPv6Network((address, 64), strict=False))


def read_address(text: str) -> Address | None:
    """Parse an IP address, with or without a port; None if it is invalid.

    IPv4-mapped IPv6 (``::ffff:10.0.0.1``), as dual-stack sockets report it, becomes IPv4.
    """
    text = text.strip().strip('"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _from_the_right(lines: Sequence[str]) -> Iterator[str]:
    for line in reversed(lines):
        yield from reversed(line.split(","))


def _read_network(text: str) -> IPv4Network | IPv6Network:
    try:
        network = ip_network(text)
    except ValueError:
        raise ValueError(f"{text!r} is no IP address, and no network like 10.0.0.0/8") from None
    if not network.prefixlen:
        raise ValueError(f"{text!r} is everybody, who cannot be trusted")
    return network
