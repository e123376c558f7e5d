"""Weighing: the tenant's term statistics, rebuilt shortly after its documents changed."""

from typing import Final

from carrel.ingest.pipeline import Work
from carrel.ports.lexical import LexicalIndexes
from carrel.store import jobs
from carrel.store.transaction import Database

_PAUSE: Final = 2.0  # seconds: while documents come in one after the other, not after each of them


class Weighing:
    def __init__(self, database: Database, words: LexicalIndexes) -> None:
        self._database = database
        self._words = words

    async def run(self, work: Work) -> None:
        await self._words.of(work.grant).weigh()
        async with self._database.transaction(work.grant) as tx:
            await jobs.finish(tx, work.claim, again_in=_PAUSE)
