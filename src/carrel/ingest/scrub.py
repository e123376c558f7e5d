"""Scrubbing: uploaded bytes are read again, a share of them each day, and compared with what was written down of them.

What is missing, damaged or cannot be read is told and noted. The text stays searchable, and the same bytes may be
uploaded again; what came from a source that refreshes itself is fetched again by its next run.
"""

import asyncio
import uuid
from collections import Counter
from collections.abc import Sequence
from hashlib import sha256
from typing import Final, assert_never

import structlog

from carrel.domain.access import for_job
from carrel.domain.errors import NotFound, Unavailable
from carrel.domain.ids import TenantId
from carrel.domain.library import ContentFault
from carrel.ports.blobs import Blobs
from carrel.store import contents, source_items, tenants
from carrel.store.contents import Due, OfFile, OfVersion
from carrel.store.transaction import Database, Transaction

log = structlog.get_logger(__name__)

_BATCH: Final = 100
_READS: Final = 2  # of what cannot be read, before that is noted


class Scrub:
    """`days` is in how many everything is read once."""

    def __init__(self, database: Database, blobs: Blobs, *, days: int, batch: int = _BATCH) -> None:
        self._database = database
        self._blobs = blobs
        self._days = days
        self._batch = batch

    async def run(self) -> None:
        """What is left of the day's share of every tenant. Raises Unavailable when the store as a whole is away."""
        async for tenant in tenants.each(self._database):
            counted: Counter[str] = Counter()
            try:
                await self._scrub(tenant, counted)
            finally:
                if counted:
                    log.info("contents.scrubbed", tenant=str(tenant), **counted)

    async def _scrub(self, tenant: TenantId, counted: Counter[str]) -> None:
        """Counts how many were read and good, and how many are missing, damaged or unreadable.

        Whatever is found is noted, so that it is not due any more; nothing is judged twice.
        """
        tried = set()
        while batch := [one for one in await self._due(tenant) if one.blob not in tried]:
            for one in batch:
                tried.add(one.blob)
                counted[await self._judge(tenant, one)] += 1

    async def _due(self, tenant: TenantId) -> Sequence[Due]:
        async with self._database.transaction(for_job(tenant, None)) as tx:
            return await contents.due(tx, days=self._days, most=self._batch)

    async def _judge(self, tenant: TenantId, one: Due) -> str:
        fault = await self._fault(one)
        async with self._database.transaction(for_job(tenant, one.owner)) as tx:
            is_there = await _note(tx, one, fault)
        if fault is None or not is_there:
            return "read"
        log.warning(_EVENTS[fault], tenant=str(tenant), **_named(one))
        return fault.removeprefix("content_")

    async def _fault(self, one: Due) -> ContentFault | None:
        """What cannot be read is read once more: a store that faltered once has damaged nothing."""
        for _ in range(_READS):
            try:
                return await self._compared(one)
            except Unavailable:
                await self._blobs.missing([f"{uuid.uuid4()}/none"])  # raises where it is not these bytes but the store
        return ContentFault.UNREADABLE

    async def _compared(self, one: Due) -> ContentFault | None:
        """Raises Unavailable."""
        digest, size = sha256(), 0
        try:
            async for piece in self._blobs.read(one.blob):
                await asyncio.to_thread(digest.update, piece)
                size += len(piece)
        except NotFound:
            return ContentFault.MISSING
        return None if (size, digest.digest()) == (one.size, one.fingerprint) else ContentFault.DAMAGED


async def _note(tx: Transaction, one: Due, fault: ContentFault | None) -> bool:
    """False when the version or the file has gone."""
    match one.holder:
        case OfVersion(version, document):
            if fault is not None:
                await source_items.forget_tag(tx, document)
            return await contents.note(tx, version, fault)
        case OfFile(file):
            return await contents.note_file(tx, file, fault)
        case _:
            assert_never(one.holder)


def _named(one: Due) -> dict[str, str]:
    match one.holder:
        case OfVersion(version, document):
            return {"document": str(document), "version": str(version)}
        case OfFile(file):
            return {"file": str(file)}
        case _:
            assert_never(one.holder)


_EVENTS: Final = {
    ContentFault.MISSING: "content.missing",
    ContentFault.DAMAGED: "content.damaged",
    ContentFault.UNREADABLE: "content.unreadable",
}
