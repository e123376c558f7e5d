"""The numbers to hold, and whether they held."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from types import MappingProxyType
from typing import Final

from bench.evaluation.isolation import ENOUGH, Isolation
from bench.evaluation.shelves import CLAPNQ, CODEBASE, SCIFACT
from bench.rows import Row
from carrel.evaluate.facts import REWRITTEN, STAND_ALONE, FactFindings
from carrel.evaluate.groundedness import Groundedness
from carrel.evaluate.metrics import MOST_FALSE_REFUSALS, Refusals
from carrel.evaluate.pipeline import OWN, Findings

_LEAST: Final[Mapping[str, tuple[tuple[str, str, str, float], ...]]] = MappingProxyType({
    SCIFACT: (
        ("hybrid", "ndcg_10", "nDCG@10", 0.73),
        ("dense", "ndcg_10", "nDCG@10", 0.63),
        ("lexical", "ndcg_10", "nDCG@10", 0.67),
    ),
    CODEBASE: (("hybrid", "pass_10", "Pass@10", 0.90),),
    CLAPNQ: (("hybrid", "recall_5", "recall@5 of the answerable", 0.98),),
})  # fmt: skip
_MOST_BEHIND: Final = 0.005
_LEAST_AUROC: Final = 0.95
_LEAST_REFUSED: Final = 0.80
_LEAST_GROUNDED: Final = 0.90
_LEAST_RIGHT: Final = 0.97
_LEAST_PASSED: Final = 0.95
_LEAST_SAID: Final = 0.85
_LEAST_REWRITTEN: Final = 0.90


def rows_of(findings: Findings) -> list[Row]:
    """Of one set."""
    rows = [*_rankings(findings), *(row for refusals in findings.refusals for row in _refusals(findings, refusals))]
    if findings.grounding:
        rows.append(_groundedness(findings.name, findings.grounding))
    return rows


def _groundedness(name: str, found: Groundedness) -> Row:
    held = name in {SCIFACT, CLAPNQ}
    return Row(
        f"{name}: groundedness of faithful answers over swapped ones, AUROC",
        f"{found.auroc:.4f}",
        f"at least {_LEAST_GROUNDED:.2f}" if held else "",
        found.auroc >= _LEAST_GROUNDED if held else None,
        f"{2 * len(found.weighed)} answers; marked: {found.wrongly_marked:.1%} of the faithful,"
        f" {found.rightly_marked:.1%} of the swapped",
    )


def fact_rows(found: FactFindings) -> Iterator[Row]:
    """Of the demo's organisations, by the half of the questions that nothing was learned from or tuned on."""
    half = found.reporting
    for title, value, least in (
        ("answered or refused rightly, as the product decides", half.behaviour, _LEAST_RIGHT),
        ("one of five passages holds the answer", half.retrieval_pass, _LEAST_PASSED),
        ("the answer holds the fact", half.said, _LEAST_SAID),
    ):
        yield Row(f"demo: {title}", f"{value:.1%}", f"at least {least:.0%}", value >= least)
    yield Row("demo: the same by a threshold of the other half", f"{found.learned.right:.1%}")
    for name, some in (("30 follow-ups", found), ("those that the rule was not tuned on", half)):
        forms = some.forms()
        share = forms[REWRITTEN].recall / forms[STAND_ALONE].recall
        told = ", ".join(f"{form} {one.recall:.4f} ({one.holds:.1%} hold the fact)" for form, one in forms.items())
        hold = f"at least {_LEAST_REWRITTEN:.2f}"
        yield Row(
            f"demo: {name}, recall@5 over the stand-alone form's", f"{share:.4f}", hold, share >= _LEAST_REWRITTEN, told
        )
    yield Row("demo: questions that stand alone, left as they were", f"{found.untouched} of {found.changes}")


def _rankings(findings: Findings) -> Iterator[Row]:
    for way, metric, title, least in _LEAST.get(findings.name, ()):
        value = asdict(findings.rankings[way])[metric]
        yield Row(f"{findings.name}: {way} {title}", f"{value:.4f}", f"at least {least:.2f}", value >= least)
    if findings.rankings:
        legs = [ranking.ndcg_10 for way, ranking in findings.rankings.items() if way != "hybrid"]
        ahead = findings.rankings["hybrid"].ndcg_10 - max(legs)
        hold = f"at least {-_MOST_BEHIND:+.3f}"
        yield Row(f"{findings.name}: hybrid nDCG@10 over the better leg", f"{ahead:+.4f}", hold, ahead >= -_MOST_BEHIND)


def _refusals(findings: Findings, refusals: Refusals) -> Iterator[Row]:
    """Only what lies outside of the documents is to be held: a near miss is a harder question, and is told."""
    own = refusals.kind == OWN
    name = f"{findings.name}: unanswerable of {'the set itself' if own else refusals.kind}"
    yield Row(
        f"{name}, AUROC of the confidence",
        f"{refusals.auroc:.4f}",
        "" if own else f"at least {_LEAST_AUROC:.2f}",
        None if own else refusals.auroc >= _LEAST_AUROC,
    )
    yield Row(
        f"{name}, refused at {MOST_FALSE_REFUSALS:.0%} false refusals at most",
        f"{refusals.refusable:.1%}",
        "" if own else f"at least {_LEAST_REFUSED:.0%}",
        None if own else refusals.refusable >= _LEAST_REFUSED,
    )
    answered = f"refused {refusals.true_refusals:.1%}, false refusals {refusals.false_refusals:.1%}"
    yield Row(f"{name}, as the product decides", answered)
    half = refusals.halved
    rightly = f"answered {half.answered_rightly:.1%}, refused {half.refused_rightly:.1%}"
    yield Row(f"{name}, rightly, by a threshold of the other half", rightly, note=f"threshold {half.threshold:.3f}")


def isolation_row(found: Isolation) -> Row:
    searched = min(found.honest.searches, found.lied_to.searches)
    foreign = found.honest.foreign + found.lied_to.foreign
    return Row(
        "runbooks as two tenants: foreign chunks",
        f"{found.honest.foreign} in {found.honest.searches:,} searches,"
        f" {found.lied_to.foreign} in {found.lied_to.searches:,} with a lying index",
        f"0 in at least {ENOUGH:,} each",
        foreign == 0 and searched >= ENOUGH,
        f"{found.names_in_common} file names in common; {found.lied_to.alarms:,} searches raised the alarm",
    )


def missed(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if row.verdict == "missed"]
