"""The numbers: how well documents were ranked, and how well answerable questions were told from the others."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from carrel.domain.errors import Refusal

MOST_FALSE_REFUSALS: Final = 0.05


class MetricsMissing(Refusal):
    """The library of metrics is an extra, which a server does not need."""

    default_code = "metrics_missing"


@dataclass(frozen=True, slots=True)
class Ranking:
    """Means over the questions that have a relevant document, 0 to 1; `pass_10` asks for any relevant one in ten."""

    ndcg_10: float
    recall_5: float
    recall_10: float
    mrr_10: float
    pass_10: float


@dataclass(frozen=True, slots=True)
class Decision:
    """What became of one question: the confidence in the best passage (0 to 1), and whether that was enough."""

    confidence: float
    answered: bool


@dataclass(frozen=True, slots=True)
class Halved:
    """A threshold learned on one half of the questions, and what it does to the other; shares are 0 to 1.

    Answered rightly counts as much as refused rightly, however many there are of each.
    """

    threshold: float
    answered_rightly: float
    refused_rightly: float

    @property
    def right(self) -> float:
        return (self.answered_rightly + self.refused_rightly) / 2


@dataclass(frozen=True, slots=True)
class Refusals:
    """Decisions on questions that can be answered from the documents, and on questions that cannot.

    `kind` says where the second came from: the set itself, or the name of a foreign set.
    """

    kind: str
    answerable: tuple[Decision, ...]
    unanswerable: tuple[Decision, ...]

    @property
    def auroc(self) -> float:
        """How often an answerable question has the higher confidence of a pair; a tie counts half (Mann-Whitney)."""
        return auroc(self._confidences(self.answerable), self._confidences(self.unanswerable))

    @property
    def false_refusals(self) -> float:
        """The share of answerable questions that were refused."""
        return 1 - _share_answered(self.answerable)

    @property
    def true_refusals(self) -> float:
        """The share of unanswerable questions that were refused."""
        return 1 - _share_answered(self.unanswerable)

    @property
    def refusable(self) -> float:
        """The share of unanswerable questions below the threshold that refuses at most 5 % of the answerable ones."""
        threshold = self.threshold
        return sum(decision.confidence < threshold for decision in self.unanswerable) / len(self.unanswerable)

    @property
    def threshold(self) -> float:
        """The highest below which at most 5 % of the answerable questions lie."""
        confidences = sorted(self._confidences(self.answerable))
        return confidences[math.floor(MOST_FALSE_REFUSALS * len(confidences))]

    @property
    def halved(self) -> Halved:
        """With a threshold learned on every other question instead of the product's."""
        both = [(one, can) for some, can in ((self.answerable, True), (self.unanswerable, False)) for one in some]
        return halved([(one.confidence, can, bool(place % 2)) for place, (one, can) in enumerate(both)])

    @staticmethod
    def _confidences(decisions: Sequence[Decision]) -> list[float]:
        return [decision.confidence for decision in decisions]


def halved(questions: Sequence[tuple[float, bool, bool]]) -> Halved:
    """From the confidence of each, whether it can be answered, and whether it is of the half to report on."""
    learned = [(confidence, can) for confidence, can, reports in questions if not reports]
    reported = [(confidence, can) for confidence, can, reports in questions if reports]
    candidates = sorted({confidence for confidence, _ in learned})
    best = max(candidates, key=lambda threshold: sum(_rightly(learned, threshold)), default=0.0)
    below = max((confidence for confidence in candidates if confidence < best), default=best)
    threshold = (best + below) / 2
    return Halved(threshold, *_rightly(reported, threshold))


def _rightly(questions: Sequence[tuple[float, bool]], threshold: float) -> tuple[float, float]:
    """The shares of the answerable that are answered, and of the others that are refused; 1 where there is none."""
    answerable = [confidence >= threshold for confidence, can in questions if can]
    others = [confidence < threshold for confidence, can in questions if not can]
    return _mean(answerable), _mean(others)


def _mean(values: Sequence[bool]) -> float:
    return sum(values) / len(values) if values else 1.0


def demand_metrics() -> None:
    """Before anything is ingested. Raises MetricsMissing."""
    try:
        import ir_measures  # noqa: F401
    except ImportError:
        raise MetricsMissing("Metrics come with an extra: pip install carrel[evaluation]") from None


def ranking(found: Mapping[str, Sequence[str]], qrels: Mapping[str, Mapping[str, int]]) -> Ranking:
    """`found` gives documents, best first, for each question; one that found nothing counts as 0. By ir-measures."""
    import ir_measures
    from ir_measures import RR, R, Success, nDCG

    judged = {query: dict(qrels[query]) for query in found}
    run = {
        query: {document: 1 / place for place, document in enumerate(documents, 1)}
        for query, documents in found.items()
        if documents
    }
    wanted = (nDCG @ 10, R @ 5, R @ 10, RR @ 10, Success @ 10)
    if not run:
        return Ranking(*(0.0 for _ in wanted))
    means = ir_measures.calc_aggregate(wanted, judged, run)
    return Ranking(*(float(means[measure]) for measure in wanted))


def auroc(higher: Sequence[float], lower: Sequence[float]) -> float:
    """The area under the ROC curve, from ranks; ties get the mean of theirs."""
    ranked = sorted([(value, True) for value in higher] + [(value, False) for value in lower])
    ranks_of_higher = 0.0
    first = 0
    while first < len(ranked):
        last = first
        while last + 1 < len(ranked) and ranked[last + 1][0] == ranked[first][0]:
            last += 1
        mean_rank = (first + last) / 2 + 1
        ranks_of_higher += mean_rank * sum(is_higher for _, is_higher in ranked[first : last + 1])
        first = last + 1
    wins = ranks_of_higher - len(higher) * (len(higher) + 1) / 2
    return wins / (len(higher) * len(lower))


def _share_answered(decisions: Sequence[Decision]) -> float:
    return sum(decision.answered for decision in decisions) / len(decisions)
