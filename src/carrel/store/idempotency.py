"""Idempotency keys: the same request twice gives the stored answer, kept in the transaction of the effect itself."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar
from uuid import UUID

from carrel.domain.access import TenantGrant
from carrel.domain.errors import Invalid, Unavailable
from carrel.domain.ids import SourceId, new_id
from carrel.store.transaction import Database, Statement, Transaction

Result = TypeVar("Result")

_LEASE: Final = 10.0  # seconds without a beat after which whoever held a key is taken for dead
_BEATS: Final = 3.0
_PATIENCE: Final = 60.0
_FIRST_LOOK: Final = 0.03
_SLOWEST_LOOK: Final = 0.5

_TAKE = Statement(f"""
    insert into idempotency_keys (tenant_id, principal_id, key, request_hash, status, body, holder, held_until)
    values (:tenant, :principal, :key, :hash, 0, 'null', :holder, now() + make_interval(secs => {_LEASE}))
    on conflict do nothing
""")
_READ = Statement("""
    select request_hash, status, body, source_ids, held_until > now() as held from idempotency_keys
    where tenant_id = :tenant and principal_id = :principal and key = :key for update
""")
_HOLD = Statement(f"""
    update idempotency_keys set holder = :holder, held_until = now() + make_interval(secs => {_LEASE})
    where tenant_id = :tenant and principal_id = :principal and key = :key and status = 0
""")
_BEAT = Statement(f"""
    update idempotency_keys set held_until = now() + make_interval(secs => {_LEASE})
    where tenant_id = :tenant and principal_id = :principal and key = :key and status = 0 and holder = :holder
""")
_GIVE_UP = Statement("""
    update idempotency_keys set held_until = null
    where tenant_id = :tenant and principal_id = :principal and key = :key and status = 0 and holder = :holder
""")
_KEEP = Statement("""
    update idempotency_keys set status = :status, body = :body, source_ids = :sources
    where tenant_id = :tenant and principal_id = :principal and key = :key and holder = :holder
""")

_FORGET = Statement("""
    delete from idempotency_keys where tenant_id = :tenant and created_at < now() - interval '24 hours'
""")


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    status: int
    body: Any


class Replayed(Exception):  # noqa: N818 - not an error: the request was answered before
    """The request was answered before, and this was the answer."""

    def __init__(self, answer: StoredAnswer) -> None:
        super().__init__("answered before")
        self.answer = answer


@dataclass(frozen=True, slots=True)
class Memo(Generic[Result]):
    """Who asked with which Idempotency-Key; `hash` is of the whole request, `render` gives the answer to store.

    `holder` is this very try, of which there may be many.
    """

    principal: UUID
    key: str
    hash: bytes
    render: Callable[[Result], StoredAnswer]
    holder: UUID = field(default_factory=new_id)


def mismatch() -> Invalid:
    return Invalid(
        "This Idempotency-Key came with other content before: use a new one.",
        code="idempotency_mismatch",
        field="Idempotency-Key",
    )


async def once(tx: Transaction, memo: Memo[Result] | None, effect: Callable[[], Awaitable[Result]]) -> Result:
    """Run the effect, and keep its answer under the memo. A second such request at the same time waits for the first.

    Raises Replayed with the stored answer, Invalid `idempotency_mismatch` when the key came with other content before.
    """
    if memo is None:
        return await effect()
    if not await _recall(tx, memo):
        raise _busy()
    result = await effect()
    await keep(tx, memo, result)
    return result


@asynccontextmanager
async def held(database: Database, grant: TenantGrant, memo: Memo[Result] | None) -> AsyncIterator[None]:
    """For effects of several transactions, or that take long: one try at a time works, and `keep`s its answer last.

    The others wait for it and get its answer. Whoever holds the key says so every few seconds; when it died, or has
    failed, the next one takes over. Raises Replayed, Invalid `idempotency_mismatch`, Unavailable `request_in_progress`
    when the other one takes more than a minute.
    """
    if memo is None:
        yield
        return
    await _in_turn(database, grant, memo)
    beating = asyncio.create_task(_beat(database, grant, memo))
    try:
        yield
    except BaseException:
        async with database.transaction(grant) as tx:
            await give_up(tx, memo)
        raise
    finally:
        beating.cancel()
        await asyncio.wait({beating})


async def keep(tx: Transaction, memo: Memo[Result] | None, result: Result, *, shows: Collection[SourceId] = ()) -> None:
    """`shows` are the sources of which the answer shows text: it is repeated only where all of them may be read.

    Raises Unavailable `request_in_progress` when the key was taken over meanwhile: then the effect must not be.
    """
    if memo is None:
        return
    answer = memo.render(result)
    kept = await tx.run(
        _KEEP,
        principal=memo.principal,
        key=memo.key,
        holder=memo.holder,
        status=answer.status,
        body=answer.body,
        sources=list(shows),
    )
    if not kept:
        raise _busy()


async def give_up(tx: Transaction, memo: Memo[Result] | None) -> None:
    """The key is free for the same request: this try has no answer to keep."""
    if memo is not None:
        await tx.run(_GIVE_UP, principal=memo.principal, key=memo.key, holder=memo.holder)


async def forget_old(tx: Transaction) -> int:
    """Answers older than a day go; how many these were."""
    return await tx.run(_FORGET)


async def _in_turn(database: Database, grant: TenantGrant, memo: Memo[Result]) -> None:
    pause, end = _FIRST_LOOK, asyncio.get_running_loop().time() + _PATIENCE
    while True:
        async with database.transaction(grant) as tx:
            if await _recall(tx, memo):
                return
        if asyncio.get_running_loop().time() > end:
            raise _busy()
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, _SLOWEST_LOOK)


async def _beat(database: Database, grant: TenantGrant, memo: Memo[Result]) -> None:
    """A beat that is missed is no reason to stop: only `keep` decides."""
    while True:
        await asyncio.sleep(_BEATS)
        with suppress(Unavailable):
            async with database.transaction(grant) as tx:
                await tx.run(_BEAT, principal=memo.principal, key=memo.key, holder=memo.holder)


async def _recall(tx: Transaction, memo: Memo[Result]) -> bool:
    """Whether the key is ours now. Raises Replayed, Invalid `idempotency_mismatch`."""
    if await tx.run(_TAKE, principal=memo.principal, key=memo.key, hash=memo.hash, holder=memo.holder):
        return True
    row = await tx.row(_READ, principal=memo.principal, key=memo.key)
    if row is None or row["request_hash"] != memo.hash:
        raise mismatch()
    if row["status"]:
        if not _may_read(tx, row["source_ids"]):
            raise mismatch()
        raise Replayed(StoredAnswer(row["status"], row["body"]))
    if row["held"]:
        return False
    await tx.run(_HOLD, principal=memo.principal, key=memo.key, holder=memo.holder)
    return True


def _may_read(tx: Transaction, sources: Collection[UUID]) -> bool:
    """The same request of somebody from whom a source was taken is another request."""
    readable = tx.grant.sources if isinstance(tx.grant, TenantGrant) else None
    return readable is None or readable.issuperset(map(SourceId, sources))


def _busy() -> Unavailable:
    return Unavailable("The same request is still being worked on.", code="request_in_progress")
