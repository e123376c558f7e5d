"""Sources: made, listed, changed. Deleting one is forgetting, and belongs to ingestion."""

from collections.abc import Collection, Mapping

from carrel.domain.access import Principal, enter, enter_unlimited
from carrel.domain.answers import Wish
from carrel.domain.audit import Act
from carrel.domain.errors import Invalid
from carrel.domain.ids import BotId, SourceId
from carrel.domain.library import ChunkRules, Duplicates, Source
from carrel.domain.rights import Permission
from carrel.store import audit, idempotency, sources
from carrel.store.idempotency import Memo, Replayed, StoredAnswer
from carrel.store.pages import Page
from carrel.store.sources import NewSource
from carrel.store.steps import Step, Walked
from carrel.store.transaction import Database, Transaction

__all__ = ["Memo", "NewSource", "Page", "Replayed", "Sources", "Step", "StoredAnswer", "Walked"]

_SIZES = range(32, 2049)


class Sources:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(self, principal: Principal, new: NewSource, *, memo: Memo[Source] | None = None) -> Source:
        """Raises Denied, Invalid, Conflict `source_exists`."""
        grant = enter_unlimited(principal, Permission.CURATE)
        _judge(new.chunk)
        async with self._database.transaction(grant) as tx:
            return await idempotency.once(tx, memo, lambda: _added(tx, new))

    async def get(self, principal: Principal, source: SourceId) -> Source:
        """Raises Denied, NotFound."""
        async with self._database.transaction(enter(principal, Permission.METADATA)) as tx:
            return await sources.get(tx, source)

    async def named(self, principal: Principal, name: str) -> Source | None:
        """Raises Denied."""
        async with self._database.transaction(enter(principal, Permission.METADATA)) as tx:
            return await sources.named(tx, name)

    async def listed(
        self, principal: Principal, *, bot: BotId | None = None, limit: int = 50, cursor: str | None = None
    ) -> Page[Source]:
        """Raises Denied, NotFound for a bot that is not there, Invalid `invalid_cursor`."""
        async with self._database.transaction(enter(principal, Permission.METADATA)) as tx:
            if bot is not None:
                await sources.readable(tx, Wish(bot=bot))
            return await sources.listed(tx, bot=bot, limit=limit, cursor=cursor)

    async def walk(self, principal: Principal, step: Step) -> Walked[Source]:
        """Raises Denied."""
        async with self._database.transaction(enter(principal, Permission.METADATA)) as tx:
            return await sources.walk(tx, step)

    async def sizes(self, principal: Principal, found: Collection[SourceId]) -> dict[SourceId, int]:
        """The bytes of the documents of each; a source without any is not named. Raises Denied."""
        async with self._database.transaction(enter(principal, Permission.METADATA)) as tx:
            return await sources.sizes(tx, found)

    async def change(
        self,
        principal: Principal,
        source: SourceId,
        *,
        name: str | None = None,
        duplicates: Duplicates | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> Source:
        """Raises Denied, NotFound, Conflict `source_exists`."""
        async with self._database.transaction(enter_unlimited(principal, Permission.CURATE)) as tx:
            changed = await sources.change(tx, source, name=name, duplicates=duplicates, metadata=metadata)
            await audit.record(tx, Act.SOURCE_CHANGED, source)
            return changed


async def _added(tx: Transaction, new: NewSource) -> Source:
    added = await sources.add(tx, new)
    await audit.record(tx, Act.SOURCE_CREATED, added.id)
    return added


def _judge(rules: ChunkRules) -> None:
    if rules.size not in _SIZES:
        raise Invalid("A chunk has 32 to 2048 tokens.", code="out_of_range", field="chunk.size")
    if not 0 <= rules.overlap <= rules.size // 2:
        raise Invalid("The overlap is at most half of the size.", code="out_of_range", field="chunk.overlap")
