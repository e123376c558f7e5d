"""Files that were made to do harm, and files that chance made: each ends, with a reason, and harms nobody else."""

import asyncio
import gc
import math
import os
import time
from asyncio.subprocess import DEVNULL, Process
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from carrel.adapters.parsers.media import SUPPORTED
from carrel.adapters.parsers.sandbox import SandboxedParser
from carrel.adapters.parsers.wire import REFUSALS
from carrel.adapters.postgres import Endpoint
from carrel.cli import children
from carrel.domain.errors import Refusal
from carrel.domain.library import ChunkRules, DocumentStatus, Outcome, Source
from carrel.domain.text import ParsedDocument
from carrel.ingest.chunk import chunk
from carrel.ingest.upload import Delivery
from carrel.ports.embedder import Embedder
from carrel.ports.lexical import Analyzer
from carrel.wiring.memory import allocate_in_one_place, give_back
from support.evil import every_evil_file
from support.fuzz import SEEDS, fuzzed
from support.quiet import a_quiet_stand, blobs_of, document_of, idle
from support.rounds import rounds
from support.stand import Stand
from support.tenants import SomeTenant, a_tenant, pieces

pytestmark = pytest.mark.proof

MEMORY_MB: Final = 256
SECONDS: Final = 4.0
WALL: Final = SECONDS * 1.5
PATIENCE: Final = 5.0  # seconds until a busy machine has noticed that the time is over
GROWTH_MB: Final = 20
A_REST: Final = 3.0  # seconds with nothing in hand, after which a worker gives back what it keeps
FAMILIES: Final = 2  # of formats, each with its zygote, which is ended when none of them comes
SAID: Final = "worker.log"
allocate_in_one_place()  # before any thread is there, as a worker does: it is a worker's memory that is measured
FUZZED_PER_FORMAT: Final = rounds(10, 550)
TO_THE_PIPELINE: Final = rounds(5, 50)  # every so-many-th fuzzed file goes the whole way
EVERY_EVIL: Final = rounds(12, 1)  # every so-many-th evil file
A_LARGE_TEXT: Final = b"Leave is thirty days a year, and a manager confirms it. " * 50_000
AT_THE_DOOR: Final = {"unsupported_type", "type_mismatch", "invalid_key", "empty_document"}
INSIDE: Final = {*REFUSALS, "too_long"}


@dataclass(frozen=True)
class Sent:
    """One file on its way. `name` is enough to make it again."""

    name: str
    key: str
    delivery: Delivery


@dataclass(frozen=True)
class Bench:
    """A Carrel whose worker is a process of its own, with low limits for its parsers."""

    stand: Stand
    tenant: SomeTenant
    source: Source
    worker: Process

    async def send(self, name: str, key: str, content: bytes) -> Sent:
        dock = await self.tenant.app.uploads.dock(self.tenant.console, self.source.id)
        return Sent(
            name, key, await self.tenant.app.uploads.deliver_or_reject(dock, key, pieces(content), declared=None)
        )

    async def ended(self, sent: Sent) -> str:
        """The code with which it ended, or `ready`. Fails for one that goes on, or that was tried twice."""
        if sent.delivery.outcome is Outcome.REJECTED:
            assert sent.delivery.problem is not None
            assert sent.delivery.problem.code in AT_THE_DOOR, sent
            return sent.delivery.problem.code
        document = await document_of(self.tenant, sent.delivery)
        assert document.attempts == 1, document
        if document.status is DocumentStatus.READY:
            return "ready"
        assert document.status is DocumentStatus.FAILED, document
        assert document.error is not None
        assert document.error.code in allowed(sent.key), document
        return document.error.code


def allowed(key: str) -> set[str]:
    """PDFium may crash, and the library for old workbooks ends its process when it gets no memory; ours know better."""
    return INSIDE if key.endswith((".pdf", ".xls")) or "/handbook" in key else INSIDE - {"parser_crashed"}


@pytest.fixture
async def bench(endpoint: Endpoint, models: Path, tmp_path: Path) -> AsyncIterator[Bench]:
    async with (
        a_quiet_stand(endpoint, "evil", tmp_path, models=models) as stand,
        a_worker_process(stand, models) as worker,
    ):
        tenant = await a_tenant(stand.app, "Evil")
        made = Bench(stand, tenant, await tenant.source(), worker)
        for ending, seeds in SEEDS.items():  # at once, as the evil ones come: each job has a connection of its own
            await made.send("warm", f"warm.{ending}", seeds[0])
        await idle(stand)
        await tenant.put(made.source.id, "large.txt", A_LARGE_TEXT)  # what this takes, the allocator keeps
        await tenant.put(made.source.id, "many.txt", "word\n\n" * 150_000)
        await idle(stand)
        await asyncio.sleep(A_REST)
        yield made


@asynccontextmanager
async def a_worker_process(stand: Stand, models: Path) -> AsyncIterator[Process]:
    home = blobs_of(stand).parent
    (home / "models").symlink_to(models / "models")
    settings = {
        "CARREL_HOME": str(home),
        "CARREL_DATABASE__URL": stand.endpoint.app_url,
        "CARREL_PARSER__MEMORY_MB": str(MEMORY_MB),
        "CARREL_PARSER__SECONDS": str(SECONDS),
        "CARREL_OCR__LANGUAGES": "none",
        "CARREL_LOG_LEVEL": "error",
    }
    kept = {
        name: value
        for name, value in children.environment_of("carrel.worker").items()
        if not name.startswith("CARREL_")
    }
    with (home / SAID).open("wb") as said:
        process = await asyncio.create_subprocess_exec(
            *children.command("carrel.worker"),
            env={**kept, **settings},
            stdin=DEVNULL,
            stdout=said,
            stderr=said,
        )
    try:
        yield process
    finally:
        process.terminate()
        await process.wait()


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def resident_mb(pid: int, field: str = "VmRSS") -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024


def evil_files() -> Iterable[tuple[str, str, bytes]]:
    for evil in list(every_evil_file())[::EVERY_EVIL]:
        yield evil.name, evil.key, evil.make()


def fuzzed_files() -> Iterator[tuple[str, str, bytes]]:
    for ending in SEEDS:
        for number in range(0, FUZZED_PER_FORMAT, TO_THE_PIPELINE):
            yield f"fuzzed({ending!r}, {number})", f"fuzzed/{number}.{ending}", fuzzed(ending, number)


@pytest.mark.timeout(rounds(180, 2700))
async def test_every_evil_file_ends_with_a_reason_and_harms_nobody(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    assert len(children_of(bench.worker.pid)) == FAMILIES
    before, started = resident_mb(bench.worker.pid), time.monotonic()

    sent = [await bench.send(*one) for files in (evil_files(), fuzzed_files()) for one in files]
    await idle(bench.stand, seconds=rounds(120, 2400))

    ends = Counter([await bench.ended(one) for one in sent])
    await asyncio.sleep(A_REST)
    after, peak = resident_mb(bench.worker.pid), resident_mb(bench.worker.pid, "VmHWM")
    with capsys.disabled():
        print(  # noqa: T201 - the verdict of the proof
            f"\nevil files: {len(sent)} through the pipeline in {time.monotonic() - started:.0f} s, worker"
            f" {before:.0f} -> {after:.0f} MB (peak {peak:.0f}); {ends_of(ends)}"
        )
    assert bench.worker.returncode is None
    said = await asyncio.to_thread((blobs_of(bench.stand).parent / SAID).read_text)
    assert "parser.process_died" not in said, "only children die"
    assert after - before < GROWTH_MB
    innocent = await bench.tenant.put(bench.source.id, "innocent.md", "# Leave\n\nThirty days.")
    assert innocent.status is DocumentStatus.READY


@dataclass(frozen=True)
class Reader:
    """Reads what a worker would, up to the embedding: whatever the parser lets through has to be cut and indexed."""

    parser: SandboxedParser
    embedder: Embedder
    analyzer: Analyzer
    folder: Path

    async def read(self, ending: str, number: int) -> str:
        """The code with which it ended, or `ready`."""
        path = self.folder / f"{number}.{ending}"
        path.write_bytes(fuzzed(ending, number))
        end = await self._end(path, SUPPORTED[f".{ending}"])
        path.unlink()
        assert end in {"ready", *allowed(path.name)}, f"fuzzed({ending!r}, {number}) ends with {end}"
        return end

    async def _end(self, path: Path, media_type: str) -> str:
        started = time.monotonic()
        try:
            parsed = await self.parser.parse(path, media_type=media_type, key=path.name)
        except Refusal as refusal:
            return refusal.code
        finally:
            assert time.monotonic() - started < WALL + PATIENCE, f"{path.name} takes too long"
        await asyncio.to_thread(self._cut, parsed)
        return "ready"

    def _cut(self, parsed: ParsedDocument) -> None:
        chunks = chunk(parsed, self.embedder.tokenize(parsed.text), ChunkRules(240, 32))
        assert all(parsed.text[one.start : one.end] == one.text for one in chunks)
        for one in chunks[:5]:
            self.analyzer.stems(one.text)


@pytest.fixture
async def reader(stand: Stand, tmp_path: Path) -> AsyncIterator[Reader]:
    parser = SandboxedParser(memory=MEMORY_MB << 20, seconds=SECONDS, wall=WALL, rest=math.inf)
    yield Reader(parser, stand.parts.embedder, stand.parts.analyzer, tmp_path)
    await parser.close()


@pytest.mark.timeout(rounds(180, 2700))
async def test_what_chance_made_is_read_or_refused(reader: Reader, capsys: pytest.CaptureFixture[str]) -> None:
    for ending in SEEDS:
        await reader.read(ending, FUZZED_PER_FORMAT)  # so that all is loaded before the memory is looked at
    zygotes = zygotes_of(reader.parser)
    give_back()
    before, started = resident_mb(os.getpid()), time.monotonic()

    ends = await all_read(reader)

    gc.collect()
    give_back()  # as a worker does after a large document
    after = resident_mb(os.getpid())
    with capsys.disabled():
        print(  # noqa: T201 - the verdict of the proof
            f"\nfuzzed files: {ends.total()} in {time.monotonic() - started:.0f} s, parent {before:.0f} -> {after:.0f}"
            f" MB; {ends_of(ends)}"
        )
    assert zygotes_of(reader.parser) == zygotes, "only their children died"
    assert [children_of(zygote) for zygote in zygotes] == [[]] * len(zygotes)
    assert after - before < GROWTH_MB


async def all_read(reader: Reader) -> Counter[str]:
    """Two at a time, as a worker does."""
    waiting = iter([(ending, number) for ending in SEEDS for number in range(FUZZED_PER_FORMAT)])
    ends: Counter[str] = Counter()

    async def go_on() -> None:
        for ending, number in waiting:
            ends[await reader.read(ending, number)] += 1

    async with asyncio.TaskGroup() as group:
        for _ in range(2):
            group.create_task(go_on())
    return ends


def zygotes_of(parser: SandboxedParser) -> list[int]:
    """One for each family of formats."""
    zygotes = [family.zygote for family in parser._families]
    assert all(zygote is not None and zygote.alive for zygote in zygotes)
    return [zygote.pid for zygote in zygotes if zygote]


def ends_of(ends: Counter[str]) -> str:
    return ", ".join(f"{count} {code}" for code, count in ends.most_common())
