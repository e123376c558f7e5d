"""The ledger of what was used, by day, bot and kind; its lines are written where quotas are settled."""

from datetime import date

from carrel.domain.ids import BotId
from carrel.domain.quotas import UsageKind, UsageLine
from carrel.store.transaction import Statement, Transaction

_LEDGER = Statement("""
    select case when :by_day then day end as day, kind, case when :by_bot then bot_id end as bot_id,
           sum(events)::bigint as events, sum(bytes)::bigint as bytes,
           sum(input_tokens)::bigint as input_tokens, sum(output_tokens)::bigint as output_tokens
    from usage_days where tenant_id = :tenant and day between :first and :last
    group by 1, 2, 3 order by 1, 2, 3 nulls first
""")
_TODAY = Statement("select (now() at time zone 'utc')::date")


async def ledger(tx: Transaction, first: date, last: date, *, by_day: bool, by_bot: bool) -> list[UsageLine]:
    """Both days included, in UTC; oldest first."""
    rows = await tx.rows(_LEDGER, first=first, last=last, by_day=by_day, by_bot=by_bot)
    return [
        UsageLine(
            kind=UsageKind(row["kind"]),
            day=row["day"],
            bot=row["bot_id"] and BotId(row["bot_id"]),
            events=row["events"],
            bytes=row["bytes"],
            input_tokens=row["input_tokens"],
            output_tokens=row["output_tokens"],
        )
        for row in rows
    ]


async def today(tx: Transaction) -> date:
    found: date = await tx.value(_TODAY)
    return found
