"""Ingestion: the verbs in order."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

import structlog
from structlog.contextvars import bound_contextvars

from carrel.domain.access import TenantGrant
from carrel.domain.errors import Conflict, NotFound, Unreadable
from carrel.domain.ids import ChunkId, VersionId, chunk_id
from carrel.domain.jobs import Claim, JobKind
from carrel.domain.keys import title_from_key
from carrel.domain.library import Generation, Stage, Version, reached
from carrel.domain.text import Chunk, ParsedDocument
from carrel.domain.webhooks import Occasion
from carrel.ingest.chunk import chunk
from carrel.ingest.embed import Reader
from carrel.ingest.index import Indexer, Prepared
from carrel.ingest.reuse import Embedded, Reuse, copy_all
from carrel.ports.blobs import Blobs
from carrel.ports.embedder import Embedder
from carrel.ports.lexical import Analyzer
from carrel.ports.parser import Parser
from carrel.ports.vectors import Twin, VectorIndexes
from carrel.store import chunks, erasure, generations, jobs, twins, versions, webhooks
from carrel.store.transaction import Database
from carrel.store.twins import LiveTwin

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Work:
    """One claimed job on its way; `stage` is where it is, for the heartbeat and for the reason of a failure.

    `is_watched`: a crash was counted before it could happen. `share` is how much of its embedding is done.
    """

    claim: Claim
    grant: TenantGrant
    stage: Stage = field(default=Stage.QUEUED)
    is_watched: bool = False
    share: float = 0.0

    @property
    def percent(self) -> int:
        return reached(self.stage, self.share if self.stage is Stage.EMBED else 0.0)

    def embedded(self, share: float) -> None:
        self.share = share


@dataclass(frozen=True, slots=True)
class Tools:
    """What ingestion needs from outside."""

    database: Database
    blobs: Blobs
    parser: Parser
    embedder: Embedder
    analyzer: Analyzer
    vectors: VectorIndexes
    indexer: Indexer


class Ingestion:
    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._reused = Reuse(tools.database, tools.embedder, tools.vectors)

    async def run(self, work: Work) -> None:
        """Raises LeaseLost when the version is not ours any more; Refusals say why it cannot be done."""
        version, generation, twin = await self._fetch(work)
        if twin is not None and await self._reuse(work, version, generation, twin):
            return
        parsed = await self._parse(work, version)
        prepared = await self._chunk(work, version, generation, parsed)
        embedded = await self._embed(work, prepared)
        await self._index(work, prepared, embedded)
        await self._commit(work, prepared)

    async def _fetch(self, work: Work) -> tuple[Version, Generation, LiveTwin | None]:
        """Raises Conflict `not_wanted` for a version whose document or source has gone while its job remained."""
        embedder = self._tools.embedder.profile
        async with self._tools.database.transaction(work.grant) as tx:
            version = await versions.load(tx, VersionId(work.claim.subject))
            if version is None:
                raise Conflict("The document is no longer wanted.", code="not_wanted")
            generation = await generations.live_or_first(
                tx, embedder=embedder.name, dimension=embedder.dimension, analyzer=self._tools.analyzer.name
            )
            return version, generation, await twins.live(tx, version)

    async def _parse(self, work: Work, version: Version) -> ParsedDocument:
        work.stage = Stage.PARSE
        try:
            async with self._tools.blobs.as_file(version.blob_key) as content:
                with bound_contextvars(document=str(version.document), version=str(version.id)):  # parsers know neither
                    return await self._tools.parser.parse(content, media_type=version.media_type, key=version.key)
        except NotFound as error:
            raise Unreadable("The uploaded bytes are gone: upload the file again.", code="content_missing") from error

    async def _chunk(self, work: Work, version: Version, generation: Generation, parsed: ParsedDocument) -> Prepared:
        work.stage = Stage.CHUNK
        return await asyncio.to_thread(self._prepared, version, generation, parsed)

    def _prepared(self, version: Version, generation: Generation, parsed: ParsedDocument) -> Prepared:
        embedder = self._tools.embedder
        rules = version.rules.within(embedder.profile.max_tokens)
        found = _with_ids(version, generation, chunk(parsed, embedder.tokenize(parsed.text), rules))
        if not found:
            raise Unreadable("The document holds no text.", code="no_text")
        title = parsed.title or title_from_key(version.key)
        reader = Reader(embedder, title)
        readings = {identifier: reader.hashed(piece) for identifier, piece in found.items()}
        return Prepared(version, generation, title, found, readings)

    async def _embed(self, work: Work, prepared: Prepared) -> Embedded:
        work.stage = Stage.EMBED
        return await self._reused.embed(work.grant, prepared, advanced=work.embedded)

    async def _index(self, work: Work, prepared: Prepared, embedded: Embedded) -> None:
        work.stage = Stage.INDEX
        await self._tools.indexer.keep(work.grant, work.claim, prepared)
        vectors = await self._reused.copy(work.grant, prepared, embedded)
        await self._tools.indexer.dense(work.grant, prepared, vectors)
        await self._tools.indexer.lexical(work.grant, prepared)

    async def _commit(self, work: Work, prepared: Prepared) -> None:
        """The swap, the end of the job and the farewell to the old version, in one transaction."""
        work.stage = Stage.COMMIT
        version = prepared.version
        async with self._tools.database.transaction(work.grant, timeout=300) as tx:
            await versions.lock(tx, version.document)
            await jobs.hold(tx, work.claim)
            superseded = await versions.make_live(
                tx, version, title=prepared.title, chunks=len(prepared.chunks), attempts=work.claim.attempts
            )
            await webhooks.announce_version(tx, Occasion.DOCUMENT_READY, version.id)
            await erasure.discard(tx, version.document, superseded)
            await jobs.finish(tx, work.claim)
            await jobs.enqueue(tx, JobKind.WEIGH, work.grant.tenant, delay=0.5)
        log.info("document.ready", document=str(version.document), version=str(version.id), chunks=len(prepared.chunks))

    async def _reuse(self, work: Work, version: Version, generation: Generation, twin: LiveTwin) -> bool:
        """Equal bytes that are live under another key of the source: their text and vectors serve here too."""
        async with self._tools.database.transaction(work.grant) as tx:
            stored = await chunks.stored(tx, twin.version, generation.id)
        title = title_from_key(version.key) if twin.title == title_from_key(twin.key) else twin.title
        found = _with_ids(version, generation, [one.chunk for one in stored])
        siblings = list(zip(stored, found, strict=True))
        readings = {new: old.reading for old, new in siblings if old.reading is not None}
        prepared = Prepared(version, generation, title, found, readings)
        pairs = [Twin(old.id, new) for old, new in siblings]
        work.stage = Stage.INDEX
        await self._tools.indexer.keep(work.grant, work.claim, prepared)
        copied = await copy_all(self._tools.vectors.of(work.grant), pairs, version)
        if not pairs or copied != len(pairs):
            return False
        await self._tools.indexer.lexical(work.grant, prepared)
        await self._commit(work, prepared)
        return True


def _with_ids(version: Version, generation: Generation, found: list[Chunk]) -> Mapping[ChunkId, Chunk]:
    return {chunk_id(version.id, generation.id, piece.ordinal): piece for piece in found}
