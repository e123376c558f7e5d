"""Jupyter notebooks: their Markdown as such, their code, and what it printed. Pictures are left out."""

from collections.abc import Iterator
from typing import Any, Final

import orjson

from carrel.adapters.parsers import decode, json_tree, markdown
from carrel.adapters.parsers.draft import Draft
from carrel.adapters.parsers.tag_writer import TagWriter
from carrel.domain.text import ParsedDocument

_LONGEST_OUTPUT: Final = 20_000


def prepare() -> None:
    markdown.prepare()
    json_tree.prepare()


def parse(content: bytes, *, key: str) -> ParsedDocument:
    """What is JSON and no notebook is read as JSON."""
    try:
        read = orjson.loads(decode.text_of(content))
    except orjson.JSONDecodeError:
        read = None
    cells = _cells(read)
    if cells is None:
        return json_tree.parse(content, key=key)
    draft = Draft()
    for cell in cells:
        _write(draft, cell)
    return draft.finish()


def _cells(read: Any) -> list[Any] | None:
    """Of notebooks of any age: before version 4 they stood in worksheets."""
    match read:
        case {"cells": list(cells)}:
            return cells
        case {"worksheets": list(sheets)}:
            return [cell for sheet in sheets if isinstance(sheet, dict) for cell in sheet.get("cells") or ()]
    return None


def _write(draft: Draft, cell: Any) -> None:
    match cell:
        case {"cell_type": "markdown" | "heading" | "raw" as kind, "source": source}:
            level = cell.get("level")
            mark = "#" * level + " " if kind == "heading" and isinstance(level, int) and 0 < level < 7 else ""  # noqa: PLR2004
            markdown.write(TagWriter(draft), mark + _joined(source), line=None)
        case {"cell_type": "code"}:
            draft.block("code", _joined(cell.get("source") or cell.get("input")))
            for text in _outputs(cell.get("outputs")):
                draft.block("code", text[:_LONGEST_OUTPUT])


def _outputs(outputs: Any) -> Iterator[str]:
    for output in outputs if isinstance(outputs, list) else ():
        match output:
            case {"data": {"text/plain": text}} | {"text": text}:
                yield _joined(text)
            case {"ename": str(name), "evalue": str(value)}:
                yield f"{name}: {value}"


def _joined(source: Any) -> str:
    """A text, or the list of its lines."""
    if isinstance(source, list):
        return "".join(line for line in source if isinstance(line, str))
    return source if isinstance(source, str) else ""
