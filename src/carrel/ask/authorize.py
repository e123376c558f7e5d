"""Authorization before anything is searched: a wish becomes a `ReadScope`, or is refused."""

from dataclasses import dataclass

from carrel.domain.access import Principal, ReadScope, enter, read_scope
from carrel.domain.answers import Wish
from carrel.domain.errors import NotFound
from carrel.domain.library import Generation
from carrel.domain.rights import Permission
from carrel.store import bots, generations, sources, tenants
from carrel.store.transaction import Database, Transaction


@dataclass(frozen=True, slots=True)
class Leave:
    """What was granted: the scope, the generation that its searches read, and the bot's instructions."""

    scope: ReadScope
    generation: Generation | None
    instructions: str = ""


async def authorize(
    database: Database,
    principal: Principal,
    permission: Permission,
    wish: Wish,
    *,
    tenant_names: tuple[str, ...] | None = None,
) -> Leave:
    """Without tenant names it is the principal's own; a list of tenants or sources that names nothing grants nothing.

    Raises Denied, NotFound for a bot, source or tenant that the principal may not see.
    """
    grant = enter(principal, permission)
    async with database.transaction(grant) as tx:
        await _demand_tenants(tx, tenant_names or ())
        found = await sources.readable(tx, wish)
        generation = await generations.live(tx)
        instructions = (await bots.get(tx, wish.bot)).instructions if wish.bot else ""
    return Leave(read_scope(grant, found if tenant_names != () else ()), generation, instructions)


async def _demand_tenants(tx: Transaction, names: tuple[str, ...]) -> None:
    """A principal of one tenant may name that one; any other is not there."""
    for name in names:
        tenant = await tenants.find(tx, name)
        if tenant is None or tenant.id != tx.tenant:
            raise NotFound
