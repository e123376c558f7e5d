"""OpenDocument: texts and presentations. Headings by their outline level, lists, tables, notes; slides are pages."""

from collections.abc import Callable, Iterator
from typing import Final, TypeAlias

from carrel.adapters.parsers import markup, tables
from carrel.adapters.parsers.archive import Archive
from carrel.adapters.parsers.characters import squeezed
from carrel.adapters.parsers.draft import Draft
from carrel.adapters.parsers.markup import Element, attribute, child, descendants, foreign_attribute, local
from carrel.adapters.parsers.odf_styles import OdfStyles
from carrel.adapters.parsers.titles import sensible
from carrel.adapters.parsers.wire import PAGES
from carrel.domain.errors import Unreadable
from carrel.domain.text import ParsedDocument

Words: TypeAlias = Callable[[Element], str]

_CONTENT: Final = "content.xml"
_STYLES: Final = "styles.xml"
# What was deleted, what repeats other parts, remarks, and descriptions of pictures.
_UNSEEN: Final = frozenset({
    "tracked-changes", "table-of-content", "alphabetical-index", "illustration-index", "table-index", "object-index",
    "user-index", "bibliography", "annotation", "forms", "sequence-decls", "title", "desc", "ruby-text",
    "hidden-text", "hidden-paragraph", "event-listeners", "notes", "header", "footer", "date-time", "page-number",
})  # fmt: skip
_WIDEST: Final = 64  # columns that one cell may stand for
_SPACES: Final = 100
_DEEPEST: Final = 9
_FURNITURE: Final = frozenset({"header", "footer", "date-time", "page-number", "page"})


def read_text(archive: Archive) -> ParsedDocument:
    root, styles = _opened(archive)
    body = child(child(root, "body"), "text")
    if body is None:
        raise Unreadable("The document has no body.")
    draft = Draft()
    Writer(draft, styles).write(body)
    return draft.finish(title_of(archive))


def read_presentation(archive: Archive) -> ParsedDocument:
    """Hidden slides are left out; a slide keeps its number all the same."""
    root, styles = _opened(archive)
    body = child(child(root, "body"), "presentation")
    draft = Draft()
    writer = Writer(draft, styles)
    slides = [one for one in body if local(one) == "page"] if body is not None else []
    if len(slides) > PAGES:
        raise Unreadable(f"The presentation has more than {PAGES} slides.", code="parser_output")
    for number, slide in enumerate(slides, start=1):
        if attribute(slide, "style-name") not in styles.hidden_slides:
            _write_slide(draft, writer, slide, number)
    return draft.finish(title_of(archive))


def title_of(archive: Archive) -> str | None:
    try:
        root = markup.tree_of(archive.read("meta.xml"))
    except Unreadable:
        return None
    return sensible(next((one.text for one in descendants(root, "title")), None))


def _opened(archive: Archive) -> tuple[Element, OdfStyles]:
    root = markup.tree_of(archive.read(_CONTENT))
    named = markup.tree_of(archive.read(_STYLES)) if _STYLES in archive else None
    return root, OdfStyles([one for one in (named, root) if one is not None])


def _write_slide(draft: Draft, writer: "Writer", slide: Element, number: int) -> None:
    frames = [one for one in slide if foreign_attribute(one, "class") not in _FURNITURE]
    title = next((one for one in frames if foreign_attribute(one, "class") == "title"), None)
    name = writer.words(title) if title is not None else ""
    draft.turn_to(number, name, otherwise=f"Slide {number}")
    for frame in frames:
        if frame is not title:
            writer.write_one(frame)
    notes = child(slide, "notes")
    written = [one for one in notes if foreign_attribute(one, "class") == "notes"] if notes is not None else []
    if any(writer.words(one) for one in written):
        draft.heading(2, "Notes")
        for one in written:
            writer.write_one(one)


class _Line:
    """One paragraph's words, and what stands in it but is read after it."""

    def __init__(self, styles: OdfStyles) -> None:
        self._styles = styles
        self.words: list[str] = []
        self.frames: list[Element] = []
        self.notes: list[Element] = []

    def take(self, element: Element) -> None:
        """The words below an element. Its depth is bounded by `markup`."""
        self.words.append(element.text or "")
        for one in element:
            self._take_one(one)
            self.words.append(one.tail or "")

    def _take_one(self, one: Element) -> None:
        match local(one):
            case "s":
                count = attribute(one, "c") or ""
                self.words.append(" " * min(int(count) if count.isdecimal() and len(count) < _DEEPEST else 1, _SPACES))
            case "tab":
                self.words.append("\t")
            case "line-break":
                self.words.append("\n")
            case "note":
                self.notes.append(one)
            case "frame" | "custom-shape" | "g" | "rect" | "text-box":
                self.frames.append(one)
            case name if name not in _UNSEEN and attribute(one, "style-name") not in self._styles.hidden_words:
                self.take(one)
                self.words.append("\n" if name in ("p", "h") else "")

    def text(self) -> str:
        return "".join(self.words)


class Writer:
    """Writes what stands in a text, a slide or a frame, in its order."""

    def __init__(self, draft: Draft, styles: OdfStyles) -> None:
        self._draft = draft
        self._styles = styles

    def write(self, container: Element) -> None:
        for one in container:
            self.write_one(one)

    def write_one(self, one: Element) -> None:
        match local(one):
            case "h":
                self._paragraph(one, rank=_number(attribute(one, "outline-level"), default=1))
            case "p":
                self._paragraph(one, rank=0 if self._styles.is_title(attribute(one, "style-name")) else None)
            case "list" if next(descendants(one, "h"), None) is not None:  # how numbered headings are written
                self.write(one)
            case "list":
                lines: list[str] = []
                self._list(one, lines, style=None, depth=0)
                self._draft.block("list", "\n".join(lines))
            case "table":
                tables.write(self._draft, [self._row(row) for row in rows_of(one)], header=self._header(one))
            case "section" if attribute(one, "display") in ("none", "condition"):
                pass
            case name if name not in _UNSEEN:
                self.write(one)

    def words(self, element: Element) -> str:
        """All words below an element on one line, with those in its frames."""
        return squeezed(self._line(element).text())

    def _line(self, element: Element) -> _Line:
        line = _Line(self._styles)
        line.take(element)
        for frame in line.frames:  # grows while it is read, when a frame stands in a frame
            line.words.append("\n")
            line.take(frame)
        return line

    def _paragraph(self, paragraph: Element, *, rank: int | None) -> None:
        if attribute(paragraph, "style-name") in self._styles.hidden_words:
            return
        line = _Line(self._styles)
        line.take(paragraph)
        if rank is not None:
            self._draft.heading(rank, line.text())
        else:
            self._draft.block("paragraph", "\n".join(map(squeezed, line.text().split("\n"))))
        for note in line.notes:
            self._draft.block("paragraph", self._note(note))
        for frame in line.frames:
            self.write(frame)

    def _note(self, note: Element) -> str:
        mark, body = child(note, "note-citation"), child(note, "note-body")
        return f"[{self.words(mark) if mark is not None else '*'}] {self.words(body) if body is not None else ''}"

    def _list(self, element: Element, lines: list[str], *, style: str | None, depth: int) -> None:
        style = attribute(element, "style-name") or style
        number = 0
        for item in element:
            if local(item) not in ("list-item", "list-header"):
                continue
            number += 1
            mark = f"{number}." if self._styles.is_numbered(style, depth + 1) else "-"
            for one in item:
                if local(one) == "list":
                    self._list(one, lines, style=style, depth=depth + 1)
                elif words := self.words(one):
                    lines.append(f"{'  ' * min(depth, _DEEPEST)}{mark} {words}")

    def _header(self, table: Element) -> list[str] | None:
        head = child(table, "table-header-rows")
        row = next(rows_of(head), None) if head is not None else None
        return self._row(row) if row is not None else None

    def _row(self, row: Element) -> list[str]:
        return cells_of(row, self.words, widest=_WIDEST)


def rows_of(table: Element) -> Iterator[Element]:
    """Through the groups that may stand between, but not into a table in a cell."""
    for one in table:
        name = local(one)
        if name == "table-row":
            yield one
        elif name in ("table-header-rows", "table-rows", "table-row-group"):
            yield from rows_of(one)


def cells_of(row: Element, words: Words, *, widest: int) -> list[str]:
    """A cell that stands for several is repeated; what is empty at the end is nothing."""
    cells: list[str] = []
    empty = 0
    for cell in row:
        count = _number(attribute(cell, "number-columns-repeated"), default=1)
        text = words(cell) if local(cell) == "table-cell" else ""
        if text:
            cells += [""] * min(empty, widest) + [text] * min(count, widest)
            empty = 0
        else:
            empty += count
        if len(cells) > widest:
            break
    return cells


def _number(value: str | None, *, default: int) -> int:
    return int(value) if value and value.isdecimal() and len(value) < _DEEPEST else default
