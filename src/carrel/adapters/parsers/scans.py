"""Two sandboxes as one parser: what may hold a scan goes to the one that recognises text."""

from pathlib import Path

from carrel.adapters.parsers.sandbox import SCANS, SandboxedParser, Wall
from carrel.domain.text import ParsedDocument


class ScanningParser:
    """Keeps the promises of `ports.parser.Parser`. `texts` reads everything else: recognising takes time and memory
    that no text needs.
    """

    def __init__(self, texts: SandboxedParser, scans: SandboxedParser) -> None:
        self._texts = texts
        self._scans = scans

    async def parse(self, content: Path, *, media_type: str, key: str) -> ParsedDocument:
        parser = self._scans if media_type in SCANS else self._texts
        return await parser.parse(content, media_type=media_type, key=key)

    async def sandbox_report(self) -> tuple[Wall, ...]:
        """Of both, since both are made in one way. Raises Unavailable."""
        return await self._texts.sandbox_report()

    async def close(self) -> None:
        await self._texts.close()
        await self._scans.close()
