"""Limits: where calls are counted, and what holds for tenants that have no limits of their own."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from carrel.domain.limits import Limit, Rates, RouteClass, limit_of
from carrel.domain.prices import Price, Prices
from carrel.domain.quotas import Quota, Quotas, Resource
from carrel.ports.limits import Limiter
from carrel.settings import Limits, ModelPrice, QuotaDefaults, TenantRates


def in_memory() -> Limiter:
    from carrel.adapters.limits.memory import MemoryLimiter

    return MemoryLimiter()


@asynccontextmanager
async def limiter(rules: Limits) -> AsyncIterator[Limiter]:
    if rules.url is None:
        yield in_memory()
        return
    from carrel.adapters.limits.redis import RedisLimiter

    counting = RedisLimiter(rules.url.get_secret_value())
    try:
        yield counting
    finally:
        await counting.close()


def rates(rules: Limits) -> Rates:
    return Rates(_limits(rules), _limits(rules.tenant), rules.streams)


def quotas(rules: QuotaDefaults) -> Quotas:
    amounts = {resource: getattr(rules, resource.value) for resource in Resource}
    return {resource: Quota(hard=amount) for resource, amount in amounts.items() if amount is not None}


def prices(table: Mapping[str, ModelPrice]) -> Prices:
    return Prices({name: Price(price.input, price.output) for name, price in table.items()})


def _limits(rules: Limits | TenantRates) -> dict[RouteClass, Limit]:
    given = {kind: getattr(rules, kind.value) for kind in RouteClass}
    return {kind: limit_of(rate) for kind, rate in given.items() if rate is not None}
