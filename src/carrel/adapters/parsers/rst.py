"""reStructuredText, as docutils reads it: headings, lists, tables, code, admonitions. Nothing outside is included."""

import re
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

from docutils import nodes
from docutils.core import publish_doctree
from docutils.parsers.rst.directives import admonitions, body, images, misc, parts, references, tables
from docutils.utils import SystemMessage

from carrel.adapters.parsers import decode, plain
from carrel.adapters.parsers.characters import squeezed
from carrel.adapters.parsers.draft import Draft
from carrel.adapters.parsers.rst_places import RstPlaces
from carrel.adapters.parsers.trail import Seeker, Trail
from carrel.domain.text import ParsedDocument

_MOST: Final = 2_000_000  # characters: docutils reads some 200,000 in a second
_LONGEST_LINE: Final = 10_000
_ROLE: Final = re.compile(r":[\w:+-]{1,60}:`([^`<]{0,500}?)\s*(?:<[^`>]{0,500}>)?`")
_MARKUP: Final = re.compile(r"[\\`*|<>_:]")
_SPACES: Final = re.compile(r"\s+")
_SETTINGS: Final = {
    "_disable_config": True,
    "file_insertion_enabled": False,
    "raw_enabled": False,
    "report_level": 5,
    "halt_level": 5,
    "syntax_highlight": "none",
    "input_encoding": "unicode",
    "doctitle_xform": False,
    "sectsubtitle_xform": False,
    "line_length_limit": _LONGEST_LINE,
    "traceback": True,
}
_LEFT_OUT: Final = (
    nodes.comment,
    nodes.substitution_definition,
    nodes.target,
    nodes.pending,
    nodes.meta,
    nodes.decoration,
)
DIRECTIVES: Final = (admonitions, body, images, misc, parts, references, tables)  # imported before any fork
_LISTS: Final = (nodes.bullet_list, nodes.enumerated_list, nodes.definition_list, nodes.field_list, nodes.option_list)
_WARM_UP: Final = (
    "Title\n=====\n\n:field: x\n\n.. note:: x\n\n- a\n\n1. b\n\n| l\n\n=== ===\na   b\n=== ===\n1   2\n=== ===\n\n"
    "+--+\n|a |\n+--+\n\n.. code:: python\n\n   x\n\n.. unknown:: x\n\n:ref:`x` ``y`` *z* `a <http://b.example>`_\n\n|s|\n\n"
    ".. |s| replace:: t\n\n.. csv-table::\n\n   a, b\n\n.. math:: x\n\n.. contents::\n\n.. [1] foot\n\nterm\n  def\n"
)


def prepare() -> None:
    """docutils looks for directives and languages when it meets them, which a fork cannot."""
    decode.prepare()
    parse(_WARM_UP.encode(), key="")


def parse(content: bytes, *, key: str) -> ParsedDocument:
    """What docutils does not bear (very long lines, very deep nesting, very large files) is read as plain text."""
    text = decode.text_of(content)
    if len(text) > _MOST:
        return plain.parse(content, key=key)
    try:
        tree = publish_doctree(text, settings_overrides=_SETTINGS)
    except (SystemMessage, RecursionError):
        return plain.parse(content, key=key)
    draft = Draft()
    writer = _Writer(draft, text.split("\n"))
    writer.write(tree)
    if not draft.is_begun:
        return plain.parse(content, key=key)
    return draft.finish(writer.title)


class _Part(NamedTuple):
    """`line` None: it stands where the part before it stands, or is ours."""

    text: str
    line: int | None = None


class _Writer:
    def __init__(self, draft: Draft, source: Sequence[str]) -> None:
        self._draft = draft
        self._places = RstPlaces(source)
        self.title: str | None = None

    def write(self, tree: nodes.document) -> None:
        waiting: list[tuple[Any, int]] = [(tree, 1)]
        while waiting:
            node, level = waiting.pop()
            waiting += reversed(list(self._take(node, level)))

    def _take(self, node: Any, level: int) -> Iterator[tuple[Any, int]]:
        """Writes the node, or gives what is in it."""
        if isinstance(node, _LEFT_OUT):
            return
        match node:
            case nodes.title():
                self._title(node, level)
            case nodes.section():
                yield from ((child, level + 1) for child in node.children)
            case nodes.system_message():
                self._unknown(node)
            case nodes.Admonition():
                yield from self._admonition(node, level)
            case nodes.Element() if not self._is_written(node):
                yield from ((child, level) for child in node.children)

    def _is_written(self, node: nodes.Element) -> bool:
        """Whether it was a block of its own."""
        match node:
            case nodes.literal_block() | nodes.doctest_block() | nodes.math_block():
                self._draft.block("code", node.astext(), line=self._places.of_code(node.astext()))
            case nodes.table():
                self._block("table", self._rows(node))
            case _ if isinstance(node, _LISTS):
                self._block("list", self._items(node, 0))
            case nodes.line_block():
                self._block("paragraph", self._lines_of(node))
            case nodes.TextElement():
                self._block("paragraph", self._said(node))
            case _:
                return False
        return True

    def _block(self, kind: str, parts: Iterator[_Part]) -> None:
        trail = Trail()
        for part in parts:
            if part.line is not None:
                trail.at(part.line)
            trail.add(part.text)
        text, marks = trail.taken()
        self._draft.block(kind, text, line=marks[0].line if marks else self._places.line, marks=marks)

    def _title(self, node: nodes.title, level: int) -> None:
        """Titles of topics and sidebars are no headings."""
        if isinstance(node.parent, nodes.document | nodes.section):
            self._draft.heading(level, _words(node), line=self._places.of(node))
            self.title = self.title or _words(node)
        else:
            self._block("paragraph", self._said(node))

    def _said(self, node: Any) -> Iterator[_Part]:
        """Its words on one line, each with the line on which it stands."""
        gap = ""
        for leaf in _leaves(node):
            seeker = Seeker(leaf.rawsource or leaf.astext(), self._places.of(leaf))
            parts = [part for text in leaf.findall(nodes.Text) for part in text.astext().splitlines(keepends=True)]
            words = [_ROLE.sub(r"\1", part) for part in parts]
            if squeezed("".join(words)) != _words(leaf):  # a role that goes on over the end of a line
                parts, words = [leaf.astext()], [_words(leaf)]
            for part, word in zip(parts, words, strict=True):
                yield _Part(gap + _SPACES.sub(" ", word), seeker.line_of(_begin(part)))
                gap = ""
            gap = " "

    def _rows(self, table: nodes.table) -> Iterator[_Part]:
        for node in table.children:
            if isinstance(node, nodes.title):
                yield from self._said(node)
                yield _Part("\n")
        for row in table.findall(nodes.row):
            filled = max((number for number, entry in enumerate(row.children) if entry.astext().strip()), default=-1)
            for number, entry in enumerate(row.children[: filled + 1]):
                said = list(self._said(entry))
                yield _Part(" | " if number else "", said[0].line if said else None)
                yield from said
            yield _Part("\n")

    def _items(self, node: Any, depth: int) -> Iterator[_Part]:
        """One line for each item, and those of its own lists indented below it."""
        for number, item in enumerate(node.children, int(node.get("start", 1))):
            mark = f"{number}. " if isinstance(node, nodes.enumerated_list) else "- "
            leaf = next(_leaves(item), None)
            yield _Part("  " * depth + mark, None if leaf is None else self._places.look(leaf))
            yield from self._item(item, depth + 1)

    def _item(self, item: Any, depth: int) -> Iterator[_Part]:
        if isinstance(item, nodes.definition_list_item | nodes.field | nodes.option_list_item):
            for number, child in enumerate(item.children):
                yield _Part(": " if number else "")
                yield from self._said(child)
            yield _Part("\n")
            return
        for number, child in enumerate(item.children):
            if isinstance(child, nodes.Sequential) and not isinstance(child, nodes.line_block):
                yield _Part("\n" if not number else "")
                yield from self._items(child, depth)
            elif isinstance(child, nodes.literal_block):
                line = self._places.of_code(child.astext())
                for more, text in enumerate(child.astext().split("\n")):
                    yield _Part(f"{text}\n", line + more)
            else:
                yield _Part("  " * depth if number else "")
                yield from self._said(child)
                yield _Part("\n")
        if not item.children:
            yield _Part("\n")

    def _lines_of(self, block: nodes.line_block) -> Iterator[_Part]:
        for line in block.findall(nodes.line):
            yield from self._said(line)
            yield _Part("\n")

    def _admonition(self, node: Any, level: int) -> Iterator[tuple[Any, int]]:
        name = node.children[0] if isinstance(node, nodes.admonition) and node.children else None
        if name is None:
            kind = type(node).__name__
            line = self._places.above(next(_leaves(node), None), f"{kind}::")
            self._draft.block("paragraph", f"{kind.capitalize()}:", line=line)
        yield from ((child, level) for child in node.children)

    def _unknown(self, message: nodes.system_message) -> None:
        """A directive that docutils does not know, as those of Sphinx, is kept as it is written."""
        for child in message.children:
            if isinstance(child, nodes.literal_block):
                self._draft.block("code", child.astext(), line=self._places.of_code(child.astext()))


def _leaves(node: Any) -> Iterator[Any]:
    """The elements that hold text and its markup, and nothing else."""
    if isinstance(node, nodes.TextElement):
        yield node
        return
    for child in node.children:
        if not isinstance(child, nodes.Text):
            yield from _leaves(child)


def _words(node: Any) -> str:
    return _ROLE.sub(r"\1", squeezed(node.astext()))


def _begin(text: str) -> str:
    """Up to where markup may begin or end: only what is written like this can be found."""
    return _MARKUP.split(text.strip(), maxsplit=1)[0]
