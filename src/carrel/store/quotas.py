"""Quotas: reserved before, settled after, refunded on failure; and the ledger of what was used.

A tenant has one row of counters, so whatever counts takes one lock, late in its transaction. A reservation is a lease
beside it: what holds one and dies gives it back when it expires.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from carrel.domain.access import TenantGrant
from carrel.domain.answers import Usage
from carrel.domain.audit import Act
from carrel.domain.errors import Throttled
from carrel.domain.ids import BotId, UserId, new_id
from carrel.domain.quotas import MONTHLY, UNLIMITED, Hold, Level, Quota, Quotas, Resource, UsageKind
from carrel.domain.webhooks import Occasion
from carrel.store import audit, webhooks
from carrel.store.transaction import Statement, Transaction

_LEASE: Final = 15 * 60  # seconds, more than an upload or an answer takes
_NO_END: Final = 3600.0  # seconds to wait for what only a deletion or an operator can change
_MONTH: Final = "date_trunc('month', now() at time zone 'utc')::date"
_ALL: Final = "9223372036854775807"
_QUESTIONS_USED: Final = f"case when q.month = {_MONTH} then q.questions_used else 0 end"
_QUESTIONS_HELD: Final = f"case when q.month = {_MONTH} then q.questions_held else 0 end"
_TOKENS_USED: Final = f"case when q.month = {_MONTH} then q.tokens_used else 0 end"
_TOKENS_HELD: Final = f"case when q.month = {_MONTH} then q.tokens_held else 0 end"
_STATE: Final = f"""q.*, {_MONTH} as this_month, ({_MONTH} + interval '1 month') at time zone 'utc' as next_month"""
_READ = Statement(f"select {_STATE} from (select 1) n left join quotas q on q.tenant_id = :tenant")
# Held only where a limit is: who has none pays for no write. Of tokens nobody knows how many an answer will need, so a
# question may begin as long as some are left.
_RESERVE = Statement(f"""
    with kept as (
        update quotas q set month = {_MONTH}, bytes_held = q.bytes_held + :bytes,
            questions_used = {_QUESTIONS_USED}, tokens_used = {_TOKENS_USED},
            questions_held = {_QUESTIONS_HELD} + :questions,
            tokens_held = {_TOKENS_HELD} + :tokens
        where q.tenant_id = :tenant
          and ((:bytes::bigint > 0 and coalesce(q.bytes_hard, :bytes_hard::bigint) is not null)
               or (:questions::bigint > 0 and coalesce(q.questions_hard, :questions_hard::bigint) is not null)
               or (:tokens::bigint > 0 and coalesce(q.tokens_hard, :tokens_hard::bigint) is not null))
          and (:bytes = 0 or q.bytes_used + q.bytes_held + :bytes <= coalesce(q.bytes_hard, :bytes_hard, {_ALL}))
          and (:questions = 0 or {_QUESTIONS_USED} + {_QUESTIONS_HELD} + :questions
                                 <= coalesce(q.questions_hard, :questions_hard, {_ALL}))
          and (:tokens = 0 or {_TOKENS_USED} + {_TOKENS_HELD}
                              < coalesce(q.tokens_hard, :tokens_hard, {_ALL}))
        returning q.month
    ), lease as (
        insert into reservations (tenant_id, id, month, bytes, questions, tokens, expires_at)
        select :tenant, :id, month, :bytes, :questions, :tokens, now() + make_interval(secs => {_LEASE}) from kept
        returning 1
    )
    select now() as at, exists (select from lease) as kept, {_STATE}
    from (select 1) n left join quotas q on q.tenant_id = :tenant
""")
_OPEN = Statement("insert into quotas (tenant_id) values (:tenant) on conflict do nothing")
_EXPIRE = Statement(f"""
    with gone as (
        delete from reservations where tenant_id = :tenant and expires_at < now()
        returning month, bytes, questions, tokens
    ), back as (
        select coalesce(sum(bytes), 0) as bytes,
               coalesce(sum(questions) filter (where month = {_MONTH}), 0) as questions,
               coalesce(sum(tokens) filter (where month = {_MONTH}), 0) as tokens
        from gone having count(*) > 0
    )
    update quotas q set bytes_held = greatest(q.bytes_held - back.bytes, 0),
        questions_held = case when q.month = {_MONTH} then greatest(q.questions_held - back.questions, 0) else 0 end,
        tokens_held = case when q.month = {_MONTH} then greatest(q.tokens_held - back.tokens, 0) else 0 end,
        questions_used = {_QUESTIONS_USED}, tokens_used = {_TOKENS_USED}, month = {_MONTH}
    from back where q.tenant_id = :tenant
""")
_EXTEND = Statement(f"""
    with kept as (
        update quotas q set bytes_held = q.bytes_held + :bytes
        where q.tenant_id = :tenant
          and q.bytes_used + q.bytes_held + :bytes::bigint <= coalesce(q.bytes_hard, :bytes_hard::bigint, {_ALL})
        returning 1
    )
    update reservations set bytes = bytes + :bytes, expires_at = now() + make_interval(secs => {_LEASE})
    where tenant_id = :tenant and id = :id and exists (select from kept)
""")
_RELEASE = Statement("""
    with mine as (
        delete from reservations where tenant_id = :tenant and id = :id returning month, bytes, questions, tokens
    )
    update quotas q set bytes_held = greatest(q.bytes_held - mine.bytes, 0),
        questions_held = case when q.month = mine.month then greatest(q.questions_held - mine.questions, 0)
                              else q.questions_held end,
        tokens_held = case when q.month = mine.month then greatest(q.tokens_held - mine.tokens, 0)
                           else q.tokens_held end
    from mine where q.tenant_id = :tenant
""")
_ADDED: Final = """
    on conflict (tenant_id, day, kind, bot_id, user_id, model) do update
    set events = u.events + excluded.events, bytes = u.bytes + excluded.bytes,
        input_tokens = u.input_tokens + excluded.input_tokens, output_tokens = u.output_tokens + excluded.output_tokens,
        cost = coalesce(u.cost + excluded.cost, u.cost, excluded.cost), unpriced = u.unpriced + excluded.unpriced
"""
_SETTLE = Statement(f"""
    with mine as (
        delete from reservations where tenant_id = :tenant and id = :id returning month, questions, tokens
    ), noted as (
        insert into usage_days as u (tenant_id, day, kind, bot_id, user_id, model, events, bytes, input_tokens,
                                     output_tokens, cost, unpriced)
        values (:tenant, (now() at time zone 'utc')::date, :kind, :bot, :member, :model, 1, 0, :input_tokens,
                :output_tokens, :cost::numeric, case when :cost::numeric is null then 1 else 0 end)
        {_ADDED}
    )
    insert into quotas as q (tenant_id, questions_used, tokens_used)
    values (:tenant, :questions::bigint, :input_tokens::bigint + :output_tokens::bigint)
    on conflict (tenant_id) do update set month = {_MONTH},
        questions_used = {_QUESTIONS_USED} + excluded.questions_used,
        tokens_used = {_TOKENS_USED} + excluded.tokens_used,
        questions_held = greatest({_QUESTIONS_HELD}
                                  - coalesce((select m.questions from mine m where m.month = {_MONTH}), 0), 0),
        tokens_held = greatest({_TOKENS_HELD}
                               - coalesce((select m.tokens from mine m where m.month = {_MONTH}), 0), 0)
    returning {_STATE}
""")
# What was reserved for these bytes becomes what is kept; what was not reserved is judged now.
_CHARGE = Statement(f"""
    with mine as (
        update reservations r set bytes = greatest(former.bytes - :bytes::bigint, 0) from reservations former
        where r.tenant_id = :tenant and r.id = :id and former.tenant_id = r.tenant_id and former.id = r.id
        returning least(former.bytes, :bytes::bigint) as bytes
    ), reserved as (
        select coalesce(sum(bytes), 0)::bigint as bytes from mine
    ), kept as (
        update quotas q set documents_used = q.documents_used + :documents, bytes_used = q.bytes_used + :bytes,
            bytes_held = greatest(q.bytes_held - reserved.bytes, 0)
        from reserved
        where q.tenant_id = :tenant
          and (:documents::bigint = 0
               or q.documents_used + :documents <= coalesce(q.documents_hard, :documents_hard::bigint, {_ALL}))
          and q.bytes_used + greatest(q.bytes_held - reserved.bytes, 0) + :bytes
              <= coalesce(q.bytes_hard, :bytes_hard::bigint, {_ALL})
        returning {_STATE}
    ), noted as (
        insert into usage_days as u (tenant_id, day, kind, bot_id, user_id, events, bytes, input_tokens, output_tokens)
        select :tenant, (now() at time zone 'utc')::date, 'document', null, :member::uuid, :versions, :bytes, 0, 0
        from kept
        {_ADDED}
    )
    select * from kept
""")
_FREE = Statement("""
    update quotas set documents_used = greatest(documents_used - :documents, 0),
        bytes_used = greatest(bytes_used - :bytes, 0)
    where tenant_id = :tenant
""")
_LOCK = Statement("select 1 from quotas where tenant_id = :tenant for update")
_RECOUNT = Statement("""
    update quotas q set documents_used = c.documents, bytes_used = c.bytes from count_stored() c
    where q.tenant_id = :tenant and (q.documents_used, q.bytes_used) is distinct from (c.documents, c.bytes)
""")
_SET = Statement("""
    update quotas set documents_soft = :documents_soft, documents_hard = :documents_hard, bytes_soft = :bytes_soft,
        bytes_hard = :bytes_hard, questions_soft = :questions_soft, questions_hard = :questions_hard,
        tokens_soft = :tokens_soft, tokens_hard = :tokens_hard
    where tenant_id = :tenant
""")
_NOW = Statement("select now()")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is reserved. Tokens are a guess: what an answer will need, nobody knows before."""

    bytes: int = 0
    questions: int = 0
    tokens: int = 0


@dataclass(frozen=True, slots=True)
class Reserved:
    """A hold, and the database's time at which it was taken."""

    hold: Hold
    at: datetime


async def reserve(tx: Transaction, wanted: Wanted, defaults: Quotas) -> Reserved:
    """Last in a transaction: it may lock the tenant's counters until the commit. One statement, when there is room.

    Raises Throttled `quota_exceeded`.
    """
    found = await _try_to_hold(tx, wanted, defaults)
    if found is None:
        await _make_room(tx)
        found = await _try_to_hold(tx, wanted, defaults)
    if found is None:
        lacking = next(level for level in await standing(tx, defaults) if not _fits(wanted, level))
        raise _exceeded(lacking, await tx.value(_NOW))
    return found


async def _try_to_hold(tx: Transaction, wanted: Wanted, defaults: Quotas) -> Reserved | None:
    lease = new_id()
    row = await tx.row(
        _RESERVE,
        id=lease,
        bytes=wanted.bytes,
        questions=wanted.questions,
        tokens=wanted.tokens,
        **_hard(defaults, Resource.BYTES, Resource.QUESTIONS, Resource.TOKENS),
    )
    assert row is not None
    levels = _levels(row, defaults)
    if not row["kept"] and any(_asked(wanted, level) for level in levels):
        return None
    return Reserved(Hold(lease if row["kept"] else None, levels), row["at"])


async def extend(tx: Transaction, hold: Hold, more: int, defaults: Quotas) -> None:
    """More bytes than were reserved. Raises Throttled `quota_exceeded`."""
    if not await tx.run(_EXTEND, id=hold.id, bytes=more, **_hard(defaults, Resource.BYTES)):
        raise full(Resource.BYTES)


async def release(tx: Transaction, hold: Hold) -> None:
    """What was held and not used is free again; harmless for what has expired."""
    await tx.run(_RELEASE, id=hold.id)


async def settle(
    tx: Transaction,
    hold: Hold,
    usage: Usage,
    *,
    bot: BotId | None,
    defaults: Quotas,
    cost: Decimal | None = None,
    kind: UsageKind = UsageKind.QUESTION,
) -> None:
    """A question was answered, or texts were embedded: what it needed is used, and stands in the ledger.

    Late in a transaction.

    A `cost` of None is one that nobody knows.
    """
    tokens, questions = usage.input_tokens + usage.output_tokens, int(kind is UsageKind.QUESTION)
    row = await tx.row(
        _SETTLE,
        id=hold.id,
        kind=kind,
        questions=questions,
        bot=bot,
        member=_member(tx),
        model=usage.model,
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cost=cost,
    )
    await _warn(tx, row, {Resource.QUESTIONS: questions, Resource.TOKENS: tokens}, defaults)


async def charge(
    tx: Transaction, hold: Hold, *, documents: int, size: int, defaults: Quotas, versions: int = 1
) -> None:
    """Versions were added: what was reserved for their bytes is used, and stands in the ledger. Late in a transaction.

    Raises Throttled `quota_exceeded`.
    """
    values = {"id": hold.id, "documents": documents, "versions": versions, "bytes": size, "member": _member(tx)}
    limits = _hard(defaults, Resource.DOCUMENTS, Resource.BYTES)
    row = await tx.row(_CHARGE, **values, **limits)
    if row is None and hold.id is None:
        await _make_room(tx)
        row = await tx.row(_CHARGE, **values, **limits)
    if row is None:
        levels = {level.resource: level for level in (await standing(tx, defaults))}
        documents_left = _left(levels[Resource.DOCUMENTS])
        raise full(Resource.DOCUMENTS if documents_left is not None and documents_left < documents else Resource.BYTES)
    await _warn(tx, row, {Resource.DOCUMENTS: documents, Resource.BYTES: size}, defaults)


async def free(tx: Transaction, *, documents: int, size: int) -> None:
    """What was deleted counts no more. Before any job is demanded: counters are locked before places in the queue."""
    await tx.run(_FREE, documents=documents, bytes=size)


async def standing(tx: Transaction, defaults: Quotas) -> tuple[Level, ...]:
    return _levels(await tx.row(_READ), defaults)


async def tidy(tx: Transaction) -> None:
    """Leases that have expired are given back, and what is kept is counted anew."""
    await _make_room(tx)
    await tx.value(_LOCK)
    await tx.run(_RECOUNT)


async def set_limits(tx: Transaction, quotas: Quotas) -> None:
    """A quota that is not named is taken away. What is kept is counted anew."""
    await tidy(tx)
    limits = {f"{resource}_{kind}": value for resource in Resource for kind, value in _pair(quotas, resource)}
    await tx.run(_SET, **limits)


async def own_limits(tx: Transaction) -> Quotas:
    """What was set for this tenant, without the defaults."""
    return {level.resource: level.quota for level in await standing(tx, {}) if level.quota != UNLIMITED}


async def _make_room(tx: Transaction) -> None:
    await tx.run(_OPEN)
    await tx.run(_EXPIRE)


async def _warn(tx: Transaction, row: Any, used: Mapping[Resource, int], defaults: Quotas) -> None:
    """Once, by the change that crosses the line."""
    for level in _levels(row, defaults):
        amount = used.get(level.resource, 0)
        if level.is_warned and level.used - amount < (level.quota.soft or 0):
            facts = {"quota": level.resource.value, "soft": level.quota.soft}
            await audit.record(tx, Act.QUOTA_WARNED, facts=facts)
            told = {**facts, "hard": level.quota.hard, "used": level.used}
            await webhooks.announce(tx, Occasion.QUOTA_THRESHOLD, told)


def _member(tx: Transaction) -> UserId | None:
    return tx.grant.user if isinstance(tx.grant, TenantGrant) else None


def _hard(defaults: Quotas, *resources: Resource) -> dict[str, int | None]:
    return {f"{resource}_hard": defaults.get(resource, UNLIMITED).hard for resource in resources}


def _pair(quotas: Quotas, resource: Resource) -> tuple[tuple[str, int | None], ...]:
    quota = quotas.get(resource, UNLIMITED)
    return ("soft", quota.soft), ("hard", quota.hard)


def _levels(row: Any, defaults: Quotas) -> tuple[Level, ...]:
    return tuple(_level(row, resource, defaults.get(resource, UNLIMITED)) for resource in Resource)


def _level(row: Any, resource: Resource, default: Quota) -> Level:
    monthly = resource in MONTHLY
    present = not monthly or row["month"] == row["this_month"]
    soft, hard = row[f"{resource}_soft"], row[f"{resource}_hard"]
    return Level(
        resource,
        Quota(default.soft if soft is None else soft, default.hard if hard is None else hard),
        (row[f"{resource}_used"] or 0) if present else 0,
        (row.get(f"{resource}_held") or 0) if present else 0,
        row["next_month"] if monthly else None,
    )


def _asked(wanted: Wanted, level: Level) -> bool:
    return level.quota.hard is not None and getattr(wanted, level.resource.value, 0) > 0


def _fits(wanted: Wanted, level: Level) -> bool:
    left, needed = _left(level), getattr(wanted, level.resource.value, 0)
    return left is None or needed == 0 or left >= (1 if level.resource is Resource.TOKENS else needed)


def _left(level: Level) -> int | None:
    return None if level.quota.hard is None else level.quota.hard - level.used - level.held


def _exceeded(level: Level, at: datetime) -> Throttled:
    wait = _NO_END if level.resets_at is None else (level.resets_at - at).total_seconds()
    return Throttled(_SENTENCES[level.resource], code="quota_exceeded", wait=wait)


def full(resource: Resource) -> Throttled:
    """The refusal for what is kept, and has no end."""
    return Throttled(_SENTENCES[resource], code="quota_exceeded", wait=_NO_END)


_SENTENCES: Final = {
    Resource.DOCUMENTS: "This organisation keeps as many documents as its quota allows.",
    Resource.BYTES: "This organisation keeps as many bytes as its quota allows.",
    Resource.QUESTIONS: "This organisation has asked all the questions that its quota allows in this month.",
    Resource.TOKENS: "This organisation has used up the tokens that its quota allows in this month.",
}
