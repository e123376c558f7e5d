"""Only what reads anew is embedded: the rest of a document that changed a little keeps its vectors."""

import uuid
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from carrel.adapters.postgres import Endpoint
from carrel.domain.access import TenantGrant, for_job
from carrel.domain.ids import ChunkId, DocumentId, SourceId, VersionId
from carrel.domain.library import ChunkRules, Version
from carrel.ingest.embed import Reader
from carrel.ingest.reuse import copy_all
from carrel.ports.vectors import TenantVectors, Twin, VectorIndexes
from carrel.store import chunks, generations
from carrel.wiring import tasks
from support.quiet import a_quiet_stand, a_worker_of, delivered, document_of, drained
from support.raw import connected
from support.recording import recorded
from support.stand import Stand
from support.tally import assert_whole, tally
from support.tenants import SomeTenant, a_tenant

SECTIONS = 200


@pytest.fixture(scope="module")
async def quiet(endpoint: Endpoint, models: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stand]:
    async with a_quiet_stand(endpoint, "reuse", tmp_path_factory.mktemp("reuse"), models=models) as standing:
        yield standing


def a_handbook(*, changed: int | None = None, sections: int = SECTIONS) -> str:
    parts = ["# Handbook"]
    for number in range(sections):
        word = "rewritten" if number == changed else "original"
        parts.append(f"## Gateway {number}\n\n" + f"The {word} procedure of gateway {number} drains it first. " * 6)
    return "\n\n".join(parts)


async def test_of_a_large_document_with_one_new_paragraph_few_chunks_are_embedded(
    quiet: Stand, acme: SomeTenant, source: SourceId
) -> None:
    await delivered(acme, source, "handbook.md", a_handbook())
    first = recorded(quiet)
    await drained(quiet, first.worker)
    assert first.embedder.texts >= SECTIONS

    work = recorded(quiet)
    again = await delivered(acme, source, "handbook.md", a_handbook(changed=77))
    await drained(quiet, work.worker)

    assert 1 <= work.embedder.texts <= 3
    assert_whole(await tally(quiet, acme.id), documents=1)
    assert again.version is not None
    assert await off_from_fresh(quiet, acme, again.version) < 1e-3


async def off_from_fresh(stand: Stand, tenant: SomeTenant, version: VersionId) -> float:
    """How far the furthest number of a vector in the index is from what the embedder says of that chunk now."""
    async with connected(stand.endpoint.superuser_url) as connection:
        rows = await connection.fetch(
            "select c.text, c.heading_path, c.reading_hash, e.embedding from chunks c"
            " join dense_entries e on e.tenant_id = c.tenant_id and e.chunk_id = c.id"
            " where c.tenant_id = $1 and c.version_id = $2 order by c.ordinal",
            tenant.id,
            version,
        )
    async with stand.database.transaction(for_job(tenant.id, None)) as tx:
        generation = await generations.live(tx)
        assert generation is not None
        kept = await chunks.stored(tx, version, generation.id)
    embedder = stand.parts.embedder
    reader = Reader(embedder, "Handbook")
    whole = [replace(one.chunk, tokens=tuple(embedder.tokenize(one.chunk.text).ids)) for one in kept]
    assert [reader.hashed(one) for one in whole] == [row["reading_hash"] for row in rows]
    fresh = await embedder.embed([reader.reading(one) for one in whole])
    return float(np.abs(np.stack([row["embedding"].to_numpy() for row in rows]) - np.stack(fresh)).max())


async def test_what_another_document_of_the_source_says_is_not_embedded_again(
    quiet: Stand, acme: SomeTenant, source: SourceId
) -> None:
    await delivered(acme, source, "one.md", a_handbook(sections=12))
    await drained(quiet)
    work = recorded(quiet)

    await delivered(acme, source, "other.md", a_handbook(sections=13))
    await drained(quiet, work.worker)

    assert 1 <= work.embedder.texts <= 3
    assert_whole(await tally(quiet, acme.id), documents=2)


async def test_nothing_is_taken_from_another_source_or_another_tenant(
    quiet: Stand, acme: SomeTenant, source: SourceId
) -> None:
    await delivered(acme, source, "one.md", a_handbook(sections=5))
    await drained(quiet)
    rival = await a_tenant(quiet.app, "Rival")
    for tenant, place in ((acme, (await acme.source()).id), (rival, (await rival.source()).id)):
        work = recorded(quiet)
        own = await delivered(tenant, place, "one.md", a_handbook(sections=5))
        await drained(quiet, work.worker)
        assert work.embedder.texts == (await document_of(tenant, own)).chunks


async def test_what_reads_the_same_under_another_title_is_embedded(
    quiet: Stand, acme: SomeTenant, source: SourceId
) -> None:
    await delivered(acme, source, "one.md", a_handbook(sections=5))
    await drained(quiet)
    work = recorded(quiet)

    other = await delivered(acme, source, "two.md", a_handbook(sections=5).replace("# Handbook", "# Manual", 1))
    await drained(quiet, work.worker)

    assert work.embedder.texts == (await document_of(acme, other)).chunks


@dataclass(frozen=True)
class Forgetful:
    """Copies one vector less than it is asked to, as if a document had been replaced at that moment."""

    real: VectorIndexes

    def of(self, grant: TenantGrant, reading: object = None) -> TenantVectors:
        index = self.real.of(grant, reading)
        copy = index.copy

        async def copy_fewer(twins: object, **where: object) -> int:
            return await copy(list(twins)[1:], **where)  # type: ignore[call-overload, arg-type]

        index.copy = copy_fewer  # type: ignore[method-assign]
        return index


class Copies:
    """Takes vectors' copies, and remembers how many came at a time."""

    def __init__(self) -> None:
        self.twins: list[list[Twin]] = []

    async def copy(self, twins: Sequence[Twin], **_: object) -> int:
        self.twins.append(list(twins))
        return len(twins)


@pytest.mark.parametrize(("many", "sizes"), [(0, []), (256, [256]), (257, [256, 1]), (700, [256, 256, 188])])
async def test_vectors_are_copied_some_at_a_time_and_each_once(many: int, sizes: list[int]) -> None:
    """In a large tenant each goes into a graph: one statement for all would hold its locks, and its time, too long."""
    pairs = [Twin(ChunkId(uuid.uuid4()), ChunkId(uuid.uuid4())) for _ in range(many)]
    ids = VersionId(uuid.uuid4()), DocumentId(uuid.uuid4()), SourceId(uuid.uuid4())
    version = Version(*ids, None, "a.md", "blob", "text/plain", 1, b"", ChunkRules())
    index = Copies()

    assert await copy_all(index, pairs, version) == many  # type: ignore[arg-type]

    assert [len(some) for some in index.twins] == sizes
    assert [one for some in index.twins for one in some] == pairs


async def test_a_vector_that_went_meanwhile_is_made_after_all(quiet: Stand, acme: SomeTenant, source: SourceId) -> None:
    await delivered(acme, source, "handbook.md", a_handbook(sections=9))
    await drained(quiet)
    again = await delivered(acme, source, "handbook.md", a_handbook(sections=9, changed=2))
    parts = replace(quiet.parts, vectors=Forgetful(quiet.parts.vectors))

    await drained(quiet, a_worker_of(quiet, doing=tasks(parts, quiet.parser)))

    assert_whole(await tally(quiet, acme.id), documents=1)
    assert again.version is not None
    assert await off_from_fresh(quiet, acme, again.version) < 1e-3
