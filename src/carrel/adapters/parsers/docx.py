"""Word documents: headings, paragraphs, lists, tables and notes in their order, as a reader sees them."""

from collections.abc import Iterator
from typing import Final

from carrel.adapters.parsers import tables
from carrel.adapters.parsers.characters import squeezed
from carrel.adapters.parsers.docx_styles import Form, Numbering, Styles
from carrel.adapters.parsers.draft import Draft
from carrel.adapters.parsers.markup import Element, attribute, child, local
from carrel.adapters.parsers.opc import Package
from carrel.domain.errors import Unreadable
from carrel.domain.text import ParsedDocument

_WRAPPERS: Final = frozenset({
    "sdt", "sdtContent", "customXml", "smartTag", "ins", "moveTo", "AlternateContent", "Choice", "txbxContent",
})  # fmt: skip
# Properties, what was deleted, the codes of fields, and the second form of what stands there already.
_UNSEEN: Final = frozenset({
    "pPr", "rPr", "tblPr", "tblGrid", "trPr", "tcPr", "sdtPr", "sdtEndPr", "sectPr", "del", "moveFrom", "delText",
    "instrText", "delInstrText", "Fallback", "rt",
})  # fmt: skip
_SIGNS: Final = {"tab": "\t", "ptab": "\t", "br": "\n", "cr": "\n", "noBreakHyphen": "-"}
_NOTES: Final = {"footnoteReference": "footnotes", "endnoteReference": "endnotes"}
_SPAN: Final = 64  # columns that one cell may cover
_OFF: Final = frozenset({"0", "false", "off"})


def read(package: Package) -> ParsedDocument:
    body = child(package.tree(package.main), "body")
    if body is None:
        raise Unreadable("The document has no body.")
    draft = Draft()
    _Writer(draft, package).write(body)
    return draft.finish(package.title())


class _Line:
    """One paragraph's words, and what stands in it but is read after it."""

    def __init__(self) -> None:
        self.words: list[str] = []
        self.boxes: list[Element] = []
        self.notes: list[tuple[str, str]] = []

    def take(self, element: Element) -> None:
        """The words below an element. Its depth is bounded by `markup`."""
        for one in element:
            name = local(one)
            if name == "t":
                self.words.append(one.text or "")
            elif name in _SIGNS:
                self.words.append(_SIGNS[name])
            elif name in _NOTES:
                self.notes.append((_NOTES[name], attribute(one, "id") or ""))
            elif name == "txbxContent":
                self.boxes.append(one)
            elif name not in _UNSEEN and not (name == "r" and _is_hidden(one)):
                self.take(one)
                self.words += "\n" if name == "p" else ""

    def text(self) -> str:
        return "".join(self.words)


class _Writer:
    def __init__(self, draft: Draft, package: Package) -> None:
        self._draft = draft
        self._styles = Styles(package.part(package.main, "styles"))
        self._numbering = Numbering(package.part(package.main, "numbering"))
        self._notes = {kind: _notes(package, kind) for kind in _NOTES.values()}
        self._items: list[str] = []

    def write(self, container: Element) -> None:
        self._write(container)
        self._end_list()

    def _write(self, container: Element) -> None:
        for one in container:
            match local(one):
                case "p":
                    self._paragraph(one)
                case "tbl":
                    self._end_list()
                    self._table(one)
                case name if name in _WRAPPERS:
                    self._write(one)

    def _paragraph(self, paragraph: Element) -> None:
        form, line = self._styles.form(paragraph), _Line()
        line.take(paragraph)
        text = line.text()
        if text.strip() and not form.contents:
            self._place(form, text)
        for kind, number in line.notes:
            self._note(kind, number)
        for box in line.boxes:
            self._end_list()
            self.write(box)

    def _place(self, form: Form, text: str) -> None:
        mark = self._numbering.mark(form)
        if form.rank is not None:
            self._end_list()
            self._draft.heading(form.rank, f"{mark} {text}" if mark and mark != "-" else text)
        elif mark:
            self._items.append(f"{'  ' * form.level}{mark} {squeezed(text)}")
        else:
            self._end_list()
            self._draft.block("paragraph", text)

    def _end_list(self) -> None:
        if self._items:
            self._draft.block("list", "\n".join(self._items))
            self._items.clear()

    def _table(self, table: Element) -> None:
        rows, notes = [], []
        for row in _rows(table):
            cells: list[str] = []
            for cell in _below(row, "tc"):
                line = _Line()
                line.take(cell)
                for box in line.boxes:
                    line.take(box)
                notes += line.notes
                cells += [squeezed(line.text()), *[""] * (_span(cell) - 1)]
            rows.append(cells)
        tables.write(self._draft, rows)
        for kind, number in notes:
            self._note(kind, number)

    def _note(self, kind: str, number: str) -> None:
        """Once: many marks may lead to one note."""
        if note := self._notes[kind].pop(number, ""):
            self._end_list()
            self._draft.block("paragraph", note)


def _notes(package: Package, kind: str) -> dict[str, str]:
    root = package.part(package.main, kind)
    written = [] if root is None else [one for one in root if attribute(one, "type") in (None, "normal")]
    notes = {}
    for number, note in enumerate(written, start=1):
        line = _Line()
        line.take(note)
        if words := squeezed(line.text()):
            notes[attribute(note, "id") or ""] = f"[{number}] {words}"
    return notes


def _rows(table: Element) -> Iterator[Element]:
    return (row for row in _below(table, "tr") if child(child(row, "trPr"), "del") is None)


def _below(element: Element, name: str) -> Iterator[Element]:
    """Through the wrappers that may stand between, but not into a table in a cell."""
    for one in element:
        if local(one) == name:
            yield one
        elif local(one) in _WRAPPERS:
            yield from _below(one, name)


def _span(cell: Element) -> int:
    span = child(child(cell, "tcPr"), "gridSpan")
    value = (attribute(span, "val") or "") if span is not None else ""
    return min(int(value), _SPAN) if value.isdecimal() and len(value) < _SPAN else 1


def _is_hidden(run: Element) -> bool:
    """What a person does not see is not quoted to anybody."""
    hidden = child(child(run, "rPr"), "vanish")
    return hidden is not None and attribute(hidden, "val") not in _OFF
