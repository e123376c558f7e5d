"""The rate limits that an operator has set for one tenant."""

from collections.abc import Mapping
from typing import Any

from carrel.domain.limits import Limit, Rates, RouteClass, limit_of
from carrel.store.transaction import Statement, Transaction

_RATES = Statement("select rates from quotas where tenant_id = :tenant")
_SET_RATES = Statement("""
    insert into quotas (tenant_id, rates) values (:tenant, :rates) on conflict (tenant_id) do update set rates = :rates
""")


async def own(tx: Transaction) -> Rates:
    """What was set for this tenant, without the settings' own."""
    kept = await tx.value(_RATES) or {}
    return Rates(_limits(kept.get("each", {})), _limits(kept.get("together", {})), kept.get("streams"))


async def put(tx: Transaction, wanted: Rates) -> None:
    """A rate that is not named is taken away."""
    await tx.run(_SET_RATES, rates=written(wanted))


def written(wanted: Rates) -> dict[str, Any]:
    """Rates as they are kept: `{"each": {"search": "60/minute"}, "together": {}, "streams": 5}`."""
    return {
        "each": {kind.value: str(limit) for kind, limit in wanted.each.items()},
        "together": {kind.value: str(limit) for kind, limit in wanted.together.items()},
        "streams": wanted.streams,
    }


def _limits(kept: Mapping[str, str]) -> dict[RouteClass, Limit]:
    return {RouteClass(kind): limit_of(rate) for kind, rate in kept.items()}
