"""Source code as it is written, cut where definitions begin, with the names around each as its headings."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from carrel.adapters.parsers import decode, definitions
from carrel.adapters.parsers.draft import Draft
from carrel.domain.text import ParsedDocument

_LONGEST: Final = 400  # characters of a line that may define something: minified code is not cut
_TAB: Final = 4
# Above a definition and part of it: comments, decorators, attributes.
_ABOVE: Final = re.compile(r"(?:#|//|/?\*|--|@|\[[\w(]|\"\"\"|;|<!--|%)")
_CLOSING: Final = re.compile(r"(?:[)\]}{]|end\b|fi\b|done\b|esac\b|else\b|elif\b|except\b|finally\b|catch\b|rescue\b)")


@dataclass(frozen=True, slots=True)
class _Definition:
    indent: int
    name: str


def prepare() -> None:
    decode.prepare()
    for ending in definitions.ENDINGS:
        definitions.of(ending)


def parse(content: bytes, *, key: str) -> ParsedDocument:
    """The language is known by the key's ending; of an unknown one, nothing is cut but at empty lines."""
    lines = decode.text_of(content).split("\n")
    ending = PurePosixPath(key).suffix.lower()
    rules = definitions.of(ending)
    draft = Draft()
    parts = _sections(lines, rules) if ending in definitions.SECTIONED else _parts(lines, rules)
    for first, last, path in parts:
        draft.block("code", "\n".join(lines[first:last]), path=path, line=first + 1)
    return draft.finish()


def _parts(lines: Sequence[str], rules: Sequence["re.Pattern[str]"]) -> Iterator[tuple[int, int, tuple[str, ...]]]:
    """Stretches of lines, each with the names of the definitions that it stands in, outermost first."""
    around: list[_Definition] = []
    first = 0
    for place, line in enumerate(lines):
        text = line.lstrip()
        if not text:
            continue
        indent = _width(line[: len(line) - len(text)])
        left = [one for one in around if indent < one.indent or (indent == one.indent and not _CLOSING.match(text))]
        opens = place + 1 < len(lines) and lines[place + 1].strip() == "{"
        name = _name(f"{text} {{" if opens else text, rules)
        if not left and name is None:
            continue
        begin = max(_beginning(lines, place), first)
        if begin > first:
            yield first, begin, tuple(one.name for one in around)
            first = begin
        around = around[: len(around) - len(left)]
        if name:
            around.append(_Definition(indent, name))
    yield first, len(lines), tuple(one.name for one in around)


def _sections(lines: Sequence[str], rules: Sequence["re.Pattern[str]"]) -> Iterator[tuple[int, int, tuple[str, ...]]]:
    """Each goes on to the next: nothing is indented below its name."""
    first, path = 0, tuple[str, ...]()
    for place, line in enumerate(lines):
        if name := _name(line.lstrip(), rules):
            begin = max(_beginning(lines, place), first)
            if begin > first:
                yield first, begin, path
            first, path = begin, (name,)
    yield first, len(lines), path


def _beginning(lines: Sequence[str], place: int) -> int:
    """With what stands directly above and belongs to it."""
    while place and _ABOVE.match(lines[place - 1].lstrip()):
        place -= 1
    return place


def _name(text: str, rules: Sequence["re.Pattern[str]"]) -> str | None:
    if len(text) > _LONGEST:
        return None
    found = next((match for rule in rules if (match := rule.match(text))), None)
    return " ".join(found["name"].split()).strip("\"'`:") if found else None


def _width(indent: str) -> int:
    return len(indent.expandtabs(_TAB))
