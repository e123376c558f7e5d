"""Sources: made, listed, changed. Deleting one is forgetting, and belongs to ingestion."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from carrel.domain.access import Principal, TenantGrant, enter, enter_unlimited, require
from carrel.domain.answers import Wish
from carrel.domain.audit import Act
from carrel.domain.errors import Invalid, NotFound
from carrel.domain.ids import BotId, SourceId
from carrel.domain.jobs import JobKind
from carrel.domain.library import ChunkRules, Duplicates, Source
from carrel.domain.origins import Bucket, Place
from carrel.domain.places import Fields, judge_schedule, outline, place_of
from carrel.domain.rights import Permission
from carrel.library.shown import shown_source
from carrel.ports.origins import Origins
from carrel.store import audit, idempotency, jobs, providers, source_items, source_runs, sources, tenants
from carrel.store.idempotency import Memo, Replayed, StoredAnswer
from carrel.store.pages import Page
from carrel.store.sources import NewSource
from carrel.store.steps import Step, Walked
from carrel.store.transaction import Database, Transaction

__all__ = ["Memo", "NewSource", "Page", "Refit", "Replayed", "Sources", "Step", "StoredAnswer", "Walked"]

_SIZES = range(32, 2049)


@dataclass(frozen=True, slots=True)
class Refit:
    """Where and when a source refreshes itself from now on. Without `place` that stays."""

    place: Fields | None = None
    schedule: int | None = None
    keeps_schedule: bool = True


class Sources:
    def __init__(self, database: Database, origins: Origins) -> None:
        self._database = database
        self._origins = origins

    async def create(self, principal: Principal, new: NewSource, *, memo: Memo[Source] | None = None) -> Source:
        """One that refreshes itself begins at once.

        Raises Denied (also for a place with a credential that is not the principal's to use), Invalid, Conflict
        `source_exists`, NotFound for a credential that is not there.
        """
        grant = enter_unlimited(principal, Permission.CURATE)
        _demand_right(principal, new.place)
        _judge(new.chunk)
        judge_schedule(new.kind, new.schedule)
        if new.place is not None:
            await self._demand(grant, new.place)
        async with self._database.transaction(grant) as tx:
            return await idempotency.once(tx, memo, lambda: _added(tx, new))

    async def get(self, principal: Principal, source: SourceId) -> Source:
        """Raises Denied, NotFound."""
        async with self._database.transaction(enter(principal, Permission.METADATA)) as tx:
            return shown_source(principal, await sources.get(tx, source))

    async def named(self, principal: Principal, name: str) -> Source | None:
        """Raises Denied."""
        async with self._database.transaction(enter(principal, Permission.METADATA)) as tx:
            found = await sources.named(tx, name)
        return found and shown_source(principal, found)

    async def listed(
        self, principal: Principal, *, bot: BotId | None = None, limit: int = 50, cursor: str | None = None
    ) -> Page[Source]:
        """Raises Denied, NotFound for a bot that is not there, Invalid `invalid_cursor`."""
        async with self._database.transaction(enter(principal, Permission.METADATA)) as tx:
            if bot is not None:
                await sources.readable(tx, Wish(bot=bot))
            page = await sources.listed(tx, bot=bot, limit=limit, cursor=cursor)
        return Page([shown_source(principal, source) for source in page.items], page.next_cursor)

    async def walk(self, principal: Principal, step: Step) -> Walked[Source]:
        """Raises Denied."""
        async with self._database.transaction(enter(principal, Permission.METADATA)) as tx:
            found = await sources.walk(tx, step)
        return Walked([shown_source(principal, source) for source in found.items], found.has_more)

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
        refit: Refit | None = None,
    ) -> Source:
        """Raises Denied (also for another place with a credential that is not the principal's to use), Invalid,
        NotFound, Conflict `source_exists`.
        """
        grant = enter_unlimited(principal, Permission.CURATE)
        if refit is not None and refit.place is not None:
            await self._demand_fields(grant, source, refit.place)
        async with self._database.transaction(grant) as tx:
            held = await sources.held(tx, source)
            place, schedule = (held.place, held.schedule) if refit is None else _refitted(held, refit)
            if place != held.place:
                _demand_right(principal, place)
            await sources.change(tx, source, name=name, duplicates=duplicates, metadata=metadata)
            await _refit(tx, held, place, schedule)
            said = {"name": name, "duplicates": duplicates, "metadata": metadata}
            changed = [field for field, value in said.items() if value is not None]
            await audit.record(tx, Act.SOURCE_CHANGED, source, facts=_told(held, place, schedule, changed))
            return await sources.get(tx, source)

    async def _demand_fields(self, grant: TenantGrant, source: SourceId, fields: Fields) -> None:
        """Before the row is held: looking at a folder may take its time. The kind of a source never changes."""
        async with self._database.transaction(grant) as tx:
            place = place_of((await sources.find(tx, source)).kind, fields)
        if place is not None:
            await self._demand(grant, place)

    async def _demand(self, grant: TenantGrant, place: Place) -> None:
        """Raises Invalid for a place that the operator has not opened."""
        async with self._database.transaction(grant) as tx:
            tenant = await tenants.find(tx, str(grant.tenant))
        if tenant is None:
            raise NotFound
        await self._origins.demand(tenant.slug, place)


async def _added(tx: Transaction, new: NewSource) -> Source:
    await _demand_credential(tx, new.place)
    added = await sources.add(tx, new)
    place = {} if added.place is None else {"place": outline(added.place)}
    await audit.record(tx, Act.SOURCE_CREATED, added.id, facts={"kind": added.kind.value, **place})
    if added.place is None:
        return added
    await jobs.enqueue(tx, JobKind.REFRESH, added.id, owner=added.owner)
    return await sources.get(tx, added.id)


def _demand_right(principal: Principal, place: Place | None) -> None:
    """A credential is the whole organisation's: who keeps it says what is read with it. Raises Denied."""
    if isinstance(place, Bucket) and place.credential is not None:
        require(principal, Permission.MANAGE)


def _told(before: Source, place: Place | None, schedule: int | None, changed: list[str]) -> dict[str, Any]:
    """What the audit log is told of a change: the names of what was changed, and where the source is from now on."""
    names = [*changed, *(["schedule"] if schedule != before.schedule else [])]
    if place is None or place == before.place:
        return {"changed": sorted(names)}
    return {"changed": sorted([*names, "place"]), "kind": before.kind.value, "place": outline(place)}


async def _demand_credential(tx: Transaction, place: Place | None) -> None:
    """Raises NotFound."""
    if isinstance(place, Bucket) and place.credential is not None:
        await providers.get(tx, place.credential)


def _refitted(now: Source, refit: Refit) -> tuple[Place | None, int | None]:
    """Of what is not named, what it is now. Raises Invalid."""
    place = now.place if refit.place is None else place_of(now.kind, refit.place)
    schedule = now.schedule if refit.keeps_schedule else refit.schedule
    judge_schedule(now.kind, schedule)
    return place, schedule


async def _refit(tx: Transaction, source: Source, place: Place | None, schedule: int | None) -> None:
    """Another place is walked at once, and whole; another schedule holds from now on."""
    if place is None or (place, schedule) == (source.place, source.schedule):
        return
    if place != source.place:
        await _demand_credential(tx, place)
    await sources.replace(tx, source.id, place, schedule)
    if place != source.place:
        await source_items.forget_tags(tx, source.id)
        await source_runs.take_leave_back(tx, source.id)
    if schedule is None:
        await jobs.unschedule(tx, JobKind.REFRESH, source.id)
    if not source.paused and (place != source.place or schedule is not None):
        delay = schedule if place == source.place and schedule else 0
        await jobs.enqueue(tx, JobKind.REFRESH, source.id, owner=source.owner, delay=delay)


def _judge(rules: ChunkRules) -> None:
    if rules.size not in _SIZES:
        raise Invalid("A chunk has 32 to 2048 tokens.", code="out_of_range", field="chunk.size")
    if not 0 <= rules.overlap <= rules.size // 2:
        raise Invalid("The overlap is at most half of the size.", code="out_of_range", field="chunk.overlap")
