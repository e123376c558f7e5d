"""XML: each element with its text, and the titles and names of those around it as headings."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, TypeAlias
from xml.sax import SAXException  # the exceptions alone: nothing is parsed by it
from xml.sax.handler import ContentHandler

from defusedxml import DefusedXmlException
from defusedxml.expatreader import DefusedExpatParser

from carrel.adapters.parsers import decode, entries
from carrel.adapters.parsers.characters import squeezed
from carrel.adapters.parsers.draft import Draft
from carrel.adapters.parsers.entries import Entry, Lines
from carrel.adapters.parsers.trail import Mark, Trail, visible
from carrel.domain.errors import Unreadable
from carrel.domain.text import ParsedDocument

_DECLARED: Final = re.compile(rb"^\s{0,99}<\?xml[^>]{0,200}?encoding\s{0,9}=\s{0,9}[\"']([\w.:-]{1,40})")
_DOCTYPE: Final = re.compile(
    r"\A((?:\s|<\?[^>]{0,2000}+>|<!--(?:(?!-->).){0,20000}+-->){0,99}+)(<!DOCTYPE[^\[\]<>]{1,2000}>)", re.DOTALL
)
_TITLES: Final = frozenset({"title", "name", "head", "heading", "label", "caption", "subject", "displayname"})
# Elements that say nothing about the text in them.
_PROSE: Final = frozenset({
    "abstract", "body", "p", "para", "simpara", "item", "li", "listitem", "entry", "td", "th", "text", "t", "span",
    "content", "description", "summary", "note", *_TITLES,
})  # fmt: skip
_DEEPEST: Final = 500
_INLINE: Final = 20_000  # characters of an element whose text and elements are mixed, to be read as one line
_LONGEST_TITLE: Final = 200
_PIECE: Final = 1 << 16

_Step: TypeAlias = "tuple[_Element, int, Entry] | Entry"


class _Words(NamedTuple):
    """Text between two tags, which begins on this line."""

    text: str
    line: int


@dataclass(slots=True)
class _Element:
    tag: str
    line: int
    attributes: list[tuple[str, str]]
    parts: list["_Words | _Element"] = field(default_factory=list)
    size: int = 0  # characters within
    is_mixed: bool = False

    @property
    def elements(self) -> list["_Element"]:
        return [part for part in self.parts if isinstance(part, _Element)]

    def text(self) -> str:
        """All of it on one line."""
        return squeezed(self.trail().taken()[0])

    def trail(self) -> Trail:
        trail = Trail()
        waiting: list[_Words | _Element] = [self]
        while waiting:
            part = waiting.pop()
            if isinstance(part, _Element):
                waiting += reversed(part.parts)
                continue
            for number, text in enumerate(part.text.splitlines(keepends=True)):
                if text.strip():
                    trail.at(part.line + number)
                trail.add(text)
        return trail


def prepare() -> None:
    decode.prepare()
    parse(b"<?xml version='1.0' encoding='cp1252'?><a b='c'>d</a>", key="")


def parse(content: bytes, *, key: str) -> ParsedDocument:  # noqa: ARG001 - all formats have one signature
    """Raises Unreadable for what is not well formed, and for declared entities: nothing of ours needs them."""
    declared = _DECLARED.search(content[:_PIECE])
    root = _tree(decode.text_of(content, declared=declared[1].decode() if declared else None))
    lines, top = _written(root)
    draft = Draft()
    entries.write(draft, lines, top.entries)
    return draft.finish(top.name)


def _tree(text: str) -> _Element:
    """Nothing from outside is asked for, and no declared entity expanded: the parser refuses both."""
    text = _DOCTYPE.sub(_without_doctype, text, count=1)
    parser = DefusedExpatParser(forbid_dtd=False, forbid_entities=True, forbid_external=True)
    builder = _Builder(parser)
    parser.setContentHandler(builder)
    try:
        for start in range(0, len(text), _PIECE):
            parser.feed(text[start : start + _PIECE])
        parser.close()
    except (SAXException, DefusedXmlException) as error:
        raise Unreadable("The XML is not well formed, or declares entities.") from error
    if builder.root is None:
        raise Unreadable("The XML has no element.")
    return builder.root


class _Builder(ContentHandler):
    """Iterative, so that a deep document costs no stack."""

    def __init__(self, locator: DefusedExpatParser) -> None:
        super().__init__()
        self.root: _Element | None = None
        self._open: list[_Element] = []
        self._locator = locator

    def startElement(self, name: str, attrs: Any) -> None:  # noqa: N802 - the interface of SAX
        if len(self._open) > _DEEPEST:
            raise Unreadable(f"The XML is nested more than {_DEEPEST} levels deep.")
        named = [(_local(key), squeezed(value)) for key, value in attrs.items() if not key.startswith("xmlns")]
        element = _Element(_local(name), self._locator.getLineNumber(), named)
        if self._open:
            self._open[-1].parts.append(element)
        self.root = self.root or element
        self._open.append(element)

    def characters(self, content: str) -> None:
        if self._open:
            above = self._open[-1]
            # the locator is where the text ends: it is told in one piece
            above.parts.append(_Words(content, self._locator.getLineNumber() - content.count("\n")))
            above.size += len(content)

    def endElement(self, name: str) -> None:  # noqa: ARG002, N802
        element = self._open.pop()
        has_words = any(isinstance(part, _Words) and part.text.strip() for part in element.parts)
        element.is_mixed = has_words and len(element.elements) > 0
        if self._open:
            self._open[-1].size += element.size


def _without_doctype(prolog: re.Match[str]) -> str:
    """A document type that only names itself is harmless. What is left must keep its lines."""
    return prolog[1] + "\n" * prolog[2].count("\n")


def _local(name: str) -> str:
    return name.rpartition(":")[2]


def _written(root: _Element) -> tuple[Lines, Entry]:
    lines, top = Lines(), Entry(_title(root) or "", 0, 0)
    waiting: list[_Step] = [(part, 0, top) for part in reversed(_parts(root))]
    if root.attributes:
        lines.add(0, _head(root), root.line)
    while waiting:
        step = waiting.pop()
        if isinstance(step, Entry):
            step.last = len(lines)
            continue
        element, depth, above = step
        if _is_line(element):
            _write_line(lines, element, depth)
            continue
        entry = Entry(_title(element) or element.tag, len(lines), len(lines) + (not element.attributes))
        lines.add(depth, f"{_head(element)}:", element.line)
        above.entries.append(entry)
        waiting.append(entry)
        waiting += [(part, depth + 1, entry) for part in reversed(_parts(element))]
    top.last = len(lines)
    return lines, top


def _parts(element: _Element) -> list[_Element]:
    """Its elements; words beside them count as elements without a name."""
    if not element.elements:
        return [_Element("", element.line, [], list(element.parts))]
    return list(_worded(element))


def _worded(element: _Element) -> Iterator[_Element]:
    for part in element.parts:
        if isinstance(part, _Element):
            yield part
        elif part.text.strip():
            yield _Element("", part.line, [], [part])


def _is_line(element: _Element) -> bool:
    return not element.elements or (element.is_mixed and element.size <= _INLINE)


def _write_line(lines: Lines, element: _Element, depth: int) -> None:
    written, marks = element.trail().taken()
    text = squeezed(written)
    if (not element.tag or element.tag.lower() in _PROSE) and not element.attributes:
        if text:
            lines.add(depth, text, marks[0].line, marks)
    else:
        head = f"{_head(element)}: " if text else _head(element)
        before = visible(head)
        lines.add(depth, head + text, element.line, [Mark(before + seen, line) for seen, line in marks])


def _head(element: _Element) -> str:
    told = ", ".join(f"{name}={value}" for name, value in element.attributes if value)
    return f"{element.tag} ({told})" if told else element.tag


def _title(element: _Element) -> str | None:
    for part in element.elements[:5]:
        if part.tag.lower() in _TITLES and 0 < part.size <= _LONGEST_TITLE and (title := part.text()):
            return title
    named = dict(element.attributes)
    name = next((named[one] for one in ("title", "name", "id") if named.get(one)), None)
    return f"{element.tag} {name}" if name else None
