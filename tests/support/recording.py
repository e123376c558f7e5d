"""Real collaborators that remember what they were asked, and can be made to wait or to refuse."""

from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from carrel.domain.access import TenantGrant
from carrel.domain.text import ParsedDocument
from carrel.ports.embedder import Embedder, EmbedderProfile, Tokens, Vector
from carrel.ports.lexical import LexicalEntry, LexicalIndexes, TenantWords
from carrel.ports.parser import Parser
from carrel.wiring import tasks
from carrel.worker.loop import Worker
from support.quiet import a_worker_of
from support.stand import Stand


async def nothing(_: str) -> None:
    """What happens before a document is parsed."""


@dataclass
class RecordingParser:
    """`before(key)` runs first: it may wait, or raise."""

    real: Parser
    before: Callable[[str], Awaitable[None]] = nothing
    keys: list[str] = field(default_factory=list)

    async def parse(self, content: Path, *, media_type: str, key: str) -> ParsedDocument:
        self.keys.append(key)
        await self.before(key)
        return await self.real.parse(content, media_type=media_type, key=key)


@dataclass
class RecordingEmbedder:
    real: Embedder
    texts: int = 0
    flows: list[Hashable] = field(default_factory=list)

    @property
    def profile(self) -> EmbedderProfile:
        return self.real.profile

    def tokenize(self, text: str) -> Tokens:
        return self.real.tokenize(text)

    async def embed(self, batch: Sequence[Sequence[int]], *, flow: Hashable = None) -> list[Vector]:
        self.texts += len(batch)
        self.flows.append(flow)
        return await self.real.embed(batch, flow=flow)


@dataclass
class Recorded:
    """A worker, and what its parser and embedder were asked."""

    worker: Worker
    parser: RecordingParser
    embedder: RecordingEmbedder


def recorded(stand: Stand, before: Callable[[str], Awaitable[None]] = nothing, *, lease: float = 30.0) -> Recorded:
    parser, embedder = RecordingParser(stand.parser, before), RecordingEmbedder(stand.parts.embedder)
    doing = tasks(replace(stand.parts, embedder=embedder), parser)
    return Recorded(a_worker_of(stand, lease=lease, doing=doing), parser, embedder)


@dataclass
class HookedWords:
    """Lets something happen once all entries of a version are written, just before the commit."""

    real: LexicalIndexes
    after: Callable[[str], Awaitable[None]]

    def of(self, grant: TenantGrant, reading: object = None) -> TenantWords:
        index = self.real.of(grant, reading)
        put = index.put

        async def put_and_more(entries: Sequence[LexicalEntry]) -> None:
            await put(entries)
            await self.after("")

        index.put = put_and_more  # type: ignore[method-assign]
        return index
