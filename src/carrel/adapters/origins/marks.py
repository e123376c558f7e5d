"""What a page says to a crawler: where its links lead, what its real address is, whether it wants to be found.

The page is somebody else's and this runs in the worker's own process, so it is read in plain Python, from left to right
and each character a bounded number of times; nothing is built of it but addresses. Whatever costs more than a character
is counted, and so is what is worked out of it: a page that goes on beyond that is read no further.
"""

import codecs
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from html import unescape
from typing import Final

from carrel.adapters.origins.urls import canonical

OUR_NAME: Final = "Carrel"
_TAG: Final = re.compile(r"<(?:!--|(a|area|base|link|meta|script|style|textarea|title|xmp)(?=[\s/>]))", re.IGNORECASE)
_ATTRIBUTE: Final = re.compile(
    r"[\s/]{0,999}(?:([^\s=/>\"']{1,99})(?:\s{0,99}=\s{0,99}(?:\"([^\"]{0,9999})\"|'([^']{0,9999})'|([^\s>\"']{1,9999})))?)"
)
_ENDS: Final = {
    name: re.compile(rf"</{name}(?=[\s/>])", re.IGNORECASE) for name in ("script", "style", "textarea", "title", "xmp")
}
_MOST_ATTRIBUTES: Final = 50
_MOST_STEPS: Final = 200_000  # tags, attributes and comments that are looked at: twenty for each link
_MOST_LINKS: Final = 10_000
_MOST_LETTERS: Final = 1_000_000  # of all links: canonical forms are what costs most
_LONGEST: Final = 2_000  # letters of an address: a key has 1,024 bytes
_SHORT: Final = 200
_MOST_NAMED: Final = 4  # addresses that a page calls its own, until one is an address
_MOST_METAS: Final = 100
_WANTED: Final = frozenset({"href", "rel", "name", "content"})
_NOT_INDEXED: Final = frozenset({"noindex", "none"})
_NOT_FOLLOWED: Final = frozenset({"nofollow", "none"})
_WITH_VALUES: Final = frozenset({"unavailable_after", "max-snippet", "max-image-preview", "max-video-preview"})
_WIDE: Final = ((codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
# Where a link leads to that is no document: asking for it only costs both sides.
_MEDIA: Final = re.compile(
    r"\.(?:jpe?g|png|gif|webp|svg|ico|bmp|tiff?|avif|mp[34]|m4[av]|og[gv]|web[m]|wav|flac|avi|mov|mkv|woff2?|ttf|otf"
    r"|css|m?js|map|wasm|zip|t?gz|bz2|xz|7z|rar|tar|exe|dmg|iso|deb|rpm|apk|jar)(?:\?|$)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Marks:
    """`links` are canonical addresses, each once, without those that the page asks not to follow."""

    links: tuple[str, ...] = ()
    canonical: str | None = None
    indexed: bool = True


def marks_of(content: bytes, url: str, robots: Iterable[str] = ()) -> Marks:
    """`robots` are the answer's `X-Robots-Tag` lines."""
    words = {word for line in robots for word in _said_to_us(line)}
    said = _Said(url)
    for tag, attributes in _tags(_text(content)):
        said.hear(tag, attributes)
    words |= said.words
    links = () if words & _NOT_FOLLOWED else said.links()
    return Marks(links, said.real, not words & _NOT_INDEXED)


class _Said:
    """What the tags of a page have said so far."""

    def __init__(self, url: str) -> None:
        self.words: set[str] = set()
        self.real: str | None = None
        self._url = url
        self._base: str | None = None
        self._places: dict[str, None] = {}
        self._letters = 0
        self._named = self._metas = 0

    def hear(self, tag: str, attributes: dict[str, str]) -> None:
        relations, name = _short(attributes, "rel").split(), _short(attributes, "name")
        place = attributes.get("href", "") if len(attributes.get("href", "")) <= _LONGEST else ""
        match tag:
            case "base" if place and self._base is None:
                self._base = canonical(unescape(place), self._url) or self._url
            case "link" if "canonical" in relations and place and self.real is None and self._named < _MOST_NAMED:
                self._named += 1
                self.real = canonical(unescape(place), self._base or self._url)
            case "meta" if name in {"robots", OUR_NAME.lower()}:
                self._metas += 1
                if self._metas <= _MOST_METAS:
                    self.words.update(_words(unescape(attributes.get("content", ""))))
            case "a" | "area" if place and "nofollow" not in relations and len(self._places) < _MOST_LINKS:
                self._lead(place)
            case _:
                pass

    def _lead(self, place: str) -> None:
        self._letters += len(place)
        if self._letters <= _MOST_LETTERS:
            self._places[unescape(place).partition("#")[0]] = None

    def links(self) -> tuple[str, ...]:
        base = self._base or self._url
        found = (canonical(place, base) for place in self._places if place)
        return tuple(dict.fromkeys(link for link in found if link and not _MEDIA.search(link)))


def _text(content: bytes) -> str:
    """Good enough for tags and addresses, which are mostly ASCII in any encoding."""
    encoding = next((name for mark, name in _WIDE if content.startswith(mark)), "utf-8")
    return content.decode(encoding, "replace")


def _tags(text: str) -> Iterator[tuple[str, dict[str, str]]]:
    """The tags that matter, without what only looks like one in a comment or a script."""
    place = steps = 0
    while steps < _MOST_STEPS and (found := _TAG.search(text, place)):
        steps += 1
        name = (found[1] or "").lower()
        if not name:
            place = _after(text.find("-->", found.end()), text)
            continue
        attributes, place, many = _attributes(text, found.end())
        steps += many
        yield name, attributes
        if name in _ENDS:
            end = _ENDS[name].search(text, place)
            place = end.end() if end else len(text)


def _after(place: int, text: str) -> int:
    return place if place >= 0 else len(text)


def _attributes(text: str, place: int) -> tuple[dict[str, str], int, int]:
    """The first of each name that matters, as written; where the tag has been read to; and how many there were."""
    found: dict[str, str] = {}
    for many in range(_MOST_ATTRIBUTES):
        attribute = _ATTRIBUTE.match(text, place)
        if attribute is None:
            return found, place, many
        name, *values = attribute.groups()
        if (lower := name.lower()) in _WANTED:
            found.setdefault(lower, next(filter(None, values), ""))
        place = attribute.end()
    return found, place, _MOST_ATTRIBUTES


def _short(attributes: dict[str, str], name: str) -> str:
    """Of an attribute of a few words."""
    return unescape(attributes.get(name, "")[:_SHORT]).lower()


def _said_to_us(line: str) -> Iterator[str]:
    """A line of `X-Robots-Tag`, which may begin with the name of the crawler that it is for."""
    name, colon, rest = line.partition(":")
    if not colon or "," in name or name.strip().lower() in _WITH_VALUES:
        yield from _words(line)
    elif name.strip().lower() == OUR_NAME.lower():
        yield from _words(rest)


def _words(text: str) -> Iterator[str]:
    return (word.strip().lower() for word in text.split(","))
