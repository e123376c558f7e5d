"""The runs of sources that refresh themselves, and which of them are told of changes or have lost their next run."""

from dataclasses import asdict, dataclass
from typing import Any, Final
from uuid import UUID

from carrel.domain.ids import SourceId, TenantId, UserId, new_id
from carrel.domain.library import Source
from carrel.domain.origins import Counts, Reason, Run, RunState
from carrel.store.pages import Page, Place, page, place_of
from carrel.store.transaction import Statement, Transaction

_LISTED: Final = "runs"
_KEPT: Final = 200  # runs of a source
_COLUMNS: Final = """
    id, state, started_at, ended_at, found, created, replaced, unchanged, deleted, failed, problem_code, problem_detail
"""
_ABANDONED = Statement("""
    update source_runs set state = 'failed', ended_at = now(), problem_code = :code, problem_detail = :detail
    where tenant_id = :tenant and source_id = :source and state = 'running'
""")
# The leave to find nothing belongs to the next run that begins after it was given, and to the runs that go on for it.
_TAKE_LEAVE = Statement("""
    with given as (
        update sources set accepts_empty = false where tenant_id = :tenant and id = :source and accepts_empty
        returning 1
    ), left_behind as (
        update source_runs set accepts_empty = false
        where tenant_id = :tenant and source_id = :source and state = 'running' and accepts_empty
        returning 1
    )
    select exists (select from given) or exists (select from left_behind)
""")
_BEGIN = Statement("""
    insert into source_runs (tenant_id, id, source_id, owner_id, state, accepts_empty)
    values (:tenant, :id, :source, :owner, 'running', :leave)
""")
_COUNT = Statement("""
    update source_runs set found = :found, created = :created, replaced = :replaced, unchanged = :unchanged,
        deleted = :deleted, failed = :failed
    where tenant_id = :tenant and id = :id and state = 'running'
""")
_END = Statement("""
    update source_runs set state = :state, ended_at = now(), problem_code = :code, problem_detail = :detail
    where tenant_id = :tenant and id = :id and state = 'running'
""")
_PRUNE = Statement(f"""
    delete from source_runs where tenant_id = :tenant and source_id = :source and id in (
        select id from source_runs where tenant_id = :tenant and source_id = :source
        order by started_at desc, id desc offset {_KEPT})
""")
_LIST = Statement(f"""
    select {_COLUMNS} from source_runs
    where tenant_id = :tenant and source_id = :source
      and (:moment::timestamptz is null or (started_at, id) < (:moment, :id::uuid))
    order by started_at desc, id desc limit :most
""")
_CLEAR = Statement("delete from source_runs where tenant_id = :tenant and source_id = :source")
_GIVE_LEAVE_BACK = Statement("""
    update sources set accepts_empty = true
    where tenant_id = :tenant and id = :source and exists (
        select from source_runs
        where tenant_id = :tenant and source_id = :source and state = 'running' and accepts_empty)
""")
_TAKE_LEAVE_BACK = Statement("""
    with kept as (
        update sources set accepts_empty = false where tenant_id = :tenant and id = :source and accepts_empty
    )
    update source_runs set accepts_empty = false
    where tenant_id = :tenant and source_id = :source and state = 'running' and accepts_empty
""")
_HAS_LEAVE = Statement("select accepts_empty from source_runs where tenant_id = :tenant and id = :id")
_STANDING = Statement("""
    select s.paused_at is not null or s.deleted_at is not null as stopped, not source_stands(s.tenant_id, s.id) as held,
           (select count(*) from (
                select from jobs j where j.tenant_id = s.tenant_id and j.kind = 'ingest' and j.due_at < 'infinity'
                limit :most) waiting) as pending
    from sources s where s.tenant_id = :tenant and s.id = :source
""")
_LISTENING = Statement("select * from listening_sources()")
_LOST = Statement("select * from lost_schedules()")

_INTERRUPTED: Final = Reason(code="interrupted", detail="The run was interrupted; the next one goes on where it was.")


@dataclass(frozen=True, slots=True)
class Standing:
    """Whether a walk may go on: `held` is a private source whose owner may not have it at present.

    `pending` are the tenant's documents that wait, at most as many as were asked for.
    """

    stopped: bool
    held: bool
    pending: int


@dataclass(frozen=True, slots=True)
class Reference:
    """A source of any tenant: ids only, and what its place is told apart by."""

    tenant: TenantId
    source: SourceId
    owner: UserId | None
    stamp: str = ""


async def begin(tx: Transaction, source: Source) -> UUID:
    """A new run; one that was never ended has been interrupted, and this one goes on for it."""
    leave = await tx.value(_TAKE_LEAVE, source=source.id)
    await tx.run(_ABANDONED, source=source.id, code=_INTERRUPTED.code, detail=_INTERRUPTED.detail)
    run = new_id()
    await tx.run(_BEGIN, id=run, source=source.id, owner=source.owner, leave=leave)
    return run


async def count(tx: Transaction, run: UUID, counts: Counts) -> None:
    await tx.run(_COUNT, id=run, **asdict(counts))


async def end(tx: Transaction, source: SourceId, run: UUID, state: RunState, *, problem: Reason | None) -> None:
    """The oldest runs of the source go."""
    code, detail = (problem.code, problem.detail) if problem else (None, None)
    await tx.run(_END, id=run, state=state, code=code, detail=detail)
    await tx.run(_PRUNE, source=source)


async def interrupt(tx: Transaction, source: SourceId) -> None:
    """Whatever runs has ended: its worker was told to stop."""
    await give_leave_back(tx, source)
    await tx.run(_ABANDONED, source=source, code=_INTERRUPTED.code, detail=_INTERRUPTED.detail)


async def has_leave(tx: Transaction, run: UUID) -> bool:
    """Whether this run may find nothing."""
    return bool(await tx.value(_HAS_LEAVE, id=run))


async def give_leave_back(tx: Transaction, source: SourceId) -> None:
    """What runs will go on as another run: if it had the leave to find nothing, that one has it."""
    await tx.run(_GIVE_LEAVE_BACK, source=source)


async def take_leave_back(tx: Transaction, source: SourceId) -> None:
    """The leave was for what is not so any more: nobody has it."""
    await tx.run(_TAKE_LEAVE_BACK, source=source)


async def standing(tx: Transaction, source: SourceId, *, most: int) -> Standing:
    row = await tx.row(_STANDING, source=source, most=most)
    if row is None:
        return Standing(stopped=True, held=False, pending=0)
    return Standing(row["stopped"], row["held"], row["pending"])


async def listed(tx: Transaction, source: SourceId, *, limit: int, cursor: str | None) -> Page[Run]:
    """Newest first. Raises Invalid `invalid_cursor`."""
    place = place_of(cursor, of=_LISTED)
    rows = await tx.rows(_LIST, source=source, moment=place and place.created_at, id=place and place.id, most=limit + 1)
    places = [Place(row["started_at"], row["id"]) for row in rows]
    return page([run_of(row) for row in rows], places, limit, of=_LISTED)


async def clear(tx: Transaction, source: SourceId) -> None:
    await tx.run(_CLEAR, source=source)


async def listening(tx: Transaction) -> list[Reference]:
    """Those of all tenants whose places tell of changes."""
    return [_place(row, row["stamp"]) for row in await tx.rows(_LISTENING)]


async def lost(tx: Transaction) -> list[Reference]:
    """Those of all tenants that have a schedule and no next run."""
    return [_place(row) for row in await tx.rows(_LOST)]


def run_of(row: Any) -> Run:
    refused = row["problem_code"]
    return Run(
        id=row["id"],
        state=RunState(row["state"]),
        started_at=row["started_at"],
        ended_at=row["ended_at"],
        counts=Counts(**{name: row[name] for name in Counts.__dataclass_fields__}),
        problem=None if refused is None else Reason(refused, row["problem_detail"]),
    )


def _place(row: Any, stamp: str = "") -> Reference:
    owner = row["owner_id"]
    return Reference(TenantId(row["tenant_id"]), SourceId(row["source_id"]), owner and UserId(owner), stamp)
