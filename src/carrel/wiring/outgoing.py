"""The way out to tenants' webhooks."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache

from carrel.ports.web import Outgoing
from carrel.settings import Settings

_PATIENCE = 10.0
_RESOLVERS = 16


def outgoing(settings: Settings) -> Callable[[], Outgoing]:
    """The way out, made when it is first needed."""
    rules = settings.webhooks
    return way_out(rules.allowed or "", rules.port_set)


def way_out(allowed: str = "", ports: frozenset[int] = frozenset({80, 443})) -> Callable[[], Outgoing]:
    @cache
    def made() -> Outgoing:
        from carrel.adapters.web import Allowed, OutboundWeb, Rules

        rules = Rules(Allowed.read(allowed), ports, connect=_PATIENCE, total=_PATIENCE)
        return OutboundWeb(rules, resolvers=ThreadPoolExecutor(_RESOLVERS, thread_name_prefix="webhook-names"))

    return made
