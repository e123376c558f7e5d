"""The bytes that versions and brought files name: which are due to be read again, and what was wrong with them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from carrel.domain.ids import DocumentId, FileId, UserId, VersionId
from carrel.domain.library import ContentFault
from carrel.store.transaction import Statement, Transaction

_DUE: Final = Statement("select * from due_contents(:days, :most)")
_COUNT: Final = Statement("select * from count_contents()")
_NOTING: Final = "set checked_at = now(), content_code = :fault where tenant_id = :tenant and id = :id"
_NOTE: Final = Statement(f"update document_versions {_NOTING}")
_NOTE_FILE: Final = Statement(f"update brought_files {_NOTING}")


@dataclass(frozen=True, slots=True)
class OfVersion:
    """Bytes that are a version of a document."""

    version: VersionId
    document: DocumentId


@dataclass(frozen=True, slots=True)
class OfFile:
    """Bytes that are a brought file."""

    file: FileId


@dataclass(frozen=True, slots=True)
class Due:
    """Bytes to be read again, as they must be."""

    holder: OfVersion | OfFile
    owner: UserId | None
    blob: str
    size: int
    fingerprint: bytes


@dataclass(frozen=True, slots=True)
class Kept:
    """Where a version's bytes lie."""

    version: VersionId
    blob: str


@dataclass(frozen=True, slots=True)
class Counted:
    """`versions` counts brought files as well."""

    versions: int
    missing: int
    damaged: int
    unreadable: int


async def due(tx: Transaction, *, days: int, most: int) -> Sequence[Due]:
    """Whoever owns them: none is left when the day's share has been read, of which all is read once in so many days."""
    return [
        Due(
            _holder(row),
            row["owner_id"] and UserId(row["owner_id"]),
            row["blob_key"],
            row["size"],
            row["fingerprint"],
        )
        for row in await tx.rows(_DUE, days=days, most=most)
    ]


async def note(tx: Transaction, version: VersionId, fault: ContentFault | None) -> bool:
    """What was found just now. False when the version has gone."""
    return await tx.run(_NOTE, id=version, fault=fault) > 0


async def note_file(tx: Transaction, file: FileId, fault: ContentFault | None) -> bool:
    """What was found just now. False when the file has gone."""
    return await tx.run(_NOTE_FILE, id=file, fault=fault) > 0


async def count(tx: Transaction) -> Counted:
    """Of the whole tenant, private documents included."""
    row = await tx.row(_COUNT)
    assert row is not None
    return Counted(row["versions"], row["missing"], row["damaged"], row["unreadable"])


def _holder(row: Any) -> OfVersion | OfFile:
    if row["file_id"] is not None:
        return OfFile(FileId(row["file_id"]))
    return OfVersion(VersionId(row["version_id"]), DocumentId(row["document_id"]))
