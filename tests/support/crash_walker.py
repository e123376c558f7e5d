"""A worker that walks one source and is killed at a commit of it; `support.nursery` makes one.

Exit code 0: the run came to its end before.
"""

import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from carrel.adapters.blobs.local import LocalBlobs
from carrel.domain.access import for_job
from carrel.domain.jobs import JobKind
from carrel.ingest.desk import Desk
from carrel.ingest.pipeline import Work
from carrel.store.transaction import Database, Grant, Transaction
from carrel.wiring import Base, Opened, fetching
from support.stand import SECRETS


@dataclass(frozen=True)
class Walk:
    """It dies `before` or after the transaction of that number is committed, counted from the claim."""

    app_url: str
    blobs: str
    folder: str
    slug: str
    source: str
    number: int
    before: bool


class MortalDatabase(Database):
    walk: Walk
    begun: bool = False
    commits: int = 0

    @asynccontextmanager
    async def transaction(self, grant: Grant, *, timeout: float = 30.0) -> AsyncIterator[Transaction]:
        async with super().transaction(grant, timeout=timeout) as tx:
            yield tx
            self.commits += self.begun
            self._meet(before=True)
        self._meet(before=False)

    def _meet(self, *, before: bool) -> None:
        if self.commits == self.walk.number and before == self.walk.before:
            os.kill(os.getpid(), signal.SIGKILL)


async def work(walk: Walk) -> None:
    database = await MortalDatabase.connect(walk.app_url, connections=2)
    database.walk = walk
    opened = Opened({walk.slug: (walk.folder,)})
    base = Base(database, LocalBlobs(Path(walk.blobs)), SECRETS, places=opened)
    desk = Desk(database)
    for claim in await desk.claim([JobKind.REFRESH], lease=60, most=10):
        if str(claim.subject) == walk.source:
            database.begun = True
            one = Work(claim, for_job(claim.tenant, claim.owner))
            await desk.begin(one)
            await fetching(base).tasks[JobKind.REFRESH](one)
    await database.close()
