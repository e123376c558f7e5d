"""Refusals of access, told in the audit log: bounded, so that whoever is refused cannot fill it.

In each minute one event for each credential and reason, with how many there were since the last. What was refused
after the minute's event is told by the next one, at the latest when the round of `run` comes.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias
from uuid import UUID

import structlog

from carrel.domain.access import for_job
from carrel.domain.audit import Act
from carrel.domain.errors import NotFound, Unavailable
from carrel.domain.ids import TenantId, UserId
from carrel.store import audit
from carrel.store.transaction import Database

log = structlog.get_logger(__name__)

_MINUTE: Final = 60.0
_MOST: Final = 10_000


@dataclass(frozen=True, slots=True)
class Refused:
    """Who was refused in which tenant, and why: a code, and the permission that was missing, if that was it."""

    tenant: TenantId
    user: UserId | None
    credential: UUID | None
    code: str
    permission: str | None = None


_Counts: TypeAlias = dict[Refused, int]


class Refusals:
    """`clock` gives seconds that never go back."""

    def __init__(self, database: Database, *, every: float = _MINUTE, clock: Callable[[], float] | None = None) -> None:
        self._database = database
        self._every = every
        self._clock = clock or time.monotonic
        self._told: dict[Refused, float] = {}
        self._counts: _Counts = {}

    async def note(self, refused: Refused) -> None:
        """Written at once or counted. A log that cannot be written changes nothing about the refusal itself."""
        if refused not in self._told and len(self._told) >= _MOST:
            log.warning("audit.overflow", tenant=str(refused.tenant), code=refused.code)
            return
        self._counts[refused] = self._counts.get(refused, 0) + 1
        if self._is_due(refused):
            await self._tell(refused)

    async def run(self) -> None:
        """Until it is cancelled: what was counted and not told yet, and at the end all of it."""
        try:
            while True:
                await asyncio.sleep(self._every)
                await self.flush()
        finally:
            self._told.clear()
            await self.flush()

    async def flush(self) -> None:
        """Tell what is due, and forget who was refused long ago."""
        for refused in list(self._counts):
            if self._is_due(refused):
                await self._tell(refused)
        self._told = {one: at for one, at in self._told.items() if self._clock() - at < self._every}

    def _is_due(self, refused: Refused) -> bool:
        return self._clock() - self._told.get(refused, -self._every) >= self._every

    async def _tell(self, refused: Refused) -> None:
        """Nothing, if another one tells it just now; and what is cut short is still to be told."""
        count = self._counts.pop(refused, 0)
        if not count:
            return
        self._told[refused] = self._clock()
        facts = {"code": refused.code, "count": count}
        if refused.permission is not None:
            facts["permission"] = refused.permission
        try:
            async with self._database.transaction(for_job(refused.tenant, refused.user)) as tx:
                await audit.record(tx, Act.ACCESS_REFUSED, credential=refused.credential, refused=True, facts=facts)
        except NotFound:
            log.info("audit.homeless", tenant=str(refused.tenant), code=refused.code)
        except Unavailable as problem:
            self._counts[refused] = self._counts.get(refused, 0) + count
            log.warning("audit.waits", problem=problem.detail)
        except asyncio.CancelledError:
            self._counts[refused] = self._counts.get(refused, 0) + count
            raise
