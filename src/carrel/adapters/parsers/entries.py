"""Data as lines in the manner of YAML, with the keys above them as headings: what JSON, YAML and XML become."""

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from carrel.adapters.parsers.draft import Draft
from carrel.adapters.parsers.trail import Mark, visible

NAMING: Final = ("title", "name", "id", "key", "kind")  # what an entry without a key of its own is called by
_SMALL: Final = 600  # characters of an entry that stands among its neighbours, without a heading
_TOP: Final = 2  # no key is the document's title
_DEEPEST: Final = 6
_INDENT: Final = 2
_MOST_INDENT: Final = 60


@dataclass(slots=True)
class Entry:
    """Lines `first` to `last` (exclusive), of which `body` is the first behind its key and what is noted above that."""

    name: str
    first: int
    body: int
    last: int = 0
    entries: list["Entry"] = field(default_factory=list)
    rank: int = len(NAMING)

    def call(self, key: str, value: str) -> None:
        """By its title rather than by its name, by its name rather than by its id."""
        if key in NAMING[: self.rank] and value.strip():
            self.name, self.rank = value, NAMING.index(key)


class Lines:
    """`numbers` says for each line where in the file it stands; `marks`, where one is several there, how it goes on."""

    def __init__(self, texts: Sequence[str] = (), first: int = 1) -> None:
        self.texts = list(texts)
        self.numbers = array("L", range(first, first + len(self.texts)))
        self.marks: dict[int, Sequence[Mark]] = {}

    def __len__(self) -> int:
        return len(self.texts)

    def add(self, depth: int, text: str, number: int, marks: Sequence[Mark] = ()) -> None:
        """Text of several lines goes on below itself, and what is in an item begins beside its mark."""
        indent = " " * min(depth * _INDENT, _MOST_INDENT)
        first, *others = text.split("\n")
        if self.texts and self.texts[-1].lstrip() == "-" and len(self.texts[-1]) <= len(indent):
            indent = self.texts.pop() + " "
            self.numbers.pop()
        if marks:
            before = visible(indent)
            self.marks[len(self.texts)] = [Mark(before + seen, line) for seen, line in marks]
        self.texts.append(indent + first)
        self.texts.extend(" " * (len(indent) + _INDENT) + other for other in others)
        self.numbers.extend([number] * (1 + len(others)))


def write(draft: Draft, lines: Lines, entries: Sequence[Entry]) -> None:
    """Small entries stand together; larger ones get a heading each, and so do theirs."""
    _Writer(draft, lines).write(0, len(lines), entries, _TOP)


class _Writer:
    def __init__(self, draft: Draft, lines: Lines) -> None:
        self._draft = draft
        self._texts = lines.texts
        self._numbers = lines.numbers
        self._marks = lines.marks

    def write(self, first: int, last: int, entries: Sequence[Entry], level: int) -> None:
        place = first
        for entry in entries:
            if level <= _TOP + _DEEPEST and self._is_large(entry):
                self._add(place, entry.first)
                self._draft.heading(level, entry.name, line=self._numbers[self._named_at(entry)])
                self._write_entry(entry, level)
                place = entry.last
        if place > first:
            self._draft.leave(level)
        self._add(place, last)

    def _write_entry(self, entry: Entry, level: int) -> None:
        places = [one for one in range(entry.first, entry.body) if self._texts[one].lstrip().startswith("#")]
        if places:
            self._add_lines([self._texts[one] for one in places], places)
        self.write(entry.body, entry.last, entry.entries, level + 1)

    def _named_at(self, entry: Entry) -> int:
        """Behind what is noted above it."""
        named = (place for place in range(entry.first, entry.body) if not _is_note(self._texts[place]))
        return next(named, min(entry.body, entry.last - 1))

    def _is_large(self, entry: Entry) -> bool:
        length = 0
        for place in range(entry.first, entry.last):
            length += len(self._texts[place])
            if length > _SMALL:
                return True
        return False

    def _add(self, first: int, last: int) -> None:
        for begin, end in self._parts(first, last):
            texts = self._texts[begin:end]
            outer = min((_indent_of(text) for text in texts if text.strip()), default=0)
            self._add_lines([text[min(outer, _indent_of(text)) :] for text in texts], range(begin, end))

    def _add_lines(self, texts: Sequence[str], places: Sequence[int]) -> None:
        marks, seen = [], 0
        for text, place in zip(texts, places, strict=True):
            marks.append(Mark(seen, self._numbers[place]))
            marks += [Mark(seen + more, line) for more, line in self._marks.get(place, ())]
            seen += visible(text)
        self._draft.block("code", "\n".join(texts), line=self._numbers[places[0]], marks=marks)

    def _parts(self, first: int, last: int) -> Iterator[tuple[int, int]]:
        """Cut where something begins that stands as far out as anything here."""
        indents = [_indent_of(text) if text.strip() else _MOST_INDENT for text in self._texts[first:last]]
        outer = min(indents, default=0)
        begins = [first + place for place, indent in enumerate(indents) if indent == outer]
        begin, place, length = first, first, 0
        for end in [*begins, last]:
            item = sum(map(len, self._texts[place:end]))
            if length and length + item > _SMALL:
                yield begin, place
                begin, length = place, 0
            place, length = end, length + item
        if last > begin:
            yield begin, last


def _is_note(text: str) -> bool:
    return not text.strip() or text.lstrip().startswith("#")


def _indent_of(text: str) -> int:
    return len(text) - len(text.lstrip(" "))
