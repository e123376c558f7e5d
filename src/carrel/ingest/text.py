"""Texts: documents that come as words and not as a file, with a title of their own."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Final

from carrel.domain.library import AttributeValue, Document, Outcome
from carrel.ingest.upload import Delivery, Dock, Uploads
from carrel.store import documents, idempotency
from carrel.store.idempotency import Memo
from carrel.store.transaction import Database

__all__ = ["Brought", "NewText", "Texts"]

_MARKDOWN: Final = "text/markdown"


@dataclass(frozen=True, slots=True)
class NewText:
    """Without attributes those that the document has stay."""

    key: str
    text: str
    title: str | None = None
    attributes: Mapping[str, AttributeValue] | None = None

    @property
    def size(self) -> int:
        return len(self.text.encode()) + len((self.title or "").encode()) + 32


@dataclass(frozen=True, slots=True)
class Brought:
    """What became of a text, and its document."""

    delivery: Delivery
    document: Document


class Texts:
    def __init__(self, database: Database, uploads: Uploads) -> None:
        self._database = database
        self._uploads = uploads

    async def bring(self, dock: Dock, new: NewText, *, seconds: float, memo: Memo[Brought] | None = None) -> Brought:
        """The document as it is when it is ready or failed, or when the time is over.

        Markdown unless the key's ending says otherwise. Raises Invalid (also Unsupported), Throttled, NotFound,
        Replayed, Invalid `idempotency_mismatch`.
        """
        async with idempotency.held(self._database, dock.grant, memo):
            delivery = await self._deliver(dock, new)
            brought = Brought(delivery, await self._uploads.settled(dock, delivery, seconds=seconds))
            async with self._database.transaction(dock.grant) as tx:
                await idempotency.keep(tx, memo, brought)
            return brought

    async def _deliver(self, dock: Dock, new: NewText) -> Delivery:
        kind = self._uploads.judge(new.key, _MARKDOWN, new.text.encode()[:4096])
        content = _titled(new, kind).encode()
        delivery = await self._uploads.deliver(dock, new.key, _once(content), declared=_MARKDOWN)
        if new.attributes is not None and delivery.document and delivery.outcome is not Outcome.DUPLICATE:
            async with self._database.transaction(dock.grant) as tx:
                await documents.describe(tx, delivery.document, new.attributes)
        return delivery


def _titled(new: NewText, kind: str) -> str:
    """Where a format has a place for the title it goes there, else it is the first line."""
    if new.title is None:
        return new.text
    return f"---\ntitle: {new.title}\n---\n{new.text}" if kind == _MARKDOWN else f"{new.title}\n\n{new.text}"


async def _once(content: bytes) -> AsyncIterator[bytes]:
    yield content
