"""Health: may this process take requests, and what would an operator want to know."""

from dataclasses import dataclass

from carrel.domain.access import for_machine
from carrel.domain.errors import Unavailable
from carrel.store import tenants
from carrel.store.transaction import Database


@dataclass(frozen=True, slots=True)
class Readiness:
    ok: bool
    reasons: tuple[str, ...] = ()


class Health:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def ready(self) -> Readiness:
        """Whether the database answers; the reasons are for people."""
        try:
            async with self._database.transaction(for_machine(), timeout=5) as tx:
                await tenants.reachable(tx)
        except Unavailable as problem:
            return Readiness(False, (problem.detail,))
        return Readiness(True)
