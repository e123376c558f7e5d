"""Clients of providers, kept for as long as they are used: making one costs 20 ms, and each has connections."""

import asyncio
import hmac
import secrets
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from hashlib import sha256

from carrel.adapters.models.calls import Account, Wire

Maker = Callable[[Account], Awaitable[Wire]]


@dataclass(slots=True)
class _Kept:
    wire: Wire
    users: int = 0


class Clients:
    """One for each account. Beyond `most` the longest unused is closed; one that is in use never is."""

    def __init__(self, make: Maker, *, most: int = 64) -> None:
        self._make = make
        self._most = most
        self._mark = secrets.token_bytes(32)
        self._kept: OrderedDict[Hashable, _Kept] = OrderedDict()
        self._turn = asyncio.Lock()

    def mark(self, account: Account) -> Hashable:
        """Equal for the same payer, address and key.

        It tells nothing of the key, and means nothing in another process.
        """
        secret = account.secret.reveal() if account.secret else ""
        digest = hmac.digest(self._mark, secret.encode(), sha256)
        return account.provider, account.base_url, account.region, account.is_ours, account.payer, digest

    @asynccontextmanager
    async def using(self, account: Account) -> AsyncIterator[Wire]:
        kept = await self._found(account)
        kept.users += 1
        try:
            yield kept.wire
        finally:
            kept.users -= 1

    async def close(self) -> None:
        kept, self._kept = self._kept, OrderedDict()
        for one in kept.values():
            await one.wire.close()

    async def _found(self, account: Account) -> _Kept:
        mark = self.mark(account)
        async with self._turn:
            kept = self._kept.get(mark)
            if kept is None:
                kept = self._kept[mark] = _Kept(await self._make(account))
            self._kept.move_to_end(mark)
            kept.users += 1  # until the caller counts itself: nobody closes it meanwhile
            try:
                await self._close_the_unused()
            finally:
                kept.users -= 1
        return kept

    async def _close_the_unused(self) -> None:
        unused = [mark for mark, one in self._kept.items() if not one.users]
        for mark in unused[: max(len(self._kept) - self._most, 0)]:
            await self._kept.pop(mark).wire.close()
