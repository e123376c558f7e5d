"""Documents as a library shows them: listed, looked at, described, handed out."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

from carrel.domain.access import Principal, enter
from carrel.domain.audit import Act
from carrel.domain.errors import Invalid
from carrel.domain.ids import DocumentId
from carrel.domain.library import AttributeValue, Document
from carrel.domain.rights import Permission
from carrel.ports.blobs import Blobs
from carrel.store import audit, documents
from carrel.store.documents import Shelf
from carrel.store.pages import Page
from carrel.store.transaction import Database

__all__ = ["Documents", "Download", "Shelf"]

_MOST_ATTRIBUTES = 64
_LONGEST = 512


@dataclass(frozen=True, slots=True)
class Download:
    """A document's original bytes, to be handed out as an attachment."""

    key: str
    media_type: str
    size: int
    content: AsyncIterator[bytes]


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


def _judge(attributes: Mapping[str, AttributeValue]) -> None:
    if len(attributes) > _MOST_ATTRIBUTES:
        raise Invalid(f"At most {_MOST_ATTRIBUTES} attributes.", code="too_many", field="attributes")
    for name, value in attributes.items():
        if not 0 < len(name) <= _LONGEST or (isinstance(value, str) and len(value) > _LONGEST):
            raise Invalid(f"Names and values have at most {_LONGEST} characters.", code="too_long", field="attributes")
