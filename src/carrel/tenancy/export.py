"""Export: a tenant as one archive that streams, seen as at one moment, whatever its size.

The rows are written to a temporary folder while one snapshot of the database is open; then the snapshot ends and the
archive streams, the original bytes straight from the blob store. So no client, however slow, keeps a transaction open.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO, Final, Literal
from uuid import UUID

import orjson
import structlog

from carrel.domain.access import Principal, PrincipalKind, TenantGrant, enter, for_job
from carrel.domain.audit import Act
from carrel.domain.errors import NotFound, Unavailable
from carrel.domain.ids import TenantId, UserId
from carrel.domain.rights import Permission
from carrel.ports.blobs import Blobs
from carrel.store import audit, exports, life, tenants
from carrel.store.exports import Line
from carrel.store.transaction import Database, Transaction, moment_of
from carrel.tenancy import archive

log = structlog.get_logger(__name__)

_PIECE: Final = 256 * 1024
_BYTES_AT_ONCE: Final = 64
_COLLECTING: Final = 2


@dataclass(frozen=True, slots=True)
class Exported:
    """An archive on its way: how its file is called, and its bytes."""

    name: str
    content: AsyncIterator[bytes]


@dataclass(slots=True)
class _Sheet:
    """One file of rows while it is written."""

    file: BinaryIO
    digest: "hashlib._Hash" = field(default_factory=hashlib.sha256)
    lines: int = 0
    bytes: int = 0

    def write(self, rows: Sequence[Line]) -> None:
        text = b"".join(orjson.dumps(row, default=str, option=orjson.OPT_APPEND_NEWLINE) for row in rows)
        self.file.write(text)
        self.digest.update(text)
        self.lines += len(rows)
        self.bytes += len(text)

    @property
    def note(self) -> archive.FileNote:
        return archive.FileNote(bytes=self.bytes, sha256=self.digest.hexdigest(), lines=self.lines)


class _Folder:
    """The sheets in a temporary folder that goes with the export, however it ends."""

    def __init__(self, path: Path, stack: ExitStack) -> None:
        names = (*archive.FILES, exports.BLOBS)
        self.sheets = {name: _Sheet(stack.enter_context((path / name).open("w+b"))) for name in names}

    async def write(self, name: str, rows: Sequence[Line]) -> None:
        await asyncio.to_thread(self.sheets[name].write, rows)


class Exports:
    """Few collect at the same time, the others wait: each holds two connections meanwhile."""

    def __init__(self, database: Database, blobs: Blobs) -> None:
        self._database = database
        self._blobs = blobs
        self._collecting = asyncio.Semaphore(_COLLECTING)

    async def begin(self, principal: Principal, tenant: TenantId) -> Exported:
        """The whole tenant for the console; for an owner what is the tenant's and the owner's own private things.

        Nothing is read before the content is. Raises Denied, NotFound for another tenant than the principal's own.
        """
        grant = enter(principal, Permission.EXPORT)
        if grant.tenant != tenant:
            raise NotFound
        whole = principal.kind is PrincipalKind.CONSOLE
        async with self._database.transaction(grant) as tx:
            found = await tenants.find(tx, str(tenant))
            if found is None:
                raise NotFound
            await audit.record(tx, Act.TENANT_EXPORTED, tenant, facts={"private": _extent(whole=whole)})
        return Exported(f"{found.slug}.tar", self._content(grant, whole=whole))

    async def _content(self, grant: TenantGrant, *, whole: bool) -> AsyncIterator[bytes]:
        with TemporaryDirectory(prefix="carrel-export-") as path, ExitStack() as stack:
            folder, made_at = _Folder(Path(path), stack), datetime.now(UTC)
            async with self._collecting:
                await self._collect(folder, grant, whole=whole)
            for name in archive.FILES:
                async for piece in _filed(name, folder.sheets[name], made_at):
                    yield piece
            bytes_ = _Bytes(self._blobs, made_at)
            async for piece in bytes_.all_of(folder.sheets[exports.BLOBS]):
                yield piece
            yield _closing(folder, bytes_, made_at, whole=whole)
        log.info("tenant.exported", tenant=str(grant.tenant), blobs=bytes_.count)

    async def _collect(self, folder: _Folder, grant: TenantGrant, *, whole: bool) -> None:
        """Everybody's rows first, then those of each owner, each seen under a grant of its own at the same moment."""
        async with self._database.snapshot(for_job(grant.tenant, None)) as tx:
            moment = await moment_of(tx)
            await _collect_tenant(tx, folder)
            await _collect_owned(tx, folder, None)
            owners = await life.owners(tx) if whole else [grant.user] if grant.user else []
            for owner in owners:
                async with self._database.snapshot(for_job(grant.tenant, owner), of=moment) as own:
                    await _collect_owned(own, folder, owner)


async def _collect_tenant(tx: Transaction, folder: _Folder) -> None:
    found = await exports.tenant(tx)
    if found is None:
        raise NotFound
    await folder.write("tenant.json", [found])
    await folder.write("settings.json", [await exports.settings(tx)])
    for name, statement in exports.OF_THE_TENANT.items():
        async for rows in exports.pages(tx, statement, None):
            await folder.write(name, rows)


async def _collect_owned(tx: Transaction, folder: _Folder, owner: UserId | None) -> None:
    for name, statement in exports.OF_AN_OWNER.items():
        async for rows in exports.pages(tx, statement, owner):
            await folder.write(name, rows)
    async for rows in exports.chunk_pages(tx, owner):
        await folder.write("chunks.jsonl", rows)


async def _filed(name: str, sheet: _Sheet, made_at: datetime) -> AsyncIterator[bytes]:
    yield archive.header(name, sheet.bytes, moment=made_at.timestamp())
    sheet.file.seek(0)
    while piece := await asyncio.to_thread(sheet.file.read, _PIECE):
        yield piece
    yield archive.padding(sheet.bytes)


class _Bytes:
    """The original bytes of every version, one after the other, straight from the blob store."""

    def __init__(self, blobs: Blobs, made_at: datetime) -> None:
        self._blobs = blobs
        self._made_at = made_at
        self.count = 0
        self.bytes = 0
        self.missing: list[UUID] = []

    async def all_of(self, sheet: _Sheet) -> AsyncIterator[bytes]:
        sheet.file.seek(0)
        while lines := await asyncio.to_thread(_some_lines, sheet.file):
            for line in lines:
                async for piece in self._one(orjson.loads(line)):
                    yield piece

    async def _one(self, blob: Line) -> AsyncIterator[bytes]:
        """What was deleted since the snapshot is named in the manifest instead."""
        content = aiter(self._blobs.read(blob["blob_key"]))
        try:
            first = await anext(content, b"")
        except NotFound:
            self.missing.append(UUID(blob["id"]))
            return
        yield archive.header(f"blobs/{blob['id']}", blob["size"], moment=self._made_at.timestamp()) + first
        sent = len(first)
        async for piece in content:
            sent += len(piece)
            yield piece
        if sent != blob["size"]:
            raise Unavailable("The bytes of a document are not those that were kept.", code="blobs_unavailable")
        yield archive.padding(sent)
        self.count += 1
        self.bytes += sent

    @property
    def note(self) -> archive.BlobsNote:
        return archive.BlobsNote(count=self.count, bytes=self.bytes, missing=self.missing)


def _some_lines(file: BinaryIO) -> list[bytes]:
    return list(islice(file, _BYTES_AT_ONCE))


def _closing(folder: _Folder, found: _Bytes, made_at: datetime, *, whole: bool) -> bytes:
    """The manifest and the end: an archive without them was cut short."""
    manifest = archive.Manifest(
        format=archive.FORMAT,
        version=archive.VERSION,
        made_at=made_at,
        private=_extent(whole=whole),
        files={name: folder.sheets[name].note for name in archive.FILES},
        blobs=found.note,
        left_out=list(archive.LEFT_OUT),
    )
    text = manifest.model_dump_json().encode()
    head = archive.header(archive.MANIFEST, len(text), moment=made_at.timestamp())
    return head + text + archive.padding(len(text)) + archive.END


def _extent(*, whole: bool) -> Literal["all", "own"]:
    return "all" if whole else "own"
