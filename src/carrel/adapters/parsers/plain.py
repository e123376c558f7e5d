"""Plain text: paragraphs are what empty lines separate."""

import re

from carrel.adapters.parsers import decode
from carrel.adapters.parsers.draft import Draft
from carrel.domain.text import ParsedDocument

_EMPTY_LINES = re.compile(r"\n[ \t]*\n\s*")
_ROWS = (".csv", ".tsv")

prepare = decode.prepare


def parse(content: bytes, *, key: str) -> ParsedDocument:
    """Comma- and tab-separated files are one table, in the author's own notation."""
    text = decode.text_of(content)
    draft = Draft()
    if key.lower().endswith(_ROWS):
        draft.block("table", text)
    else:
        for paragraph in _EMPTY_LINES.split(text):
            draft.block("paragraph", paragraph)
    return draft.finish()
