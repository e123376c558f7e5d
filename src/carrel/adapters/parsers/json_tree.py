"""JSON and JSON lines: each key with its value, and the keys above as headings."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

import orjson

from carrel.adapters.parsers import decode, entries, plain
from carrel.adapters.parsers.draft import Draft
from carrel.adapters.parsers.entries import Entry, Lines
from carrel.domain.text import ParsedDocument

# People write comments into their settings, so they are passed over.
_BETWEEN: Final = re.compile(r"(?:[\s,]++|//[^\n]*+|/\*.*?\*/)*+", re.DOTALL)
_TOKEN: Final = re.compile(r'[{}\[\]:]|"(?:[^"\\\n]++|\\.)*+"|-?(?:\d[\d.eE+-]*+|Infinity)|true|false|null|NaN')
_ESCAPED: Final = re.compile(r"\\")
_LINES: Final = (".jsonl", ".ndjson")
_DEEPEST: Final = 200


class _Token(NamedTuple):
    text: str
    line: int


class _NotJsonError(ValueError):
    """What people call JSON and is not is read as the text that it is."""


@dataclass(slots=True)
class _Open:
    """A container that is being read; `key` is that of the value that comes next."""

    entry: Entry
    is_list: bool
    key: str | None = None
    count: int = 0


def prepare() -> None:
    decode.prepare()
    parse(b'{"a": [{"b": "\\u00e4"}]}', key="")


def parse(content: bytes, *, key: str) -> ParsedDocument:
    """The lines are those of the file. What is not JSON, for all its name, is read as plain text."""
    text = decode.text_of(content)
    try:
        lines, root = _Reader(_tokens(text), are_lines=_are_lines(text)).read()
    except _NotJsonError:
        return plain.parse(content, key=key)
    draft = Draft()
    whole = root.entries[0] if len(root.entries) == 1 else root
    entries.write(draft, lines, whole.entries)
    return draft.finish(whole.name if whole.rank <= entries.NAMING.index("name") else None)


def _are_lines(text: str) -> bool:
    """Whether each line is a value of its own."""
    first, _, rest = text.lstrip().partition("\n")
    return bool(rest.strip()) and first.rstrip()[-1:] in "}]" and _is_whole(first)


def _is_whole(line: str) -> bool:
    try:
        orjson.loads(line)
    except orjson.JSONDecodeError:
        return False
    return True


def _tokens(text: str) -> Iterator[_Token]:
    place, line = 0, 1
    while place < len(text):
        gap = _BETWEEN.match(text, place)
        end = gap.end() if gap else place
        line += text.count("\n", place, end)
        if end == len(text):
            return
        token = _TOKEN.match(text, end)
        if token is None:
            raise _NotJsonError
        yield _Token(token[0], line)
        place = token.end()


class _Reader:
    """Writes each value as a line while it goes: nothing of the tree is kept but its containers."""

    def __init__(self, tokens: Iterator[_Token], *, are_lines: bool) -> None:
        self._tokens = tokens
        self._lines = Lines()
        self._root = Entry("", 0, 0)
        self._open = [_Open(self._root, is_list=True)]
        self._outside = 1 if are_lines else 2  # containers that are not written: the whole itself is none of its items

    def read(self) -> tuple[Lines, Entry]:
        waiting: _Token | None = None  # a text that may turn out to be a key
        for token in self._tokens:
            if token.text == ":":
                if waiting is None or self._open[-1].is_list:
                    raise _NotJsonError
                self._open[-1].key = _value(waiting.text)
                waiting = None
                continue
            if waiting:
                self._scalar(waiting)
            waiting = self._take(token)
        if waiting:
            self._scalar(waiting)
        if len(self._open) != 1:
            raise _NotJsonError
        self._root.last = len(self._lines)
        return self._lines, self._root

    def _take(self, token: _Token) -> _Token | None:
        if token.text in "{[":
            self._enter(token)
        elif token.text in "}]":
            self._leave(token)
        else:
            return token
        return None

    def _enter(self, token: _Token) -> None:
        if len(self._open) > _DEEPEST:
            raise _NotJsonError
        above = self._open[-1]
        entry = Entry(above.key or f"{above.entry.name} {above.count + 1}".strip(), len(self._lines), len(self._lines))
        if len(self._open) >= self._outside:
            self._lines.add(self._depth, f"{above.key}:" if above.key is not None else "-", token.line)
            entry.first = len(self._lines) - 1  # beside the mark of an item there may have been room
            entry.body = entry.first + (above.key is not None)
        above.entry.entries.append(entry)
        self._done(above)
        self._open.append(_Open(entry, is_list=token.text == "["))

    def _leave(self, token: _Token) -> None:
        left = self._open.pop()
        if not self._open or left.is_list != (token.text == "]") or left.key is not None:
            raise _NotJsonError
        left.entry.last = len(self._lines)
        if left.count == 0 and left.entry.last > left.entry.first:
            self._lines.texts[-1] += " []" if left.is_list else " {}"

    @property
    def _depth(self) -> int:
        return max(len(self._open) - self._outside, 0)

    def _scalar(self, token: _Token) -> None:
        above = self._open[-1]
        if above.key is None and not above.is_list:
            raise _NotJsonError
        value = _value(token.text)
        lead = f"{above.key}: " if above.key is not None else "- "
        self._lines.add(self._depth, lead + value, token.line)
        if above.key is not None:
            above.entry.call(above.key.lower(), value)
        self._done(above)

    def _done(self, above: _Open) -> None:
        above.key = None
        above.count += 1


def _value(token: str) -> str:
    if not token.startswith('"'):
        return token
    if not _ESCAPED.search(token):
        return token[1:-1]
    try:
        return str(orjson.loads(token))
    except orjson.JSONDecodeError:
        return token[1:-1]
