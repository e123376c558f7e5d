"""Evaluation: a set's questions go the way of everybody's, and what comes back is compared with the labels."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from carrel.ask.pipeline import Asking, ChatWish, Evidence, SearchWish
from carrel.ask.retrieve import BOTH, Leg
from carrel.domain.access import Principal
from carrel.domain.answers import Passage
from carrel.domain.ids import DocumentId
from carrel.evaluate.groundedness import Groundedness, weigh
from carrel.evaluate.metrics import Decision, Ranking, Refusals, ranking
from carrel.evaluate.sets import LabelledSet, SetQuery
from carrel.evaluate.turns import in_turns

OWN: Final = "its own"
WAYS: Final = MappingProxyType(
    {"hybrid": BOTH, "dense": frozenset({Leg.DENSE}), "lexical": frozenset({Leg.LEXICAL})},
)
_PASSAGES: Final = 50  # as many as an ordinary search looks through; several may be of one document
_DOCUMENTS: Final = 10
_EVIDENCE: Final = 6

Tell = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Reader:
    """Who asks, and which of the documents that may be found stands for which of the set."""

    principal: Principal
    documents: Mapping[DocumentId, str]


@dataclass(frozen=True, slots=True)
class Findings:
    """What was found out about one set. `rankings` is empty, or has one for each of `WAYS`; `grounding` is None where
    nothing in the evidence can be swapped.
    """

    name: str
    documents: int
    queries: int
    ranked: int
    rankings: Mapping[str, Ranking]
    refusals: tuple[Refusals, ...]
    grounding: Groundedness | None = None


class Evaluation:
    """`tell` is called once for each question that was put."""

    def __init__(self, asking: Asking, *, tell: Tell = lambda: None) -> None:
        self._asking = asking
        self._tell = tell

    async def run(self, reader: Reader, labelled: LabelledSet, foreign: Sequence[LabelledSet] = ()) -> Findings:
        """Every question of a foreign set counts as one that cannot be answered here. Raises what asking raises."""
        rankings = {name: await self._ranking(reader, labelled, legs) for name, legs in WAYS.items() if labelled.ranked}
        return Findings(
            name=labelled.name,
            documents=len(labelled.corpus),
            queries=len(labelled.queries),
            ranked=len(labelled.ranked),
            rankings=rankings,
            refusals=await self._refusals(reader, labelled, foreign),
            grounding=weigh(await self._evidence(reader, labelled), analyzer=self._asking.analyzer),
        )

    async def _evidence(self, reader: Reader, labelled: LabelledSet) -> list[tuple[Passage, ...]]:
        async def find(query: SetQuery) -> tuple[Passage, ...]:
            return (await self._asking.search(reader.principal, SearchWish(query.text, limit=_EVIDENCE))).hits

        return await in_turns(labelled.ranked, find, tell=self._tell)

    async def _ranking(self, reader: Reader, labelled: LabelledSet, legs: frozenset[Leg]) -> Ranking:
        async def find(query: SetQuery) -> list[str]:
            wish = SearchWish(query.text, limit=_PASSAGES, legs=legs)
            hits = (await self._asking.search(reader.principal, wish)).hits
            documents = dict.fromkeys(reader.documents[hit.document] for hit in hits)  # each where its best chunk is
            return list(documents)[:_DOCUMENTS]

        found = await in_turns(labelled.ranked, find, tell=self._tell)
        queries = [query.id for query in labelled.ranked]
        return ranking(dict(zip(queries, found, strict=True)), labelled.qrels)

    async def _refusals(
        self, reader: Reader, labelled: LabelledSet, foreign: Sequence[LabelledSet]
    ) -> tuple[Refusals, ...]:
        without = {OWN: [query for query in labelled.queries if query.answerable is False]}
        without |= {other.name: list(other.queries) for other in foreign}
        if not labelled.ranked or not any(without.values()):
            return ()
        answerable = await self._decisions(reader, labelled.ranked)
        return tuple(
            [
                Refusals(kind, answerable, await self._decisions(reader, queries))
                for kind, queries in without.items()
                if queries
            ]
        )

    async def _decisions(self, reader: Reader, queries: Sequence[SetQuery]) -> tuple[Decision, ...]:
        """By the chat, which is left when its evidence is known: no answer is written and none is remembered."""

        async def decide(query: SetQuery) -> Decision:
            allowed = await self._asking.allow(reader.principal, ChatWish(query.text))
            async with aclosing(self._asking.chat(allowed)) as events:
                evidence = await anext(events)
            assert isinstance(evidence, Evidence)
            return Decision(evidence.confidence, evidence.is_enough)

        return tuple(await in_turns(queries, decide, tell=self._tell))


def questions_put(labelled: LabelledSet, foreign: Sequence[LabelledSet]) -> int:
    """How many questions a run will put."""
    own = sum(query.answerable is False for query in labelled.queries)
    without = own + sum(len(other.queries) for other in foreign)
    return (len(WAYS) + 1) * len(labelled.ranked) + (len(labelled.ranked) + without if without else 0)
