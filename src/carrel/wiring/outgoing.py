"""The way out to tenants' webhooks."""

import ssl
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

from carrel.domain.ids import TenantId
from carrel.ports.web import Outgoing
from carrel.settings import Settings

if TYPE_CHECKING:
    from carrel.adapters.web import OutboundWeb

_PATIENCE = 10.0


def outgoing(settings: Settings) -> Callable[[TenantId], Outgoing]:
    """The way out for each tenant, made when it is first needed."""
    rules = settings.webhooks
    return way_out(rules.allowed or "", rules.port_set)


def way_out(allowed: str = "", ports: frozenset[int] = frozenset({80, 443})) -> Callable[[TenantId], Outgoing]:
    """All tenants share the threads that look names up, and none takes them all."""

    @cache
    def made() -> "Callable[[TenantId], OutboundWeb]":
        from carrel.adapters.web import Allowed, Names, OutboundWeb, Rules

        rules = Rules(Allowed.read(allowed), ports, connect=_PATIENCE, total=_PATIENCE)
        trust, names = ssl.create_default_context(), Names()
        return lambda tenant: OutboundWeb(rules, trust=trust, resolve=names.of(tenant))

    def way(tenant: TenantId) -> Outgoing:
        return made()(tenant)

    return way
