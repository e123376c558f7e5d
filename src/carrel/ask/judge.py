"""Judging the evidence before a model is called: a confidence for each passage, and whether there is any evidence."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from carrel.ask.confidence import Features, stored
from carrel.ask.question import Question
from carrel.ask.retrieve import Retrieved
from carrel.domain.answers import Passage
from carrel.ports.lexical import Analyzer

_MOST_EVIDENCE: Final = 6
_NEAREST: Final = 3


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


@dataclass(frozen=True, slots=True)
class _Word:
    """A word of the question: its stem, and (for a compound) the stems of its parts, which together are as good."""

    surface: str
    whole: str
    parts: tuple[str, ...]
    weight: float

    def share_in(self, stems: frozenset[str]) -> float:
        """How much of the word stands there, 0 to 1."""
        if self.whole in stems:
            return 1.0
        return sum(part in stems for part in self.parts) / len(self.parts) if self.parts else 0.0


@dataclass(frozen=True, slots=True)
class Observation:
    """What is seen before it is judged: the features of each passage, and the words that none of them holds."""

    features: tuple[Features, ...]
    missing: tuple[str, ...]


def assess(analyzer: Analyzer, question: Question, retrieved: Retrieved) -> Assessment:
    """How likely each passage holds what was asked for, 0 to 1, by the curve that Carrel was delivered with."""
    seen, curve = observe(analyzer, question, retrieved), stored()
    passages = tuple(
        replace(passage, confidence=curve.confidence(features))
        for passage, features in zip(retrieved.passages, seen.features, strict=True)
    )
    return Assessment(passages, seen.missing)


def observe(analyzer: Analyzer, question: Question, retrieved: Retrieved) -> Observation:
    """The features that `confidence.FEATURES` names, for each passage.

    Only passages of the scope are looked at, never the tenant's statistics: whether a word stands in a source outside
    the scope must not show, and what was ingested a moment ago counts at once.
    """
    held = _held(analyzer, question, retrieved.passages)
    words = _words(question, held)
    unseen = [word for word in words if all(word.share_in(stems) < 1 for stems in held)]
    share, name = _share(words, unseen), float(any(_is_name(question, word) for word in unseen))
    features = tuple(
        (passage.dense or 0.0, _coverage(words, stems), share, name)
        for passage, stems in zip(retrieved.passages, held, strict=True)
    )
    return Observation(features, tuple(word.surface for word in unseen))


def _words(question: Question, held: Sequence[frozenset[str]]) -> list[_Word]:
    """Each with its weight: the fewer of the passages hold it, the more it tells."""
    by_surface: dict[str, list[str]] = {}
    for term in question.terms:
        by_surface.setdefault(term.surface, []).append(term.stem)
    words = []
    for surface, stems in by_surface.items():
        whole = max(stems, key=len)
        word = _Word(surface, whole, tuple(stem for stem in stems if stem != whole), 1.0)
        holding = sum(word.share_in(passage) == 1 for passage in held)
        words.append(replace(word, weight=math.log(1 + (len(held) + 1) / (holding + 1))))
    return words


def judge(assessment: Assessment) -> Verdict:
    """One passage must be good enough by itself; then others that come near it may be cited too."""
    curve = stored()
    best = max((passage.confidence for passage in assessment.passages), default=0.0)
    least = curve.beside if best >= curve.enough else math.inf
    evidence = tuple(passage for passage in assessment.passages if passage.confidence >= least)
    return Verdict(evidence[:_MOST_EVIDENCE], assessment.passages[:_NEAREST], assessment.missing)


def _share(words: Sequence[_Word], some: Sequence[_Word]) -> float:
    """The part of the question's weight that lies on some of its words, 0 to 1."""
    whole = sum(word.weight for word in words)
    return sum(word.weight for word in some) / whole if whole else 0.0


def _is_name(question: Question, word: _Word) -> bool:
    return word.surface[:1].isupper() and not question.text.startswith(word.surface)


def _coverage(words: Sequence[_Word], stems: frozenset[str]) -> float:
    """The share of the question's weight that the passage holds."""
    whole = sum(word.weight for word in words)
    return sum(word.weight * word.share_in(stems) for word in words) / whole if whole else 0.0


def _held(analyzer: Analyzer, question: Question, passages: Sequence[Passage]) -> list[frozenset[str]]:
    """Which of the question's terms stand in each passage with its title, headings and file name."""
    wanted = frozenset(term.stem for term in question.terms)
    texts = [" ".join((passage.title, *passage.heading_path, passage.key, passage.text)) for passage in passages]
    return analyzer.held(wanted, texts)
