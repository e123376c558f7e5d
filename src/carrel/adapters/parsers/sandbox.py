"""The parser that the product uses: every document in a process of its own that can do no harm."""

import asyncio
import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from types import MappingProxyType

from carrel.adapters.parsers import media, wire
from carrel.adapters.parsers.zygote_process import Ended, ZygoteProcess
from carrel.domain.errors import Unavailable, Unsupported
from carrel.domain.text import ParsedDocument

FORMATS = MappingProxyType({
    media.MARKDOWN: "carrel.adapters.parsers.markdown:parse",
    media.PLAIN: "carrel.adapters.parsers.plain:parse",
    media.HTML: "carrel.adapters.parsers.html:parse",
    media.PDF: "carrel.adapters.parsers.pdf:parse",
})  # fmt: skip
_KEY = 1_000


@dataclass(frozen=True, slots=True)
class Wall:
    """One thing that keeps a parser from doing harm, and whether this host allows it."""

    stands: bool
    sentence: str


class SandboxedParser:
    """Keeps the promises of `ports.parser.Parser`. Starts its process when first needed and again when it died.

    `memory` in bytes and `seconds` of processor time hold for one document, `wall` in seconds for its whole way.
    A cancelled `parse` kills its parser. `paths` are folders where the modules of `formats` may lie.
    """

    def __init__(
        self,
        *,
        memory: int = 1 << 30,
        seconds: float = 60,
        wall: float = 90,
        at_once: int = 2,
        formats: Mapping[str, str] = FORMATS,
        paths: Sequence[Path] = (),
    ) -> None:
        self._memory = memory
        self._wall = wall
        self._formats = dict(formats)
        self._paths = tuple(paths)
        self._config = {"formats": self._formats, "memory": memory, "seconds": seconds}
        self._slots = asyncio.Semaphore(at_once)
        self._starting = asyncio.Lock()
        self._zygote: ZygoteProcess | None = None

    async def parse(self, content: Path, *, media_type: str, key: str) -> ParsedDocument:
        """Also raises Unsupported for a media type without a format."""
        if media_type not in self._formats:
            raise Unsupported(f"Carrel does not read {media_type} documents.")
        async with self._slots:
            zygote = await self._started()
            with _opened(content) as source:
                return await self._read(zygote, source, media_type=media_type, key=key[-_KEY:])

    async def sandbox_report(self) -> tuple[Wall, ...]:
        """Which walls stand on this host, for the start-up log and `carrel doctor`. Raises Unavailable."""
        zygote = await self._started()
        return tuple(Wall(stands, sentence) for stands, sentence in zygote.walls)

    async def close(self) -> None:
        """Ends every process; documents that are being read get Unavailable."""
        async with self._starting:
            if self._zygote:
                await self._zygote.close()
                self._zygote = None

    async def _started(self) -> ZygoteProcess:
        async with self._starting:
            if self._zygote and not self._zygote.alive:
                await self._zygote.close()
                self._zygote = None
            if self._zygote is None:
                self._zygote = await ZygoteProcess.start(self._config, paths=self._paths)
            return self._zygote

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
