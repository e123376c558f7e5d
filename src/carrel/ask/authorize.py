"""Authorization before anything is searched: a wish becomes a `ReadScope`, or is refused."""

from dataclasses import dataclass, field

from carrel.domain.access import EndUser, Principal, ReadScope, TenantGrant, enter, read_scope
from carrel.domain.answers import Wish
from carrel.domain.errors import NotFound
from carrel.domain.library import Generation
from carrel.domain.rights import Permission
from carrel.ports.model import ModelWish
from carrel.store import bots, generations, sources, tenants
from carrel.store.transaction import Database, Transaction


@dataclass(frozen=True, slots=True)
class Leave:
    """What was granted: the scope, the generation that its searches read, the bot's instructions and its model."""

    scope: ReadScope
    generation: Generation | None
    instructions: str = ""
    model: ModelWish = field(default_factory=ModelWish)

    @property
    def grant(self) -> TenantGrant:
        """The one tenant's."""
        (grant,) = self.scope.grants
        return grant


async def authorize(
    database: Database,
    principal: Principal,
    permission: Permission,
    wish: Wish,
    *,
    tenant_names: tuple[str, ...] | None = None,
    end_user: EndUser = None,
) -> Leave:
    """Without tenant names it is the principal's own; a list of tenants or sources that names nothing grants nothing.

    Raises Denied, NotFound for a bot, source or tenant that the principal may not see.
    """
    grant = enter(principal, permission, end_user=end_user)
    async with database.transaction(grant) as tx:
        await _demand_tenants(tx, tenant_names or ())
        found = await sources.readable(tx, wish)
        generation = await generations.live(tx)
        bot = await bots.get(tx, wish.bot) if wish.bot else None
    scope = read_scope(grant, found if tenant_names != () else ())
    if bot is None:
        return Leave(scope, generation)
    return Leave(scope, generation, bot.instructions, ModelWish(bot.model, bot.credential))


async def _demand_tenants(tx: Transaction, names: tuple[str, ...]) -> None:
    """A principal of one tenant may name that one; any other is not there."""
    for name in names:
        tenant = await tenants.find(tx, name)
        if tenant is None or tenant.id != tx.tenant:
            raise NotFound
