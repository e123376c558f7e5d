"""Search over several tenants: one search in each, under its own grant, and what they found merged by confidence.

It is no way around a wall. A tenant is searched as if the person had chosen it, by the same steps and with the same
last word of the database; what comes together here are passages that the person could have had one by one.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol

import structlog

from carrel.ask.pipeline import Asking, Found, SearchWish
from carrel.ask.question import Question, judged_filters
from carrel.domain.access import Principal, as_member, enter
from carrel.domain.answers import Passage
from carrel.domain.audit import Act
from carrel.domain.errors import Invalid, Throttled, Unavailable
from carrel.domain.ids import TenantId
from carrel.domain.limits import Standing
from carrel.domain.rights import Permission
from carrel.store import audit, logins
from carrel.store.transaction import Database


class Gate(Protocol):
    """Whoever counts how often is called: `carrel.tenancy.limits.Gate`."""

    async def admit(self, principal: Principal, permission: Permission) -> Standing | None:
        """The tightest standing after this call; None: no limit."""
        ...


log = structlog.get_logger(__name__)

MOST_TENANTS: Final = 20
_AT_ONCE: Final = 4  # so that one request never holds most of a process's connections


@dataclass(frozen=True, slots=True)
class Missed:
    """A tenant that could not be searched, and why."""

    tenant: TenantId
    code: str


@dataclass(frozen=True, slots=True)
class FoundAcross:
    """Hits best first, each of the tenant that it names; `partial` are the tenants that none could come from."""

    hits: tuple[Passage, ...]
    took_ms: float
    partial: tuple[Missed, ...]


class Across:
    """`patience` is how many seconds one tenant's search may take before the answer goes without it.

    `gate` counts the search in each tenant: who names several may do in each what who has chosen it may.
    """

    def __init__(self, database: Database, asking: Asking, *, gate: Gate, patience: float = 10.0) -> None:
        self._database = database
        self._asking = asking
        self._gate = gate
        self._patience = patience

    async def search(self, principal: Principal, wish: SearchWish) -> Found | FoundAcross:
        """A person who has not chosen a tenant searches those that the wish names; everybody else their own.

        Raises what `Asking.search` raises; NotFound for the whole when the person has no role in one of the tenants,
        Throttled for the whole when one of them has a search too many.
        """
        if wish.tenants is None or not principal.is_person or principal.tenant is not None:
            return await self._asking.search(principal, wish)
        chosen = await logins.own_tenants(self._database, principal, wish.tenants)
        members = [as_member(principal, tenant) for tenant in chosen]
        _demand_fitting(wish, len(members))
        for member in members:
            await self._count(member)
        return await self.search_each(members, wish)

    async def search_each(self, members: Sequence[Principal], wish: SearchWish) -> FoundAcross:
        """`members` is the asker, once in each tenant. A tenant that does not answer is named; the others count.

        Raises Invalid (`one_tenant_only` for a bot or sources with several tenants), Denied; Unavailable when no tenant
        answers.
        """
        started = time.perf_counter()
        _demand_fitting(wish, len(members))
        results = await self._each(members, replace(wish, tenants=None))
        missed = tuple(result for result in results if isinstance(result, Missed))
        if missed and len(missed) == len(members):
            raise Unavailable("None of these organisations can be searched now.", code=missed[0].code)
        hits = [hit for result in results if isinstance(result, Found) for hit in result.hits]
        hits.sort(key=lambda hit: (-hit.confidence, -hit.score, hit.chunk))
        return FoundAcross(tuple(hits[: wish.limit]), (time.perf_counter() - started) * 1000, missed)

    async def _count(self, member: Principal) -> None:
        standing = await self._gate.admit(member, Permission.SEARCH)
        if standing is not None and not standing.allowed:
            raise Throttled("Too many searches in one of these organisations.", wait=standing.wait)

    async def _each(self, members: Sequence[Principal], wish: SearchWish) -> list[Found | Missed]:
        question = await self._asking.understand(wish, flow=members[0].person if members else None)
        turns = asyncio.Semaphore(_AT_ONCE)

        async def in_turn(member: Principal) -> Found | Missed:
            async with turns:
                return await self._one(member, wish, question, together=len(members))

        try:
            async with asyncio.TaskGroup() as group:
                searches = [group.create_task(in_turn(member)) for member in members]
        except BaseExceptionGroup as several:
            raise several.exceptions[0] from None
        return [search.result() for search in searches]

    async def _one(self, member: Principal, wish: SearchWish, question: Question, *, together: int) -> Found | Missed:
        """One tenant's hits; before they are looked for, its log tells that they are wanted together with others'."""
        grant = enter(member, Permission.SEARCH)
        try:
            async with asyncio.timeout(self._patience):
                if together > 1:
                    async with self._database.transaction(grant) as tx:
                        await audit.record(tx, Act.SEARCHED_ACROSS, facts={"tenants": together})
                return await self._asking.search(member, wish, question=question)
        except Unavailable as refusal:
            return _missed(grant.tenant, code=refusal.code)
        except TimeoutError:
            return _missed(grant.tenant, code="search_timeout")


def _demand_fitting(wish: SearchWish, tenants: int) -> None:
    """What would be refused in each tenant is refused before any of them hears of it."""
    judged_filters(wish.filters)
    if tenants > MOST_TENANTS:
        raise Invalid(f"At most {MOST_TENANTS} organisations at once.", code="too_long", field="tenants")
    if tenants > 1 and (wish.bot is not None or wish.sources is not None):
        field = "bot_id" if wish.bot is not None else "source_ids"
        sentence = "A bot and sources are of one organisation: name that one alone."
        raise Invalid(sentence, code="one_tenant_only", field=field)


def _missed(tenant: TenantId, *, code: str) -> Missed:
    log.warning("search.tenant_missed", tenant=str(tenant), code=code)
    return Missed(tenant, code)
