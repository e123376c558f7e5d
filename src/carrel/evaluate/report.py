"""Findings as one JSON value, and as Markdown for a person."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Final

from carrel.evaluate.facts import FactFindings
from carrel.evaluate.groundedness import Groundedness
from carrel.evaluate.metrics import Decision, Halved, Ranking, Refusals
from carrel.evaluate.pipeline import Findings

_TITLES: Final = {
    "ndcg_10": "nDCG@10",
    "recall_5": "recall@5",
    "recall_10": "recall@10",
    "mrr_10": "MRR@10",
    "pass_10": "Pass@10",
}


def shape(findings: Findings) -> dict[str, object]:
    """Numbers are 0 to 1, with four digits."""
    return {
        "set": findings.name,
        "documents": findings.documents,
        "queries": findings.queries,
        "ranked_queries": findings.ranked,
        "ranking": {
            way: {name: round(value, 4) for name, value in asdict(ranking).items()}
            for way, ranking in findings.rankings.items()
        },
        "refusal": [_refusals_shape(refusals) for refusals in findings.refusals],
        "grounding": _grounding_shape(findings.grounding) if findings.grounding else None,
    }


def _grounding_shape(found: Groundedness) -> dict[str, object]:
    return {
        "pairs": len(found.weighed),
        "auroc": round(found.auroc, 4),
        "faithful_marked": round(found.wrongly_marked, 4),
        "swapped_marked": round(found.rightly_marked, 4),
        "auroc_by_swap": {name: round(one.auroc, 4) for name, one in found.by_swap.items()},
    }


def _halved_shape(found: Halved) -> dict[str, float]:
    return {name: round(value, 4) for name, value in {**asdict(found), "right": found.right}.items()}


def _refusals_shape(refusals: Refusals) -> dict[str, object]:
    return {
        "unanswerable_from": refusals.kind,
        "auroc": round(refusals.auroc, 4),
        "answerable": _table(refusals.answerable),
        "unanswerable": _table(refusals.unanswerable),
        "false_refusals": round(refusals.false_refusals, 4),
        "true_refusals": round(refusals.true_refusals, 4),
        "refusable_at_5_percent": round(refusals.refusable, 4),
        "threshold_at_5_percent": round(refusals.threshold, 4),
        "learned_on_the_other_half": _halved_shape(refusals.halved),
    }


def _table(decisions: Sequence[Decision]) -> dict[str, int]:
    answered = sum(decision.answered for decision in decisions)
    return {"answered": answered, "refused": len(decisions) - answered}


def markdown(found: Sequence[Findings]) -> str:
    """The rankings of each set, and (where there are any) its refusals and its groundedness: a table each."""
    parts = [_rankings(found)]
    if any(findings.refusals for findings in found):
        parts += [_refusals(found), _learned(found)]
    grounded = {findings.name: findings.grounding for findings in found if findings.grounding}
    if grounded:
        parts.append(_groundedness(grounded))
    return "\n\n".join(parts)


def facts_shape(found: FactFindings) -> dict[str, object]:
    """All questions, and the half to report on."""
    half = {**_facts_shape(found.reporting), "by_the_other_halfs_threshold": _halved_shape(found.learned)}
    return {"all": _facts_shape(found), "reporting_half": half}


def _facts_shape(found: FactFindings) -> dict[str, object]:
    return {
        "answerable": _table([one.decision for one in found.answerable]),
        "unanswerable": _table([one.decision for one in found.unanswerable]),
        "behaviour": round(found.behaviour, 4),
        "retrieval_pass": round(found.retrieval_pass, 4),
        "answer_holds_the_fact": round(found.said, 4),
        "follow_ups": {
            "questions": len(found.talked),
            **{
                name: {"recall_5": round(one.recall, 4), "fact_5": round(one.holds, 4)}
                for name, one in found.forms().items()
            },
            "changes_of_subject": found.changes,
            "untouched": found.untouched,
        },
        "asked": {one.follow_up.text: one.asked for one in found.talked},
    }


def facts_markdown(found: FactFindings) -> str:
    """What became of the questions, and of the follow-ups: a table each."""
    halves = (("all", found), ("the half to report on", found.reporting))
    columns = ("questions", "answerable: answered", "refused", "unanswerable: answered", "refused", "behaved rightly",
               "retrieval pass", "answer holds the fact")  # fmt: skip
    rows = []
    for name, one in halves:
        own, other = (_table([tried.decision for tried in some]) for some in (one.answerable, one.unanswerable))
        counts = (own["answered"], own["refused"], other["answered"], other["refused"])
        shares = (one.behaviour, one.retrieval_pass, one.said)
        rows.append((name, *map(str, counts), *(f"{share:.1%}" for share in shares)))
    half = found.learned
    told = (
        f"By a threshold of the other half ({half.threshold:.3f}), of the half to report on:"
        f" {half.answered_rightly:.1%} answered rightly, {half.refused_rightly:.1%} refused rightly."
    )
    return f"{as_table(columns, rows)}\n\n{told}\n\n{_follow_ups(halves)}"


def _follow_ups(halves: Sequence[tuple[str, FactFindings]]) -> str:
    rows = [
        (name, str(len(one.talked)), form, f"{numbers.recall:.4f}", f"{numbers.holds:.4f}")
        for name, one in halves
        for form, numbers in one.forms().items()
    ]
    whole = halves[0][1]
    told = f"{whole.untouched} of {whole.changes} questions that stand alone were left as they were."
    return as_table(("follow-ups", "questions", "searched", "recall@5", "fact in 5 passages"), rows) + f"\n\n{told}"


def _learned(found: Sequence[Findings]) -> str:
    columns = ("set", "unanswerable from", "threshold of one half", "other half: answered rightly", "refused rightly")
    rows = []
    for findings in found:
        for refusals in findings.refusals:
            half = refusals.halved
            shares = (f"{half.answered_rightly:.1%}", f"{half.refused_rightly:.1%}")
            rows.append((findings.name, refusals.kind, f"{half.threshold:.3f}", *shares))
    return as_table(columns, rows)


def _groundedness(found: Mapping[str, Groundedness]) -> str:
    columns = ("groundedness", "swapped", "answers", "AUROC", "faithful marked", "swapped marked")
    rows = []
    for name, grounding in found.items():
        for swap, one in {"all": grounding, **grounding.by_swap}.items():
            marked = (f"{one.wrongly_marked:.1%}", f"{one.rightly_marked:.1%}")
            rows.append((name, swap, str(2 * len(one.weighed)), f"{one.auroc:.4f}", *marked))
    return as_table(columns, rows)


def _rankings(found: Sequence[Findings]) -> str:
    rows = [
        (findings.name, way, str(findings.ranked), *_numbers(ranking))
        for findings in found
        for way, ranking in findings.rankings.items()
    ]
    return as_table(("set", "search", "questions", *_TITLES.values()), rows)


def _numbers(ranking: Ranking) -> list[str]:
    return [f"{value:.4f}" for value in asdict(ranking).values()]


def _refusals(found: Sequence[Findings]) -> str:
    columns = (
        "set", "unanswerable from", "AUROC",
        "answerable: answered", "refused", "unanswerable: answered", "refused", "refusable at 5 %",
    )  # fmt: skip
    rows = []
    for findings in found:
        for refusals in findings.refusals:
            own, other = _table(refusals.answerable), _table(refusals.unanswerable)
            counts = (own["answered"], own["refused"], other["answered"], other["refused"])
            told = (f"{refusals.auroc:.4f}", *map(str, counts), f"{refusals.refusable:.1%}")
            rows.append((findings.name, refusals.kind, *told))
    return as_table(columns, rows)


def as_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """In Markdown; what would end a cell is escaped."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
