"""From where somebody comes: the network of the client's address, as far as the way there can be believed."""

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final, TypeAlias

Network: TypeAlias = IPv4Network | IPv6Network
Address: TypeAlias = IPv4Address | IPv6Address

_UNKNOWN: Final = "unknown"
_OF_ONE: Final = {4: 24, 6: 64}  # bits: what one subscriber mostly has


class Origins:
    """`proxies` are those whose `X-Forwarded-For` is believed. Anybody else could write there what they like."""

    def __init__(self, proxies: Iterable[Network] = ()) -> None:
        self._proxies = tuple(proxies)

    def of(self, peer: str | None, forwarded: Sequence[str]) -> str:
        """The network, as `192.0.2.0/24`. `forwarded` are the header's lines, in the order of their coming."""
        found = _address(peer or "")
        hops = [hop.strip() for line in forwarded for hop in line.split(",")]
        while found is not None and self._trusts(found) and hops:
            behind = _address(hops.pop())
            if behind is None:
                break
            found = behind
        return _UNKNOWN if found is None else str(ip_network((found, _OF_ONE[found.version]), strict=False))

    def _trusts(self, address: Address) -> bool:
        return any(address in network for network in self._proxies)


def networks(text: str | None) -> tuple[Network, ...]:
    """From `10.0.0.0/8,fd00::/8`."""
    return tuple(ip_network(one.strip()) for one in text.split(",")) if text else ()


def _address(text: str) -> Address | None:
    try:
        found = ip_address(text)
    except ValueError:
        return None
    return found.ipv4_mapped or found if isinstance(found, IPv6Address) else found
