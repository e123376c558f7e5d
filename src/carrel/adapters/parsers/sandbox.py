"""The parser that the product uses: every document in a process of its own that can do no harm."""

import asyncio
import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from io import FileIO
from pathlib import Path
from types import MappingProxyType
from typing import Any

import structlog

from carrel.adapters.parsers import media, texts, wire
from carrel.adapters.parsers.families import REST, Family
from carrel.adapters.parsers.ocr import Ocr
from carrel.adapters.parsers.zygote_process import Ended, ZygoteProcess
from carrel.domain.errors import Unavailable, Unsupported
from carrel.domain.text import ParsedDocument

log = structlog.get_logger(__name__)

_OFFICE = MappingProxyType(
    dict.fromkeys(
        (
            *(media.DOCX, media.PPTX, media.XLSX, media.XLSB, media.XLS),
            *(media.ODT, media.ODP, media.ODS, media.EPUB, media.RTF),
        ),
        "carrel.adapters.parsers.office:parse",
    )
)
FORMATS = MappingProxyType({
    media.MARKDOWN: "carrel.adapters.parsers.markdown:parse",
    media.PLAIN: "carrel.adapters.parsers.plain:parse",
    media.HTML: "carrel.adapters.parsers.html:parse",
    media.PDF: "carrel.adapters.parsers.pdf:parse",
    texts.RST: "carrel.adapters.parsers.rst:parse",
    texts.CSV: "carrel.adapters.parsers.rows:parse",
    texts.TSV: "carrel.adapters.parsers.rows:parse",
    texts.JSON: "carrel.adapters.parsers.json_tree:parse",
    texts.JSON_LINES: "carrel.adapters.parsers.json_tree:parse",
    texts.YAML: "carrel.adapters.parsers.yaml_tree:parse",
    texts.XML: "carrel.adapters.parsers.xml_tree:parse",
    texts.MAIL: "carrel.adapters.parsers.mail:parse",
    texts.NOTEBOOK: "carrel.adapters.parsers.notebook:parse",
    texts.SOURCE: "carrel.adapters.parsers.code:parse",
    **_OFFICE,
})  # fmt: skip
SCANS = MappingProxyType({
    media.PDF: FORMATS[media.PDF],
    **dict.fromkeys(media.PICTURES.values(), "carrel.adapters.parsers.recognise:parse"),
})  # fmt: skip
"""What text recognition reads; a PDF may have pages with text and pages without."""
_KEY = 1_000


@dataclass(frozen=True, slots=True)
class Wall:
    """One thing that keeps a parser from doing harm, and whether this host allows it."""

    stands: bool
    sentence: str


class SandboxedParser:
    """Keeps the promises of `ports.parser.Parser`. Starts a process for each family of formats when first needed, again
    when it died, and ends it after `rest` seconds without a document.

    `memory` in bytes and `seconds` of processor time hold for one document, `wall` in seconds for its whole way.
    A cancelled `parse` kills its parser. `paths` are folders where the modules of `formats` may lie.
    """

    def __init__(  # noqa: PLR0913 - limits and choices, each of which stands alone
        self,
        *,
        memory: int = 1 << 30,
        seconds: float = 60,
        wall: float = 90,
        at_once: int = 2,
        rest: float = REST,
        formats: Mapping[str, str] = FORMATS,
        paths: Sequence[Path] = (),
        ocr: Ocr | None = None,
    ) -> None:
        self._memory = memory
        self._wall = wall
        limits: dict[str, Any] = {"memory": memory, "seconds": seconds}
        if ocr:
            limits["ocr"] = asdict(ocr)
        self._families = [Family(one, limits, paths=paths, rest=rest) for one in _families(formats)]
        self._slots = asyncio.Semaphore(at_once)
        self._told = False

    async def parse(self, content: Path, *, media_type: str, key: str) -> ParsedDocument:
        """Also raises Unsupported for a media type without a format."""
        family = next((one for one in self._families if media_type in one.formats), None)
        if family is None:
            raise Unsupported(f"Carrel does not read {media_type} documents.")
        async with self._slots, family.working() as zygote:
            self._tell(_walls(zygote))
            with _opened(content) as source:
                return await self._read(zygote, source, media_type=media_type, key=key[-_KEY:])

    async def sandbox_report(self) -> tuple[Wall, ...]:
        """Which walls stand on this host, for `carrel doctor`. Raises Unavailable."""
        async with self._families[0].working() as zygote:  # the walls are the same for all
            return _walls(zygote)

    async def close(self) -> None:
        """Ends every process; documents that are being read get Unavailable."""
        for family in self._families:
            await family.close()

    def _tell(self, walls: tuple[Wall, ...]) -> None:
        """To the log, with the first document: a process that reads none starts no parser to find out."""
        if not self._told:
            self._told = True
            missing = [wall.sentence for wall in walls if not wall.stands]
            log.info("parser.walls", standing=[wall.sentence for wall in walls if wall.stands], missing=missing)

    async def _read(self, zygote: ZygoteProcess, source: int, *, media_type: str, key: str) -> ParsedDocument:
        output, sink = os.pipe()
        with ExitStack() as undo:
            undo.callback(os.close, output)
            try:
                number, ended = zygote.fork(source, sink, media_type=media_type, key=key)
            finally:
                os.close(sink)
            undo.pop_all()
        try:
            async with asyncio.timeout(self._wall):
                return self._verdict(await _transcript(FileIO(output)), await ended)
        except TimeoutError as error:
            raise wire.refusal("parser_timeout") from error
        finally:
            zygote.forget(number)

    def _verdict(self, transcript: wire.Transcript, ended: Ended) -> ParsedDocument:
        code = os.waitstatus_to_exitcode(ended.status)
        if code == 0:
            return transcript.document()
        if code == wire.UNFIT:
            raise Unavailable("A parser's process cannot be closed off.")
        raise wire.refusal(self._cause(code, ended.peak))

    def _cause(self, code: int, peak: int) -> str:
        if code == -signal.SIGXCPU:
            return "parser_timeout"
        # SIGKILL that was not ours is the kernel's, short of memory. PDFium aborts when it gets none.
        if code in (wire.EXHAUSTED, -signal.SIGKILL) or (code < 0 and peak > self._memory // 2):
            return "parser_memory"
        return "parser_crashed"


def _walls(zygote: ZygoteProcess) -> tuple[Wall, ...]:
    return tuple(Wall(stands, sentence) for stands, sentence in zygote.walls)


def _families(formats: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """Most documents are texts and pages: the libraries of office formats take no memory until one of those comes."""
    for office in (False, True):
        if family := {media_type: name for media_type, name in formats.items() if (media_type in _OFFICE) is office}:
            yield family


@contextmanager
def _opened(content: Path) -> Iterator[int]:
    try:
        source = os.open(content, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise Unavailable("The document's bytes cannot be opened.") from error
    try:
        yield source
    finally:
        os.close(source)


async def _transcript(pipe: FileIO) -> wire.Transcript:
    """What the parser wrote, until it ended or broke a rule. The pipe is the transport's to close: uvloop insists."""
    reader = asyncio.StreamReader(limit=wire.LINE_BYTES)
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
    transcript = wire.Transcript()
    try:
        while (line := await reader.readline()).endswith(b"\n"):
            transcript.take(line)
    except ValueError as error:  # a line beyond the limit
        raise wire.refusal("parser_output") from error
    finally:
        transport.close()
    return transcript
