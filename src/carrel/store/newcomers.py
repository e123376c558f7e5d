"""Newcomers: many documents that were never there, in a few statements for all of them instead of a few for each.

What is not plainly new (a key that is known, bytes that another document of the source has) is left to
`versions.register`, which asks what there is to ask.
"""

from collections.abc import Sequence
from typing import Final

from carrel.domain.ids import DocumentId, UserId, VersionId, document_id, new_id
from carrel.domain.jobs import JobKind
from carrel.domain.keys import title_from_key
from carrel.domain.library import Outcome, Source
from carrel.store import jobs
from carrel.store.progress import TOLD
from carrel.store.transaction import Statement, Transaction
from carrel.store.versions import Arrival, Registered

# In the order of their ids: who brings the same keys at the same time waits, and two never wait for each other.
# `offset` keeps the planner from reading all versions of the source at once. Lists are in the order of creation.
_OPEN: Final = Statement("""
    with here as (
        select tenant_id, id, owner_id from sources
        where tenant_id = :tenant and id = :source and deleted_at is null for share
    )
    insert into documents (tenant_id, id, source_id, owner_id, key, title, created_at)
    select here.tenant_id, given.id, here.id, here.owner_id, given.key, given.title,
           now() + given.place * interval '1 microsecond'
    from here, unnest(:ids::uuid[], :keys::text[], :titles::text[], :fingerprints::bytea[]) with ordinality
        given (id, key, title, fingerprint, place)
    where not exists (select from document_versions v
                      where v.tenant_id = :tenant and v.source_id = :source and v.fingerprint = given.fingerprint
                        and v.state <> 'failed' offset 0)
    order by given.id
    on conflict do nothing returning id
""")
_ADOPT: Final = Statement(f"""
    with given as (
        select * from unnest(:ids::uuid[], :documents::uuid[], :fingerprints::bytea[], :blobs::text[],
                             :media_types::text[], :sizes::bigint[])
            as given (id, document, fingerprint, blob, media_type, size)
    ), added as (
        insert into document_versions
            (tenant_id, id, document_id, source_id, owner_id, fingerprint, blob_key, media_type, size, state, stage,
             requested_by)
        select :tenant, id, document, :source, :owner, fingerprint, blob, media_type, size, 'pending', 'queued',
               :requester::uuid
        from given returning {TOLD}
    ), recorded as (
        insert into version_records
            (tenant_id, id, document_id, source_id, owner_id, number, fingerprint, media_type, size, brought_by)
        select :tenant, id, document, :source, :owner, 1, fingerprint, media_type, size, :requester::uuid from given
    )
    update documents d set newest_version_id = given.id, updated_at = d.created_at from given
    where d.tenant_id = :tenant and d.id = given.document
""")


async def register(
    tx: Transaction, source: Source, arrivals: Sequence[Arrival], *, requester: UserId | None = None
) -> dict[str, Registered]:
    """Those whose documents are new and alone with their bytes, by key; `demand` asks for their jobs.

    No two arrivals have the same key, nor the same bytes. A source that has gone takes none.
    """
    documents = {document_id(source.id, arrival.key): arrival for arrival in arrivals}
    rows = await tx.rows(
        _OPEN,
        source=source.id,
        ids=list(documents),
        keys=[arrival.key for arrival in arrivals],
        titles=[title_from_key(arrival.key) for arrival in arrivals],
        fingerprints=[arrival.blob.sha256 for arrival in arrivals],
    )
    opened = {row["id"] for row in rows}
    new = [(document, VersionId(new_id()), arrival) for document, arrival in documents.items() if document in opened]
    if new:
        await _adopt(tx, source, new, requester)
    return {arrival.key: Registered(Outcome.CREATED, document, version=version) for document, version, arrival in new}


async def demand(tx: Transaction, source: Source, versions: Sequence[tuple[VersionId, int]]) -> None:
    """The jobs of these versions, each with its size in bytes. Last in a transaction, as `versions.demand`."""
    wanted = [(version, jobs.cost_of(size)) for version, size in versions]
    await jobs.enqueue_all(tx, JobKind.INGEST, wanted, owner=source.owner)


async def _adopt(
    tx: Transaction,
    source: Source,
    new: Sequence[tuple[DocumentId, VersionId, Arrival]],
    requester: UserId | None,
) -> None:
    await tx.run(
        _ADOPT,
        source=source.id,
        owner=source.owner,
        requester=requester,
        ids=[version for _, version, _ in new],
        documents=[document for document, _, _ in new],
        fingerprints=[arrival.blob.sha256 for _, _, arrival in new],
        blobs=[arrival.blob.key for _, _, arrival in new],
        media_types=[arrival.media_type for _, _, arrival in new],
        sizes=[arrival.blob.size for _, _, arrival in new],
    )
