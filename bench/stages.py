"""What one search costs by stage: each verb repeated by itself, in this process, on the loaded database.

The verbs are the product's own. In a real search the legs and the loading share a transaction; by themselves each has
one, which costs a little more.
"""

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

from bench.load import Room
from bench.machine import Spent, Tree
from bench.served import postmaster_of
from bench.stand import Stand
from carrel.ask.authorize import Leave, authorize
from carrel.ask.fuse import fuse
from carrel.ask.judge import assess
from carrel.ask.question import Asker, Question
from carrel.ask.retrieve import Need, Retrieved, Retriever
from carrel.domain.access import TenantGrant
from carrel.domain.answers import Hit, Wish
from carrel.domain.ids import ChunkId
from carrel.domain.rights import Permission
from carrel.store import chunks
from carrel.store.chunks import Wanted

_DEPTH: Final = 100  # as deep as a search looks at first
_SHOWN: Final = 32  # and so many texts does it load
_LIMIT: Final = 10


@dataclass(frozen=True, slots=True)
class Stage:
    """Milliseconds of processor time for one search."""

    name: str
    carrel: float
    postgres: float

    @property
    def whole(self) -> float:
        return self.carrel + self.postgres


@dataclass(slots=True)
class _Asked:
    """One question of one tenant, as far as the stages have come."""

    room: Room
    text: str
    leave: Leave | None = None
    question: Question | None = None
    dense: Sequence[Hit] = ()
    lexical: Sequence[Hit] = ()
    retrieved: Retrieved | None = None

    @property
    def grant(self) -> TenantGrant:
        assert self.leave is not None
        return self.leave.scope.grants[0]

    @property
    def known(self) -> Question:
        assert self.question is not None
        return self.question

    @property
    def ids(self) -> list[ChunkId]:
        return [found.chunk for found in islice(fuse(self.dense, self.lexical), _SHOWN)]

    def need(self) -> Need:
        assert self.leave is not None
        assert self.leave.generation is not None
        return Need(self.known, self.leave.generation.id, _LIMIT, None)


async def stages(stand: Stand, home: Path, asked: Sequence[tuple[Room, str]]) -> list[Stage]:
    """In the order of a search. Each goes once over all questions without being measured, then once measured."""
    verbs = _Verbs(stand)
    questions = [_Asked(room, text) for room, text in asked]
    found = []
    for name, verb in verbs.in_order():
        for one in questions:
            await verb(one)
        found.append(await _measured(name, home, verb, questions))
    return found


class _Verbs:
    def __init__(self, stand: Stand) -> None:
        self._stand, self._parts = stand, stand.parts
        self._database = stand.parts.base.database
        self._asker = Asker(self._parts.embedder, self._parts.analyzer)
        self._retriever = Retriever(self._database, self._parts.vectors, self._parts.words)

    def in_order(self) -> list[tuple[str, Callable[[_Asked], Awaitable[None]]]]:
        return [
            ("authorize", self.authorize),
            ("embed", self.embed),
            ("dense", self.dense),
            ("lexical", self.lexical),
            ("load", self.load),
            ("judge", self.judge),
        ]

    async def authorize(self, asked: _Asked) -> None:
        principal = await self._stand.app.principals.authenticate(asked.room.key)
        asked.leave = await authorize(self._database, principal, Permission.SEARCH, Wish())

    async def embed(self, asked: _Asked) -> None:
        asked.question = await self._asker.understand(asked.text)

    async def dense(self, asked: _Asked) -> None:
        sources = asked.grant.sources or frozenset()
        asked.dense = await self._parts.vectors.of(asked.grant).nearest(
            asked.known.vector, sources=sources, limit=_DEPTH
        )

    async def lexical(self, asked: _Asked) -> None:
        sources = asked.grant.sources or frozenset()
        matches = await self._parts.words.of(asked.grant).matching(asked.known.terms, sources=sources, limit=_DEPTH)
        asked.lexical = matches.hits

    async def load(self, asked: _Asked) -> None:
        need = asked.need()
        wanted = Wanted(asked.ids, asked.grant.sources or frozenset(), need.generation, need.filters)
        async with self._database.transaction(asked.grant) as tx:
            await chunks.load(tx, wanted)

    async def judge(self, asked: _Asked) -> None:
        assert asked.leave is not None
        if asked.retrieved is None:
            asked.retrieved = await self._retriever.retrieve(asked.leave.scope, asked.need())
        assess(self._parts.analyzer, asked.known, asked.retrieved)


async def _measured(
    name: str, home: Path, verb: Callable[[_Asked], Awaitable[None]], questions: Sequence[_Asked]
) -> Stage:
    before = _now(home)
    for one in questions:
        await verb(one)
    spent = _now(home) - before
    return Stage(name, spent.carrel * 1000 / len(questions), spent.postgres * 1000 / len(questions))


def _now(home: Path) -> Spent:
    """This process by its own clock, which is finer than the kernel's ticks."""
    return Spent(time.process_time(), Tree(0, postmaster_of(home)).cpu().postgres)
