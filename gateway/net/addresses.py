"""Who stands behind the proxies that we trust. Pure.

A header says what its sender likes. So it counts only as far as those have written it whom the
operator trusts: each proxy adds, on the right, the address that it was spoken to from.
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
    """Networks whose word on who stands behind them is taken; without any, nobody's is."""

    networks: tuple[IPv4Network | IPv6Network, ...] = ()

    @classmethod
    def parse(cls, texts: Sequence[str]) -> TrustedProxies:
        """From addresses and networks in CIDR notation. Raises ValueError, in our words."""
        return cls(tuple(map(_read_network, texts)))

    def trusts(self, address: str) -> bool:
        """Whether it is the address of such a proxy."""
        return bool(self.networks) and self._has(read_address(address))

    def client_of(self, peer: str, forwarded_for: Sequence[str]) -> str:
        """The client's address, by the peer's own and the lines of X-Forwarded-For.

        That is the last one that is no trusted proxy's; the first one if all are. What cannot be
        understood tells nothing: then it is the peer.
        """
        if not self.trusts(peer):
            return peer
        client = peer
        for entry in _from_the_right(forwarded_for):
            address = read_address(entry)
            if address is None:
                return peer
            client = str(address)
            if not self._has(address):
                break
        return client

    def _has(self, address: Address | None) -> bool:
        return address is not None and any(address in network for network in self.networks)


def is_loopback_chain(forwarded_for: Sequence[str]) -> bool:
    """Whether every address that a proxy has noted, if one has, is of its own machine."""
    return all(is_loopback(entry) for entry in _from_the_right(forwarded_for))


def is_loopback(text: str) -> bool:
    """Whether an address is that of the machine itself."""
    # Asked of every request, and parsing one takes as long as all else that is asked of it.
    if text in USUAL_LOOPBACK:
        return True
    address = read_address(text)
    return address is not None and address.is_loopback


def is_loopback_host(host: str) -> bool:
    """Whether a host as URLs write it, with or without a port, is the machine itself by any DNS."""
    return host.partition(":")[0].lower() == "localhost" or is_loopback(host)


def rate_limit_network(text: str) -> str:
    """What stands for an address where addresses are counted: one machine's are one.

    A machine that speaks IPv6 may take any address of its network, which has 64 bits of them (RFC
    4291, section 2.5.4), so the network counts.
    """
    address = read_address(text)
    if not isinstance(address, IPv6Address):
        return str(address or text)
    return str(IPv6Network((address, 64), strict=False))


def read_address(text: str) -> Address | None:
    """An IP address, with or without a port; None if it is none.

    IPv4 within IPv6 (``::ffff:10.0.0.1``), as sockets for both kinds show it, is taken for IPv4.
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
