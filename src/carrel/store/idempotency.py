"""Idempotency keys: the same request twice gives the stored answer, kept in the transaction of the effect itself."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from uuid import UUID

from carrel.domain.errors import Invalid
from carrel.store.transaction import Statement, Transaction

Result = TypeVar("Result")

_TAKE = Statement("""
    insert into idempotency_keys (tenant_id, principal_id, key, request_hash, status, body)
    values (:tenant, :principal, :key, :hash, 0, 'null') on conflict do nothing
""")
_READ = Statement("""
    select request_hash, status, body from idempotency_keys
    where tenant_id = :tenant and principal_id = :principal and key = :key for update
""")
_KEEP = Statement("""
    update idempotency_keys set status = :status, body = :body
    where tenant_id = :tenant and principal_id = :principal and key = :key
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
    """Who asked with which Idempotency-Key; `hash` is of the whole request, `render` gives the answer to store."""

    principal: UUID
    key: str
    hash: bytes
    render: Callable[[Result], StoredAnswer]


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
    await _recall(tx, memo)
    result = await effect()
    await keep(tx, memo, result)
    return result


async def begin(tx: Transaction, memo: Memo[Result] | None) -> None:
    """For effects of several transactions that may be repeated: take the key before the first, `keep` it in the last.

    A key that was taken and never kept (the process died) is free for the same request again.
    Raises Replayed, Invalid `idempotency_mismatch`.
    """
    if memo is not None:
        await _recall(tx, memo)


async def keep(tx: Transaction, memo: Memo[Result] | None, result: Result) -> None:
    if memo is not None:
        answer = memo.render(result)
        await tx.run(_KEEP, principal=memo.principal, key=memo.key, status=answer.status, body=answer.body)


async def forget_old(tx: Transaction) -> int:
    """Answers older than a day go; how many these were."""
    return await tx.run(_FORGET)


async def _recall(tx: Transaction, memo: Memo[Result]) -> None:
    if await tx.run(_TAKE, principal=memo.principal, key=memo.key, hash=memo.hash):
        return
    row = await tx.row(_READ, principal=memo.principal, key=memo.key)
    if row is None or row["request_hash"] != memo.hash:
        raise mismatch()
    if row["status"]:
        raise Replayed(StoredAnswer(row["status"], row["body"]))
