"""What a page says to a crawler: where its links lead, what its real address is, whether it wants to be found.

The page is somebody else's and this runs in the worker's own process, so it is read in plain Python, from left to right
and each character a bounded number of times; nothing is built of it but addresses.
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
_MOST_LINKS: Final = 10_000  # that are looked at
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
    places: dict[str, None] = {}
    base, real = url, None
    for tag, attributes in _tags(_text(content)):
        relations = attributes.get("rel", "").lower().split()
        place = attributes.get("href", "")
        match tag:
            case "base" if place and base == url:
                base = canonical(place, url) or url
            case "link" if "canonical" in relations and place and real is None:
                real = canonical(place, base)
            case "meta" if attributes.get("name", "").lower() in {"robots", OUR_NAME.lower()}:
                words.update(_words(attributes.get("content", "")))
            case "a" | "area" if place and "nofollow" not in relations and len(places) < _MOST_LINKS:
                places[place.partition("#")[0]] = None
            case _:
                pass
    links = () if words & _NOT_FOLLOWED else _links(places, base)
    return Marks(links, real, not words & _NOT_INDEXED)


def _links(places: Iterable[str], base: str) -> tuple[str, ...]:
    found = (canonical(place, base) for place in places if place)
    return tuple(dict.fromkeys(link for link in found if link and not _MEDIA.search(link)))


def _text(content: bytes) -> str:
    """Good enough for tags and addresses, which are mostly ASCII in any encoding."""
    encoding = next((name for mark, name in _WIDE if content.startswith(mark)), "utf-8")
    return content.decode(encoding, "replace")


def _tags(text: str) -> Iterator[tuple[str, dict[str, str]]]:
    """The tags that matter, without what only looks like one in a comment or a script."""
    place = 0
    while found := _TAG.search(text, place):
        name = (found[1] or "").lower()
        if not name:
            place = _after(text.find("-->", found.end()), text)
            continue
        attributes, place = _attributes(text, found.end())
        yield name, attributes
        if name in _ENDS:
            end = _ENDS[name].search(text, place)
            place = end.end() if end else len(text)


def _after(place: int, text: str) -> int:
    return place if place >= 0 else len(text)


def _attributes(text: str, place: int) -> tuple[dict[str, str], int]:
    """The first of each name, and where the tag has been read to."""
    found: dict[str, str] = {}
    for _ in range(_MOST_ATTRIBUTES):
        attribute = _ATTRIBUTE.match(text, place)
        if attribute is None:
            break
        name, *values = attribute.groups()
        found.setdefault(name.lower(), unescape(next(filter(None, values), "")))
        place = attribute.end()
    return found, place


def _said_to_us(line: str) -> Iterator[str]:
    """A line of `X-Robots-Tag`, which may begin with the name of the crawler that it is for."""
    name, colon, rest = line.partition(":")
    if not colon or "," in name or name.strip().lower() in _WITH_VALUES:
        yield from _words(line)
    elif name.strip().lower() == OUR_NAME.lower():
        yield from _words(rest)


def _words(text: str) -> Iterator[str]:
    return (word.strip().lower() for word in text.split(","))
