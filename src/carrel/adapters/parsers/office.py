"""Office documents, whatever they are called: what is in the container says which reader reads it."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, TypeAlias

from carrel.adapters.parsers import archive, docx, epub, markup, media, odf, ods, ole, pptx, records, rtf, sheets
from carrel.adapters.parsers.archive import Archive
from carrel.adapters.parsers.opc import CONTENT_TYPES, Package
from carrel.domain.errors import Unreadable
from carrel.domain.text import ParsedDocument

Read: TypeAlias = Callable[[Archive], ParsedDocument]

_PACKAGES: Final[Mapping[str, Callable[[Package], ParsedDocument]]] = MappingProxyType({
    "word": docx.read, "presentation": pptx.read, "powerpoint": pptx.read, "spreadsheet": sheets.read,
    "excel": sheets.read, "xl/": sheets.read,
})  # fmt: skip
_OTHERS: Final[Mapping[str, Read]] = MappingProxyType({
    media.ODT: odf.read_text, media.ODP: odf.read_presentation, media.ODS: ods.read, media.EPUB: epub.read,
})  # fmt: skip
_MANIFEST: Final = "META-INF/manifest.xml"
_LEGACY: Final = frozenset({"WordDocument", "PowerPoint Document"})
_WORKBOOKS: Final = frozenset({"Workbook", "Book", "WORKBOOK", "BOOK"})


def prepare() -> None:
    """Loads what a fork of the zygote could not."""
    archive.prepare()
    markup.prepare()
    epub.prepare()
    rtf.prepare()


def parse(content: bytes, *, key: str) -> ParsedDocument:
    """Raises Unreadable, also `archive_refused`, `encrypted_document` and `legacy_format`."""
    if content.startswith(ole.MARK):
        return _compound(content)
    if content.lstrip()[: len(rtf.MARK)] == rtf.MARK:
        return rtf.parse(content, key=key)
    opened = Archive(content)
    if CONTENT_TYPES in opened:
        return _package(opened)
    if "encrypted-package" in opened or (_MANIFEST in opened and b"encryption-data" in opened.read(_MANIFEST)):
        raise Unreadable("The document is encrypted.", code="encrypted_document")
    if "mimetype" in opened:
        kind = opened.read("mimetype")[:100].decode("ascii", "replace").strip().removesuffix("-template")
        if kind in _OTHERS:
            return _OTHERS[kind](opened)
    if epub.CONTAINER in opened:
        return epub.read(opened)
    raise Unreadable("This archive is no document that is read.")


def _package(opened: Archive) -> ParsedDocument:
    package = Package(opened)
    kind = package.main_type() or package.main  # some writers give no part a type of its own
    for word, read in _PACKAGES.items():
        if word in kind:
            return read(package)
    raise Unreadable("This package is no document that is read.")


def _compound(content: bytes) -> ParsedDocument:
    streams = ole.streams(content)
    if "EncryptedPackage" in streams:
        raise Unreadable("The document is encrypted.", code="encrypted_document")
    if streams & _LEGACY:
        raise Unreadable("The document is of an old format.", code="legacy_format")
    if streams & _WORKBOOKS:
        records.demand_room_for_old(ole.stream(content, _WORKBOOKS))
        return sheets.read_workbook(content)
    raise Unreadable("This compound file is no document that is read.")
