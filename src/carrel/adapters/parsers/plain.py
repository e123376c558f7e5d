"""Plain text: paragraphs are what empty lines separate."""

import re
from collections.abc import Iterator

from carrel.adapters.parsers import decode
from carrel.adapters.parsers.draft import Draft
from carrel.domain.text import ParsedDocument

_EMPTY_LINES = re.compile(r"\n[ \t]*\n\s*")

prepare = decode.prepare


def parse(content: bytes, *, key: str) -> ParsedDocument:  # noqa: ARG001 - all formats have one signature
    draft = Draft()
    for line, paragraph in paragraphs_of(decode.text_of(content)):
        draft.block("paragraph", paragraph, line=line)
    return draft.finish()


def paragraphs_of(text: str) -> Iterator[tuple[int, str]]:
    """Each with the line on which it begins."""
    line, start = 1, 0
    for gap in _EMPTY_LINES.finditer(text):
        yield line, text[start : gap.start()]
        line += text.count("\n", start, gap.end())
        start = gap.end()
    yield line, text[start:]
