"""What a tenant may use and did use: looked at by its admins, set by operators."""

from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Final

from carrel.domain.access import Principal, enter_unlimited, govern
from carrel.domain.audit import Act
from carrel.domain.errors import Invalid, NotFound
from carrel.domain.ids import TenantId
from carrel.domain.limits import Rates
from carrel.domain.quotas import Level, Quota, Quotas, UsageLine
from carrel.domain.rights import Permission
from carrel.store import audit, quotas, rates, tenants, usage
from carrel.store.transaction import Database, Transaction
from carrel.store.usage import By

__all__ = ["MOST_DAYS", "Allowances", "By", "OwnLimits", "Period", "UsageReport"]

MOST_DAYS: Final = 92


@dataclass(frozen=True, slots=True)
class Period:
    """Days in UTC, both included. Without `first` it begins with the month of `last`; without `last` it ends today."""

    first: date | None = None
    last: date | None = None
    by: By = field(default_factory=By)


@dataclass(frozen=True, slots=True)
class UsageReport:
    first: date
    last: date
    lines: tuple[UsageLine, ...]
    levels: tuple[Level, ...]


@dataclass(frozen=True, slots=True)
class OwnLimits:
    """What an operator has set for one tenant; what is not named is as the settings say."""

    quotas: Quotas
    rates: Rates


class Allowances:
    """`defaults` are the quotas of whoever has none of its own."""

    def __init__(self, database: Database, *, defaults: Quotas) -> None:
        self._database = database
        self._defaults = defaults

    async def usage(self, principal: Principal, period: Period) -> UsageReport:
        """Raises Denied, Invalid `out_of_range`."""
        async with self._database.transaction(enter_unlimited(principal, Permission.AUDIT)) as tx:
            last = period.last or await usage.today(tx)
            first = period.first or last.replace(day=1)
            if not timedelta() <= last - first < timedelta(days=MOST_DAYS):
                raise Invalid(f"Ask for 1 to {MOST_DAYS} days.", code="out_of_range", field="from")
            lines = await usage.ledger(tx, first, last, period.by)
            return UsageReport(first, last, tuple(lines), await quotas.standing(tx, self._defaults))

    async def of(self, principal: Principal, tenant: TenantId) -> OwnLimits:
        """Raises Denied, NotFound."""
        async with self._database.transaction(govern(principal, Permission.PLATFORM, tenant)) as tx:
            await _demand(tx, tenant)
            return await _own(tx)

    async def limit(self, principal: Principal, tenant: TenantId, wanted: Quotas) -> OwnLimits:
        """A quota that is not named is as the settings say. Raises Denied, NotFound, Invalid `soft_above_hard`."""
        for resource, quota in wanted.items():
            _judge(quota, resource.value)
        async with self._database.transaction(govern(principal, Permission.PLATFORM, tenant)) as tx:
            await _demand(tx, tenant)
            await quotas.set_limits(tx, wanted)
            facts = {resource.value: [quota.soft, quota.hard] for resource, quota in wanted.items()}
            await audit.record(tx, Act.QUOTAS_SET, tenant, facts=facts)
            return await _own(tx)

    async def pace(self, principal: Principal, tenant: TenantId, wanted: Rates) -> OwnLimits:
        """A rate that is not named is as the settings say. It holds within five seconds. Raises Denied, NotFound."""
        async with self._database.transaction(govern(principal, Permission.PLATFORM, tenant)) as tx:
            await _demand(tx, tenant)
            await rates.put(tx, wanted)
            await audit.record(tx, Act.RATES_SET, tenant, facts=rates.written(wanted))
            return await _own(tx)


def _judge(quota: Quota, name: str) -> None:
    if quota.soft is not None and quota.hard is not None and quota.soft > quota.hard:
        raise Invalid(
            f"The soft limit of {quota.soft} is above the hard one of {quota.hard}: set both.",
            code="soft_above_hard",
            field=name,
        )


async def _own(tx: Transaction) -> OwnLimits:
    return OwnLimits(await quotas.own_limits(tx), await rates.own(tx))


async def _demand(tx: Transaction, tenant: TenantId) -> None:
    if await tenants.find(tx, str(tenant)) is None:
        raise NotFound
