"""The lines by which a parser's process hands its document over, and their strict reading on the other side.

`{"title"}` once, `{"text"}` in pieces, `{"path", "blocks"}` in batches, behind each the `{"turns"}` of its blocks, one
block after the other, and `{"end", "scans"}`; or `{"refused"}` alone.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby, islice, pairwise
from typing import Any, NoReturn

from carrel.adapters.parsers.characters import UNSAFE
from carrel.domain.errors import Unreadable
from carrel.domain.text import Block, ParsedDocument

TEXT_BYTES = 32 << 20
BLOCKS = 500_000
PAGES = 5_000
TURNS = 500_000
LINES = 64 << 20
LINE_BYTES = 1 << 20
PACKET = 64 * 1024  # one message on the control socket

# How a fork ends when it cannot say more.
CRASHED, EXHAUSTED, UNFIT = 70, 71, 72

_PIECE = 64 * 1024
_BATCH = 500
_TURNS = 10_000
_NAME = 1_000
_DEPTH = 16
_KINDS = frozenset({"heading", "paragraph", "list", "table", "code"})

REFUSALS = {
    "encrypted_document": "The document is encrypted: take its password off and upload it again.",
    "damaged_document": "The document is damaged, or not what its type says.",
    "no_text": "The document holds no text. A scan is read where text recognition is installed (the extra `ocr`).",
    "image_too_large": "The picture has more than 25 million pixels: make it smaller.",
    "archive_refused": "The document is an archive that is dangerous to open: too many or too large parts, packed too "
    "tightly, or names that lead out of it. Save it anew with an office program.",
    "legacy_format": "This is a document of an old Word or PowerPoint (.doc, .ppt): save it as .docx or .pptx.",
    "parser_output": "The document gives more than 32 MB of text or 5,000 pages, or its text came out malformed.",
    "parser_memory": "The document needs more memory to read than is allowed.",
    "parser_timeout": "The document takes longer to read than is allowed.",
    "parser_crashed": "The document makes its parser fail.",
}


def refusal(code: str) -> Unreadable:
    """Only sentences of ours: a parser that was taken over could write anything into its own."""
    return Unreadable(REFUSALS[code], code=code)


def lines_of(document: ParsedDocument) -> Iterator[bytes]:
    """Raises Unreadable `parser_output` for a document beyond the limits."""
    if len(document.text.encode()) > TEXT_BYTES or len(document.blocks) > BLOCKS:
        raise refusal("parser_output")
    yield _line({"title": document.title})
    for start in range(0, len(document.text), _PIECE):
        yield _line({"text": document.text[start : start + _PIECE]})
    for path, blocks in groupby(document.blocks, key=lambda block: block.heading_path):
        while batch := list(islice(blocks, _BATCH)):
            yield _line({"path": path, "blocks": [_fields(block) for block in batch]})
            yield from _turns(batch)
    yield _line({"end": len(document.blocks), "scans": document.scans})


def _fields(block: Block) -> tuple[Any, ...]:
    return block.start, block.end, block.kind, block.page, block.line


def _turns(batch: Sequence[Block]) -> Iterator[bytes]:
    """Each as the place of its block in the batch, counted from the end, and what it says."""
    turns = ((len(batch) - number, *turn) for number, block in enumerate(batch) for turn in block.turns)
    while some := list(islice(turns, _TURNS)):
        yield _line({"turns": some})


def refused(code: str) -> bytes:
    return _line({"refused": code})


def _line(record: dict[str, Any]) -> bytes:
    return json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


class Transcript:
    """Takes the lines of one parser. Trusts none of them: whatever breaks a rule raises Unreadable `parser_output`."""

    def __init__(self) -> None:
        self._title: str | None = None
        self._pieces: list[str] = []
        self._bytes = 0
        self._text: str | None = None
        self._blocks: list[Block] = []
        self._turned = 0
        self._turning = 0
        self._turns: list[tuple[int, int]] = []
        self._scans: tuple[int, ...] = ()
        self._begun = False
        self._ended = False

    def take(self, line: bytes) -> None:
        """Raises Unreadable with the parser's own code when it refused the document."""
        record = _record(line)
        match next(iter(record.items())):
            case ("title", str() | None as title) if len(record) == 1 and not self._begun:
                self._title = title if title is None else _clean(title, _NAME)
                self._begun = True
            case ("text", str(piece)) if len(record) == 1 and self._begun and self._text is None:
                self._add(piece)
            case ("path", list(path)) if len(record) == 2 and self._begun and not self._ended:  # noqa: PLR2004
                self._place(path, record.get("blocks"))
            case ("turns", list(turns)) if len(record) == 1 and self._blocks and not self._ended:
                self._turn(turns)
            case ("end", int(count)) if len(record) == 2 and self._blocks and count == len(self._blocks):  # noqa: PLR2004
                self._end(record.get("scans"))
            case ("refused", str(code)) if len(record) == 1 and not self._begun and code in REFUSALS:
                raise refusal(code)
            case _:
                _malformed()

    def document(self) -> ParsedDocument:
        if not self._ended or self._text is None:
            _malformed()
        return ParsedDocument(self._text, tuple(self._blocks), self._title, self._scans)

    def _end(self, scans: Any) -> None:
        if not isinstance(scans, list) or not all(type(page) is int and _is_page(page) for page in scans):
            _malformed()
        if self._ended or any(one >= two for one, two in pairwise(scans)):
            _malformed()
        self._fold()
        self._scans = tuple(scans)
        self._ended = True

    def _add(self, piece: str) -> None:
        self._pieces.append(_clean(piece, LINE_BYTES))
        self._bytes += len(piece.encode())
        if self._bytes > TEXT_BYTES:
            _malformed()

    def _place(self, path: list[Any], blocks: Any) -> None:
        if self._text is None:
            self._text = "".join(self._pieces)
            self._pieces.clear()
        if not isinstance(blocks, list) or len(self._blocks) + len(blocks) > BLOCKS or len(path) > _DEPTH:
            _malformed()
        headings = tuple(_clean(heading, _NAME) for heading in path)
        for block in blocks:
            self._blocks.append(self._block(block, headings))

    def _block(self, fields: Any, headings: tuple[str, ...]) -> Block:
        match fields:
            case [int(start), int(end), str(kind), int() | None as page, int() | None as line]:
                if kind in _KINDS and _is_page(page) and _is_line(line) and self._is_next(start, end):
                    return Block(start, end, kind, headings, page, line)
        raise refusal("parser_output")

    def _turn(self, turns: list[Any]) -> None:
        self._turned += len(turns)
        if self._turned > TURNS or not all(map(_is_turn, turns)):
            _malformed()
        for number, told in groupby(turns, key=lambda turn: len(self._blocks) - turn[0]):
            if number < self._turning:
                _malformed()
            if number > self._turning:
                self._fold()
                self._turning = number
            block = self._blocks[number]
            more = [(behind, line) for _, behind, line in told]
            rising = all(one[0] < two[0] for one, two in pairwise((*self._turns[-1:], *more)))
            if block.line is None or not rising or more[-1][0] >= block.end - block.start:
                _malformed()
            self._turns += more

    def _fold(self) -> None:
        """A block gets its turns when all are there: one by one they would be copied as often as they are many."""
        if self._turns:
            self._blocks[self._turning] = replace(self._blocks[self._turning], turns=tuple(self._turns))
            self._turns.clear()

    def _is_next(self, start: int, end: int) -> bool:
        """A span of visible text behind all that came before."""
        text = self._text or ""
        least = self._blocks[-1].end if self._blocks else 0
        return least <= start < end <= len(text) and bool(text[start:end].strip())


def _record(line: bytes) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        _malformed()
    if not isinstance(record, dict) or not record:
        _malformed()
    return record


def _clean(text: Any, limit: int) -> str:
    if not isinstance(text, str) or len(text) > limit or UNSAFE.search(text):
        _malformed()
    return text


def _is_page(page: int | None) -> bool:
    return page is None or 1 <= page <= PAGES


def _is_turn(turn: Any) -> bool:
    match turn:
        case [int(back), int(behind), int(line)]:
            return back > 0 and behind >= 0 and _is_line(line)
    return False


def _is_line(line: int | None) -> bool:
    return line is None or (line is not True and 1 <= line <= LINES)


def _malformed() -> NoReturn:
    raise refusal("parser_output")
