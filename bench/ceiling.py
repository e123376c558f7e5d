"""How fast parsers and embedder are when nothing else is done: `python -m bench.ceiling FOLDER HOME`, a process alone.

The files of FOLDER go through the parser of the product, as many at a time as a worker has in hand: that is the first
number. They are cut as ingestion does it, and each chunk gets its title and headings before it, which counts in
neither. Then the very token sequences that ingestion would hand to the embedder go through the same embedder: the
second. Both have the threads that the settings give a worker, and a worker's niceness.
"""

import asyncio
import json
import os
import sys
import time
from collections.abc import Hashable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

import numpy as np

from carrel.adapters.embedders import minilm
from carrel.domain.keys import title_from_key
from carrel.domain.library import ChunkRules
from carrel.domain.text import ParsedDocument
from carrel.ingest.chunk import chunk
from carrel.ingest.embed import embed
from carrel.ports.embedder import Embedder, EmbedderProfile, Tokens, Vector
from carrel.ports.parser import Parser
from carrel.settings import MiniLM, Settings
from carrel.telemetry import configure
from carrel.wiring.parsing import judge_type, parsing

NICENESS: Final = 10
_HEAD: Final = 4096
_WARMING: Final = 32


@dataclass(frozen=True, slots=True)
class Ceiling:
    """For `chunks` chunks of `tokens` as the model sees them: seconds of parsing, and of embedding by the clock and of
    the processor."""

    chunks: int
    tokens: int
    parsing: float
    embedding: float
    cpu: float

    @property
    def parsed(self) -> float:
        """Chunks in a second."""
        return self.chunks / self.parsing

    @property
    def embedded(self) -> float:
        return self.chunks / self.embedding

    @property
    def slower(self) -> float:
        """Of the two, in chunks a second."""
        return min(self.parsed, self.embedded)


async def ceiling(folder: Path, home: Path) -> Ceiling:
    """Measured in a process of its own. Raises RuntimeError when it fails; it has said why."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.ceiling", str(folder), str(home), stdout=asyncio.subprocess.PIPE
    )
    said, _ = await process.communicate()
    if process.returncode:
        raise RuntimeError("The ceilings were not measured.")
    return Ceiling(**json.loads(said))


@dataclass(frozen=True, slots=True)
class _Recorder:
    """An embedder that writes down what it is asked to embed, and answers nothing of use."""

    embedder: Embedder
    heard: list[Sequence[int]] = field(default_factory=list)

    @property
    def profile(self) -> EmbedderProfile:
        return self.embedder.profile

    def tokenize(self, text: str) -> Tokens:
        return self.embedder.tokenize(text)

    async def embed(self, batch: Sequence[Sequence[int]], *, flow: Hashable = None) -> list[Vector]:  # noqa: ARG002
        self.heard.extend(batch)
        return [np.zeros(1, np.float32)] * len(batch)


@dataclass(frozen=True, slots=True)
class _File:
    path: Path
    key: str
    media_type: str


async def _measure(folder: Path, home: Path) -> Ceiling:
    os.nice(NICENESS)
    settings = Settings(home=home)
    found = _files(settings, folder)
    async with parsing(settings) as parser:
        for file in {file.media_type: file for file in found}.values():  # starts the families' processes
            await _parse(parser, file)
        began = time.perf_counter()
        parsed = await _parse_all(parser, found, at_once=settings.worker.concurrency)
        parsing_took = time.perf_counter() - began
    embedder = minilm.prepare(home, threads=MiniLM().threads)
    recorder = _Recorder(embedder)
    chunks = sum([await _cut(recorder, file, one) for file, one in zip(found, parsed, strict=True)])
    await embedder.embed(recorder.heard[:_WARMING])
    began, cpu = time.perf_counter(), time.process_time()
    await embedder.embed(recorder.heard)
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    embedder.close()
    return Ceiling(chunks, sum(map(len, recorder.heard)), parsing_took, seconds, cpu)


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _files(settings: Settings, folder: Path) -> list[_File]:
    judge, found = judge_type(settings), []
    for path in files(folder):
        key = path.relative_to(folder).as_posix()
        with path.open("rb") as opened:
            found.append(_File(path, key, judge(key, None, opened.read(_HEAD))))
    return found


async def _parse_all(parser: Parser, found: Sequence[_File], *, at_once: int) -> list[ParsedDocument]:
    places = asyncio.Semaphore(at_once)

    async def one(file: _File) -> ParsedDocument:
        async with places:
            return await _parse(parser, file)

    return await asyncio.gather(*(one(file) for file in found))


async def _parse(parser: Parser, file: _File) -> ParsedDocument:
    return await parser.parse(file.path, media_type=file.media_type, key=file.key)


async def _cut(recorder: _Recorder, file: _File, parsed: ParsedDocument) -> int:
    rules = ChunkRules().within(recorder.profile.max_tokens)
    chunks = chunk(parsed, recorder.tokenize(parsed.text), rules)
    await embed(recorder, parsed.title or title_from_key(file.key), chunks)
    return len(chunks)


def main() -> None:
    configure("error")  # to stderr: on stdout stands what was measured
    found = asyncio.run(_measure(Path(sys.argv[1]), Path(sys.argv[2])))
    sys.stdout.write(json.dumps(asdict(found)))


if __name__ == "__main__":
    main()
