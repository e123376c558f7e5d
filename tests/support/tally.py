"""What really stands in the database and on the disk, counted behind every wall."""

from dataclasses import dataclass
from uuid import UUID

from carrel.domain.ids import TenantId
from support.quiet import blobs_of
from support.raw import connected
from support.stand import Stand

_COUNT = """
    select (select count(*) from documents where tenant_id = $1 and deleted_at is null) as documents,
           (select count(*) from document_versions where tenant_id = $1) as versions,
           (select count(*) from document_versions where tenant_id = $1 and state = 'ready') as ready,
           (select coalesce(sum(chunks), 0) from document_versions
            where tenant_id = $1 and state = 'ready') as promised,
           (select count(*) from chunks where tenant_id = $1) as chunks,
           (select count(distinct (version_id, ordinal)) from chunks where tenant_id = $1) as places,
           (select count(*) from dense_entries_384 where tenant_id = $1) as dense,
           (select count(*) from lexical_entries where tenant_id = $1) as lexical,
           (select count(*) from lexical_profiles where tenant_id = $1) as profiles,
           (select count(*) from jobs where tenant_id = $1) as jobs,
           (select count(*) from erasure_receipts where tenant_id = $1 and completed_at is null) as unpurged,
           array(select blob_key from document_versions where tenant_id = $1 order by 1) as blobs
"""


@dataclass(frozen=True)
class Tally:
    documents: int
    versions: int
    ready: int
    promised: int
    chunks: int
    places: int
    dense: int
    lexical: int
    profiles: int
    jobs: int
    unpurged: int
    blobs: tuple[str, ...]
    files: tuple[str, ...]


def files_of(stand: Stand, tenant: TenantId) -> tuple[str, ...]:
    """What lies in the blob store, unfinished uploads included."""
    return tuple(sorted(f"{tenant}/{path.name}" for path in (blobs_of(stand) / str(tenant)).glob("*")))


async def tally(stand: Stand, tenant: TenantId) -> Tally:
    async with connected(stand.endpoint.superuser_url) as connection:
        row = await connection.fetchrow(_COUNT, UUID(str(tenant)))
    assert row is not None
    counted = {name: value for name, value in row.items() if name != "blobs"}
    return Tally(**counted, blobs=tuple(row["blobs"]), files=files_of(stand, tenant))


def assert_whole(found: Tally, *, documents: int) -> None:
    """Each document ready with one version, each chunk once and indexed once, nothing left to do, no stray byte."""
    assert (found.documents, found.versions, found.ready) == (documents, documents, documents), found
    assert found.chunks == found.places == found.promised == found.dense == found.lexical > 0, found
    assert (found.profiles, found.jobs, found.unpurged) == (documents, 0, 0), found
    assert found.blobs == found.files, found
