"""How fast the embedder is when nothing else is done: `python -m bench.ceiling FOLDER HOME`, a process of its own.

The files of FOLDER are parsed and cut as ingestion does it, and each chunk gets its title and headings before it. What
counts begins after that: the very token sequences that ingestion would hand to the embedder go through the same
embedder, with the threads that the settings give a worker and at a worker's niceness.
"""

import asyncio
import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

import numpy as np

from carrel.adapters.embedders import minilm
from carrel.adapters.parsers.media import media_type_of
from carrel.adapters.parsers.sandbox import SandboxedParser
from carrel.domain.keys import title_from_key
from carrel.domain.library import ChunkRules
from carrel.ingest.chunk import chunk
from carrel.ingest.embed import embed
from carrel.ports.embedder import Embedder, EmbedderProfile, Tokens, Vector
from carrel.settings import MiniLM

NICENESS: Final = 10
_HEAD: Final = 4096
_WARMING: Final = 32


@dataclass(frozen=True, slots=True)
class Ceiling:
    """`seconds` for `chunks` chunks, by the clock and of the processor; `tokens` as the model sees them."""

    chunks: int
    tokens: int
    seconds: float
    cpu: float

    @property
    def rate(self) -> float:
        """Chunks in a second."""
        return self.chunks / self.seconds


async def ceiling(folder: Path, home: Path) -> Ceiling:
    """Measured in a process of its own. Raises RuntimeError when it fails; it has said why."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.ceiling", str(folder), str(home), stdout=asyncio.subprocess.PIPE
    )
    said, _ = await process.communicate()
    if process.returncode:
        raise RuntimeError("The embedder's ceiling was not measured.")
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

    async def embed(self, batch: Sequence[Sequence[int]]) -> list[Vector]:
        self.heard.extend(batch)
        return [np.zeros(1, np.float32)] * len(batch)


async def _measure(folder: Path, home: Path) -> Ceiling:
    os.nice(NICENESS)
    embedder = minilm.prepare(home, threads=MiniLM().threads)
    recorder, parser = _Recorder(embedder), SandboxedParser()
    try:
        chunks = sum([await _cut(recorder, parser, folder, file) for file in files(folder)])
    finally:
        await parser.close()
    await embedder.embed(recorder.heard[:_WARMING])
    began, cpu = time.perf_counter(), time.process_time()
    await embedder.embed(recorder.heard)
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    embedder.close()
    return Ceiling(chunks, sum(map(len, recorder.heard)), seconds, cpu)


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


async def _cut(recorder: _Recorder, parser: SandboxedParser, folder: Path, file: Path) -> int:
    key = file.relative_to(folder).as_posix()
    with file.open("rb") as opened:
        media_type = media_type_of(key, None, opened.read(_HEAD))
    parsed = await parser.parse(file, media_type=media_type, key=key)
    rules = ChunkRules().within(recorder.profile.max_tokens)
    chunks = chunk(parsed, recorder.tokenize(parsed.text), rules)
    await embed(recorder, parsed.title or title_from_key(key), chunks)
    return len(chunks)


def main() -> None:
    found = asyncio.run(_measure(Path(sys.argv[1]), Path(sys.argv[2])))
    sys.stdout.write(json.dumps(asdict(found)))


if __name__ == "__main__":
    main()
