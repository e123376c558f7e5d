"""Two sandboxes as one parser: what holds no text goes to the one that recognises it, with limits of its own."""

from pathlib import Path

import structlog

from carrel.adapters.parsers import media
from carrel.adapters.parsers.sandbox import SCANS, SandboxedParser, Wall
from carrel.domain.errors import Unreadable
from carrel.domain.text import ParsedDocument

log = structlog.get_logger(__name__)


class ScanningParser:
    """Keeps the promises of `ports.parser.Parser`. `texts` reads everything that holds text: recognising takes time and
    memory that no text needs, and has few places. A PDF comes to `scans` only if it has pages without text; where
    recognising those fails, by a crash too, it stays as `texts` read it, and that is told: what a document says is not
    lost for one bad page.
    """

    def __init__(self, texts: SandboxedParser, scans: SandboxedParser) -> None:
        self._texts = texts
        self._scans = scans

    async def parse(self, content: Path, *, media_type: str, key: str) -> ParsedDocument:
        if media_type == media.PDF:
            return await self._pdf(content, key=key)
        parser = self._scans if media_type in SCANS else self._texts
        return await parser.parse(content, media_type=media_type, key=key)

    async def _pdf(self, content: Path, *, key: str) -> ParsedDocument:
        try:
            read = await self._texts.parse(content, media_type=media.PDF, key=key)
        except Unreadable as refusal:
            if refusal.code != "no_text":
                raise
            read = None
        if read is not None and not read.scans:
            return read
        try:
            return await self._scans.parse(content, media_type=media.PDF, key=key)
        except Unreadable as refusal:
            if read is None:
                raise
            log.warning("scans.unread", code=refusal.code, pages=len(read.scans))
            return read

    async def sandbox_report(self) -> tuple[Wall, ...]:
        """Of both, since both are made in one way. Raises Unavailable."""
        return await self._texts.sandbox_report()

    async def close(self) -> None:
        await self._texts.close()
        await self._scans.close()
