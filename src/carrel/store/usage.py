"""The ledger of what was used, by day, bot, member and model; its lines are written where quotas are settled."""

from dataclasses import dataclass
from datetime import date

from carrel.domain.ids import BotId, UserId
from carrel.domain.quotas import UsageKind, UsageLine
from carrel.store.transaction import Statement, Transaction

_LEDGER = Statement("""
    select case when :by_day then day end as day, kind, case when :by_bot then bot_id end as bot_id,
           case when :by_member then user_id end as user_id, case when :by_model then model end as model,
           sum(events)::bigint as events, sum(bytes)::bigint as bytes,
           sum(input_tokens)::bigint as input_tokens, sum(output_tokens)::bigint as output_tokens,
           sum(cost) as cost, sum(unpriced)::bigint as unpriced
    from usage_days where tenant_id = :tenant and day between :first and :last
    group by 1, 2, 3, 4, 5 order by 1, 2, 3 nulls first, 4 nulls first, 5 nulls first
""")
_TODAY = Statement("select (now() at time zone 'utc')::date")


@dataclass(frozen=True, slots=True)
class By:
    """What a line of the ledger is for."""

    day: bool = True
    bot: bool = True
    member: bool = False
    model: bool = False


async def ledger(tx: Transaction, first: date, last: date, by: By) -> list[UsageLine]:
    """Both days included, in UTC; oldest first."""
    rows = await tx.rows(
        _LEDGER, first=first, last=last, by_day=by.day, by_bot=by.bot, by_member=by.member, by_model=by.model
    )
    return [
        UsageLine(
            kind=UsageKind(row["kind"]),
            day=row["day"],
            bot=row["bot_id"] and BotId(row["bot_id"]),
            events=row["events"],
            bytes=row["bytes"],
            input_tokens=row["input_tokens"],
            output_tokens=row["output_tokens"],
            member=row["user_id"] and UserId(row["user_id"]),
            model=row["model"],
            cost=row["cost"],
            unpriced=row["unpriced"],
        )
        for row in rows
    ]


async def today(tx: Transaction) -> date:
    found: date = await tx.value(_TODAY)
    return found
