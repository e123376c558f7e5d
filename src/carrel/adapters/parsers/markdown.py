"""Markdown: CommonMark with tables. The text is what a reader sees; markup that only formats is gone."""

import re
from functools import cache

from markdown_it import MarkdownIt
from markdown_it.token import Token
from markdown_it.utils import EnvType

from carrel.adapters.parsers import decode, html
from carrel.adapters.parsers.draft import Draft
from carrel.adapters.parsers.tag_writer import TagWriter
from carrel.adapters.parsers.trail import Seeker
from carrel.domain.text import ParsedDocument

_FRONT_MATTER = re.compile(r"---[ \t]*\n(.*?\n)??(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL)
_TITLE = re.compile(r"^title:[ \t]*(\S.*)$", re.MULTILINE)
# Inline rules are quadratic for hostile text: 20,000 characters cost 0.4 s at most, and no paragraph of prose has more.
_INLINE_LIMIT = 20_000
_NESTING = 60


def prepare() -> None:
    """Loads what a fork of the zygote could not."""
    decode.prepare()
    _reader()


def parse(content: bytes, *, key: str) -> ParsedDocument:  # noqa: ARG001 - all formats have one signature
    """The title comes from the front matter, else from the first heading of rank 1."""
    draft = Draft()
    return draft.finish(write(TagWriter(draft), decode.text_of(content)))


def write(writer: TagWriter, text: str, *, line: int | None = 1) -> str | None:
    """Writes what a reader sees; returns the front matter's title. The text begins on `line`, if there are lines."""
    title, source = _without_front_matter(text)
    begin = line and line + text.count("\n", 0, len(text) - len(source))
    definitions: EnvType = {}
    for token in _reader().parse(source, definitions):
        place = begin + token.map[0] + (token.type == "fence") if begin and token.map and token.nesting >= 0 else None
        if place:
            writer.at(place)
        _write(writer, token, definitions, place)
    writer.flush()
    return title


@cache
def _reader() -> MarkdownIt:
    reader = MarkdownIt("commonmark", {"maxNesting": _NESTING}).enable(["table", "strikethrough"])
    reader.core.ruler.disable("inline")  # done per token in _write, where its size is known
    return reader


def _without_front_matter(source: str) -> tuple[str | None, str]:
    matter = _FRONT_MATTER.match(source)
    if matter is None:
        return None, source
    title = _TITLE.search(matter[1] or "")
    return title and title[1].strip().strip("\"'"), source[matter.end() :]


def _write(writer: TagWriter, token: Token, definitions: EnvType, line: int | None) -> None:
    match token.type:
        case "inline":
            _write_inline(writer, token.content, definitions, line)
        case "fence" | "code_block":
            writer.enter("pre")
            _write_lines(writer, token.content, line)
            writer.leave("pre")
        case "html_block":
            html.write(writer, token.content, line=line)
        case _ if token.nesting > 0:
            writer.enter(token.tag, start=int(token.attrs.get("start", 1)))
        case _ if token.nesting < 0:
            writer.leave(token.tag)


def _write_lines(writer: TagWriter, source: str, line: int | None) -> None:
    """As they are written."""
    if line is None:
        writer.text(source)
        return
    for number, text in enumerate(source.splitlines(keepends=True)):
        writer.go_on(line + number)
        writer.text(text)


def _write_inline(writer: TagWriter, source: str, definitions: EnvType, line: int | None) -> None:
    if len(source) > _INLINE_LIMIT:
        _write_lines(writer, source, line)
        return
    tokens: list[Token] = []
    _reader().inline.parse(source, _reader(), definitions, tokens)
    seeker = Seeker(source, line) if line and "\n" in source else None
    for token in tokens:
        if seeker and token.type in {"text", "code_inline"} and (found := seeker.line_of(_begin(token.content))):
            writer.go_on(found)
        if token.type == "hardbreak" or (token.type == "html_inline" and token.content.lower().startswith("<br")):
            writer.enter("br")
            writer.leave("br")
        elif token.type == "softbreak":
            writer.text(" ")
        elif token.type != "html_inline":
            writer.text(token.content)


def _begin(text: str) -> str:
    """In a piece of code a space may have been a line end."""
    return text.strip().partition(" ")[0]
