"""The line that a passage tells is the line of the file on which it begins, in every format that people cite by lines.

Every word of a generated document stands in it once, so where a passage begins is never in doubt.
"""

import json
import random
import re
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carrel.adapters.parsers import code, json_tree, markdown, plain, rows, rst, wire, xml_tree, yaml_tree
from carrel.domain.library import ChunkRules
from carrel.domain.text import Chunk, ParsedDocument
from carrel.ingest.chunk import chunk
from carrel.ports.embedder import Tokens
from support.rounds import rounds

ENDS: Final = ("\n", "\r\n", "\r")
_LEADING: Final = re.compile(r"[|\s]*Name|(?:Name|[\d\s,])+$|[|\s\d-]+$|[\s\"ab\[\]{}:,]+$|<par[at]>$|.*: \|$")
_NUMBERED: Final = re.compile(r"\A(?:(?:\w+|q\d+q)(?: \d+)+\s+)+")
_WORD: Final = re.compile(r"\bq\d+q\b")


class Author:
    """Writes a document of one format by chance; its words are `q0q`, `q1q` and so on."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)
        self._count = 0

    def many(self, most: int) -> range:
        return range(self._chance.randint(1, most))

    def any_of(self, *choices: Callable[[], str]) -> str:
        return self._chance.choice(choices)()

    def chance(self) -> bool:
        return self._chance.random() < 0.5

    def words(self, most: int = 8) -> str:
        said = []
        for _ in self.many(most):
            said.append(f"q{self._count}q")
            self._count += 1
        return " ".join(said) + self._chance.choice(("", "", ".", "!"))

    def lines(self, most: int = 4, *, indent: str = "") -> str:
        """A paragraph that is wrapped."""
        return f"\n{indent}".join(self.words() for _ in self.many(most))

    def gap(self) -> str:
        return "\n" * self._chance.choice((2, 2, 3, 5))


def _markdown(author: Author) -> str:
    def item(mark: str, depth: int = 0) -> str:
        indent = "   " * (depth + 1)
        text = f"{'   ' * depth}{mark.ljust(3)}{author.lines(indent=indent)}"
        if author.chance():
            text += f"\n\n{indent}{author.lines(indent=indent)}"
        if author.chance():
            text += f"\n\n{indent}```\n{indent}{author.words()}\n\n{indent}{author.words()}\n{indent}```"
        if depth < 2 and author.chance():
            text += "\n" + item("-", depth + 1)
        return text

    def a_list() -> str:
        mark, gap = ("1." if author.chance() else "-"), "\n\n" if author.chance() else "\n"
        return gap.join(item(mark) for _ in author.many(5))

    def table() -> str:
        columns = author.many(4)
        empty = author.chance()
        name = "Name " * author.many(40)[-1]
        head = "|" + "|".join(" " if empty else f" {name} {column} " for column in columns) + "|"
        rows = ["|" + "|".join(f" {author.words(4)} " for _ in columns) + "|" for _ in author.many(40)]
        return "\n".join([head, "|" + "--|" * len(columns), *rows])

    def inline() -> str:
        link = f"[{author.words(2)}\n{author.words(2)}](http://a.example 'x')"
        return f"{author.words()} *{author.words()}\n{author.words()}* `{author.words(1)}` {link}\n{author.lines()}"

    blocks = (
        author.lines, author.lines, inline, a_list, a_list, table, lambda: f"## {author.words()}",
        lambda: f"{author.lines()}\n====", lambda: f"> {author.lines(indent='> ')}",
        lambda: f"```\n\n{author.lines()}\n\n{author.words()}\n```",
        lambda: f"    {author.words()}\n\n    {author.words()}",
        lambda: f"<div>\n<p>{author.lines()}</p>\n<!-- x -->\n<p>{author.words()}</p></div>",
    )  # fmt: skip
    front = "---\ntitle: x\n---\n" if author.chance() else ""
    return front + author.gap().join(author.any_of(*blocks) for _ in author.many(12))


def _rst(author: Author) -> str:
    def a_list() -> str:
        mark, gap = ("#." if author.chance() else "-"), "\n\n" if author.chance() else "\n"
        indent = " " * (len(mark) + 1)

        def item() -> str:
            text = f"{mark} {author.lines(indent=indent)}"
            return f"{text}\n\n{indent}{author.lines(indent=indent)}" if gap == "\n\n" and author.chance() else text

        return gap.join(item() for _ in author.many(6))

    def heading() -> str:
        name = author.words(3)
        rule = "=" * len(name)
        return f"{rule}\n{name}\n{rule}" if author.chance() else f"{name}\n{'-' * len(name)}"

    def grid() -> str:
        rule = f"+{'-' * 42}+{'-' * 42}+"
        rows = [
            f"| {author.words(5):40} | {author.words(5):40} |\n| {author.words(5):40} | {author.words(5):40} |\n{rule}"
            for _ in author.many(4)
        ]
        return "\n".join([rule, *rows])

    def definitions() -> str:
        return "\n".join(f"{author.words(3)}\n   {author.lines(indent='   ')}" for _ in author.many(4))

    def marked() -> str:
        return (
            f"{author.words()} *{author.words()}\n{author.words()}* ``{author.words(1)}``\nx :ref:`{author.words(1)}`"
        )

    blocks = (
        author.lines, author.lines, a_list, a_list, marked, grid, definitions, heading,
        lambda: f".. note:: {author.lines(indent='   ')}",
        lambda: f".. code:: sh\n\n   {author.lines(indent='   ')}\n\n   {author.words()}",
        lambda: f"{author.words()}::\n\n    {author.words()}",
        lambda: "\n".join(f"| {author.words()}" for _ in author.many(4)),
        lambda: "\n".join(f":q{author.words(1)}: {author.lines(indent='   ')}" for _ in author.many(3)),
    )  # fmt: skip
    return "\n\n".join(author.any_of(*blocks) for _ in author.many(12))


def _json_value(author: Author, depth: int = 0) -> Any:
    if depth < 3 and author.chance():
        return {author.words(1).rstrip(".!"): _json_value(author, depth + 1) for _ in author.many(5)}
    if depth < 3 and author.chance():
        return [_json_value(author, depth + 1) for _ in author.many(5)]
    return author.words(20)


def _json(author: Author) -> str:
    return json.dumps({"a": _json_value(author), "b": [_json_value(author) for _ in author.many(4)]}, indent=1)


def _json_lines(author: Author) -> str:
    gap = "\n\n" if author.chance() else "\n"
    return gap.join(json.dumps({author.words(1).rstrip(".!"): _json_value(author, 2)}) for _ in author.many(30)) + "\n"


def _yaml(author: Author) -> str:
    def entry(depth: int) -> str:
        indent = "  " * depth
        text = f"{indent}# {author.words()}\n" if author.chance() else ""
        text += f"{indent}{author.words(1).rstrip('.!')}:"
        if depth < 3 and author.chance():
            return text + "\n" + "\n".join(entry(depth + 1) for _ in author.many(4))
        if author.chance():
            return text + "".join(f"\n{indent}  - {author.words()}" for _ in author.many(4))
        return text + (
            f" |\n{indent}  {author.lines(indent=indent + '  ')}" if author.chance() else f" {author.words()}"
        )

    return "\n".join(entry(0) + "\n" * author.chance() for _ in author.many(8))


def _xml(author: Author) -> str:
    def element(depth: int) -> str:
        if depth < 3 and author.chance():
            return "<part>\n" + "\n".join(element(depth + 1) for _ in author.many(4)) + "\n</part>"
        words = f"{author.lines()} <b>{author.words()}</b>\n{author.words()}" if author.chance() else author.lines()
        return f"<para>\n  {words}\n</para>" if author.chance() else f"<para>{words}</para>"

    return "<?xml version='1.0'?>\n<book>\n" + "\n".join(element(0) for _ in author.many(5)) + "\n</book>"


def _csv(author: Author) -> str:
    columns = author.many(5)

    def cell() -> str:
        return f'"{author.lines()}"' if author.chance() else author.words(6)

    head = [",".join(f"Name {column}" if author.chance() else str(column) for column in columns)]
    return "\n".join([*head, *(",".join(cell() for _ in columns) for _ in author.many(30))]) + "\n"


def _plain(author: Author) -> str:
    return "\n" * author.chance() + author.gap().join(author.lines(12) for _ in author.many(8))


def _code(author: Author) -> str:
    def function() -> str:
        body = "\n\n    ".join(author.lines(indent="    ") for _ in author.many(4))
        return f"# {author.words()}\ndef {author.words(1).rstrip('.!')}():\n  \n    {body}"

    return author.gap().join(function() for _ in author.many(6))


FORMATS: Final = {
    "md": (_markdown, markdown.parse),
    "rst": (_rst, rst.parse),
    "json": (_json, json_tree.parse),
    "jsonl": (_json_lines, json_tree.parse),
    "yaml": (_yaml, yaml_tree.parse),
    "xml": (_xml, xml_tree.parse),
    "csv": (_csv, rows.parse),
    "txt": (_plain, plain.parse),
    "py": (_code, code.parse),
}


def tokenized(text: str) -> Tokens:
    spans = [match.span() for match in re.finditer(r"\S+", text)]
    return Tokens(range(len(spans)), np.array(spans, np.int32).reshape(-1, 2))


def passages(document: ParsedDocument, *, size: int) -> Sequence[Chunk]:
    transcript = wire.Transcript()
    for line in wire.lines_of(document):
        transcript.take(line)
    crossed = transcript.document()
    return chunk(crossed, tokenized(crossed.text), ChunkRules(size, size // 6))


def wrong(source: str, found: Sequence[Chunk]) -> list[tuple[int | None, int, str]]:
    """Passages that begin on another line than they say: what they say, the truth, and the passage.

    What is no word of ours may lead to it: a table's header, brackets. A heading that an item got by its number is no
    line of the file.
    """
    lines = re.split("\r\n|\r|\n", source)
    where = {word: number for number, line in enumerate(lines, 1) for word in _WORD.findall(line)}
    begins = [(one, where[first[0]]) for one in found if (first := _WORD.search(_NUMBERED.sub("", one.text)))]
    return [
        (one.line, line, one.text[:200])
        for one, line in begins
        if (one.line != line and not all(_LEADING.match(between) for between in lines[(one.line or 1) - 1 : line - 1]))
        or not one.line
        or one.line > line
    ]


@pytest.mark.parametrize("ending", FORMATS)
@settings(max_examples=rounds(25, 2_000), deadline=None)
@given(seed=st.integers(0, 1 << 32), size=st.sampled_from((8, 24, 60, 240)), end=st.sampled_from(ENDS))
def test_a_passage_begins_on_the_line_that_it_tells(ending: str, seed: int, size: int, end: str) -> None:
    write, parse = FORMATS[ending]
    source = write(Author(seed)).replace("\n", end)
    document = parse(source.encode(), key=f"document.{ending}")
    assert wrong(source, passages(document, size=size)) == []
