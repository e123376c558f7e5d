"""OpenDocument spreadsheets, row by row: their tables are too large to hold, and one cell may stand for a billion."""

from itertools import repeat
from typing import Final

from carrel.adapters.parsers import markup
from carrel.adapters.parsers.archive import Archive
from carrel.adapters.parsers.characters import squeezed
from carrel.adapters.parsers.draft import Draft
from carrel.adapters.parsers.markup import Element, attribute, local
from carrel.adapters.parsers.odf import Writer, cells_of, title_of
from carrel.adapters.parsers.odf_styles import OdfStyles
from carrel.adapters.parsers.sheets import write_rows
from carrel.adapters.parsers.wire import PAGES
from carrel.domain.errors import Unreadable
from carrel.domain.text import ParsedDocument

_TABLE: Final = "{urn:oasis:names:tc:opendocument:xmlns:table:1.0}"
_STYLE: Final = "{urn:oasis:names:tc:opendocument:xmlns:style:1.0}style"
_WIDEST: Final = 1_024  # columns
_REPEATED: Final = 100  # times that one row is written


def read(archive: Archive) -> ParsedDocument:
    """Cells as the author sees them. Hidden sheets are left out; a sheet keeps its number all the same."""
    draft = Draft()
    reader = _Reader(draft)
    tags = (f"{_TABLE}table", f"{_TABLE}table-row", _STYLE)
    for event, element in markup.steps_of(archive.read("content.xml"), *tags):
        reader.take(event, element)
    return draft.finish(title_of(archive))


class _Reader:
    def __init__(self, draft: Draft) -> None:
        self._draft = draft
        self._styles = OdfStyles(())
        self._words = Writer(draft, self._styles).words
        self._rows: list[list[str]] = []
        self._depth = 0  # a table may stand in a cell
        self._number = 0

    def take(self, event: str, element: Element) -> None:
        match event, local(element):
            case "end", "style":
                self._styles.take(element)
            case "start", "table":
                self._depth += 1
            case "end", "table":
                self._depth -= 1
                if not self._depth:
                    self._end(element)
            case "end", "table-row" if self._depth == 1:
                count = attribute(element, "number-rows-repeated") or ""
                times = min(int(count), _REPEATED) if count.isdecimal() and len(count) < len(str(_WIDEST)) * 2 else 1
                row = cells_of(element, self._text, widest=_WIDEST)
                self._rows.extend(repeat(row, times if row else 1))
                element.clear()

    def _text(self, cell: Element) -> str:
        """Nearly every cell is one plain paragraph, or nothing; the others are read as in a text."""
        if len(cell) == 0:
            return ""
        first = cell[0]
        if len(cell) > 1 or len(first) > 0 or local(first) != "p" or first.attrib:
            return self._words(cell)
        return squeezed(first.text or "")

    def _end(self, table: Element) -> None:
        self._number += 1
        if self._number > PAGES:
            raise Unreadable(f"The workbook has more than {PAGES} sheets.", code="parser_output")
        if attribute(table, "style-name") not in self._styles.hidden_tables:
            self._draft.turn_to(self._number, "", otherwise=attribute(table, "name") or f"Sheet {self._number}")
            write_rows(self._draft, self._rows.copy)
        self._rows.clear()
        table.clear()
