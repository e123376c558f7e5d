"""What concerns a person concerns every tenant that the person is a member of: each one's audit log tells it."""

from collections.abc import Awaitable, Callable, Sequence

from carrel.domain.access import for_accounts
from carrel.domain.audit import Act
from carrel.domain.ids import TenantId, UserId
from carrel.store import audit
from carrel.store.accounts import Membership
from carrel.store.transaction import Database, Transaction


async def tell(
    database: Database,
    act: Act,
    user: UserId,
    memberships: Sequence[Membership],
    *,
    effect: Callable[[Transaction], Awaitable[None]],
    by: UserId | None,
) -> None:
    """The effect, and its event in the log of the first tenant, in one transaction; then the event in the other logs.

    `by` is who did it, None for the operator. Raises what the effect raises; then nothing is told.
    """
    places: list[TenantId | None] = [one.tenant for one in memberships] or [None]
    for number, place in enumerate(places):
        async with database.transaction(for_accounts(tenant=place, user=by)) as tx:
            if number == 0:
                await effect(tx)
            if place is not None:
                await audit.record(tx, act, user)
