"""Regularised logistic regression by Newton's method, and what is said of its predictions. Plain numpy.

Cox, "The Regression Analysis of Binary Sequences" (1958); Niculescu-Mizil and Caruana, "Predicting Good Probabilities
With Supervised Learning" (2005) for the reliability diagram.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from bench.calibration.observations import Kind, Observation
from carrel.ask.confidence import FEATURES, Curve

Floats = NDArray[np.float64]

# Half of the weight lies on questions that the documents answer; of the other half most on those of other subjects.
SHARES: Final[Mapping[Kind, float]] = MappingProxyType({"answerable": 0.5, "near": 0.15, "far": 0.35})
MOST_FALSE_REFUSALS: Final = 0.10
_RIDGE: Final = 1e-4
_STEPS: Final = 100
_BINS: Final = 10
_BESIDE: Final = 0.7  # of `enough`: how near to it a passage must come that stands beside a good one


@dataclass(frozen=True, slots=True)
class Sample:
    """The best-ranked passage of each question: (n, features), whether it is right, its weight; weights sum to 1."""

    features: Floats
    right: Floats
    weights: Floats


@dataclass(frozen=True, slots=True)
class Quality:
    """Of predictions on data that the curve has not seen: mean squared error, and mean distance from the diagonal."""

    questions: int
    brier: float
    ece: float
    auroc: float


def sample(observations: Sequence[Observation]) -> Sample:
    """Every set weighs the same within its kind, however many questions it has."""
    some = [one for one in observations if one.features]
    groups = Counter((one.kind, one.tenant) for one in some)
    sets = Counter(kind for kind, _ in groups)
    weights = np.array([SHARES[one.kind] / sets[one.kind] / groups[one.kind, one.tenant] for one in some])
    return Sample(
        np.array([one.features[0] for one in some]).reshape(len(some), len(FEATURES)),
        np.array([one.right[0] for one in some], float),
        weights / weights.sum() if some else weights,
    )


def fit(data: Sample) -> Floats:
    """Bias and weights, (1 + features), that make the labels likeliest; a small ridge keeps the weights finite."""
    design = _design(data.features)
    ridge = np.full(design.shape[1], _RIDGE)
    ridge[0] = 1e-9  # the bias is free
    found = np.zeros(design.shape[1])
    for _ in range(_STEPS):
        predicted = _logistic(design @ found)
        slope = design.T @ (data.weights * (data.right - predicted)) - ridge * found
        bend = (design * (data.weights * predicted * (1 - predicted))[:, None]).T @ design + np.diag(ridge)
        step = np.linalg.solve(bend, slope)
        found = found + step
        if float(np.abs(step).max()) < 1e-10:  # noqa: PLR2004 - far below what is written down
            break
    return found


def learn(observations: Sequence[Observation]) -> Curve:
    """The curve, with the threshold that the same data asks for."""
    found = fit(sample(observations))
    draft = Curve(float(found[0]), tuple(map(float, found[1:])), enough=0.5, beside=0.5)
    enough = threshold(draft, observations)
    return Curve(draft.bias, draft.weights, enough=enough, beside=enough * _BESIDE)


def threshold(curve: Curve, observations: Sequence[Observation]) -> float:
    """The highest at which at most one in ten answerable questions is refused, every set weighing the same."""
    asked = [one for one in observations if one.kind == "answerable"]
    sizes = Counter(one.tenant for one in asked)
    ranked = sorted((best(curve, one), 1 / sizes[one.tenant] / len(sizes)) for one in asked)
    refused = 0.0
    for confidence, weight in ranked:
        refused += weight
        if refused > MOST_FALSE_REFUSALS:
            return min(max(round(confidence, 3), 0.01), 0.99)
    return 0.5


def best(curve: Curve, observation: Observation) -> float:
    """The confidence that refusal rests on, 0 where nothing was found."""
    return max((curve.confidence(features) for features in observation.features), default=0.0)


def predictions(curve: Curve, data: Sample) -> Floats:
    return _logistic(_design(data.features) @ np.array([curve.bias, *curve.weights]))


def quality(predicted: Floats, data: Sample) -> Quality:
    return Quality(
        questions=len(predicted),
        brier=float((data.weights * (predicted - data.right) ** 2).sum() / data.weights.sum()),
        ece=sum(abs(mean - share) * weight for mean, share, weight in reliability(predicted, data)),
        auroc=auroc(predicted[data.right == 1], predicted[data.right == 0]),
    )


def reliability(predicted: Floats, data: Sample) -> list[tuple[float, float, float]]:
    """For each tenth of the scale that holds something: mean confidence, share that was right, share of the weight."""
    bins = np.minimum((predicted * _BINS).astype(int), _BINS - 1)
    found = []
    for number in range(_BINS):
        inside = bins == number
        weight = float(data.weights[inside].sum())
        if weight > 0:
            mean = float((data.weights * predicted)[inside].sum()) / weight
            share = float((data.weights * data.right)[inside].sum()) / weight
            found.append((mean, share, weight / float(data.weights.sum())))
    return found


def auroc(higher: Floats, lower: Floats) -> float:
    """How often one of the first is the higher of a pair, a tie counting half; NaN without pairs."""
    if not len(higher) or not len(lower):
        return float("nan")
    ordered = np.sort(lower)
    below = np.searchsorted(ordered, higher, "left") + np.searchsorted(ordered, higher, "right")
    return float(below.mean() / 2 / len(lower))


def halves(observations: Sequence[Observation]) -> tuple[list[Observation], list[Observation]]:
    """By question, so that the same question never stands in both, whatever documents it was asked of."""
    first = [one for one in observations if not crc32(f"{one.asked} {one.question}".encode()) % 2]
    second = [one for one in observations if crc32(f"{one.asked} {one.question}".encode()) % 2]
    return first, second


def _design(features: Floats) -> Floats:
    return np.hstack([np.ones((len(features), 1)), features])


def _logistic(log_odds: Floats) -> Floats:
    return 1 / (1 + np.exp(-np.clip(log_odds, -500, 500)))
