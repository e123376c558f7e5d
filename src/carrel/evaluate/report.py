"""Findings as one JSON value, and as Markdown for a person."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Final

from carrel.evaluate.metrics import Decision, Ranking, Refusals
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
    }


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
    }


def _table(decisions: Sequence[Decision]) -> dict[str, int]:
    answered = sum(decision.answered for decision in decisions)
    return {"answered": answered, "refused": len(decisions) - answered}


def markdown(found: Sequence[Findings]) -> str:
    """Two tables: the rankings of each set, and (where there is any) its refusals."""
    parts = [_rankings(found)]
    if any(findings.refusals for findings in found):
        parts.append(_refusals(found))
    return "\n\n".join(parts)


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
