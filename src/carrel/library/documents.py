"""Documents as a library shows them: listed, looked at, described, handed out."""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from carrel.domain.access import Principal, enter
from carrel.domain.audit import Act
from carrel.domain.errors import Conflict, Invalid, TooLarge
from carrel.domain.ids import DocumentId, GenerationId, SourceId, VersionId
from carrel.domain.library import AttributeValue, Document, VersionRecord
from carrel.domain.rights import Permission
from carrel.domain.text import Chunk
from carrel.ports.blobs import Blobs
from carrel.store import audit, chunks, documents, generations, records, sources
from carrel.store.documents import Shelf, Strip
from carrel.store.pages import Page
from carrel.store.steps import Step, Walked
from carrel.store.transaction import Database, Transaction

__all__ = ["Documents", "Download", "Reading", "Shelf", "Strip"]

_MOST_ATTRIBUTES = 64
_LONGEST = 512
_WRITTEN = frozenset({
    "text/plain", "text/markdown", "text/x-rst", "text/csv", "text/tab-separated-values", "application/json",
    "application/x-ndjson", "application/yaml", "application/xml", "text/x-source",
})  # fmt: skip
_MOST_READ = 2 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Download:
    """A document's original bytes, to be handed out as an attachment."""

    key: str
    media_type: str
    size: int
    content: AsyncIterator[bytes]


@dataclass(frozen=True, slots=True)
class Reading:
    """What a document says, from its beginning to its end."""

    media_type: str
    text: str


class Documents:
    def __init__(self, database: Database, blobs: Blobs) -> None:
        self._database = database
        self._blobs = blobs

    async def get(self, principal: Principal, document: DocumentId) -> Document:
        """Raises Denied, NotFound."""
        async with self._database.transaction(enter(principal, Permission.METADATA)) as tx:
            return await documents.get(tx, document)

    async def listed(
        self, principal: Principal, shelf: Shelf, *, limit: int = 50, cursor: str | None = None
    ) -> Page[Document]:
        """Raises Denied, NotFound for a source or bot that is not there, Invalid `invalid_cursor`."""
        async with self._database.transaction(enter(principal, Permission.METADATA)) as tx:
            return await documents.listed(tx, shelf, limit=limit, cursor=cursor)

    async def versions(
        self, principal: Principal, document: DocumentId, *, limit: int = 50, cursor: str | None = None
    ) -> Page[VersionRecord]:
        """Those that there were too, newest first. Raises Denied, NotFound, Invalid `invalid_cursor`."""
        async with self._database.transaction(enter(principal, Permission.METADATA)) as tx:
            return await records.listed(tx, document, limit=limit, cursor=cursor)

    async def walk(self, principal: Principal, strip: Strip, step: Step) -> Walked[Document]:
        """One source's documents. Raises Denied, NotFound for a source that is not there, Invalid `invalid_cursor`."""
        async with self._database.transaction(enter(principal, Permission.METADATA)) as tx:
            await sources.find(tx, strip.source)
            return await documents.walk(tx, strip, step)

    async def in_source(self, principal: Principal, source: SourceId, identifier: UUID) -> Document:
        """By its own id or by that of the file that it was made of. Raises Denied, NotFound."""
        async with self._database.transaction(enter(principal, Permission.METADATA)) as tx:
            await sources.find(tx, source)
            return await documents.in_source(tx, source, identifier)

    async def many(self, principal: Principal, ids: Collection[DocumentId]) -> dict[DocumentId, Document]:
        """Those of them that are there, for whoever found them by a search. Raises Denied."""
        async with self._database.transaction(enter(principal, Permission.SEARCH)) as tx:
            return await documents.many(tx, ids)

    async def texts(self, principal: Principal, source: SourceId, identifier: UUID) -> tuple[Document, list[str]]:
        """A document, and its chunks' texts in order, which overlap; none where no version is live.

        Raises Denied (it is content), NotFound, TooLarge.
        """
        async with self._database.transaction(enter(principal, Permission.SEARCH)) as tx:
            await sources.find(tx, source)
            document = await documents.in_source(tx, source, identifier)
            generation = await generations.live(tx)
            if document.live_version is None or generation is None:
                return document, []
            return document, [one.text for one in await _read(tx, document.live_version, generation.id)]

    async def describe(
        self, principal: Principal, document: DocumentId, attributes: Mapping[str, AttributeValue]
    ) -> Document:
        """Replace the attributes. Raises Denied, Invalid, NotFound."""
        _judge(attributes)
        async with self._database.transaction(enter(principal, Permission.INGEST)) as tx:
            described = await documents.describe(tx, document, attributes)
            await audit.record(tx, Act.DOCUMENT_DESCRIBED, document)
            return described

    async def download(self, principal: Principal, document: DocumentId) -> Download:
        """Raises Denied (it is content: the scope `search` is needed), NotFound."""
        async with self._database.transaction(enter(principal, Permission.SEARCH)) as tx:
            kept = await documents.content(tx, document)
        return Download(kept.key, kept.media_type, kept.size, self._blobs.read(kept.blob_key))

    async def read(self, principal: Principal, document: DocumentId) -> Reading:
        """A text as it was written; of anything else what was read out of it.

        Raises Denied (it is content), NotFound, Conflict `no_text` as long as no version is live, TooLarge.
        """
        async with self._database.transaction(enter(principal, Permission.SEARCH)) as tx:
            found, kept = await documents.get(tx, document), await documents.content(tx, document)
            generation = await generations.live(tx)
            if found.live_version is None or generation is None:
                raise Conflict("No text of this document can be read yet.", code="no_text")
            if kept.size > _MOST_READ and kept.media_type in _WRITTEN:
                raise _too_long()
            parts = await _read(tx, found.live_version, generation.id)
        if kept.media_type in _WRITTEN and (written := await self._written(kept.blob_key)) is not None:
            return Reading(kept.media_type, written)
        return Reading("text/plain", _joined(parts))

    async def _written(self, blob_key: str) -> str | None:
        """None for what is not in UTF-8."""
        pieces = [piece async for piece in self._blobs.read(blob_key)]
        try:
            return b"".join(pieces).decode("utf-8-sig")
        except UnicodeDecodeError:
            return None


async def _read(tx: Transaction, version: VersionId, generation: GenerationId) -> list[Chunk]:
    """In order. Raises TooLarge before any of them is read."""
    if await chunks.length(tx, version, generation) > _MOST_READ:
        raise _too_long()
    return [one.chunk for one in await chunks.stored(tx, version, generation)]


def _joined(parts: Sequence[Chunk]) -> str:
    """Once, where they overlap."""
    text, end = [], 0
    for part in parts:
        text.append(("\n\n" if part.start > end > 0 else "") + part.text[max(0, end - part.start) :])
        end = max(end, part.end)
    return "".join(text)


def _too_long() -> TooLarge:
    return TooLarge(f"At most {_MOST_READ:,} characters are read in one piece: search, or download the document.")


def _judge(attributes: Mapping[str, AttributeValue]) -> None:
    if len(attributes) > _MOST_ATTRIBUTES:
        raise Invalid(f"At most {_MOST_ATTRIBUTES} attributes.", code="too_many", field="attributes")
    for name, value in attributes.items():
        if not 0 < len(name) <= _LONGEST or (isinstance(value, str) and len(value) > _LONGEST):
            raise Invalid(f"Names and values have at most {_LONGEST} characters.", code="too_long", field="attributes")
