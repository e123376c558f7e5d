"""Weighing: the tenant's term statistics, rebuilt shortly after its documents changed."""

import time
from typing import Final

from carrel.domain.layout import Thresholds
from carrel.ingest.pipeline import Work
from carrel.ingest.reshape import consider
from carrel.ports.lexical import LexicalIndexes
from carrel.store import jobs
from carrel.store.transaction import Database

_PAUSE: Final = 2.0  # seconds: while documents come in one after the other, not after each of them
_RATIO: Final = 10  # weighing a large tenant takes seconds: never more than a tenth of the time


class Weighing:
    """Whoever is weighed is also looked at: a tenant that grew or shrank enough is reshaped."""

    def __init__(self, database: Database, words: LexicalIndexes, thresholds: Thresholds) -> None:
        self._database = database
        self._words = words
        self._thresholds = thresholds

    async def run(self, work: Work) -> None:
        began = time.monotonic()
        await self._words.of(work.grant).weigh()
        took = time.monotonic() - began
        async with self._database.transaction(work.grant) as tx:
            await consider(tx, self._thresholds)
            await jobs.finish(tx, work.claim, again_in=max(_PAUSE, _RATIO * took))
