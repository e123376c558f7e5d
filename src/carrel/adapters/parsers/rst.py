"""reStructuredText, as docutils reads it: headings, lists, tables, code, admonitions. Nothing outside is included."""

import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

from docutils import nodes
from docutils.core import publish_doctree
from docutils.parsers.rst.directives import admonitions, body, images, misc, parts, references, tables
from docutils.utils import SystemMessage

from carrel.adapters.parsers import decode, plain
from carrel.adapters.parsers.characters import squeezed
from carrel.adapters.parsers.draft import Draft
from carrel.domain.text import ParsedDocument

_MOST: Final = 2_000_000  # characters: docutils reads some 200,000 in a second
_LONGEST_LINE: Final = 10_000
_REACH: Final = 500  # lines
_ROLE: Final = re.compile(r":[\w:+-]{1,60}:`([^`<]{0,500}?)\s*(?:<[^`>]{0,500}>)?`")
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
_UNPLACED: Final = (nodes.literal_block, nodes.doctest_block, nodes.math_block, nodes.table, nodes.system_message)
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


class _Writer:
    def __init__(self, draft: Draft, source: Sequence[str]) -> None:
        self._draft = draft
        self._source = source
        self._line = 1
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
        line = _line_of(node) or self._line
        if not isinstance(node, _UNPLACED):
            self._line = max(self._line, line)
        match node:
            case nodes.title():
                self._title(node, level, line)
            case nodes.section():
                yield from ((child, level + 1) for child in node.children)
            case nodes.system_message():
                self._unknown(node)
            case nodes.Admonition():
                yield from self._admonition(node, level)
            case nodes.Element() if not self._is_written(node, line):
                yield from ((child, level) for child in node.children)

    def _is_written(self, node: nodes.Element, line: int) -> bool:
        """Whether it was a block of its own."""
        match node:
            case nodes.literal_block() | nodes.doctest_block() | nodes.math_block():
                self._draft.block("code", node.astext(), line=self._found(node.astext()))
            case nodes.table():
                cells = (entry.astext() for row in node.findall(nodes.row) for entry in row.children)
                line = self._found(next(filter(str.strip, cells), ""))
                self._draft.block("table", "\n".join(_rows(node)), line=line, repeated=_many(node))
            case _ if isinstance(node, _LISTS):
                self._draft.block("list", "\n".join(_items(node, 0)), line=line)
            case nodes.line_block():
                self._draft.block("paragraph", node.astext(), line=line)
            case nodes.TextElement():
                self._draft.block("paragraph", _words(node), line=line)
            case _:
                return False
        return True

    def _found(self, text: str) -> int:
        """The line on which text stands that docutils does not place: the next one that holds how it begins."""
        begin = next((line.strip() for line in text.split("\n") if line.strip()), "")
        for line in range(self._line, min(self._line + _REACH, len(self._source) + 1)):
            if begin and begin in self._source[line - 1]:
                self._line = line
                break
        return self._line

    def _title(self, node: nodes.title, level: int, line: int) -> None:
        """Titles of topics and sidebars are no headings."""
        if isinstance(node.parent, nodes.document | nodes.section):
            self._draft.heading(level, _words(node), line=max(line - 1, 1))  # docutils names its underline
            self.title = self.title or _words(node)
        else:
            self._draft.block("paragraph", _words(node), line=line)

    def _admonition(self, node: Any, level: int) -> Iterator[tuple[Any, int]]:
        name = node.children[0] if isinstance(node, nodes.admonition) and node.children else None
        if name is None:
            self._draft.block("paragraph", f"{type(node).__name__.capitalize()}:", line=self._line)
        yield from ((child, level) for child in node.children)

    def _unknown(self, message: nodes.system_message) -> None:
        """A directive that docutils does not know, as those of Sphinx, is kept as it is written."""
        for child in message.children:
            if isinstance(child, nodes.literal_block):
                self._draft.block("code", child.astext(), line=self._found(child.astext()))


def _line_of(node: Any) -> int | None:
    while node is not None:
        if getattr(node, "line", None):
            return int(node.line)
        node = node.children[0] if getattr(node, "children", ()) else None
    return None


def _words(node: Any) -> str:
    return _ROLE.sub(r"\1", squeezed(node.astext()))


def _rows(table: nodes.table) -> Iterator[str]:
    for node in table.children:
        if isinstance(node, nodes.title):
            yield _words(node)
    for row in table.findall(nodes.row):
        yield " | ".join(_words(entry) for entry in row.children).rstrip(" |")


def _many(node: nodes.table) -> int:
    """Its lines are ruled and its cells may go on, so a row's number says nothing about its line."""
    return sum(1 for _ in node.findall(nodes.row)) + 1


def _items(node: Any, depth: int) -> Iterator[str]:
    """One line for each item, and those of its own lists indented below it."""
    for number, item in enumerate(node.children, int(node.get("start", 1))):
        mark = f"{number}. " if isinstance(node, nodes.enumerated_list) else "- "
        lines = list(_lines(item, depth + 1))
        yield "  " * depth + mark + (lines[0].lstrip() if lines else "")
        yield from lines[1:]


def _lines(item: Any, depth: int) -> Iterator[str]:
    if isinstance(item, nodes.definition_list_item | nodes.field | nodes.option_list_item):
        yield "  " * depth + ": ".join(_words(child) for child in item.children)
        return
    for child in item.children:
        if isinstance(child, nodes.Sequential) and not isinstance(child, nodes.line_block):
            yield from _items(child, depth)
        elif isinstance(child, nodes.literal_block):
            yield from child.astext().split("\n")
        else:
            yield "  " * depth + _words(child)
