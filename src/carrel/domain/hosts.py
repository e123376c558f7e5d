"""Names under which this deployment is called, and pages from which it may be called.

A browser can be led to call a server of its own network under a name that an attacker resolves to it. What such a call
cannot do is to name the server as its operator does.
"""

from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True, slots=True)
class KnownHosts:
    """`hosts` are names, with a port where only that one is meant; `origins` are whole, as `https://app.example.org`.

    The machine's own loopback, and the address at which a request came in, are known in any case.
    """

    hosts: frozenset[str] = frozenset()
    origins: frozenset[str] = frozenset()

    def are_called(self, host: str, *, at: str | None) -> bool:
        """`host` is what a request says in its Host header, `at` the address at which it came in."""
        name = _name(host)
        return name is not None and (name in _LOOPBACK or name == at or not self.hosts.isdisjoint({name, host.lower()}))

    def may_call(self, origin: str, *, host: str) -> bool:
        """A page of this very host, of the loopback, or of an origin that is known."""
        scheme, mark, place = origin.lower().partition("://")
        if not mark or scheme not in {"http", "https"}:
            return False
        return place == host.lower() or _name(place) in _LOOPBACK or origin.lower() in self.origins


def _name(host: str) -> str | None:
    """Without its port; None for what is no host."""
    try:
        parts = urlsplit(f"//{host}")
        _ = parts.port  # raises for what is no number
    except ValueError:
        return None
    return parts.hostname if parts.netloc == host and "@" not in host else None
