"""YAML as it is written, comments included, with the keys above as headings. No tag is obeyed, no alias followed."""

from dataclasses import dataclass
from typing import Any, Final

import yaml

from carrel.adapters.parsers import decode, entries, plain
from carrel.adapters.parsers.draft import Draft
from carrel.adapters.parsers.entries import Entry, Lines
from carrel.domain.text import ParsedDocument

_YAML: Final[Any] = yaml  # which has no types
_LOADER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_DEEPEST: Final = 10


@dataclass(slots=True)
class _Open:
    """A collection that is being read. `kind` is `document`, `map`, `list`, or `flow` for what stands in brackets."""

    kind: str
    entry: Entry
    key: str | None = None
    count: int = 0


def prepare() -> None:
    decode.prepare()
    parse(b"a: [1, &b !c 2]\nd: *b\n", key="")
    parse(b"a: [", key="")


def parse(content: bytes, *, key: str) -> ParsedDocument:
    """The lines are those of the file. What is not YAML, for all its name, is read as plain text."""
    text = decode.text_of(content)
    lines = Lines(text.split("\n"))
    try:
        root = _Reader(lines).read(text)
    except (yaml.YAMLError, RecursionError):
        return plain.parse(content, key=key)
    draft = Draft()
    entries.write(draft, lines, root)
    return draft.finish()


class _Reader:
    """Asks the parser for its events only: they come one after the other, however deep the text is."""

    def __init__(self, lines: Lines) -> None:
        self._lines = lines
        self._documents: list[Entry] = []
        self._open: list[_Open] = []

    def read(self, text: str) -> list[Entry]:
        for event in _YAML.parse(text, Loader=_LOADER):
            self._take(event)
        for document in self._documents:
            self._end(document.entries, document.last)
        if len(self._documents) == 1:
            return self._documents[0].entries
        for before, after in zip(self._documents, self._documents[1:], strict=False):
            before.last = after.first
        return self._documents

    def _take(self, event: Any) -> None:
        line = event.start_mark.line
        match event:
            case yaml.DocumentStartEvent():
                document = Entry(str(len(self._documents) + 1), line, line)
                self._documents.append(document)
                self._open.append(_Open("document", document))
            case yaml.MappingStartEvent() | yaml.SequenceStartEvent():
                entry = self._begin(line, "")
                kind = "map" if isinstance(event, yaml.MappingStartEvent) else "list"
                self._open.append(_Open("flow" if event.flow_style or len(self._open) > _DEEPEST else kind, entry))
            case yaml.MappingEndEvent() | yaml.SequenceEndEvent() | yaml.DocumentEndEvent():
                self._open.pop().entry.last = min(event.end_mark.line + 1, len(self._lines))
            case yaml.ScalarEvent():
                self._begin(line, event.value)
            case yaml.AliasEvent():
                self._begin(line, event.anchor)

    def _begin(self, line: int, value: str) -> Entry:
        """A key or a value; the entry is the one that it belongs to."""
        above = self._open[-1]
        if above.kind == "map" and above.key is None:
            above.key = value or "?"
            entry = Entry(above.key, self._with_notes(above.entry, line), self._body(line))
            above.entry.entries.append(entry)
            return entry
        if above.kind == "map":
            above.entry.call((above.key or "").lower(), value)
            above.key = None
            return above.entry.entries[-1]
        if above.kind == "list":
            above.count += 1
            entry = Entry(f"{above.entry.name} {above.count}", self._with_notes(above.entry, line), line)
            above.entry.entries.append(entry)
            return entry
        return above.entry

    def _with_notes(self, above: Entry, line: int) -> int:
        """What is noted above a key belongs to it."""
        least = above.entries[-1].body if above.entries else above.body
        first = line
        while first - 1 > least and self._lines.texts[first - 1].lstrip().startswith("#"):
            first -= 1
        return first

    def _body(self, line: int) -> int:
        """Behind a key that stands on a line of its own."""
        text = self._lines.texts[line].strip()
        return line + 1 if text.endswith(":") and not text.startswith("-") else line

    def _end(self, siblings: list[Entry], last: int) -> None:
        """An entry goes on to where the next begins."""
        waiting = [(siblings, last)]
        while waiting:
            children, end = waiting.pop()
            for place, entry in enumerate(children):
                entry.last = children[place + 1].first if place + 1 < len(children) else end
                waiting.append((entry.entries, entry.last))
