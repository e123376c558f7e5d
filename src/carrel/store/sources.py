"""Sources: named bodies of documents of one tenant."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import asyncpg

from carrel.domain import origins
from carrel.domain.access import TenantGrant
from carrel.domain.answers import Wish
from carrel.domain.errors import Conflict, NotFound
from carrel.domain.ids import BotId, SourceId, UserId, new_id
from carrel.domain.library import ChunkRules, DocumentStatus, Duplicates, Source, SourceKind, Visibility
from carrel.domain.places import fields_of, place_of
from carrel.store.pages import Page, Place, page
from carrel.store.pages import place_of as row_of
from carrel.store.source_runs import run_of
from carrel.store.steps import Step, Walked, walked
from carrel.store.transaction import Statement, Transaction

_LISTED: Final = "sources"
_COLUMNS = """
    s.id, s.name, s.kind, s.visibility, s.duplicates, s.chunk_size, s.chunk_overlap, s.owner_id, s.metadata,
    s.created_at, s.place, s.schedule, s.paused_at
"""
_RUNS = """
    (select to_jsonb(r) from source_runs r where r.tenant_id = s.tenant_id and r.source_id = s.id
     order by r.started_at desc, r.id desc limit 1) as last_run,
    (select case when j.leased_until > now() then null else j.due_at end from jobs j
     where j.tenant_id = s.tenant_id and j.kind = 'refresh' and j.subject_id = s.id) as next_run_at
"""
# By their ids rather than by a join: a planner that expects one document would compare each with every version.
_COUNTS = """
    (select coalesce(jsonb_object_agg(c.state, c.n), '{}') from (
        select v.state, count(*) as n from document_versions v
        where v.tenant_id = s.tenant_id and v.id = any (array(
            select d.newest_version_id from documents d
            where d.tenant_id = s.tenant_id and d.source_id = s.id and d.deleted_at is null))
        group by v.state) c) as counts
"""
_ADD = Statement("""
    insert into sources (tenant_id, id, name, kind, visibility, duplicates, chunk_size, chunk_overlap, owner_id,
                         metadata, place, schedule)
    values (:tenant, :id, :name, :kind, :visibility, :duplicates, :size, :overlap, :owner, :metadata, :place::jsonb,
            :schedule)
""")
_GET = Statement(f"""
    select {_COLUMNS}, {_RUNS}, {_COUNTS} from sources s
    where s.tenant_id = :tenant and s.id = :id and s.deleted_at is null
""")
_FIND = Statement(f"""
    select {_COLUMNS}, null::jsonb as last_run, null::timestamptz as next_run_at, '{{}}'::jsonb as counts from sources s
    where s.tenant_id = :tenant and s.id = :id and s.deleted_at is null
""")
_HELD = Statement(f"""
    select {_COLUMNS}, null::jsonb as last_run, null::timestamptz as next_run_at, '{{}}'::jsonb as counts from sources s
    where s.tenant_id = :tenant and s.id = :id and s.deleted_at is null for no key update
""")
_BY_NAME = Statement(f"""
    select {_COLUMNS}, {_RUNS}, {_COUNTS} from sources s
    where s.tenant_id = :tenant and s.name = :name and s.deleted_at is null order by s.created_at limit 1
""")
_LIST = Statement(f"""
    select {_COLUMNS}, {_RUNS}, {_COUNTS} from sources s
    where s.tenant_id = :tenant and s.deleted_at is null
      and (:bot::uuid is null or exists (
          select from bot_sources b where b.tenant_id = s.tenant_id and b.source_id = s.id and b.bot_id = :bot))
      and (:moment::timestamptz is null or (s.created_at, s.id) < (:moment, :id::uuid))
    order by s.created_at desc, s.id desc limit :most
""")
_WALK = f"""
    select {_COLUMNS}, {_RUNS}, {_COUNTS} from sources s
    where s.tenant_id = :tenant and s.deleted_at is null and (:start::uuid is null or s.id {{beyond}} :start)
    order by s.id {{direction}} limit :most
"""
_WALK_DOWN = Statement(_WALK.replace("{beyond}", "<").replace("{direction}", "desc"))
_WALK_UP = Statement(_WALK.replace("{beyond}", ">").replace("{direction}", "asc"))
_SIZES = Statement("""
    select d.source_id, sum(v.size)::bigint as size from documents d
    join document_versions v on v.tenant_id = d.tenant_id and v.id = d.newest_version_id
    where d.tenant_id = :tenant and d.source_id = any (:sources) and d.deleted_at is null group by 1
""")
_READABLE = Statement("""
    select s.id from sources s
    where s.tenant_id = :tenant and s.deleted_at is null
      and (:wanted::uuid[] is null or s.id = any (:wanted))
      and (:bot::uuid is null or exists (
          select from bot_sources b where b.tenant_id = s.tenant_id and b.source_id = s.id and b.bot_id = :bot))
""")
_RENAME = Statement("""
    update sources set name = coalesce(:name, name), duplicates = coalesce(:duplicates, duplicates),
                       metadata = coalesce(:metadata::jsonb, metadata)
    where tenant_id = :tenant and id = :id and deleted_at is null
""")
_DELETE = Statement("""
    update sources set deleted_at = now() where tenant_id = :tenant and id = :id and deleted_at is null
""")
_REPLACE = Statement("""
    update sources set place = :place, schedule = :schedule
    where tenant_id = :tenant and id = :id and deleted_at is null
""")
_PAUSE = Statement("""
    update sources set paused_at = case when :paused::boolean then now() end
    where tenant_id = :tenant and id = :id and deleted_at is null and (paused_at is not null) <> :paused
""")
_ACCEPT_EMPTY = Statement("""
    update sources set accepts_empty = true where tenant_id = :tenant and id = :id and not accepts_empty
""")
_STAND = Statement("""
    select place, source_stands(tenant_id, id) as stands from sources
    where tenant_id = :tenant and id = :id and deleted_at is null for share
""")
_STANDS = Statement("select source_stands(:tenant, :id) is not false")
_LEAVE_BOTS = Statement("delete from bot_sources where tenant_id = :tenant and source_id = :id")


class SourceHeld(Conflict):
    """A private source whose owner may not have it at present: it waits until the owner may."""

    default_code = "source_held"


@dataclass(frozen=True, slots=True)
class NewSource:
    """Visible to the whole tenant unless it has an owner; then private to that owner."""

    name: str
    kind: SourceKind = SourceKind.UPLOAD
    duplicates: Duplicates = Duplicates.ALLOW
    chunk: ChunkRules = field(default_factory=ChunkRules)
    owner: UserId | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    place: origins.Place | None = None
    schedule: int | None = None


async def add(tx: Transaction, source: NewSource) -> Source:
    """Raises Conflict `source_exists`."""
    identifier = SourceId(new_id())
    try:
        await tx.run(
            _ADD,
            id=identifier,
            name=source.name,
            kind=source.kind,
            visibility=Visibility.PRIVATE if source.owner else Visibility.TENANT,
            duplicates=source.duplicates,
            size=source.chunk.size,
            overlap=source.chunk.overlap,
            owner=source.owner,
            metadata=dict(source.metadata),
            place=source.place and fields_of(source.place),
            schedule=source.schedule,
        )
    except asyncpg.UniqueViolationError as error:
        raise Conflict(f"A source {source.name!r} exists already.", code="source_exists") from error
    return await get(tx, identifier)


async def get(tx: Transaction, source: SourceId) -> Source:
    """Raises NotFound."""
    row = await tx.row(_GET, id=source)
    if row is None:
        raise NotFound
    return _source(row)


async def find(tx: Transaction, source: SourceId) -> Source:
    """As `get`, for who works with the source: its documents are not counted. Raises NotFound."""
    row = await tx.row(_FIND, id=source)
    if row is None:
        raise NotFound
    return _source(row)


async def held(tx: Transaction, source: SourceId) -> Source:
    """As `find`; nobody else changes it until the commit. Raises NotFound."""
    row = await tx.row(_HELD, id=source)
    if row is None:
        raise NotFound
    return _source(row)


async def named(tx: Transaction, name: str) -> Source | None:
    row = await tx.row(_BY_NAME, name=name)
    return _source(row) if row else None


async def listed(tx: Transaction, *, bot: BotId | None, limit: int, cursor: str | None) -> Page[Source]:
    place = row_of(cursor, of=_LISTED)
    rows = await tx.rows(_LIST, bot=bot, moment=place and place.created_at, id=place and place.id, most=limit + 1)
    places = [Place(row["created_at"], row["id"]) for row in rows]
    return page([_source(row) for row in rows], places, limit, of=_LISTED)


async def walk(tx: Transaction, step: Step) -> Walked[Source]:
    rows = await tx.rows(_WALK_DOWN if step.goes_down else _WALK_UP, start=step.start, most=step.most)
    return walked(step, [_source(row) for row in rows])


async def sizes(tx: Transaction, sources: Collection[SourceId]) -> dict[SourceId, int]:
    """The bytes of each source's documents; a source without any is not named."""
    return {SourceId(row["source_id"]): row["size"] for row in await tx.rows(_SIZES, sources=list(sources))}


async def readable(tx: Transaction, wish: Wish) -> frozenset[SourceId]:
    """The ids that the wish names, as far as the grant shows them. Raises NotFound if a named one is not there."""
    if wish.bot is not None and isinstance(tx.grant, TenantGrant):
        await _demand_bot(tx, wish.bot)
    wanted = None if wish.sources is None else list(wish.sources)
    rows = await tx.rows(_READABLE, wanted=wanted, bot=wish.bot)
    found = frozenset(SourceId(row["id"]) for row in rows)
    if wish.sources is not None and found != wish.sources:
        raise NotFound
    return found


async def resolve(tx: Transaction, ids: Collection[SourceId]) -> None:
    """Raises NotFound unless each of the ids is a source that the grant shows."""
    await readable(tx, Wish(sources=frozenset(ids)))


async def change(
    tx: Transaction,
    source: SourceId,
    *,
    name: str | None,
    duplicates: Duplicates | None,
    metadata: Mapping[str, str] | None = None,
) -> Source:
    """None leaves a field as it is. Raises NotFound, Conflict `source_exists`."""
    kept = None if metadata is None else dict(metadata)
    try:
        changed = await tx.run(_RENAME, id=source, name=name, duplicates=duplicates, metadata=kept)
    except asyncpg.UniqueViolationError as error:
        raise Conflict(f"A source {name!r} exists already.", code="source_exists") from error
    if not changed:
        raise NotFound
    return await get(tx, source)


async def stand(tx: Transaction, source: Source) -> None:
    """It is there and has the same place, until the commit, and its owner may have it.

    Raises NotFound, Conflict `place_changed`, SourceHeld.
    """
    row = await tx.row(_STAND, id=source.id)
    if row is None:
        raise NotFound
    if not row["stands"]:
        raise _held()
    if source.place is not None and row["place"] != fields_of(source.place):
        raise Conflict("The source has another place by now.", code="place_changed")


async def demand_owner(tx: Transaction, source: SourceId) -> None:
    """Raises SourceHeld while the owner of a private source may not have it. What is not there is held by nobody."""
    if not await tx.value(_STANDS, id=source):
        raise _held()


def _held() -> SourceHeld:
    return SourceHeld("The owner of this private source may not refresh it at present.")


async def replace(tx: Transaction, source: SourceId, place: origins.Place, schedule: int | None) -> None:
    """Another place or another schedule. Raises NotFound."""
    if not await tx.run(_REPLACE, id=source, place=fields_of(place), schedule=schedule):
        raise NotFound


async def pause(tx: Transaction, source: SourceId, *, paused: bool) -> bool:
    """Whether it was not so before."""
    return await tx.run(_PAUSE, id=source, paused=paused) > 0


async def accept_empty(tx: Transaction, source: SourceId) -> None:
    """The next run that begins may find nothing."""
    await tx.run(_ACCEPT_EMPTY, id=source)


async def delete(tx: Transaction, source: SourceId) -> None:
    """Out of every bot and every list at once. Raises NotFound."""
    if not await tx.run(_DELETE, id=source):
        raise NotFound
    await tx.run(_LEAVE_BOTS, id=source)


_BOT = Statement("select 1 from bots where tenant_id = :tenant and id = :id")


async def _demand_bot(tx: Transaction, bot: BotId) -> None:
    allowed = not isinstance(tx.grant, TenantGrant) or tx.grant.bots is None or bot in tx.grant.bots
    if not allowed or not await tx.value(_BOT, id=bot):
        raise NotFound


def _source(row: Any) -> Source:
    counts = row["counts"]
    return Source(
        id=SourceId(row["id"]),
        name=row["name"],
        kind=SourceKind(row["kind"]),
        visibility=Visibility(row["visibility"]),
        duplicates=Duplicates(row["duplicates"]),
        chunk=ChunkRules(row["chunk_size"], row["chunk_overlap"]),
        owner=row["owner_id"] and UserId(row["owner_id"]),
        documents={status: int(counts.get(status, 0)) for status in DocumentStatus},
        created_at=row["created_at"],
        metadata=row["metadata"],
        place=row["place"] and place_of(SourceKind(row["kind"]), row["place"]),
        schedule=row["schedule"],
        paused=row["paused_at"] is not None,
        last_run=row["last_run"] and run_of({**row["last_run"], **_moments(row["last_run"])}),
        next_run_at=None if row["paused_at"] else row["next_run_at"],
    )


def _moments(run: Mapping[str, Any]) -> dict[str, Any]:
    """Inside of JSON they are texts, and so is an id."""
    times = {name: run[name] and datetime.fromisoformat(run[name]) for name in ("started_at", "ended_at")}
    return {**times, "id": UUID(run["id"])}
