"""Limits as HTTP says them: `RateLimit-*` on every answer that was counted, `Retry-After` with a 429."""

import math
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from typing import TypeVar

from fastapi import Request

from carrel.api.envelope import add_headers
from carrel.api.state import application_of
from carrel.domain.access import Principal
from carrel.domain.errors import Throttled
from carrel.domain.limits import Standing
from carrel.domain.quotas import Level
from carrel.domain.rights import Permission
from carrel.tenancy.limits import Gate

Event = TypeVar("Event")


async def count(request: Request, principal: Principal, permission: Permission) -> None:
    """Before a byte of the body is read. Raises Throttled."""
    standing = await application_of(request).gate.admit(principal, permission)
    if standing is None:
        return
    add_headers(request.scope, _headers(standing))
    if not standing.allowed:
        raise Throttled(f"Too many requests: at most {standing.limit} here.", wait=standing.wait)


def warn(request: Request, levels: Iterable[Level]) -> None:
    """`Carrel-Quota-Warning: questions=812/1000`: what lies beyond its soft limit, and the hard one if there is any."""
    told = ", ".join(
        f"{one.resource}={one.used}{'' if one.quota.hard is None else f'/{one.quota.hard}'}" for one in levels
    )
    if told:
        add_headers(request.scope, {"Carrel-Quota-Warning": told})


async def counted(gate: Gate, principal: Principal, events: AsyncGenerator[Event]) -> AsyncGenerator[Event]:
    """A stream among those of its tenant. Raises Throttled when there are too many."""
    assert principal.tenant is not None
    async with aclosing(events):
        with gate.streaming(principal.tenant):
            async for event in events:
                yield event


def _headers(standing: Standing) -> dict[str, str]:
    return {
        "RateLimit-Limit": str(standing.limit.amount),
        "RateLimit-Remaining": str(standing.remaining),
        "RateLimit-Reset": str(max(1, math.ceil(standing.wait))),
    }
