"""What the instruments load in bulk is what ingestion would have written."""

from typing import Any

import numpy as np

from bench.load import furnish, interleaved, load
from bench.prepared import prepare
from bench.texts import Text, generated
from carrel.ask.pipeline import SearchWish
from carrel.domain.access import for_job
from carrel.domain.ids import TenantId
from carrel.domain.library import DocumentStatus
from conftest import TenantMaker
from support.raw import Raw, connected
from support.stand import Stand

_CODE = Text(
    "generated/code.txt", b"fn open_valve(pressure: f64) {\n    valve.open();\n}\n\nfn close_valve() {}\n" * 40
)
_LOOKS = {
    "documents": "select key, title, attributes::text, deliveries, same_as, deleted_at, owner_id,"
    " newest_version_id = live_version_id as one_version from carrel.documents where tenant_id = $1 order by key",
    "versions": "select d.key, fingerprint, media_type, size, state, stage, attempts, chunks, failure_code, v.owner_id"
    " from carrel.document_versions v join carrel.documents d on d.live_version_id = v.id"
    " where v.tenant_id = $1 order by key",
    "chunks": "select d.key, ordinal, text, text_hash, heading_path, page, line, char_start, char_end, c.owner_id,"
    " c.document_id = d.id as mine, c.source_id = d.source_id as placed from carrel.chunks c"
    " join carrel.documents d on d.live_version_id = c.version_id where c.tenant_id = $1 order by key, ordinal",
    "dense": "select d.key, c.ordinal, e.embedding::text, e.version_id = c.version_id as of_version,"
    " e.source_id = c.source_id as placed, e.generation_id = c.generation_id as of_generation"
    " from carrel.dense_entries e join carrel.chunks c on c.id = e.chunk_id"
    " join carrel.documents d on d.id = c.document_id where e.tenant_id = $1 order by key, ordinal",
    "lexical": "select d.key, c.ordinal, e.terms::text, e.version_id = c.version_id as of_version,"
    " e.source_id = c.source_id as placed, e.generation_id = c.generation_id as of_generation"
    " from carrel.lexical_entries e join carrel.chunks c on c.id = e.chunk_id"
    " join carrel.documents d on d.id = c.document_id where e.tenant_id = $1 order by key, ordinal",
    "statistics": "select chunks, terms, counts from carrel.lexical_stats where tenant_id = $1",
}
_PROFILES = """
    select d.key, p.chunks, p.terms from carrel.lexical_profiles p
    join carrel.documents d on d.live_version_id = p.version_id where p.tenant_id = $1 order by key
"""


async def test_bulk_loading_writes_what_ingestion_writes(carrel: Stand, tenant: TenantMaker, tmp_path: Any) -> None:
    found = generated(documents=4, questions=1)
    texts = [*found.texts, _CODE]
    ingesting = await tenant()
    source = await ingesting.source()
    for text in texts:
        assert (await ingesting.put(source.id, text.key, text.content)).status is DocumentStatus.READY
    await carrel.parts.words.of(for_job(ingesting.id, None)).weigh()

    (room,) = await furnish(carrel.app, carrel.database, carrel.parts.embedder.profile, tenants=1)
    documents = await prepare(carrel.parts.embedder, texts, kept=tmp_path)
    await load(carrel.endpoint.superuser_url, carrel.database, interleaved([room], [documents]))

    async with connected(carrel.endpoint.superuser_url) as raw:
        ingested, loaded = await _seen(raw, ingesting.id), await _seen(raw, room.tenant)
    assert loaded.keys() == ingested.keys()
    for look, rows in ingested.items():
        assert rows, look
        assert loaded[look] == rows, look
    assert max(row[1] for row in ingested["chunks"]) >= 1
    principal = await carrel.app.principals.authenticate(room.key)
    asked = await carrel.app.asking.search(principal, SearchWish(found.questions[0]))
    assert (len(asked.hits) > 1, asked.alarms) == (True, 0)


async def test_vectors_are_prepared_once_and_then_kept(carrel: Stand, tmp_path: Any) -> None:
    texts = generated(documents=2, questions=1).texts

    first = await prepare(carrel.parts.embedder, texts, kept=tmp_path)
    kept = list(tmp_path.iterdir())
    again = await prepare(carrel.parts.embedder, texts, kept=tmp_path)

    assert len(kept) == 1
    assert all(np.array_equal(one.vectors, two.vectors) for one, two in zip(first, again, strict=True))
    assert [one.chunks for one in first] == [two.chunks for two in again]


async def _seen(raw: Raw, tenant: TenantId) -> dict[str, list[Any]]:
    seen = {look: [tuple(row) for row in await raw.fetch(sql, tenant)] for look, sql in _LOOKS.items()}
    profiles = await raw.fetch(_PROFILES, tenant)
    seen["profiles"] = [(row[0], row[1], np.sort(np.frombuffer(row[2], np.uint32)).tolist()) for row in profiles]
    return seen
