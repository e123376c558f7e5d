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
_BESIDE: Final = 0.35
_MOST_EVIDENCE: Final = 6
_NEAREST: Final = 3

# A logistic curve, fitted to questions whose answers are known. How often it is right is measured, not promised.
_BIAS: Final = -4.0
_COSINE: Final = 3.4
_COVERAGE: Final = 4.5
_UNSEEN: Final = -1.8
_UNKNOWN_NAME: Final = -2.2


@dataclass(frozen=True, slots=True)
class Assessment:
    """Passages with their confidence, best first, and the question's words that none of them holds."""

    passages: tuple[Passage, ...]
    missing: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """`evidence` is what may be cited, best first, empty when there is not enough; `nearest` is there in any case."""

    evidence: tuple[Passage, ...]
    nearest: tuple[Passage, ...]
    missing: tuple[str, ...]


def assess(analyzer: Analyzer, question: Question, retrieved: Retrieved) -> Assessment:
    """How likely each passage holds what was asked for, 0 to 1.

    Only passages of the scope are looked at, never the tenant's statistics: whether a word stands in a source outside
    the scope must not show, and what was ingested a moment ago counts at once.
    """
    held = [_stems(analyzer, passage) for passage in retrieved.passages]
    unseen = [term for term in retrieved.terms if not any(term.term.stem in stems for stems in held)]
    about = _about(question, retrieved.terms, unseen)
    passages = tuple(
        replace(passage, confidence=_confidence(about, passage, _coverage(retrieved.terms, stems)))
        for passage, stems in zip(retrieved.passages, held, strict=True)
    )
    return Assessment(passages, tuple(dict.fromkeys(term.term.surface for term in unseen)))


def judge(assessment: Assessment) -> Verdict:
    """One passage must be good enough by itself; then others that come near it may be cited too."""
    best = max((passage.confidence for passage in assessment.passages), default=0.0)
    least = _BESIDE if best >= ENOUGH else 1.0
    evidence = tuple(passage for passage in assessment.passages if passage.confidence >= least)
    return Verdict(evidence[:_MOST_EVIDENCE], assessment.passages[:_NEAREST], assessment.missing)


def _about(question: Question, terms: Sequence[WeighedTerm], unseen: Sequence[WeighedTerm]) -> float:
    """What the question itself says against any answer: words, and above all names, that no passage holds."""
    whole = sum(term.weight for term in terms)
    share = sum(term.weight for term in unseen) / whole if whole else 0.0
    return _BIAS + _UNSEEN * share + _UNKNOWN_NAME * any(_is_name(question, term) for term in unseen)


def _is_name(question: Question, term: WeighedTerm) -> bool:
    surface = term.term.surface
    return surface[:1].isupper() and not question.text.startswith(surface)


def _confidence(about: float, passage: Passage, coverage: float) -> float:
    weight = about + _COSINE * (passage.dense or 0.0) + _COVERAGE * coverage
    return 1 / (1 + math.exp(-weight))


def _coverage(terms: Sequence[WeighedTerm], stems: frozenset[str]) -> float:
    """The share of the question's weight that the passage holds."""
    whole = sum(term.weight for term in terms)
    return sum(term.weight for term in terms if term.term.stem in stems) / whole if whole else 0.0


def _stems(analyzer: Analyzer, passage: Passage) -> frozenset[str]:
    """Of the passage with its title, headings and file name."""
    return frozenset(analyzer.stems(" ".join((passage.title, *passage.heading_path, passage.key, passage.text))))
