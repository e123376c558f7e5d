"""Whether groundedness tells faithful answers from those in which a number or a name was swapped."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

from carrel.ask.ground import SUPPORTED_FROM, ground
from carrel.domain.answers import Passage
from carrel.evaluate.metrics import auroc
from carrel.evaluate.swapped import Pair, pairs
from carrel.ports.lexical import Analyzer

_SEED: Final = 7


@dataclass(frozen=True, slots=True)
class Weighed:
    """A pair of answers with the grounding of each, 0 to 1."""

    pair: Pair
    faithful: float
    swapped: float


@dataclass(frozen=True, slots=True)
class Groundedness:
    """`weighed` is never empty."""

    weighed: tuple[Weighed, ...]

    @property
    def auroc(self) -> float:
        """How often a faithful answer is better grounded than a swapped one, of all such pairs."""
        return auroc([one.faithful for one in self.weighed], [one.swapped for one in self.weighed])

    @property
    def wrongly_marked(self) -> float:
        """The share of faithful answers that would be called unsupported."""
        return sum(one.faithful < SUPPORTED_FROM for one in self.weighed) / len(self.weighed)

    @property
    def rightly_marked(self) -> float:
        """The share of swapped answers that would be called unsupported."""
        return sum(one.swapped < SUPPORTED_FROM for one in self.weighed) / len(self.weighed)

    @property
    def by_swap(self) -> dict[str, "Groundedness"]:
        """For each kind of fact, and where the false one was from."""
        names = dict.fromkeys(_name(one.pair) for one in self.weighed)
        return {name: Groundedness(tuple(w for w in self.weighed if _name(w.pair) == name)) for name in sorted(names)}


def weigh(evidence: Sequence[Sequence[Passage]], *, analyzer: Analyzer) -> Groundedness | None:
    """`evidence` holds the passages that were found for each question; None if nothing in them can be swapped."""
    chance = Random(_SEED)  # noqa: S311 - the same answers each time
    weighed = []
    for number, passages in enumerate(evidence):
        alien = evidence[(number + len(evidence) // 2) % len(evidence)] if len(evidence) > 1 else ()
        for pair in pairs([p.text for p in passages], [p.text for p in alien], chance):
            scores = (ground(text, passages, analyzer=analyzer).score for text in (pair.faithful, pair.swapped))
            weighed.append(Weighed(pair, *scores))
    return Groundedness(tuple(weighed)) if weighed else None


def _name(pair: Pair) -> str:
    return f"{pair.kind} from {pair.origin}"
