"""Files, and the documents that were made of them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any
from uuid import UUID

from carrel.domain.access import TenantGrant
from carrel.domain.errors import NotFound
from carrel.domain.files import Batch, File, Part
from carrel.domain.ids import BatchId, DocumentId, FileId, SourceId, UserId, document_id, new_id
from carrel.domain.library import Blob, ContentFault, Source
from carrel.store import documents
from carrel.store.steps import Step, Walked, walked
from carrel.store.transaction import Statement, Transaction

# Files of whoever asks are shown by row-level security; a limited key sees of its maker's those that it brought itself.
_MINE = "(:credential::uuid is null or x.credential_id = :credential)"
_COLUMNS = "x.id, x.name, x.purpose, x.media_type, x.size, x.sha256, x.blob_key, x.created_at, x.content_code"
_ADD = Statement("""
    insert into brought_files (tenant_id, id, owner_id, credential_id, name, purpose, media_type, size, sha256,
                               blob_key)
    values (:tenant, :id, :owner, :credential, :name, :purpose, :media_type, :size, :sha, :blob)
""")
_GET = Statement(f"select {_COLUMNS} from brought_files x where x.tenant_id = :tenant and x.id = :id and {_MINE}")
_WALK = f"""
    select {_COLUMNS} from brought_files x
    where x.tenant_id = :tenant and x.owner_id = :owner and {_MINE}
      and (:purpose::text is null or x.purpose = :purpose) and (:start::uuid is null or x.id {{beyond}} :start)
    order by x.id {{direction}} limit :most
"""
_WALK_DOWN = Statement(_WALK.replace("{beyond}", "<").replace("{direction}", "desc"))
_WALK_UP = Statement(_WALK.replace("{beyond}", ">").replace("{direction}", "asc"))
_DELETE = Statement("delete from brought_files where tenant_id = :tenant and id = :id")
_DELETE_LEFT = Statement("""
    delete from brought_files x where x.tenant_id = :tenant and x.owner_id = :owner
      and x.created_at < coalesce((select m.created_at from memberships m
                                   where m.tenant_id = :tenant and m.user_id = :owner), 'infinity')
    returning x.blob_key, x.size
""")
# Whoever attaches a file and whoever deletes it take turns.
_ONE_AT_A_TIME = Statement("select pg_advisory_xact_lock(hashtextextended(:tenant::uuid::text || :id::text, 0))")
_DOCUMENTS = Statement("select document_id from file_documents where tenant_id = :tenant and file_id = :id")
_PLACE = Statement("""
    select document_id from file_documents where tenant_id = :tenant and file_id = :id and source_id = :source
""")
_FREE = Statement("""
    select not exists (select from file_documents f where f.tenant_id = :tenant and f.document_id = :document)
       and not exists (select from documents d
                       join document_versions v on v.tenant_id = d.tenant_id and v.id = d.newest_version_id
                       where d.tenant_id = :tenant and d.id = :document and d.deleted_at is null
                         and v.fingerprint <> :sha)
""")
_TAKE = Statement("""
    insert into file_documents (tenant_id, document_id, file_id, source_id, owner_id)
    values (:tenant, :document, :id, :source, :owner) on conflict do nothing
""")
_LEAVE = Statement("""
    delete from file_documents f where f.tenant_id = :tenant and f.document_id = :document and f.file_id = :id
      and not exists (select from documents d where d.tenant_id = :tenant and d.id = :document and d.deleted_at is null)
""")
_ADD_BATCH = Statement("""
    insert into file_batches (tenant_id, id, source_id, owner_id, parts)
    values (:tenant, :id, :source, :owner, :parts)
""")
_GET_BATCH = Statement("""
    select id, source_id, parts, created_at from file_batches
    where tenant_id = :tenant and id = :id and source_id = :source
""")


@dataclass(frozen=True, slots=True)
class NewFile:
    name: str
    purpose: str
    media_type: str | None
    blob: Blob


async def add(tx: Transaction, new: NewFile) -> File:
    identifier = FileId(new_id())
    grant = _grant(tx)
    await tx.run(
        _ADD,
        id=identifier,
        owner=grant.user,
        credential=grant.credential,
        name=new.name,
        purpose=new.purpose,
        media_type=new.media_type,
        size=new.blob.size,
        sha=new.blob.sha256,
        blob=new.blob.key,
    )
    return await get(tx, identifier)


async def get(tx: Transaction, file: FileId) -> File:
    """Raises NotFound."""
    row = await tx.row(_GET, id=file, credential=_limit(tx))
    if row is None:
        raise NotFound
    return _file(row)


async def walk(tx: Transaction, step: Step, *, purpose: str | None) -> Walked[File]:
    rows = await tx.rows(
        _WALK_DOWN if step.goes_down else _WALK_UP,
        owner=_grant(tx).user,
        credential=_limit(tx),
        purpose=purpose,
        start=step.start,
        most=step.most,
    )
    return walked(step, [_file(row) for row in rows])


async def delete(tx: Transaction, file: FileId) -> tuple[File, list[DocumentId]]:
    """The file that was, and the documents that were made of it, as far as the grant shows them. Raises NotFound."""
    await tx.run(_ONE_AT_A_TIME, id=str(file))
    found = await get(tx, file)
    made = [DocumentId(row["document_id"]) for row in await tx.rows(_DOCUMENTS, id=file)]
    await tx.run(_DELETE, id=file)
    return found, made


async def delete_left(tx: Transaction, owner: UserId) -> list[tuple[str, int]]:
    """What somebody who was removed brought before; documents stay where they were attached. Keys and sizes."""
    return [(row["blob_key"], row["size"]) for row in await tx.rows(_DELETE_LEFT, owner=owner)]


async def take_place(tx: Transaction, file: FileId, source: Source) -> tuple[File, str]:
    """The file, and the key that it shall have in the source, which nobody else gets from now on. Raises NotFound."""
    await tx.run(_ONE_AT_A_TIME, id=str(file))
    found = await get(tx, file)
    held = await tx.value(_PLACE, id=file, source=source.id)
    for key in _names(found):
        document = document_id(source.id, key)
        if held == document or (held is None and await _taken(tx, found, source, document)):
            return found, key
    raise NotFound


async def link(tx: Transaction, file: FileId, document: DocumentId, source: Source) -> None:
    """For a document that is there already, and known to be made of the file."""
    await tx.run(_TAKE, document=document, id=file, source=source.id, owner=source.owner)


async def leave_place(tx: Transaction, file: FileId, document: DocumentId) -> None:
    """If nothing came to it."""
    await tx.run(_LEAVE, id=file, document=document)


async def is_at(tx: Transaction, file: FileId, source: SourceId) -> bool:
    """Whether the file is there still, and has its place; it cannot lose it before the commit."""
    await tx.run(_ONE_AT_A_TIME, id=str(file))
    there = await tx.row(_GET, id=file, credential=_limit(tx))
    return there is not None and await tx.value(_PLACE, id=file, source=source) is not None


async def add_batch(tx: Transaction, source: Source, parts: Sequence[Part]) -> Batch:
    identifier = BatchId(new_id())
    written = [[str(part.file), part.document and str(part.document), part.code, part.detail] for part in parts]
    await tx.run(_ADD_BATCH, id=identifier, source=source.id, owner=source.owner, parts=written)
    return await get_batch(tx, source.id, identifier)


async def get_batch(tx: Transaction, source: SourceId, batch: BatchId) -> Batch:
    """Raises NotFound."""
    row = await tx.row(_GET_BATCH, id=batch, source=source)
    if row is None:
        raise NotFound
    parts = [_part(one) for one in row["parts"]]
    found = await documents.many(tx, [part.document for part in parts if part.document])
    return Batch(BatchId(row["id"]), SourceId(row["source_id"]), row["created_at"], parts, found)


def _names(file: File) -> Iterator[str]:
    """Its own name; and where another file of this name lies already, one that no other file has."""
    path = PurePosixPath(file.name)
    yield file.name
    yield str(path.with_name(f"{path.stem} ({file.id.hex[-12:]}){path.suffix}"))


async def _taken(tx: Transaction, file: File, source: Source, document: DocumentId) -> bool:
    if not await tx.value(_FREE, document=document, sha=file.sha256):
        return False
    return bool(await tx.run(_TAKE, document=document, id=file.id, source=source.id, owner=source.owner))


def _grant(tx: Transaction) -> TenantGrant:
    if not isinstance(tx.grant, TenantGrant):
        raise TypeError("Files belong to somebody in a tenant.")
    return tx.grant


def _limit(tx: Transaction) -> UUID | None:
    grant = _grant(tx)
    return None if grant.sources is None and grant.bots is None else grant.credential


def _file(row: Any) -> File:
    return File(
        id=FileId(row["id"]),
        name=row["name"],
        purpose=row["purpose"],
        media_type=row["media_type"],
        size=row["size"],
        sha256=row["sha256"],
        blob_key=row["blob_key"],
        created_at=row["created_at"],
        fault=row["content_code"] and ContentFault(row["content_code"]),
    )


def _part(written: Sequence[str | None]) -> Part:
    file, document, code, detail = written
    return Part(FileId(UUID(file)), DocumentId(UUID(document)) if document else None, code, detail)
