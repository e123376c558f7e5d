"""Bringing bytes to a source, for a journey that does not ingest itself."""

from collections.abc import AsyncIterator
from typing import Protocol

from carrel.domain.access import TenantGrant
from carrel.domain.ids import DocumentId, FileId
from carrel.domain.library import Source


class Intake(Protocol):
    """What arrives becomes a document with a job, as if it had been uploaded."""

    async def bring(
        self, grant: TenantGrant, source: Source, key: str, content: AsyncIterator[bytes], *, media_type: str
    ) -> DocumentId:
        """The key stays as it is, to the letter.

        Raises Invalid for what cannot be taken (then nothing is kept), NotFound when the source is gone.
        """
        ...

    async def keep(
        self, grant: TenantGrant, name: str, content: AsyncIterator[bytes], *, purpose: str, media_type: str | None
    ) -> FileId:
        """A file of the grant's user, without a place in any source. Raises Invalid; then nothing is kept."""
        ...
