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

# A logistic curve, fitted to questions whose answers are known. How often it is right is measured, not promised.
_BIAS: Final = -4.0
_COSINE: Final = 3.4
_COVERAGE: Final = 4.5
_UNSEEN: Final = -1.8
_UNKNOWN_NAME: Final = -2.2


@dataclass(frozen=True, slots=True)
class Verdict:
    """`evidence` is what may be cited, best first, empty when there is not enough; `missing` are terms nobody wrote."""

    evidence: tuple[Passage, ...]
    nearest: tuple[Passage, ...]
    missing: tuple[str, ...]


def with_confidence(analyzer: Analyzer, question: Question, retrieved: Retrieved) -> tuple[Passage, ...]:
    """Each passage with its confidence, 0 to 1: how likely it holds what was asked for."""
    about = _about(question, retrieved.terms)
    return tuple(
        replace(passage, confidence=_confidence(about, passage, _coverage(analyzer, retrieved.terms, passage)))
        for passage in retrieved.passages
    )


def judge(question: Question, retrieved: Retrieved, passages: Sequence[Passage]) -> Verdict:
    evidence = tuple(passage for passage in passages if passage.confidence >= ENOUGH)[:_MOST_EVIDENCE]
    seen = {term.term.stem for term in retrieved.terms if term.chunks}
    missing = tuple(term.surface for term in question.terms if term.stem not in seen)
    return Verdict(evidence, tuple(passages[:3]), missing)


def _about(question: Question, terms: Sequence[WeighedTerm]) -> float:
    """What the question itself says against any answer: terms, and above all names, that nobody here ever wrote."""
    whole = sum(term.weight for term in terms)
    unseen = [term for term in terms if not term.chunks]
    share = sum(term.weight for term in unseen) / whole if whole else 0.0
    return _BIAS + _UNSEEN * share + _UNKNOWN_NAME * any(_is_name(question, term) for term in unseen)


def _is_name(question: Question, term: WeighedTerm) -> bool:
    surface = term.term.surface
    return surface[:1].isupper() and not question.text.startswith(surface)


def _confidence(about: float, passage: Passage, coverage: float) -> float:
    weight = about + _COSINE * (passage.dense or 0.0) + _COVERAGE * coverage
    return 1 / (1 + math.exp(-weight))


def _coverage(analyzer: Analyzer, terms: Sequence[WeighedTerm], passage: Passage) -> float:
    """The share of the question's weight that occurs in the passage, its title or its headings."""
    whole = sum(term.weight for term in terms)
    if not whole:
        return 0.0
    text = " ".join((passage.title, *passage.heading_path, passage.key, passage.text))
    held = set(analyzer.stems(text))
    return sum(term.weight for term in terms if term.term.stem in held) / whole
