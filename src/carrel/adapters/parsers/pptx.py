"""PowerPoint presentations: each slide a page, its title the heading, then its text, tables, diagrams and notes."""

from collections.abc import Iterator
from typing import Final

from carrel.adapters.parsers import tables
from carrel.adapters.parsers.characters import squeezed
from carrel.adapters.parsers.draft import Draft
from carrel.adapters.parsers.markup import Element, attribute, child, descendants, foreign_attribute, local
from carrel.adapters.parsers.opc import Package, Relation
from carrel.adapters.parsers.wire import PAGES
from carrel.domain.errors import Unreadable
from carrel.domain.text import ParsedDocument

_TITLES: Final = frozenset({"title", "ctrTitle"})
_FURNITURE: Final = frozenset({"dt", "ftr", "sldNum", "hdr", "sldImg"})
_LEVELS: Final = 9
_OFF: Final = frozenset({"0", "false"})
_ON: Final = frozenset({"1", "true"})


def read(package: Package) -> ParsedDocument:
    """Hidden slides and shapes are left out; a slide keeps its number all the same."""
    draft = Draft()
    seen: set[str] = set()
    for number, part in enumerate(_slides(package), start=1):
        if number > PAGES:
            raise Unreadable(f"The presentation has more than {PAGES} slides.", code="parser_output")
        if part in package.archive and part not in seen:
            seen.add(part)
            _write(draft, package, part, number)
    return draft.finish(package.title())


def _slides(package: Package) -> Iterator[str]:
    relations = package.relations(package.main)
    listed = child(package.tree(package.main), "sldIdLst")
    for slide in listed if listed is not None else ():
        yield relations.get(foreign_attribute(slide, "id") or "", Relation("", "")).part


def _write(draft: Draft, package: Package, part: str, number: int) -> None:
    slide = package.tree(part)
    if slide.get("show") in _OFF:
        return
    shapes = list(_shapes(child(child(slide, "cSld"), "spTree")))
    title = next((shape for shape in shapes if _placeholder(shape) in _TITLES), None)
    name = " ".join(text for _, text in _paragraphs(title)) if title is not None else ""
    draft.turn_to(number, name, otherwise=f"Slide {number}")
    for shape in shapes:
        if shape is not title:
            _write_shape(draft, package, part, shape)
    _write_notes(draft, package, part)


def _write_shape(draft: Draft, package: Package, part: str, shape: Element) -> None:
    if local(shape) == "graphicFrame":
        for table in descendants(shape, "tbl"):
            tables.write(draft, [[_words(cell) for cell in descendants(row, "tc")] for row in descendants(table, "tr")])
        for diagram in descendants(shape, "relIds"):
            _write_diagram(draft, package, package.relations(part).get(foreign_attribute(diagram, "dm") or ""))
        return
    lines = list(_paragraphs(shape))
    if _placeholder(shape) in ("body", "obj") and len(lines) > 1:
        draft.block("list", "\n".join(f"{'  ' * level}- {text}" for level, text in lines))
    else:
        for _, text in lines:
            draft.block("paragraph", text)


def _write_diagram(draft: Draft, package: Package, relation: Relation | None) -> None:
    if relation and relation.part in package.archive:
        points = descendants(package.tree(relation.part), "pt")
        draft.block("list", "\n".join(f"- {text}" for text in map(_words, points) if text))


def _write_notes(draft: Draft, package: Package, part: str) -> None:
    notes = package.part(part, "notesSlide")
    if notes is None:
        return
    shapes = _shapes(child(child(notes, "cSld"), "spTree"))
    texts = [text for shape in shapes if _placeholder(shape) == "body" for _, text in _paragraphs(shape)]
    if texts:
        draft.heading(2, "Notes")
        draft.block("paragraph", "\n".join(texts))


def _shapes(tree: Element | None) -> Iterator[Element]:
    """In their order, out of their groups, without what is hidden and what every slide repeats."""
    for shape in tree if tree is not None else ():
        name = local(shape)
        if name == "grpSp" and not _is_hidden(shape):
            yield from _shapes(shape)
        elif name in ("sp", "graphicFrame") and not _is_hidden(shape) and _placeholder(shape) not in _FURNITURE:
            yield shape
        elif name in ("AlternateContent", "Choice"):
            yield from _shapes(shape)


def _properties(shape: Element) -> Element | None:
    return next((one for one in shape if local(one).startswith("nv")), None)


def _is_hidden(shape: Element) -> bool:
    drawn = child(_properties(shape), "cNvPr")
    return drawn is not None and drawn.get("hidden") in _ON


def _placeholder(shape: Element) -> str | None:
    """The place of the layout that the shape fills; None for one that stands by itself."""
    place = child(child(_properties(shape), "nvPr"), "ph")
    return (place.get("type") or "obj") if place is not None else None


def _paragraphs(shape: Element) -> Iterator[tuple[int, str]]:
    """Each with its level."""
    for paragraph in descendants(shape, "p"):
        if text := _line(paragraph).strip():
            value = attribute(_or_itself(child(paragraph, "pPr"), paragraph), "lvl") or ""
            yield (min(int(value), _LEVELS) if value.isdecimal() and len(value) < _LEVELS else 0), text


def _or_itself(properties: Element | None, paragraph: Element) -> Element:
    return paragraph if properties is None else properties


def _line(paragraph: Element) -> str:
    return "".join("\n" if local(one) == "br" else one.text or "" for one in descendants(paragraph, "t", "br"))


def _words(element: Element) -> str:
    return squeezed("\n".join(_line(paragraph) for paragraph in descendants(element, "p")))
