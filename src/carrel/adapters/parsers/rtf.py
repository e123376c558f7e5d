"""RTF: paragraphs, headings, lists, tables and notes, read word by word; pictures and objects are jumped over."""

import codecs
import re
from dataclasses import dataclass, field, replace
from typing import Final

from carrel.adapters.parsers import tables
from carrel.adapters.parsers.characters import squeezed
from carrel.adapters.parsers.draft import Draft
from carrel.adapters.parsers.rtf_words import CHARSETS, PASSED_OVER, SIGNS, codec_of
from carrel.adapters.parsers.titles import sensible
from carrel.domain.errors import Unreadable
from carrel.domain.text import ParsedDocument

MARK: Final = b"{\\rtf"
_TOKEN: Final = re.compile(
    rb"\\([a-zA-Z]{1,32})(-?[0-9]{1,9})? ?|\\'([0-9a-fA-F]{2})|\\(.)|([{}])|[\r\n]+|([^\\{}\r\n]+)", re.DOTALL
)
_DESTINATIONS: Final = {
    "info": "info", "title": "title", "listtext": "mark", "pntext": "mark", "footnote": "note", "stylesheet": "style",
    "fonttbl": "font",
}  # fmt: skip
_DEPTH: Final = 10_000
_LEVELS: Final = 9
_BULLETS: Final = "·•◦▪o§-"


def prepare() -> None:
    """Loads what a fork of the zygote could not."""
    for name in (*CHARSETS.values(), "utf-16-le"):
        codecs.lookup(name)


def parse(content: bytes, *, key: str) -> ParsedDocument:  # noqa: ARG001 - all formats have one signature
    """The title comes from the document's properties. Raises Unreadable."""
    if not content.lstrip().startswith(MARK):
        raise Unreadable("These bytes are no RTF.")
    reader = _Reader()
    place = 0
    while token := _TOKEN.match(content, place):
        place = token.end() + reader.take(token)
    return reader.finish()


@dataclass(frozen=True, slots=True)
class _Group:
    """What holds until a brace closes. `into` names the place where words go; none for those that nobody reads."""

    into: str | None = "text"
    hidden: bool = False
    fallback: int = 1  # characters that stand after `\\u` for readers that know no Unicode
    codec: str = "cp1252"


@dataclass(slots=True)
class _Paragraph:
    rank: int | None = None
    table: bool = False
    level: int = 0
    mark: str = ""
    notes: list[str] = field(default_factory=list)


class _Reader:
    """Takes one token after the other."""

    def __init__(self) -> None:
        self._draft = Draft()
        self._stack: list[_Group] = []
        self._group = _Group()
        self._texts: dict[str, list[str]] = {name: [] for name in ("text", *_DESTINATIONS.values())}
        self._raw = bytearray()  # bytes whose characters may span several tokens
        self._skip = 0
        self._starred = False
        self._paragraph = _Paragraph()
        self._codecs: dict[int, str] = {}
        self._font = 0
        self._ranks: dict[int, int] = {}
        self._style = 0
        self._cells: list[str] = []
        self._rows: list[list[str]] = []
        self._items: list[str] = []

    def take(self, token: "re.Match[bytes]") -> int:
        """How many of the bytes behind it belong to the token."""
        word, number, code, sign, brace, text = token.groups()
        if code or text:
            self._bytes(bytes((int(code, 16),)) if code else text)
            return 0
        if word is None and not (sign or brace):
            return 0
        self._flush()
        if brace:
            self._open() if brace == b"{" else self._close()
        elif sign:
            self._sign(sign)
        else:
            return self._word(word.decode(), int(number) if number else None)
        return 0

    def finish(self) -> ParsedDocument:
        self._flush()
        self._end_paragraph()
        self._end_table()
        self._end_list()
        return self._draft.finish(sensible("".join(self._texts["title"])))

    def _bytes(self, text: bytes) -> None:
        skipped = min(self._skip, len(text))
        self._skip -= skipped
        if self._group.into and not self._group.hidden:
            self._raw += text[skipped:]

    def _say(self, text: str) -> None:
        if self._group.into and not self._group.hidden:
            self._texts[self._group.into].append(text)

    def _flush(self) -> None:
        if self._raw:
            self._say(self._raw.decode(self._group.codec, "replace"))
            self._raw.clear()

    def _taken(self, name: str) -> str:
        """Characters beyond the first plane come in two halves."""
        text = "".join(self._texts[name]).encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        self._texts[name].clear()
        return text

    def _open(self) -> None:
        if len(self._stack) >= _DEPTH:
            raise Unreadable("The groups are nested too deeply.")
        self._stack.append(self._group)
        self._starred = False

    def _close(self) -> None:
        left = self._group.into
        self._group = self._stack.pop() if self._stack else self._group
        self._skip = 0
        if self._group.into == left:
            return
        match left:
            case "note":
                self._paragraph.notes.append(f"[*] {squeezed(self._taken('note'))}")
            case "mark":
                self._paragraph.mark = squeezed(self._taken("mark"))
            case "info" | "style" | "font":
                self._texts[left].clear()

    def _sign(self, sign: bytes) -> None:
        match sign:
            case b"*":
                self._starred = True
            case b"~":
                self._say("\u00a0")
            case b"_":
                self._say("-")
            case b"\n" | b"\r":
                self._end_paragraph()
            case b"\\" | b"{" | b"}":
                self._bytes(sign)

    def _word(self, word: str, number: int | None) -> int:
        if word == "bin":
            return max(number or 0, 0)
        if self._group.into is None:
            return 0
        if self._starred or word in PASSED_OVER:
            self._starred = False
            self._group = replace(self._group, into=None)
        elif word in SIGNS:
            self._say(SIGNS[word])
        elif not self._destination(word) and not self._alphabet(word, number) and not self._character(word, number):
            self._place(word, number)
        return 0

    def _destination(self, word: str) -> bool:
        into = _DESTINATIONS.get(word)
        if into:
            self._group = replace(self._group, into=into)
        return into is not None

    def _character(self, word: str, number: int | None) -> bool:
        """Whether the word is about characters."""
        match word, number:
            case "u", int():
                self._say(chr(number & 0xFFFF))
                self._skip = self._group.fallback
            case "uc", int():
                self._group = replace(self._group, fallback=min(max(number, 0), 8))
            case "v" | "deleted", _:
                self._group = replace(self._group, hidden=number != 0)
            case "plain", _:
                self._group = replace(self._group, hidden=False)
            case _:
                return False
        return True

    def _alphabet(self, word: str, number: int | None) -> bool:
        """Whether the word is about fonts, which say what bytes mean."""
        match word, number:
            case "ansicpg", int():
                self._codecs.setdefault(-1, codec_of(number))
                self._group = replace(self._group, codec=codec_of(number))
            case "f" | "deff", int():
                self._font = number
                if self._group.into != "font":
                    known = self._codecs.get(number) or self._codecs.get(-1) or self._group.codec
                    self._group = replace(self._group, codec=known)
            case "fcharset", int() if number in CHARSETS and number > 1:
                self._codecs[self._font] = codec_of(number)
            case _:
                return False
        return True

    def _place(self, word: str, number: int | None) -> None:
        if self._group.into == "style":
            self._define(word, number)
        elif number is not None and word in ("s", "outlinelevel", "ilvl"):
            self._shape(word, number)
        else:
            self._end(word)

    def _shape(self, word: str, number: int) -> None:
        match word:
            case "s":
                self._paragraph.rank = self._ranks.get(number)
            case "outlinelevel":
                self._paragraph.rank = number + 1 if 0 <= number < _LEVELS else None
            case "ilvl":
                self._paragraph.level = min(max(number, 0), _LEVELS)

    def _end(self, word: str) -> None:
        match word:
            case "par" | "sect" | "page":
                self._end_paragraph()
            case "pard":
                self._paragraph = _Paragraph(mark=self._paragraph.mark, notes=self._paragraph.notes)
            case "intbl":
                self._paragraph.table = True
            case "cell":
                self._cells.append(squeezed(self._taken("text")))
            case "row":
                self._rows.append(self._cells)
                self._cells = []
            case "nestcell" | "nestrow":
                self._say(" ")

    def _define(self, word: str, number: int | None) -> None:
        """A paragraph style of the style sheet: its number, and its rank if it is a heading's."""
        if word == "s" and number is not None:
            self._style = number
            self._texts["style"].clear()
        elif word == "outlinelevel" and number is not None and 0 <= number < _LEVELS:
            self._ranks[self._style] = number + 1

    def _end_paragraph(self) -> None:
        if self._group.into == "note":
            self._say(" ")
            return
        if self._paragraph.table or self._cells:
            self._say(" ")
        else:
            self._end_table()
            self._write(self._taken("text").strip())
        notes, self._paragraph.notes = self._paragraph.notes, []
        for note in notes:
            self._draft.block("paragraph", note)

    def _write(self, text: str) -> None:
        mark = self._paragraph.mark
        self._paragraph.mark = ""
        if self._paragraph.rank is not None:
            self._end_list()
            self._draft.heading(self._paragraph.rank, f"{mark} {text}" if mark and mark not in _BULLETS else text)
        elif mark and text:
            shown = "-" if mark in _BULLETS or not mark.isprintable() else mark
            self._items.append(f"{'  ' * self._paragraph.level}{shown} {squeezed(text)}")
        elif text:
            self._end_list()
            self._draft.block("paragraph", text)

    def _end_table(self) -> None:
        if self._rows or self._cells:
            self._end_list()
            tables.write(self._draft, [*self._rows, self._cells])
            self._rows, self._cells = [], []

    def _end_list(self) -> None:
        if self._items:
            self._draft.block("list", "\n".join(self._items))
            self._items.clear()
