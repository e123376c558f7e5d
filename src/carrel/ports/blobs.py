"""Keeping the bytes that were uploaded."""

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Protocol

from carrel.domain.ids import TenantId
from carrel.domain.library import Blob


class Blobs(Protocol):
    """Each tenant's bytes under its own prefix. What is put would survive a power cut from then on."""

    async def put(self, tenant: TenantId, content: AsyncIterator[bytes], *, limit: int) -> Blob:
        """Raises TooLarge as soon as more than `limit` bytes have come; then nothing is kept."""
        ...

    async def put_all(self, tenant: TenantId, contents: Sequence[bytes]) -> list[Blob]:
        """Small ones at once, which costs less than one after the other. When one cannot be kept, none is."""
        ...

    def as_file(self, key: str) -> AbstractAsyncContextManager[Path]:
        """The bytes as a local file that must not be changed. Raises NotFound."""
        ...

    def read(self, key: str) -> AsyncIterator[bytes]: ...

    async def missing(self, keys: Collection[str]) -> set[str]:
        """Those that are not there. Raises Unavailable where the store as a whole is not."""
        ...

    async def delete(self, key: str) -> None:
        """Deleting what is not there is no error."""
        ...

    def older(self, tenant: TenantId, *, seconds: float) -> AsyncIterator[list[str]]:
        """The keys of what has lain there for longer than that, at most 1,000 at a time; they may go meanwhile.

        Unfinished writes are included where they can be seen.
        """
        ...
