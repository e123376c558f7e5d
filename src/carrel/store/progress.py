"""How far the work on documents is: told by NOTIFY as ids alone, and looked at under the grant of whoever asks."""

from collections.abc import Collection, Mapping
from typing import Any, Final
from uuid import UUID

from carrel.domain.ids import DocumentId, SourceId, TenantId
from carrel.domain.library import DocumentStatus, Failure, Progress, Stage, percent_of
from carrel.store.transaction import Statement, Transaction

CHANNEL: Final = "carrel_progress"
TOLD: Final = f"pg_notify('{CHANNEL}', tenant_id || ' ' || document_id)"
"""For the statements that change how far a version is: after `returning`."""

_SELECT: Final = """
    select d.id, d.source_id, d.key, v.state, v.stage, v.progress, v.failure_code, v.failure_detail, v.failure_retryable
    from documents d join document_versions v on v.tenant_id = d.tenant_id and v.id = d.newest_version_id
"""
_OF: Final = "(:source::uuid is null or d.source_id = :source)"
_UNFINISHED: Final = Statement(f"""
    {_SELECT} where d.tenant_id = :tenant and d.deleted_at is null and {_OF}
      and v.tenant_id = :tenant and v.state in ('pending', 'processing')
    order by v.state desc, v.updated_at desc, v.id limit :most
""")
_CHANGED: Final = Statement(f"""
    {_SELECT} where d.tenant_id = :tenant and d.deleted_at is null and {_OF} and d.id = any (:ids)
    order by v.updated_at, v.id
""")
_COUNTS: Final = Statement(f"""
    select v.state, count(*) as amount
    from documents d join document_versions v on v.tenant_id = d.tenant_id and v.id = d.newest_version_id
    where d.tenant_id = :tenant and d.deleted_at is null and {_OF} group by v.state
""")


def heard(payload: str) -> tuple[TenantId, DocumentId]:
    """What a notification names."""
    tenant, _, document = payload.partition(" ")
    return TenantId(UUID(tenant)), DocumentId(UUID(document))


async def unfinished(tx: Transaction, source: SourceId | None, *, most: int) -> list[Progress]:
    """What is worked on, then what waits; of very many the latest."""
    return [_progress(row) for row in await tx.rows(_UNFINISHED, source=source, most=most)]


async def changed(tx: Transaction, source: SourceId | None, ids: Collection[DocumentId]) -> list[Progress]:
    """Those of them that are there and may be seen."""
    return [_progress(row) for row in await tx.rows(_CHANGED, source=source, ids=list(ids))]


async def counts(tx: Transaction, source: SourceId | None) -> Mapping[DocumentStatus, int]:
    found = {DocumentStatus(row["state"]): row["amount"] for row in await tx.rows(_COUNTS, source=source)}
    return {status: found.get(status, 0) for status in DocumentStatus}


def _progress(row: Any) -> Progress:
    status, error = DocumentStatus(row["state"]), None
    if row["failure_code"] is not None:
        error = Failure(
            row["failure_code"], row["failure_detail"], Stage(row["stage"]), retryable=row["failure_retryable"]
        )
    return Progress(
        document=DocumentId(row["id"]),
        source=SourceId(row["source_id"]),
        key=row["key"],
        status=status,
        stage=Stage(row["stage"]) if status in {DocumentStatus.PENDING, DocumentStatus.PROCESSING} else None,
        percent=percent_of(status, row["progress"]),
        error=error,
    )
