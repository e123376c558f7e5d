"""Scrubbing: uploaded bytes are read again, a share of them each day, and compared with what was written down of them.

What is missing or damaged is told and noted. The text stays searchable, and the same bytes may be uploaded again.
"""

import asyncio
from collections import Counter
from hashlib import sha256
from typing import Final

import structlog

from carrel.domain.access import for_job
from carrel.domain.errors import NotFound, Unavailable
from carrel.domain.ids import TenantId
from carrel.domain.library import ContentFault
from carrel.ports.blobs import Blobs
from carrel.store import contents, tenants
from carrel.store.contents import Due
from carrel.store.transaction import Database

log = structlog.get_logger(__name__)

_BATCH: Final = 100
_MOST_MISSES: Final = 3  # one after the other: then it is the store that does not answer


class Scrub:
    """`days` is in how many everything is read once."""

    def __init__(self, database: Database, blobs: Blobs, *, days: int, batch: int = _BATCH) -> None:
        self._database = database
        self._blobs = blobs
        self._days = days
        self._batch = batch

    async def run(self) -> None:
        """What is left of the day's share of every tenant. Raises Unavailable."""
        async for tenant in tenants.each(self._database):
            counted = await self._scrub(tenant)
            if counted:
                log.info("contents.scrubbed", tenant=str(tenant), **counted)

    async def _scrub(self, tenant: TenantId) -> Counter[str]:
        """How many were read, and how many of them are missing, damaged, or could not be read for now."""
        counted: Counter[str] = Counter()
        tried = set()
        while batch := [one for one in await self._due(tenant) if one.version not in tried]:
            misses = 0
            for one in batch:
                tried.add(one.version)
                try:
                    counted[await self._judge(tenant, one)] += 1
                    misses = 0
                except Unavailable:
                    counted["unread"] += 1
                    misses += 1
                    if misses == _MOST_MISSES:
                        raise
        return counted

    async def _due(self, tenant: TenantId) -> list[Due]:
        async with self._database.transaction(for_job(tenant, None)) as tx:
            return list(await contents.due(tx, days=self._days, most=self._batch))

    async def _judge(self, tenant: TenantId, one: Due) -> str:
        fault = await self._fault(one)
        async with self._database.transaction(for_job(tenant, one.owner)) as tx:
            is_there = await contents.note(tx, one.version, fault)
        if fault is None or not is_there:
            return "read"
        log.warning(_EVENTS[fault], tenant=str(tenant), document=str(one.document), version=str(one.version))
        return fault.removeprefix("content_")

    async def _fault(self, one: Due) -> ContentFault | None:
        digest, size = sha256(), 0
        try:
            async for piece in self._blobs.read(one.blob):
                await asyncio.to_thread(digest.update, piece)
                size += len(piece)
        except NotFound:
            return ContentFault.MISSING
        return None if (size, digest.digest()) == (one.size, one.fingerprint) else ContentFault.DAMAGED


_EVENTS: Final = {ContentFault.MISSING: "content.missing", ContentFault.DAMAGED: "content.damaged"}
