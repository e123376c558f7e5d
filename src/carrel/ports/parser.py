"""Turning bytes that we do not trust into text."""

from pathlib import Path
from typing import Protocol

from carrel.domain.text import ParsedDocument


class Parser(Protocol):
    """Reads one document, somewhere that it can do no harm.

    Raises Unreadable with code `encrypted_document`, `damaged_document`, `archive_refused`, `legacy_format`, `no_text`,
    `parser_memory`, `parser_timeout`, `parser_output` or `parser_crashed`; Unavailable when the parser itself
    cannot be started.
    """

    async def parse(self, content: Path, *, media_type: str, key: str) -> ParsedDocument: ...
