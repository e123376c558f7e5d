"""Bots: made, listed, changed, removed. A bot reads the sources that it was given, and no other."""

from carrel.domain.access import Principal, enter, enter_unlimited
from carrel.domain.audit import Act
from carrel.domain.ids import BotId, CredentialId
from carrel.domain.library import Bot
from carrel.domain.models import Offer, judge_model
from carrel.domain.rights import Permission
from carrel.store import audit, bots, idempotency, providers
from carrel.store.bots import BotChange, NewBot
from carrel.store.idempotency import Memo
from carrel.store.pages import Page
from carrel.store.transaction import Database, Transaction

__all__ = ["BotChange", "Bots", "NewBot"]


class Bots:
    """`offer` is what bots without a credential may name."""

    def __init__(self, database: Database, offer: Offer) -> None:
        self._database = database
        self._offer = offer

    async def create(self, principal: Principal, new: NewBot, *, memo: Memo[Bot] | None = None) -> Bot:
        """Raises Denied, NotFound for a source or a credential that is not this tenant's, Conflict `bot_exists`.

        Invalid `invalid_model`, `unknown_model` or `unusable_credential` for a model that could never be called.
        """
        async with self._database.transaction(enter_unlimited(principal, Permission.CURATE)) as tx:
            return await idempotency.once(tx, memo, lambda: self._add(tx, new))

    async def get(self, principal: Principal, bot: BotId) -> Bot:
        """Raises Denied, NotFound."""
        async with self._database.transaction(enter(principal, Permission.METADATA)) as tx:
            return await bots.get(tx, bot)

    async def named(self, principal: Principal, name: str) -> Bot | None:
        """Raises Denied."""
        async with self._database.transaction(enter(principal, Permission.METADATA)) as tx:
            return await bots.named(tx, name)

    async def listed(self, principal: Principal, *, limit: int = 50, cursor: str | None = None) -> Page[Bot]:
        """Raises Denied, Invalid `invalid_cursor`."""
        async with self._database.transaction(enter(principal, Permission.METADATA)) as tx:
            return await bots.listed(tx, limit=limit, cursor=cursor)

    async def change(self, principal: Principal, bot: BotId, new: BotChange) -> Bot:
        """Raises Denied, NotFound, Conflict `bot_exists`, and Invalid as `create` does."""
        async with self._database.transaction(enter_unlimited(principal, Permission.CURATE)) as tx:
            held = await bots.get(tx, bot)
            if new.model is not None or new.credential is not None:
                model = held.model if new.model is None else new.model or None
                await self._judge(tx, model, new.credential or held.credential)
            changed = await bots.change(tx, bot, new)
            await audit.record(tx, Act.BOT_CHANGED, bot)
            return changed

    async def delete(self, principal: Principal, bot: BotId) -> None:
        """Raises Denied, NotFound."""
        async with self._database.transaction(enter_unlimited(principal, Permission.CURATE)) as tx:
            await bots.delete(tx, bot)
            await audit.record(tx, Act.BOT_DELETED, bot)

    async def _add(self, tx: Transaction, new: NewBot) -> Bot:
        await self._judge(tx, new.model, new.credential)
        added = await bots.add(tx, new)
        await audit.record(tx, Act.BOT_CREATED, added.id)
        return added

    async def _judge(self, tx: Transaction, model: str | None, credential: CredentialId | None) -> None:
        """Raises Invalid, NotFound."""
        known = None if credential is None else await providers.get(tx, credential)
        judge_model(self._offer, model, known)
