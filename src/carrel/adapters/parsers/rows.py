"""CSV and TSV: rows that say what their columns mean, wherever a chunk begins."""

import csv
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Final

from carrel.adapters.parsers import decode
from carrel.adapters.parsers.characters import squeezed
from carrel.adapters.parsers.delimited import DELIMITERS, Quoting, Row, columns_of, read
from carrel.adapters.parsers.draft import Draft
from carrel.adapters.parsers.trail import Trail
from carrel.adapters.parsers.wire import TEXT_BYTES
from carrel.domain.text import ParsedDocument

_SAMPLE: Final = 100_000  # characters by which the notation is judged
_BLOCK: Final = 400  # characters of rows below one header: fewer than a chunk takes
_WIDE: Final = 200  # a header beyond it is not written again and again: each value gets its name instead
_MOST_LINES: Final = 200  # a cell of more lines was opened by a quotation mark that means none


def prepare() -> None:
    decode.prepare()
    csv.field_size_limit(TEXT_BYTES)
    parse(b'a;b\n"1\n2";3\n', key="")


def parse(content: bytes, *, key: str) -> ParsedDocument:
    text = decode.text_of(content)
    draft = Draft()
    write(draft, _rows(text, "\t" if key.lower().endswith(".tsv") else None))
    return draft.finish()


def write(draft: Draft, rows: Iterator[Row]) -> None:
    """As one table: `header: value` where it is wide, else rows with the header above each few of them."""
    first = next(rows, None)
    if first is None:
        return
    header = first if _is_header(first.cells) else None
    if header and len(_joined(header.cells)) > _WIDE:
        _write_values(draft, header.cells, rows)
    else:
        _write_table(draft, header, rows if header else chain([first], rows))


def _rows(text: str, delimiter: str | None) -> Iterator[Row]:
    begin = 1
    if text[:4].lower() == "sep=" and text[5:6] == "\n":  # as spreadsheets write it
        delimiter, text, begin = text[4], text[6:], 2
    delimiter = delimiter or _delimiter(text[:_SAMPLE])
    quoting: Quoting = csv.QUOTE_MINIMAL if _closes_its_quotes(text, delimiter) else csv.QUOTE_NONE
    return read(text, delimiter, quoting, begin)


def _delimiter(sample: str) -> str:
    for quoting in (csv.QUOTE_MINIMAL, csv.QUOTE_NONE):
        columns = {delimiter: columns_of(sample, delimiter, quoting) for delimiter in DELIMITERS}
        best = max(DELIMITERS, key=lambda delimiter: columns[delimiter])
        if columns[best] > 1:
            return best
    return max(DELIMITERS, key=sample.count)


def _closes_its_quotes(text: str, delimiter: str) -> bool:
    return '"' not in text or all(row.lines <= _MOST_LINES for row in read(text, delimiter, csv.QUOTE_MINIMAL))


def _is_header(cells: Sequence[str]) -> bool:
    """Names are words, and no two are the same."""
    names = [cell for cell in cells if cell]
    worded = all(any(character.isalpha() for character in name) for name in names)
    return worded and len(names) > len(cells) // 2 and len(set(names)) == len(names)


def _joined(cells: Sequence[str]) -> str:
    return " | ".join(cells).rstrip(" |")


def _write_table(draft: Draft, header: Row | None, rows: Iterator[Row]) -> None:
    above = [_joined(header.cells)] if header else []
    has_rows = False
    for run in _runs(rows):
        has_rows = True
        trail = Trail()
        trail.at(run[0].line)
        for text in above:
            trail.add(f"{text}\n")
        for row in run:
            _say_row(trail, row)
            trail.add("\n")
        text, marks = trail.taken()
        draft.block("table", text, line=run[0].line, marks=marks)
    if header and not has_rows:
        draft.block("table", above[0], line=header.line)


def _runs(rows: Iterator[Row]) -> Iterator[list[Row]]:
    """Rows that follow each other line by line, as many as one header is for."""
    run: list[Row] = []
    length = 0
    for row in rows:
        length += sum(map(len, row.cells))
        if run and (length > _BLOCK or row.line != run[-1].line + 1):
            yield run
            run, length = [], sum(map(len, row.cells))
        run.append(row)
    if run:
        yield run


def _write_values(draft: Draft, names: Sequence[str], rows: Iterator[Row]) -> None:
    """A block for each row, and in it a line for each of its values."""
    for row in rows:
        trail, line = Trail(), row.line
        for place, cell in enumerate(row.raw):
            if row.cells[place]:
                trail.at(line)
                trail.add(f"{names[place]}: " if place < len(names) and names[place] else "")
                _say(trail, cell, line)
                trail.add("\n")
            line += cell.count("\n")
        text, marks = trail.taken()
        draft.block("table", text, line=row.line, marks=marks)


def _say_row(trail: Trail, row: Row) -> None:
    line = row.line
    trail.at(line)
    if row.lines == 1:
        trail.add(_joined(row.cells))
        return
    filled = max(place for place, cell in enumerate(row.cells) if cell)
    for place, cell in enumerate(row.raw[: filled + 1]):
        trail.at(line)
        trail.add(" | " if place else "")
        _say(trail, cell, line)
        line += cell.count("\n")


def _say(trail: Trail, cell: str, line: int) -> None:
    """A cell that begins on this line of the file, as one line."""
    gap = ""
    for number, part in enumerate(cell.split("\n")):
        if words := squeezed(part):
            trail.at(line + number)
            trail.add(gap + words)
            gap = " "
