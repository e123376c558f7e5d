"""Two organisations with runbooks of the same names: nobody finds the neighbour's, even if the index offers them."""

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Final

from carrel.ask.pipeline import Asking, SearchWish
from carrel.cli.progress import counting
from carrel.cli.set_tenants import Filled
from carrel.domain.answers import Hit
from carrel.domain.ids import ChunkId
from carrel.evaluate.sets import LabelledSet
from carrel.evaluate.turns import in_turns
from carrel.wiring import Parts, assemble
from support.liars import Liar, LyingVectors, LyingWords

ENOUGH: Final = 10_000
_TEXTS: Final = 5_100
_LONGEST: Final = 300
_SHORTEST: Final = 20
_LIES: Final = 20
_PARAGRAPHS: Final = re.compile(r"\n\s*\n")


@dataclass(frozen=True, slots=True)
class Searches:
    """How many, how many chunks they showed, how many of these were foreign, and how often an alarm was raised."""

    searches: int = 0
    shown: int = 0
    foreign: int = 0
    alarms: int = 0

    def __add__(self, other: "Searches") -> "Searches":
        return Searches(
            self.searches + other.searches,
            self.shown + other.shown,
            self.foreign + other.foreign,
            self.alarms + other.alarms,
        )


@dataclass(frozen=True, slots=True)
class Isolation:
    names_in_common: int
    honest: Searches
    lied_to: Searches


@dataclass(frozen=True, slots=True)
class Neighbour:
    labelled: LabelledSet
    place: Filled


async def isolation(parts: Parts, one: Neighbour, other: Neighbour, *, limit: int | None) -> Isolation:
    """Every text is asked of both: first with the honest indexes, then with ones that name the other's chunks first."""
    texts = _texts(one.labelled, other.labelled)[:limit]
    both = {True: one, False: other}
    chunks: dict[bool, set[ChunkId]] = {True: set(), False: set()}
    honest, lied_to = Searches(), Searches()
    for mine, neighbour in both.items():
        honest += await _searches(assemble(parts).asking, neighbour.place, texts, seen=chunks[mine])
    for mine, neighbour in both.items():
        asking = _behind_a_liar(parts, sorted(chunks[not mine]))
        lied_to += await _searches(asking, neighbour.place, texts, seen=set())
    return Isolation(len(_names(one.labelled) & _names(other.labelled)), honest, lied_to)


def _behind_a_liar(parts: Parts, foreign: Sequence[ChunkId]) -> Asking:
    """Both legs name some of the foreign chunks with the best score there is, other ones each time."""
    chance = random.Random(20260101)  # noqa: S311 - which lie is told is no secret

    def lie(honest: list[Hit], limit: int) -> list[Hit]:
        told = chance.sample(foreign, min(_LIES, len(foreign)))
        return [*(Hit(chunk, 1.0) for chunk in told), *honest][:limit]

    liar = Liar(parts.vectors, parts.words, lie)
    return assemble(replace(parts, vectors=LyingVectors(liar), words=LyingWords(liar))).asking


async def _searches(asking: Asking, place: Filled, texts: Sequence[str], *, seen: set[ChunkId]) -> Searches:
    """`seen` is given the chunks that were shown."""

    async def search(text: str) -> Searches:
        found = await asking.search(place.principal, SearchWish(text))
        seen.update(hit.chunk for hit in found.hits)
        foreign = sum(hit.tenant != place.tenant.id or hit.document not in place.documents for hit in found.hits)
        return Searches(1, len(found.hits), foreign, found.alarms > 0)

    with counting(len(texts), f"Searching {place.tenant.slug}") as tell:
        return sum(await in_turns(texts, search, tell=tell), Searches())


def _texts(*sets: LabelledSet) -> list[str]:
    """Questions and names, then whole paragraphs, then single lines, each once: the neighbour's own words."""
    documents = [document for labelled in sets for document in labelled.corpus]
    texts = [query.text for labelled in sets for query in labelled.queries]
    texts += [name for labelled in sets for name in sorted(_names(labelled))]
    texts += [part for document in documents for part in _PARAGRAPHS.split(document.text)]
    texts += [line for document in documents for line in document.text.splitlines()]
    plain = (" ".join(text.split())[:_LONGEST] for text in texts)
    return list(dict.fromkeys(text for text in plain if len(text) >= _SHORTEST))[:_TEXTS]


def _names(labelled: LabelledSet) -> set[str]:
    return {PurePosixPath(document.key).name for document in labelled.corpus}
