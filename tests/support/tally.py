"""What really stands in the database and on the disk, counted behind every wall."""

from dataclasses import dataclass
from uuid import UUID

from carrel.domain.ids import TenantId
from carrel.store.layouts import KINDS, Kind
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
           (select count(*) from dense_entries where tenant_id = $1) + {dense} as dense,
           (select count(*) from lexical_entries where tenant_id = $1) + {lexical} as lexical,
           (select count(*) from lexical_profiles where tenant_id = $1) as profiles,
           (select count(*) from jobs where tenant_id = $1) as jobs,
           (select count(*) from erasure_receipts where tenant_id = $1 and completed_at is null) as unpurged,
           array(select blob_key from document_versions where tenant_id = $1 order by 1) as blobs
"""
_HAS_OWN = "select exists (select from layouts where tenant_id = $1 and state in ('dedicated', 'demoting'))"


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
    """Entries count in the pooled tables and, if the tenant's own are in use, in those: each is in one of them."""
    async with connected(stand.endpoint.superuser_url) as connection:
        own = await connection.fetchval(_HAS_OWN, UUID(str(tenant)))
        dense, lexical = (_entries(kind, tenant) if own else "0" for kind in KINDS)
        row = await connection.fetchrow(_COUNT.format(dense=dense, lexical=lexical), UUID(str(tenant)))
    assert row is not None
    counted = {name: value for name, value in row.items() if name != "blobs"}
    return Tally(**counted, blobs=tuple(row["blobs"]), files=files_of(stand, tenant))


def _entries(kind: Kind, tenant: TenantId) -> str:
    return f"(select count(*) from carrel_own.{kind}_{tenant.hex})"


def assert_whole(found: Tally, *, documents: int) -> None:
    """Each document ready with one version, each chunk once and indexed once, nothing left to do, no stray byte."""
    assert (found.documents, found.versions, found.ready) == (documents, documents, documents), found
    assert found.chunks == found.places == found.promised == found.dense == found.lexical > 0, found
    assert (found.profiles, found.jobs, found.unpurged) == (documents, 0, 0), found
    assert found.blobs == found.files, found
