"""The default model: no network, no weights. It answers with the evidence's own sentences, each cited."""

import math
import re
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Final

from carrel.domain.answers import Passage, Usage
from carrel.ports.lexical import Analyzer
from carrel.ports.model import Draft, Prompt

_SENTENCES: Final = re.compile(r"(?<=[.!?])\s+(?=[\"'(A-Z0-9`*])|\n+")
_MOST: Final = 3
_SHORTEST: Final = 4
_LONGEST_QUOTE: Final = 400
_LIST_ITEM: Final = re.compile(r"\s*(?:[-*+•]|\d+[.)])\s")
_NUMBER_IN_BRACKETS: Final = re.compile(r"\[(\d+)\]")
_WORTHWHILE: Final = 0.6
_FRAGMENT: Final = 0.7
_ABOVE: Final = 0.8
_ECHO: Final = 0.6
_NEWS: Final = 2
_LONGEST_HEADING: Final = 8
_SAYS_SOMETHING: Final = re.compile(r"[\d:|=]")
_ASKS_FOR_A_NUMBER: Final = re.compile(
    r"\b(when|how (many|much|long|often|far|old)|(what|which) (port|number|date|day|time|version))\b", re.IGNORECASE
)
_NUMBER: Final = 1.3
_ENDS: Final = (".", "!", "?", ":", "`")


@dataclass(frozen=True, slots=True)
class _Sentence:
    text: str
    n: int
    stems: frozenset[str]
    context: frozenset[str]
    prior: float
    place: int


class Extractive:
    name: Final = "extractive"
    follows_instructions: Final = False
    context_tokens: Final = 1_000_000

    def __init__(self, analyzer: Analyzer) -> None:
        self._analyzer = analyzer

    async def write(self, prompt: Prompt) -> AsyncGenerator[Draft]:
        asked = frozenset(term.stem for term in self._analyzer.words(prompt.question))
        wants_number = bool(_ASKS_FOR_A_NUMBER.search(prompt.question))
        chosen = _choose(self._sentences(prompt.evidence), asked, wants_number=wants_number)
        if not chosen:
            chosen = [_first_words(prompt.evidence[0])]
        for place, sentence in enumerate(chosen):
            yield Draft(("" if place == 0 else " ") + f"{_escaped(sentence.text)} [{sentence.n}]")
        words = sum(len(passage.text.split()) for passage in prompt.evidence)
        yield Draft("", Usage(words, sum(len(sentence.text.split()) for sentence in chosen), self.name))

    def _sentences(self, evidence: Sequence[Passage]) -> list[_Sentence]:
        found: dict[str, _Sentence] = {}
        for n, passage in enumerate(evidence, 1):
            context = frozenset(self._analyzer.stems(" ".join((passage.title, *passage.heading_path))))
            for place, text in enumerate(_split(passage.text)):
                stems = frozenset(self._analyzer.stems(text))
                found.setdefault(text, _Sentence(text, n, stems, context, passage.confidence, place))
        return list(found.values())


def _first_words(passage: Passage) -> _Sentence:
    """For a passage without a sentence: as much of it as fits."""
    return _Sentence(
        " ".join(passage.text.split())[:_LONGEST_QUOTE], 1, frozenset(), frozenset(), passage.confidence, 0
    )


def _escaped(text: str) -> str:
    """A document's own `[1]` must not look like one of our citations; in Markdown an escaped bracket reads the same."""
    return _NUMBER_IN_BRACKETS.sub(r"\\[\1\\]", text)


def _split(text: str) -> list[str]:
    pieces = [piece for piece in _SENTENCES.split(text) if piece and not _is_heading(piece)]
    plain = [" ".join(piece.split()).lstrip(" >#*+|-").rstrip(" |") for piece in pieces]
    return [piece for piece in plain if len(piece) >= _SHORTEST]


def _is_heading(piece: str) -> bool:
    """A few words without an end, a number or a mark between name and value say what follows, not what is so."""
    if _LIST_ITEM.match(piece) or _SAYS_SOMETHING.search(piece):
        return False
    return len(piece.split()) <= _LONGEST_HEADING and not piece.rstrip().endswith(_ENDS)


def _choose(sentences: Sequence[_Sentence], asked: frozenset[str], *, wants_number: bool) -> list[_Sentence]:
    """The best sentence, and those that come near it, in the order of the evidence."""
    weights = _weights(sentences, asked)
    scored = sorted(
        (
            (_score(sentence, asked, weights) * _bonus(sentence, wanted=wants_number), sentence)
            for sentence in sentences
        ),
        key=_by_score,
    )
    if not scored:
        return []
    best = scored[0][0]
    chosen = [sentence for score, sentence in scored[:_MOST] if score >= best * _WORTHWHILE]
    return sorted(chosen, key=lambda sentence: (sentence.n, sentence.place))


def _weights(sentences: Sequence[_Sentence], asked: frozenset[str]) -> dict[str, float]:
    """A term that stands in few of the sentences tells more."""
    occurs = Counter(stem for sentence in sentences for stem in (sentence.stems | sentence.context) & asked)
    return {stem: math.log(1 + len(sentences) / (1 + occurs[stem])) for stem in asked}


def _score(sentence: _Sentence, asked: frozenset[str], weights: dict[str, float]) -> float:
    """What it says of the question, itself and by the headings above it; a mere echo of the question says little."""
    own = sum(weights[stem] for stem in sentence.stems & asked)
    above = sum(weights[stem] for stem in (sentence.context - sentence.stems) & asked)
    length = 1 + math.log(1 + len(sentence.stems) / 24)
    whole = 1.0 if sentence.text.endswith(_ENDS) else _FRAGMENT
    news = len(sentence.stems - asked - sentence.context)
    echo = 1.0 if news >= _NEWS else _ECHO
    return (own + _ABOVE * above) * whole * echo * (0.5 + sentence.prior) / length


def _bonus(sentence: _Sentence, *, wanted: bool) -> float:
    return _NUMBER if wanted and any(character.isdigit() for character in sentence.text) else 1.0


def _by_score(scored: tuple[float, _Sentence]) -> tuple[float, int, int]:
    score, sentence = scored
    return -score, sentence.n, sentence.place
