"""Destroying a tenant that was given up: entries, rows and bytes of every owner, verified, with a receipt.

Each step is a short transaction of its own that commits and can be repeated, so whoever takes the job up after a crash
goes on where it stands, and other tenants wait for nothing.
"""

from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from carrel.domain.access import TenantGrant
from carrel.domain.errors import Unavailable
from carrel.domain.jobs import Claim
from carrel.ports.blobs import Blobs
from carrel.store import jobs, life
from carrel.store.transaction import Database, Transaction

log = structlog.get_logger(__name__)

_BATCH: Final = 1_000
_NOW: Final = -1.0  # seconds: whatever lies there, unfinished writes included

Step = Callable[..., Awaitable[int]]


class Destroying:
    """`batch` rows go in one transaction."""

    def __init__(self, database: Database, blobs: Blobs, *, batch: int = _BATCH) -> None:
        self._database = database
        self._blobs = blobs
        self._batch = batch

    async def run(self, grant: TenantGrant, claim: Claim) -> None:
        """Until nothing is left anywhere. Raises LeaseLost; Unavailable `purge_incomplete`: then it is tried again."""
        await self._all(life.destroy_entries, grant, claim)
        await self._all(life.destroy_rows, grant, claim)
        await self._all(life.destroy_entries, grant, claim)  # what a worker wrote that still had a document in hand
        await self._bytes(grant, claim)
        async with self._database.transaction(grant) as tx:
            await jobs.hold(tx, claim)
            await _verify(tx)
        log.info("tenant.destroyed", tenant=str(grant.tenant))

    async def _all(self, step: Step, grant: TenantGrant, claim: Claim) -> None:
        gone = 1
        while gone:
            async with self._database.transaction(grant) as tx:
                await jobs.hold(tx, claim)
                gone = await step(tx, most=self._batch)

    async def _bytes(self, grant: TenantGrant, claim: Claim) -> None:
        while total := sum([len(page) async for page in self._blobs.older(grant.tenant, seconds=_NOW)]):
            async with self._database.transaction(grant) as tx:
                await jobs.hold(tx, claim)
                await life.note_files(tx, total)
            async for page in self._blobs.older(grant.tenant, seconds=_NOW):
                for blob in page:
                    await self._blobs.delete(blob)


async def _verify(tx: Transaction) -> None:
    """By counting, and by the database's own knowledge of what refers to the tenant."""
    left = await life.left(tx)
    if left or not await life.bury(tx):
        raise Unavailable("Something of the tenant is still there.", code="purge_incomplete")
