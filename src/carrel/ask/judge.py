"""Judging the evidence before a model is called: a confidence for each passage, and whether there is any evidence."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from carrel.ask.question import Question
from carrel.ask.retrieve import Retrieved
from carrel.domain.answers import Passage
from carrel.ports.lexical import Analyzer, WeighedTerm

ENOUGH: Final = 0.5
_MOST_EVIDENCE: Final = 6

# A logistic curve over three features. `make eval` prints how often it is right; a later release learns it from labels.
_BIAS: Final = -6.4
_COSINE: Final = 6.2
_COVERAGE: Final = 5.2
_STRENGTH: Final = 1.5


@dataclass(frozen=True, slots=True)
class Verdict:
    """`evidence` is what may be cited, best first, empty when there is not enough; `missing` are terms nobody wrote."""

    evidence: tuple[Passage, ...]
    nearest: tuple[Passage, ...]
    missing: tuple[str, ...]


def with_confidence(analyzer: Analyzer, retrieved: Retrieved) -> tuple[Passage, ...]:
    """Each passage with its confidence, 0 to 1: how likely it holds what was asked for."""
    return tuple(
        replace(passage, confidence=_confidence(analyzer, retrieved, passage)) for passage in retrieved.passages
    )


def judge(question: Question, retrieved: Retrieved, passages: Sequence[Passage]) -> Verdict:
    evidence = tuple(passage for passage in passages if passage.confidence >= ENOUGH)[:_MOST_EVIDENCE]
    seen = {term.term.stem for term in retrieved.terms if term.chunks}
    missing = tuple(term.surface for term in question.terms if term.stem not in seen)
    return Verdict(evidence, tuple(passages[:3]), missing)


def _confidence(analyzer: Analyzer, retrieved: Retrieved, passage: Passage) -> float:
    cosine = passage.dense if passage.dense is not None else 0.0
    strength = (passage.lexical or 0.0) / retrieved.highest if retrieved.highest else 0.0
    weight = _BIAS + _COSINE * cosine + _COVERAGE * _coverage(analyzer, retrieved.terms, passage)
    return 1 / (1 + math.exp(-(weight + _STRENGTH * strength)))


def _coverage(analyzer: Analyzer, terms: Sequence[WeighedTerm], passage: Passage) -> float:
    """The share of the question's weight that occurs in the passage, its title or its headings."""
    whole = sum(term.weight for term in terms)
    if not whole:
        return 0.0
    text = " ".join((passage.title, *passage.heading_path, passage.key, passage.text))
    held = {term.stem for term in analyzer.terms(text)}
    return sum(term.weight for term in terms if term.term.stem in held) / whole
