"""EPUB books: the chapters in their order, each read as the page that it is."""

import codecs
import posixpath
import re
from collections.abc import Iterator
from typing import Final
from urllib.parse import unquote

from carrel.adapters.parsers import html, markup
from carrel.adapters.parsers.archive import Archive
from carrel.adapters.parsers.characters import clean
from carrel.adapters.parsers.draft import Draft
from carrel.adapters.parsers.markup import Element, child, descendants
from carrel.adapters.parsers.tag_writer import TagWriter
from carrel.adapters.parsers.titles import sensible
from carrel.domain.errors import Unreadable
from carrel.domain.text import ParsedDocument

CONTAINER: Final = "META-INF/container.xml"
_ENCRYPTION: Final = "META-INF/encryption.xml"
_PAGES: Final = frozenset({"application/xhtml+xml", "text/html", "text/x-oeb1-document"})
_NCX: Final = "application/x-dtbncx+xml"
# HTML knows no `<title/>` and would take the rest of the page for the title.
_CLOSED: Final = re.compile(
    r"<(?!(?:area|base|br|col|embed|hr|img|input|link|meta|source|track|wbr)\b)([a-zA-Z][\w:.-]{0,40})([^<>]*)/>"
)

_WIDE: Final = (b"\xff\xfe", b"\xfe\xff")
_DECLARED: Final = re.compile(rb"<\?xml[^>]{0,100}encoding\s?=\s?[\"'](?:iso-8859-1|windows-1252)[\"']", re.IGNORECASE)


def prepare() -> None:
    """Loads what a fork of the zygote could not."""
    for name in ("utf-8-sig", "utf-16", "cp1252"):
        codecs.lookup(name)


def read(archive: Archive) -> ParsedDocument:
    """A chapter without a heading of its own stands below the title that the table of contents gives it."""
    book = _Book(archive)
    draft = Draft()
    writer = TagWriter(draft)
    names = book.names()
    for part in book.chapters():
        source = _CLOSED.sub(r"<\1\2></\1>", _text_of(archive.read(part)))
        if (name := names.get(part)) and not html.has_heading(source):
            draft.heading(1, name)
        html.write(writer, source)
        writer.flush()
    return draft.finish(book.title())


def _text_of(content: bytes) -> str:
    """Books are in Unicode; old ones may say that they are not. Guessing among all alphabets would take 25 MB."""
    if content.startswith(_WIDE):
        return clean(content.decode("utf-16", "replace"))
    return clean(content.decode("cp1252" if _DECLARED.match(content) else "utf-8-sig", "replace"))


class _Book:
    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        container = markup.tree_of(archive.read(CONTAINER))
        self._root = next((one.get("full-path", "") for one in descendants(container, "rootfile")), "")
        self._package = markup.tree_of(archive.read(self._root))
        self._items = {one.get("id", ""): one for one in descendants(self._package, "item")}
        self._locked = self._encrypted()

    def chapters(self) -> Iterator[str]:
        """Each once, however often it is named. Raises Unreadable `encrypted_document` when one of them is."""
        seen: set[str] = set()
        for reference in descendants(self._package, "itemref"):
            item = self._items.get(reference.get("idref", ""))
            if item is None or item.get("media-type") not in _PAGES:
                continue
            part = self._resolved(self._root, item.get("href", ""))
            if part in self._locked:
                raise Unreadable("The book is encrypted.", code="encrypted_document")
            if part in self._archive and part not in seen:
                seen.add(part)
                yield part

    def title(self) -> str | None:
        metadata = child(self._package, "metadata")
        return (
            sensible(next((one.text for one in descendants(metadata, "title")), None)) if metadata is not None else None
        )

    def names(self) -> dict[str, str]:
        """Of each part the first name in the table of contents, from either of its two forms."""
        names: dict[str, str] = {}
        for item in self._items.values():
            part = self._resolved(self._root, item.get("href", ""))
            is_table = "nav" in item.get("properties", "").split() or item.get("media-type") == _NCX
            if is_table and part in self._archive and part not in self._locked:
                source = _text_of(self._archive.read(part))
                for target, name in html.entries(_CLOSED.sub(r"<\1\2></\1>", source)):
                    names.setdefault(self._resolved(part, target), name)
        return names

    def _encrypted(self) -> frozenset[str]:
        """Fonts may be veiled without harm; chapters may not."""
        if _ENCRYPTION not in self._archive:
            return frozenset()
        listed: Element = markup.tree_of(self._archive.read(_ENCRYPTION))
        return frozenset(unquote(one.get("URI", "")) for one in descendants(listed, "CipherReference"))

    def _resolved(self, part: str, target: str) -> str:
        path = unquote(target.partition("#")[0])
        return posixpath.normpath(posixpath.join("/", posixpath.dirname(part), path)).lstrip("/")
