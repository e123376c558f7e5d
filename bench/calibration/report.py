"""What was learned, for a person: how good the curve is on questions that it has not seen, and its reliability plot."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from bench.calibration.learn import Quality, auroc, best, halves, learn, predictions, quality, reliability, sample
from bench.calibration.observations import Kind, Observation
from carrel.ask.confidence import Curve


@dataclass(frozen=True, slots=True)
class Refusal:
    """One family of documents: shares refused at the curve's threshold, and how well questions can be told apart.

    `at_five` is the share of foreign questions below the threshold that refuses 5 % of the answerable ones.
    """

    documents: str
    answerable: int
    false_refusals: float
    near_refused: float | None
    near_auroc: float | None
    far_refused: float | None
    far_auroc: float | None
    at_five: float | None


@dataclass(frozen=True, slots=True)
class Report:
    """`held_out`: learned on one half of the questions, measured on the other, both ways, added up.

    `left_out`: for each family, learned without its documents and its questions, measured on them.
    """

    held_out: Quality
    held_out_refusals: tuple[Refusal, ...]
    left_out: dict[str, Quality]
    left_out_refusals: tuple[Refusal, ...]


def report(observations: Sequence[Observation]) -> Report:
    """Raises ValueError when a half or a rest holds too little to learn from."""
    first, second = halves(observations)
    crossed = [(learn(first), second), (learn(second), first)]
    families = sorted({one.tenant for one in observations})
    left_out = {
        family: (_without(observations, family), [one for one in observations if one.tenant == family])
        for family in families
    }
    return Report(
        held_out=_joined(crossed),
        held_out_refusals=tuple(_refusals(family, crossed) for family in families),
        left_out={family: _joined([(curve, rest)]) for family, (curve, rest) in left_out.items() if curve},
        left_out_refusals=tuple(_refusals(f, [(curve, rest)]) for f, (curve, rest) in left_out.items() if curve),
    )


def _without(observations: Sequence[Observation], family: str) -> Curve | None:
    rest = [one for one in observations if family not in (one.tenant, one.asked)]
    return learn(rest) if {one.kind for one in rest} >= {"answerable", "far"} else None


def _joined(crossed: Sequence[tuple[Curve, Sequence[Observation]]]) -> Quality:
    everything = sample([one for _, seen in crossed for one in seen])
    return quality(np.concatenate([predictions(curve, sample(seen)) for curve, seen in crossed]), everything)


def _refusals(family: str, crossed: Sequence[tuple[Curve, Sequence[Observation]]]) -> Refusal:
    def of(kind: Kind) -> tuple[np.ndarray, np.ndarray]:
        pairs = [(best(c, one), best(c, one) < c.enough) for c, seen in crossed for one in seen if _is(one, kind)]
        return np.array([pair[0] for pair in pairs], float), np.array([pair[1] for pair in pairs], float)

    def _is(one: Observation, kind: Kind) -> bool:
        return one.tenant == family and one.kind == kind

    (answerable, wrongly), (near, near_refused), (far, far_refused) = of("answerable"), of("near"), of("far")
    return Refusal(
        documents=family,
        answerable=len(answerable),
        false_refusals=_mean(wrongly) or 0.0,
        near_refused=_mean(near_refused),
        near_auroc=auroc(answerable, near) if len(near) else None,
        far_refused=_mean(far_refused),
        far_auroc=auroc(answerable, far) if len(far) else None,
        at_five=_mean(far < np.quantile(answerable, 0.05)) if len(far) and len(answerable) else None,
    )


def _mean(values: np.ndarray) -> float | None:
    return float(values.mean()) if len(values) else None


def markdown(curve: Curve, found: Report) -> str:
    """Tables, the curve first."""
    lines = [
        f"Curve: bias {curve.bias:.3f}, weights {', '.join(f'{w:.3f}' for w in curve.weights)}.",
        f"Thresholds: enough {curve.enough:.3f}, beside {curve.beside:.3f}.",
        "",
        "| measured on | questions | Brier | ECE | AUROC |",
        "|---|---|---|---|---|",
        _quality_row("held-out halves", found.held_out),
        *(_quality_row(f"left out: {family}", one) for family, one in found.left_out.items()),
        "",
        "| documents | learned on | answerable | wrongly refused | near refused, AUROC | far refused, AUROC | at 5 % |",
        "|---|---|---|---|---|---|---|",
        *(_refusal_row(one, "the other half") for one in found.held_out_refusals),
        *(_refusal_row(one, "other sets") for one in found.left_out_refusals),
    ]
    return "\n".join(lines) + "\n"


def _quality_row(name: str, one: Quality) -> str:
    return f"| {name} | {one.questions} | {one.brier:.4f} | {one.ece:.4f} | {one.auroc:.4f} |"


def _refusal_row(one: Refusal, learned: str) -> str:
    def pair(refused: float | None, area: float | None) -> str:
        return "" if refused is None or area is None else f"{refused:.3f}, {area:.4f}"

    five = "" if one.at_five is None else f"{one.at_five:.3f}"
    return (
        f"| {one.documents} | {learned} | {one.answerable} | {one.false_refusals:.3f}"
        f" | {pair(one.near_refused, one.near_auroc)} | {pair(one.far_refused, one.far_auroc)} | {five} |"
    )


def shape(found: Report) -> dict[str, object]:
    """Plain values, with four digits, for the file."""
    return {
        "held_out": _rounded(asdict(found.held_out)),
        "left_out": {family: _rounded(asdict(one)) for family, one in found.left_out.items()},
        "refusal_held_out": [_rounded(asdict(one)) for one in found.held_out_refusals],
        "refusal_left_out": [_rounded(asdict(one)) for one in found.left_out_refusals],
    }


def _rounded(values: dict[str, object]) -> dict[str, object]:
    return {name: round(value, 4) if isinstance(value, float) else value for name, value in values.items()}


def plot(observations: Sequence[Observation], path: Path) -> None:
    """The reliability of held-out halves as PNG: the confidence against how often it was right."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    first, second = halves(observations)
    crossed = [(learn(first), second), (learn(second), first)]
    data = sample([one for _, seen in crossed for one in seen])
    predicted = np.concatenate([predictions(curve, sample(seen)) for curve, seen in crossed])
    points = reliability(predicted, data)
    figure, (above, below) = plt.subplots(2, 1, figsize=(6, 7), height_ratios=(3, 1), sharex=True, layout="constrained")
    above.plot([0, 1], [0, 1], color="grey", linewidth=1, label="perfect")
    above.plot([mean for mean, _, _ in points], [share for _, share, _ in points], marker="o", label="held-out halves")
    above.set(ylabel="share that was right", title="Reliability of confidence", xlim=(0, 1), ylim=(0, 1))
    above.legend()
    below.bar([mean for mean, _, _ in points], [weight for _, _, weight in points], width=0.05)
    below.set(xlabel="confidence of the best-ranked passage", ylabel="share of weight")
    figure.savefig(path, dpi=120)
    plt.close(figure)
