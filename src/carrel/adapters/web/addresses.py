"""Which addresses may be connected to: public ones, and what the operator has allowed by name or network.

A name is judged by all that it resolves to, and an IPv6 address that carries an IPv4 one by both. `ipaddress` alone
would say yes to some forms of 169.254.169.254: https://docs.python.org/3/library/ipaddress.html#ipaddress.IPv4Address.is_global
"""

import socket
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final, Self

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# Networks of IPv6 that carry an IPv4 address, with the bit at which it begins, counted from the right.
_CARRIERS: Final = (
    (IPv6Network("::/96"), 0),  # IPv4-compatible (RFC 4291)
    (IPv6Network("::ffff:0:0/96"), 0),  # IPv4-mapped (RFC 4291)
    (IPv6Network("::ffff:0:0:0/96"), 0),  # IPv4-translated (RFC 2765)
    (IPv6Network("64:ff9b::/96"), 0),  # NAT64 (RFC 6052); where one's own (RFC 8215) carries it, nobody can know
    (IPv6Network("2002::/16"), 80),  # 6to4 (RFC 3056)
)
_ISATAP: Final = (0x00005EFE, 0x02005EFE)  # RFC 5214: the half of an interface's id before the IPv4 address
_UNICAST: Final = IPv6Network("2000::/3")  # all that is public so far (RFC 4291)
# What some version of Python calls public and is not: clouds' own machines, protocols, Teredo, documentation.
_CLOSED: Final = tuple(
    map(
        ip_network,
        [
            "168.63.129.16/32",
            "192.0.0.0/24",
            "192.88.99.0/24",
            "198.18.0.0/15",
            "100.64.0.0/10",
            "2001::/23",
            "2001:db8::/32",
            "3fff::/20",
        ],
    )
)
_WHOLE: Final = 0xFFFF_FFFF
# Endings that no public name has (RFC 6761, 6762, 7686, 8375, 9476), and what private networks use instead.
_LOCAL: Final = (
    ".local", ".localhost", ".localdomain", ".internal", ".intranet", ".private", ".corp", ".home", ".lan",
    ".home.arpa", ".onion", ".alt", ".test", ".invalid",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Allowed:
    """What the operator allows beyond the public internet: names to the letter, and networks."""

    names: frozenset[str] = frozenset()
    networks: tuple[Network, ...] = ()

    @classmethod
    def read(cls, text: str) -> Self:
        """From `idp.internal, 10.1.0.0/16, 127.0.0.1`. Raises ValueError for a network with host bits."""
        names, networks = set(), []
        for word in (part.strip().lower() for part in text.split(",")):
            if not word:
                continue
            if "/" in word or _is_address(word):
                networks.append(ip_network(word.strip("[]")))
            else:
                names.add(word)
        return cls(frozenset(names), tuple(networks))

    def covers(self, host: str, address: Address) -> bool:
        return host.lower() in self.names or any(address in network for network in self.networks)


@dataclass(frozen=True, slots=True)
class Judge:
    """Says of a host's addresses whether any may be connected to: all, or none."""

    allowed: Allowed

    def refuses(self, host: str, addresses: list[Address]) -> bool:
        """True also for a name with one bad address among good ones: whoever answers next could give that one."""
        return not addresses or not all(self._is_good(host, address) for address in addresses)

    def _is_good(self, host: str, address: Address) -> bool:
        return self.allowed.covers(host, address) or all(_is_public(one) for one in _meant(address))


def _meant(address: Address) -> Iterator[Address]:
    """The address itself unless it only carries another, and whatever it carries."""
    carried = tuple(_carried(address)) if isinstance(address, IPv6Address) else ()
    yield from carried or (address,)
    if isinstance(address, IPv6Address) and int(address) >> 32 & _WHOLE in _ISATAP:
        yield IPv4Address(int(address) & _WHOLE)


def _carried(address: IPv6Address) -> Iterator[IPv4Address]:
    for network, start in _CARRIERS:
        if address in network:
            yield IPv4Address(int(address) >> start & _WHOLE)


def _is_public(address: Address) -> bool:
    if isinstance(address, IPv6Address) and (address not in _UNICAST or address.scope_id):
        return False
    closed = address.is_multicast or address.is_reserved or any(address in network for network in _CLOSED)
    return address.is_global and not closed and not _is_ours(address)


def _is_ours(address: Address) -> bool:
    """Whether this machine has the address itself: only then can a socket be bound to it."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6  # noqa: PLR2004 - the version of the protocol
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((str(address), 0))
    except OSError:
        return False
    return True


def is_local_name(host: str) -> bool:
    """Whether the name, if it is one, can only be one of this network: it has no dot, or such an ending."""
    name = host.lower().rstrip(".")
    return not _is_address(name) and ("." not in name or name.endswith(_LOCAL))


def _is_address(word: str) -> bool:
    try:
        ip_address(word.strip("[]"))
    except ValueError:
        return False
    return True
