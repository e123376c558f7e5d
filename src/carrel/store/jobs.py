"""The queue: work that waits in the same database, in the same transaction as the row that it is about.

Claiming crosses tenants and is a definer function; everything after the claim happens in that tenant's own transaction,
behind the fence `lease_epoch`: whoever lost the lease writes nothing more.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from uuid import UUID

from carrel.domain.errors import Conflict
from carrel.domain.ids import JobId, SourceId, TenantId, UserId, new_id
from carrel.domain.jobs import Claim, JobKind
from carrel.store.transaction import Statement, Transaction

CHANNEL: Final = "carrel_jobs"
_BYTES_PER_COST: Final = 16_384
_MOST_COST: Final = 4_096

_ENQUEUE = Statement("select enqueue_job(:id, :kind, :subject, :owner, :delay, :cost)")
_ENQUEUE_ALL = Statement("""
    select enqueue_job(given.id, :kind, given.subject, :owner, interval '0', given.cost)
    from unnest(:ids::uuid[], :subjects::uuid[], :costs::integer[]) with ordinality given (id, subject, cost, place)
    order by given.place
""")
_CLAIM = Statement("select * from claim_jobs(:kinds, :lease, :most, :passed_over)")
_REJOIN = Statement("select rejoin_queue()")
_HOLD = Statement("""
    select 1 from jobs where tenant_id = :tenant and id = :id and lease_epoch = :epoch for update
""")
_BEGIN = Statement("""
    update jobs set attempts = :attempts where tenant_id = :tenant and id = :id and lease_epoch = :epoch
""")
_EXTEND = Statement("""
    update jobs set leased_until = now() + :lease where tenant_id = :tenant and id = :id and lease_epoch = :epoch
""")
_DONE = Statement("""
    delete from jobs where tenant_id = :tenant and id = :id and lease_epoch = :epoch and not asked_again
""")
_AGAIN = Statement("""
    update jobs set leased_until = null, attempts = 0, due_at = now() + :delay
    where tenant_id = :tenant and id = :id and lease_epoch = :epoch
""")
_LATER = Statement("""
    update jobs set leased_until = null, due_at = now() + :delay
    where tenant_id = :tenant and id = :id and lease_epoch = :epoch
""")
_ANOTHER = Statement("""
    update jobs set due_at = now() + :delay, attempts = least(attempts, greatest(:attempts - 1, 0))
    where tenant_id = :tenant and id = :id and lease_epoch = :epoch
""")
_REPEAT = Statement("select repeat_job(:id, :epoch, :delay)")
_OF_SOURCE = """
    select v.id from document_versions v join jobs j
      on j.tenant_id = v.tenant_id and j.kind = 'ingest' and j.subject_id = v.id
    where v.tenant_id = :tenant and v.source_id = :source and j.leased_until is null
"""
_HOLD_BACK = Statement(f"""
    update jobs set due_at = 'infinity'
    where tenant_id = :tenant and kind = 'ingest' and leased_until is null and subject_id in ({_OF_SOURCE})
""")
_HELD_BACK = Statement(f"{_OF_SOURCE} and j.due_at = 'infinity'")
_RELEASE = Statement("select release_jobs(:subjects)")
_PAUSED = Statement("""
    select s.paused_at is not null from sources s join document_versions v
      on v.tenant_id = s.tenant_id and v.source_id = s.id
    where v.tenant_id = :tenant and v.id = :version for share of s
""")
_WAIT = Statement("""
    update jobs set leased_until = null, due_at = case when :paused::boolean then 'infinity' else now() end,
        attempts = least(attempts, greatest(:attempts - 1, 0))
    where tenant_id = :tenant and id = :id and lease_epoch = :epoch
""")
_PUT_BACK = Statement("""
    update jobs set leased_until = null, due_at = now(), attempts = least(attempts, greatest(:attempts - 1, 0))
    where tenant_id = :tenant and id = :id and lease_epoch = :epoch
""")
_DROP = Statement("delete from jobs where tenant_id = :tenant and kind = :kind and subject_id = any (:subjects)")
_UNSCHEDULE = Statement("""
    delete from jobs
    where tenant_id = :tenant and kind = :kind and subject_id = :subject and leased_until is null and due_at > now()
""")
_COUNT = Statement("select * from count_jobs()")


class LeaseLost(Conflict):
    """Another worker has the job now, or nobody wants it any more: stop, and write nothing."""

    default_code = "lease_lost"


@dataclass(frozen=True, slots=True)
class Backlog:
    """Over all tenants: what is due, what a worker has, what waits for its time, and the oldest due one's age.

    `held` are the jobs of tenants that are not active: they wait for their tenant, and nobody waits for them.
    """

    waiting: int
    running: int
    later: int
    held: int
    oldest_seconds: float

    @property
    def outstanding(self) -> int:
        return self.waiting + self.running + self.later


def cost_of(size: int) -> int:
    """How far one job pushes its tenant's next one back: one turn for each 16 KiB."""
    return min(_MOST_COST, 1 + size // _BYTES_PER_COST)


async def enqueue(
    tx: Transaction, kind: JobKind, subject: UUID, *, owner: UserId | None = None, delay: float = 0, cost: int = 1
) -> None:
    """One job for each kind and subject: asked for again while it waits or runs, it runs once more, not twice."""
    await tx.run(
        _ENQUEUE, id=new_id(), kind=kind, subject=subject, owner=owner, delay=timedelta(seconds=delay), cost=cost
    )


async def enqueue_all(
    tx: Transaction, kind: JobKind, wanted: Sequence[tuple[UUID, int]], *, owner: UserId | None
) -> None:
    """As `enqueue` for each subject with its cost, in this order."""
    await tx.rows(
        _ENQUEUE_ALL,
        ids=[new_id() for _ in wanted],
        kind=kind,
        subjects=[subject for subject, _ in wanted],
        owner=owner,
        costs=[cost for _, cost in wanted],
    )


async def claim(
    tx: Transaction, kinds: Sequence[JobKind], *, lease: float, most: int, passed_over: Collection[TenantId] = ()
) -> list[Claim]:
    """Due jobs in turn, none of the tenants passed over, each leased for `lease` seconds of the database's clock."""
    rows = await tx.rows(
        _CLAIM, kinds=list(kinds), lease=timedelta(seconds=lease), most=most, passed_over=list(passed_over)
    )
    return [
        Claim(
            tenant=TenantId(row["tenant_id"]),
            job=JobId(row["id"]),
            kind=JobKind(row["kind"]),
            subject=row["subject_id"],
            owner=row["owner_id"] and UserId(row["owner_id"]),
            attempts=row["attempts"],
            epoch=row["lease_epoch"],
            orphaned=row["orphaned"],
        )
        for row in rows
    ]


async def hold(tx: Transaction, held: Claim) -> None:
    """Lock the job for this transaction. Raises LeaseLost."""
    if not await tx.value(_HOLD, id=held.job, epoch=held.epoch):
        raise LeaseLost("The job is no longer ours.")


async def rejoin(tx: Transaction) -> None:
    """The transaction's tenant is active again: what waited goes on, without a start over the others."""
    await tx.run(_REJOIN)


async def begin(tx: Transaction, held: Claim) -> None:
    """The attempt counts from here: if the worker dies, it has been one. Raises LeaseLost."""
    if not await tx.run(_BEGIN, id=held.job, epoch=held.epoch, attempts=held.attempts):
        raise LeaseLost("The job is no longer ours.")


async def extend(tx: Transaction, held: Claim, *, lease: float) -> None:
    """Raises LeaseLost."""
    if not await tx.run(_EXTEND, id=held.job, epoch=held.epoch, lease=timedelta(seconds=lease)):
        raise LeaseLost("The job is no longer ours.")


async def finish(tx: Transaction, held: Claim, *, again_in: float = 0) -> None:
    """Done; if it was asked for again meanwhile, it waits once more, for `again_in` seconds. Raises LeaseLost."""
    if not await tx.run(_DONE, id=held.job, epoch=held.epoch):
        await hold(tx, held)
        await tx.run(_AGAIN, id=held.job, epoch=held.epoch, delay=timedelta(seconds=again_in))


async def postpone(tx: Transaction, held: Claim, *, delay: float) -> None:
    """Give the lease back and try again after `delay` seconds."""
    await tx.run(_LATER, id=held.job, epoch=held.epoch, delay=timedelta(seconds=delay))


async def give_another(tx: Transaction, held: Claim, *, delay: float) -> None:
    """What was given back waits `delay` seconds, and this attempt has not been one: it was not the document's fault."""
    await tx.run(_ANOTHER, id=held.job, epoch=held.epoch, attempts=held.attempts, delay=timedelta(seconds=delay))


async def repeat(tx: Transaction, held: Claim, *, delay: float) -> None:
    """Done, and to be done again in `delay` seconds, or at once if it was asked for meanwhile. Raises LeaseLost.

    Not after `hold`: whoever asks for a job locks the tenant's place in the queue before it.
    """
    if not await tx.value(_REPEAT, id=held.job, epoch=held.epoch, delay=timedelta(seconds=delay)):
        raise LeaseLost("The job is no longer ours.")


async def hold_back(tx: Transaction, source: SourceId) -> None:
    """The source is paused in this transaction: its documents that wait will wait until they are released."""
    await tx.run(_HOLD_BACK, source=source)


async def release(tx: Transaction, source: SourceId) -> None:
    """The source is not paused any more: what was held back is due, in its order, and behind nobody else's turn."""
    held = await tx.rows(_HELD_BACK, source=source)
    if held:
        await tx.run(_RELEASE, subjects=[row["id"] for row in held])


async def wait_for_source(tx: Transaction, held: Claim) -> None:
    """Give the lease back as if this attempt had not been, until the version's source is paused no more.

    The source is locked first: who resumes it has released this job, or will.
    """
    paused = bool(await tx.value(_PAUSED, version=held.subject))
    await hold(tx, held)
    await tx.run(_WAIT, id=held.job, epoch=held.epoch, attempts=held.attempts, paused=paused)


async def put_back(tx: Transaction, held: Claim) -> None:
    """Give the lease back as if this attempt had not been: the tenant is not active, and nobody claims it till then."""
    await tx.run(_PUT_BACK, id=held.job, epoch=held.epoch, attempts=held.attempts)


async def unschedule(tx: Transaction, kind: JobKind, subject: UUID) -> None:
    """What waits for its time is not wanted any more; what is due or runs is."""
    await tx.run(_UNSCHEDULE, kind=kind, subject=subject)


async def drop(tx: Transaction, kind: JobKind, subjects: Sequence[UUID]) -> None:
    """Nobody wants it any more; a worker that holds it finds its lease lost."""
    await tx.run(_DROP, kind=kind, subjects=list(subjects))


async def backlog(tx: Transaction) -> Backlog:
    row = await tx.row(_COUNT)
    if row is None:
        return Backlog(0, 0, 0, 0, 0)
    return Backlog(row["waiting"], row["running"], row["later"], row["held"], row["oldest_seconds"])
