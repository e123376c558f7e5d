"""robots.txt: which paths of a host a crawler keeps away from.

The rules of RFC 9309, https://www.rfc-editor.org/rfc/rfc9309: the groups that name us count, else those for all; of the
rules that fit a path the longest counts, and among equals the one that allows. `Crawl-delay` is not of the RFC.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final, Self

_TOKEN: Final = re.compile(r"\*|[A-Za-z_-]+")
_DELAY: Final = re.compile(r"[0-9]{1,6}(\.[0-9]{1,6})?")
_ESCAPE: Final = re.compile(rb"%[0-9A-Fa-f]{2}")
_UNRESERVED: Final = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~")
_OTHERS: Final = "*"
MOST_RULES: Final = 5_000
MOST_PATTERNS: Final = 256 << 10  # characters of all of them


@dataclass(frozen=True, slots=True)
class _Rule:
    """`pieces` stand in this order in the path, the first at its beginning, and the last at its end if `ends`."""

    allows: bool
    weight: int
    pieces: tuple[str, ...]
    ends: bool

    def fits(self, path: str) -> bool:
        first, *rest = self.pieces
        if not path.startswith(first):
            return False
        if not rest:
            return not self.ends or path == first
        place = len(first)
        for piece in rest[:-1]:
            place = path.find(piece, place)
            if place < 0:
                return False
            place += len(piece)
        if self.ends:
            return path.endswith(rest[-1]) and len(path) - len(rest[-1]) >= place
        return path.find(rest[-1], place) >= 0


@dataclass(frozen=True, slots=True)
class Robots:
    """`rules` from the one that counts most. `delay` is how many seconds the host wants between requests."""

    rules: tuple[_Rule, ...] = ()
    delay: float = 0.0

    @classmethod
    def read(cls, text: str, *, token: str) -> Self:
        """What the text says to the crawler of this name. There is no wrong robots.txt: strange lines say nothing."""
        groups = tuple(_groups(text))
        names = {token.lower()}
        if not any(names & agents for agents, _ in groups):
            names = {_OTHERS}
        lines = [line for agents, lines in groups if names & agents for line in lines]
        known = list(islice(_rules(lines), MOST_RULES + 1))
        if len(known) > MOST_RULES or sum(rule.weight for rule in known) > MOST_PATTERNS:
            return cls((_Rule(False, 1, ("/", ""), False),))
        rules = sorted(known, key=lambda rule: (-rule.weight, not rule.allows))
        return cls(tuple(rules), max((_delay(value) for name, value in lines if name == "crawl-delay"), default=0.0))

    def allows(self, path: str) -> bool:
        """`path` begins with a slash and has the query. robots.txt itself is always allowed."""
        normal = _normal(path)
        if normal == "/robots.txt":
            return True
        return next((rule.allows for rule in self.rules if rule.fits(normal)), True)


def _groups(text: str) -> Iterator[tuple[set[str], list[tuple[str, str]]]]:
    """The crawlers that a group is for, and its lines. Rules before the first crawler are nobody's."""
    agents: set[str] = set()
    lines: list[tuple[str, str]] = []
    for name, value in _lines(text):
        if name == "user-agent":
            if lines:
                yield agents, lines
                agents, lines = set(), []
            if token := _TOKEN.match(value):
                agents.add(token[0].lower())
        elif name in {"allow", "disallow", "crawl-delay"} and agents:
            lines.append((name, value))
    yield agents, lines


def _lines(text: str) -> Iterator[tuple[str, str]]:
    for line in re.split(r"\r\n|\r|\n", text.lstrip("\ufeff")):
        name, colon, value = line.partition("#")[0].partition(":")
        if colon:
            yield name.strip().lower(), value.strip()


def _rules(lines: Iterable[tuple[str, str]]) -> Iterator[_Rule]:
    for name, value in lines:
        if name in {"allow", "disallow"} and value.startswith(("/", "*")):
            pattern = _normal(value)
            ends = pattern.endswith("$")
            pieces = tuple(pattern.removesuffix("$").split("*"))
            yield _Rule(name == "allow", len(pattern), pieces, ends)


def _normal(path: str) -> str:
    """Escaped in one way, whoever wrote it: unreserved characters plain, all outside of ASCII as bytes of UTF-8."""

    def plain(escape: re.Match[bytes]) -> bytes:
        byte = int(escape[0][1:], 16)
        return bytes([byte]) if byte in _UNRESERVED else escape[0].upper()

    octets = _ESCAPE.sub(plain, path.encode("utf-8", "replace"))
    return "".join(chr(byte) if byte < 128 else f"%{byte:02X}" for byte in octets)  # noqa: PLR2004 - ASCII


def _delay(value: str) -> float:
    return float(value) if _DELAY.fullmatch(value) else 0.0
