"""Keeping the bytes that were uploaded."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Protocol

from carrel.domain.ids import TenantId
from carrel.domain.library import Blob


class Blobs(Protocol):
    """Each tenant's bytes under its own prefix. `put` returns only when the bytes would survive a power cut."""

    async def put(self, tenant: TenantId, content: AsyncIterator[bytes], *, limit: int) -> Blob:
        """Raises TooLarge as soon as more than `limit` bytes have come; then nothing is kept."""
        ...

    def as_file(self, key: str) -> AbstractAsyncContextManager[Path]:
        """The bytes as a local file that must not be changed. Raises NotFound."""
        ...

    def read(self, key: str) -> AsyncIterator[bytes]: ...

    async def delete(self, key: str) -> None:
        """Deleting what is not there is no error."""
        ...

    async def older(self, tenant: TenantId, *, seconds: float) -> list[str]:
        """The keys of what has lain there for longer than that, unfinished writes included."""
        ...
