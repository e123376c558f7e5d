"""Sitemaps: lists of a site's pages, or of other sitemaps. https://www.sitemaps.org/protocol.html

XML without a document type and without entities, plain text with one address on each line, and either packed by gzip.
"""

import zlib
from dataclasses import dataclass
from io import BytesIO
from typing import Final
from xml.etree.ElementTree import Element, ParseError

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import iterparse

from carrel.adapters.origins.urls import canonical
from carrel.domain.errors import Invalid

MOST_BYTES: Final = 50 << 20
MOST_ENTRIES: Final = 50_000
_GZIP: Final = b"\x1f\x8b"
_WINDOW: Final = 31
_LISTS: Final = {"urlset": "url", "sitemapindex": "sitemap"}
_LONGEST: Final = 4096
_MOST_INSIDE: Final = 20_000  # beginnings and ends of elements in one entry: some name it in a hundred languages
_MARK: Final = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Entry:
    """A page or a sitemap, and when it was changed last, in the words of the sitemap."""

    url: str
    changed: str | None = None


@dataclass(frozen=True, slots=True)
class Sitemap:
    pages: tuple[Entry, ...] = ()
    sitemaps: tuple[Entry, ...] = ()


def sitemap_of(content: bytes, url: str) -> Sitemap:
    """Each address once. Raises Invalid `invalid_sitemap` for what is none, or breaks the protocol's limits."""
    content = _unpacked(content).removeprefix(_MARK).lstrip()
    return _of_xml(content, url) if content.startswith(b"<") else _of_lines(content)


def _unpacked(content: bytes) -> bytes:
    if not content.startswith(_GZIP):
        return content
    unpacker = zlib.decompressobj(_WINDOW)
    try:
        plain = unpacker.decompress(content, MOST_BYTES + 1)
    except zlib.error as error:
        raise _wrong("It cannot be unpacked.") from error
    if len(plain) > MOST_BYTES or not unpacker.eof:
        raise _wrong(f"It has more than {MOST_BYTES >> 20} MB, or breaks off.")
    return plain


def _of_lines(content: bytes) -> Sitemap:
    try:
        lines = [line.strip() for line in content.decode("utf-8").splitlines() if line.strip()]
    except UnicodeDecodeError as error:
        raise _wrong("It is neither XML nor text.") from error
    pages = [canonical(line) for line in lines[: MOST_ENTRIES + 1]]
    if not pages or None in pages:
        raise _wrong("A line of it is no address.")
    return Sitemap(pages=_once([Entry(page) for page in pages if page]))


def _of_xml(content: bytes, url: str) -> Sitemap:
    try:
        kind, entries = _entries(content, url)
    except (ParseError, DefusedXmlException, ValueError, LookupError) as error:
        raise _wrong("It is no sound XML, or has a document type or entities.") from error
    return Sitemap(pages=_once(entries)) if kind == "urlset" else Sitemap(sitemaps=_once(entries))


def _entries(content: bytes, url: str) -> tuple[str, list[Entry]]:
    """The root's name and what it lists. What was read is let go at once, so that many elements need little memory."""
    root: Element | None = None
    found: list[Entry] = []
    depth = kept = 0
    for event, element in iterparse(BytesIO(content), events=("start", "end"), forbid_dtd=True):
        root = element if root is None else root
        depth += 1 if event == "start" else -1
        kept += 1
        if _name(root) not in _LISTS or kept > _MOST_INSIDE:
            raise _wrong("It lists neither pages nor sitemaps, or one of them in too many words.")
        if event == "end" and depth == 1:
            found.extend(_entry(element, url) if _name(element) == _LISTS[_name(root)] else ())
            root.clear()
            kept = 0
        if len(found) > MOST_ENTRIES:
            break
    if root is None:
        raise _wrong("It is empty.")
    return _name(root), found


def _entry(element: Element, url: str) -> list[Entry]:
    words = {_name(child): (child.text or "").strip() for child in element if len(child.text or "") < _LONGEST}
    place = canonical(words.get("loc", ""), url) if words.get("loc") else None
    return [Entry(place, words.get("lastmod", "")[:64] or None)] if place else []


def _once(entries: list[Entry]) -> tuple[Entry, ...]:
    if len(entries) > MOST_ENTRIES:
        raise _wrong(f"It lists more than {MOST_ENTRIES:,} addresses.")
    return tuple({entry.url: entry for entry in entries}.values())


def _name(element: Element) -> str:
    return str(element.tag).rpartition("}")[2]


def _wrong(why: str) -> Invalid:
    return Invalid(f"This is no sitemap that can be read. {why}", code="invalid_sitemap")
