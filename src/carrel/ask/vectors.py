"""Vectors of texts by the deployment's own embedder, for whoever keeps an index elsewhere."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import numpy as np

from carrel.domain.access import Principal, TenantGrant, enter
from carrel.domain.answers import Usage
from carrel.domain.errors import Invalid
from carrel.domain.prices import NO_PRICES, Prices
from carrel.domain.quotas import NO_QUOTAS, Hold, Level, Quotas, UsageKind
from carrel.domain.rights import Permission
from carrel.ports.embedder import Embedder, Vector
from carrel.store import quotas
from carrel.store.quotas import Wanted
from carrel.store.transaction import Database

MOST_TEXTS: Final = 1_000
_AT_ONCE: Final = 32


@dataclass(frozen=True, slots=True)
class Embedded:
    """One vector of length 1 for each text, and how many tokens these had.

    `warnings` are the quotas of which the tenant has used more than the soft limit.
    """

    vectors: tuple[Vector, ...]
    tokens: int
    warnings: tuple[Level, ...] = ()


class Embeddings:
    """A text that is longer than the embedder takes becomes the mean of its parts, weighted by their lengths.

    Its tokens are the tenant's: they count as those of answers do. `quotas` are those of tenants without.
    """

    def __init__(
        self, database: Database, embedder: Embedder, *, quotas: Quotas = NO_QUOTAS, prices: Prices = NO_PRICES
    ) -> None:
        self._database = database
        self._embedder = embedder
        self._quotas = quotas
        self._prices = prices

    @property
    def name(self) -> str:
        return self._embedder.profile.name

    @property
    def dimension(self) -> int:
        return self._embedder.profile.dimension

    async def embed(self, principal: Principal, texts: Sequence[str]) -> Embedded:
        """Raises Denied, Invalid, Throttled `quota_exceeded`, Unavailable."""
        grant = enter(principal, Permission.SEARCH)
        if not 1 <= len(texts) <= MOST_TEXTS:
            raise Invalid(f"Send 1 to {MOST_TEXTS} texts.", code="too_long", field="input")
        if not all(texts):
            raise Invalid("A text has at least one character.", code="too_short", field="input")
        tokenized = await asyncio.to_thread(self._tokenized, texts)
        tokens = sum(map(len, tokenized))
        async with self._counted(grant, tokens) as hold:
            return Embedded(await self._joined(grant, tokenized), tokens, hold.warnings)

    @asynccontextmanager
    async def _counted(self, grant: TenantGrant, tokens: int) -> AsyncIterator[Hold]:
        """Reserved before, used after; given back when there are no vectors."""
        async with self._database.transaction(grant) as tx:
            hold = (await quotas.reserve(tx, Wanted(tokens=tokens), self._quotas)).hold
        try:
            yield hold
        except BaseException:
            if hold.id is not None:
                async with self._database.transaction(grant) as tx:
                    await quotas.release(tx, hold)
            raise
        usage = Usage(tokens, 0, self.name)
        kind, cost = UsageKind.EMBEDDING, self._prices.cost(usage)
        async with self._database.transaction(grant) as tx:
            await quotas.settle(tx, hold, usage, kind=kind, bot=None, defaults=self._quotas, cost=cost)

    async def _joined(self, grant: TenantGrant, tokenized: Sequence[Sequence[int]]) -> tuple[Vector, ...]:
        parts = [part for ids in tokenized for part in self._parts(ids)]
        vectors = await self._all(grant, parts)
        joined, place = [], 0
        for ids in tokenized:
            mine = self._parts(ids)
            joined.append(_mean(vectors[place : place + len(mine)], [len(part) for part in mine]))
            place += len(mine)
        return tuple(joined)

    def _tokenized(self, texts: Sequence[str]) -> list[Sequence[int]]:
        return [self._embedder.tokenize(text).ids for text in texts]

    def _parts(self, ids: Sequence[int]) -> list[Sequence[int]]:
        most = self._embedder.profile.max_tokens
        return [ids[first : first + most] for first in range(0, len(ids), most)] or [ids]

    async def _all(self, grant: TenantGrant, parts: Sequence[Sequence[int]]) -> list[Vector]:
        """In turns, so that a question need not wait for the whole."""
        vectors: list[Vector] = []
        for first in range(0, len(parts), _AT_ONCE):
            vectors += await self._embedder.embed(parts[first : first + _AT_ONCE], flow=grant.tenant)
        return vectors


def _mean(vectors: Sequence[Vector], lengths: Sequence[int]) -> Vector:
    if len(vectors) == 1:
        return vectors[0]
    mean = np.average(np.stack(vectors), axis=0, weights=np.array(lengths, dtype=np.float64)).astype(np.float32)
    size = float(np.linalg.norm(mean))
    result: Vector = mean / np.float32(size) if size else mean
    return result
