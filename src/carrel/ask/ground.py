"""Groundedness: how far the evidence bears out an answer, sentence by sentence, without a model.

Every sentence is held against the passages that it cites, and against the rest with a deduction. Its words must stand
there; and its facts (numbers and names) must stand there *in the same surroundings*: `port 8443` is not borne out by a
passage in which 8443 is the number of a rack. So for each fact the place in the evidence is sought whose neighbours
are most like its neighbours in the sentence; another unit beside a number, or a "not" on one side only, tells against
it. What it cannot see: two facts of one place that changed seats, and whether what follows follows.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

from carrel.ask.sanitise import sanitised
from carrel.domain.answers import Passage
from carrel.ports.lexical import Analyzer

SUPPORTED_FROM: Final = 0.6
"""The support of a sentence, 0 to 1, below which it is called unsupported."""

# Nothing here is given back once it is taken, and a number is not begun anew behind each of its own commas.
_TOKEN: Final = re.compile(
    r"(?P<number>(?<!\d,)\d{1,3}(?:,\d{3})++(?:\.\d++)?(?![.,]*\w)|\d++(?:\.\d++)?(?![.\-/:@]*\w))"
    r"|(?P<word>[^\W_]+(?:[_.\-'\u2019/:@][^\W_]+)*)|(?P<sign>[%\u20ac$\u00a3\u00b0])"
)
_SENTENCE: Final = re.compile(r"(?<=[.!?])[\"')\]]*\s+(?=[\"'(\[A-Z0-9`*])|\n+")
_MARK: Final = re.compile(r"\s*(?<!\\)\[(\d{1,3})\]")
_APOSTROPHE: Final = re.compile(r"['\u2019]s?$")
_SMALL: Final = "two three four five six seven eight nine ten eleven twelve"
_TENS: Final = "twenty thirty forty fifty sixty seventy eighty ninety"
_NUMBER_WORDS: Final = {word: Decimal(number) for number, word in enumerate(_SMALL.split(" "), 2)} | {
    word: Decimal(10 * number) for number, word in enumerate(_TENS.split(" "), 2)
}
_TIMES: Final = {"thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_UNITS: Final = {
    name: unit
    for unit, names in {
        "percent": "% percent pct",
        "second": "s sec second seconds",
        "millisecond": "ms millisecond milliseconds",
        "minute": "min mins minute minutes",
        "hour": "h hr hrs hour hours",
        "day": "day days",
        "week": "week weeks",
        "month": "month months",
        "year": "year years",
        "euro": "\u20ac eur euro euros",
        "dollar": "$ usd dollar dollars",
        "pound": "\u00a3 gbp pound pounds",
        "degree": "\u00b0 degree degrees",
        "kilobyte": "kb kilobyte kilobytes",
        "megabyte": "mb megabyte megabytes",
        "gigabyte": "gb gigabyte gigabytes",
        "terabyte": "tb terabyte terabytes",
        "metre": "m metre metres meter meters",
        "kilometre": "km kilometre kilometres kilometer kilometers",
        "mile": "mile miles",
        "gram": "g gram grams",
        "milligram": "mg milligram milligrams",
        "kilogram": "kg kilogram kilograms",
    }.items()
    for name in names.split()
}
_BEFORE_THE_NUMBER: Final = frozenset("\u20ac$\u00a3")
_NEGATIONS: Final = frozenset(
    ("no", "not", "never", "none", "cannot", "nobody", "nothing", "neither", "nor", "without")
)
_BOUNDS: Final = frozenset(("more", "less", "fewer", "later", "earlier", "longer", "only", "just"))
_NEAR: Final = 5  # tokens that tell, to either side of a fact in the sentence
_NEAR_THERE: Final = 9  # and in the evidence, which may be wordier
_UNCITED: Final = 0.85
_IN_A_HEADING: Final = 0.9
_OTHER_UNIT: Final = 0.3
_OTHER_POLARITY: Final = 0.4
_SAME_CLAIM: Final = 0.7
_FULL_COVERAGE: Final = 0.75
_LEAST_TELLING: Final = 2
_MOST_JUDGED: Final = 400
"""Sentences and facts of one answer that are held against the evidence; what comes after counts as not borne out."""
_MOST_PLACES: Final = 50
"""Of one fact in one passage: each is looked at for each fact of the answer."""


@dataclass(frozen=True, slots=True)
class Grounding:
    """`score` (0 to 1) is the mean of the sentences' support and the weakest one's, a half of each; 1 without a claim.

    `unsupported` are sentences as they stand in the text, without their marks, and made safe once more: what a mark or
    a backslash had kept apart may have become a link.
    """

    score: float
    unsupported: tuple[str, ...]


def ground(text: str, evidence: Sequence[Passage], *, analyzer: Analyzer) -> Grounding:
    """`[n]` in the text cites `evidence[n - 1]`."""
    reading = _Reading(analyzer)
    sources = [_source(passage, reading) for passage in evidence]
    judged, left = [], _MOST_JUDGED
    for claim in _claims(text, reading):
        left -= 1 + sum(token.is_fact for token in claim.tokens)
        judged.append((claim, _support(claim, sources) if left >= 0 else 0.0))
    if not judged:
        return Grounding(1.0, ())
    supports = [support for _, support in judged]
    score = (sum(supports) / len(supports) + min(supports)) / 2
    weak = (sanitised(claim.text, passages=0) for claim, support in judged if support < SUPPORTED_FROM)
    return Grounding(round(score, 4), tuple(filter(None, weak)))


# Text as tokens


@dataclass(frozen=True, slots=True)
class _Token:
    """`key` is what is compared: a number's value, a name in small letters, else a stem; empty if it does not tell."""

    key: str
    parts: frozenset[str]
    is_fact: bool = False
    unit: str = ""
    negates: bool = False


@dataclass(frozen=True, slots=True)
class _Claim:
    """A sentence of the answer, and the passages that it cites, counted from 1."""

    text: str
    tokens: tuple[_Token, ...]
    cites: frozenset[int]


@dataclass(frozen=True, slots=True)
class _Source:
    """A passage: the tokens of its sentences, and what its title and headings say, which holds for all of them.

    `parts` are those of each sentence together. `seen` keeps what was looked up around a place: each is asked for by
    each fact of the answer.
    """

    sentences: tuple[tuple[_Token, ...], ...]
    parts: tuple[frozenset[str], ...]
    above: frozenset[str]
    held: frozenset[str]
    places: Mapping[str, tuple[tuple[int, int], ...]] = field(repr=False)
    seen: dict[tuple[int, int], tuple[frozenset[str], frozenset[str]]] = field(default_factory=dict, repr=False)


class _Reading:
    """Splits text; a word that occurs again is stemmed once. It lives as long as one answer is judged."""

    def __init__(self, analyzer: Analyzer) -> None:
        self._analyzer = analyzer
        self._stems: dict[str, tuple[str, ...]] = {}

    def sentence(self, text: str) -> tuple[_Token, ...]:
        found = list(_TOKEN.finditer(text))
        return tuple(self._tokens(found))

    def _tokens(self, found: Sequence[re.Match[str]]) -> Iterator[_Token]:
        for place, match in enumerate(found):
            word = match[0].lower()
            if match["sign"]:
                yield _Token(_UNITS[word], frozenset((_UNITS[word],)))
            elif (value := _value(match)) is not None:
                yield self._number(value, found, place)
            elif word in _UNITS and place and _value(found[place - 1]) is not None:
                yield _Token(_UNITS[word], frozenset((_UNITS[word],)))
            else:
                after = found[place + 1][0].lower() if place + 1 < len(found) else ""
                yield self._word(match[0], is_first=not place, is_bound=after in _BOUNDS)

    def _number(self, value: Decimal, found: Sequence[re.Match[str]], place: int) -> _Token:
        after = found[place + 1][0].lower() if place + 1 < len(found) else ""
        if after in _TIMES:
            value *= _TIMES[after]
            after = found[place + 2][0].lower() if place + 2 < len(found) else ""
        before = found[place - 1][0] if place else ""
        unit = _UNITS[before] if before in _BEFORE_THE_NUMBER else _UNITS.get(after, "")
        key = format(value.normalize(), "f")
        return _Token(key, frozenset((key,)), is_fact=True, unit=unit)

    def _word(self, word: str, *, is_first: bool, is_bound: bool) -> _Token:
        """`is_bound` is the "no" of "no more than", which denies nothing."""
        plain = _APOSTROPHE.sub("", word)
        low = plain.lower()
        stems = self._stemmed(low if plain[:1].isupper() and plain[1:].islower() else plain)
        negates = (low in _NEGATIONS and not is_bound) or word.lower().endswith(("n't", "n\u2019t"))
        if not stems:
            return _Token("", frozenset(), negates=negates)
        is_fact = _is_name(plain, is_first=is_first)
        return _Token(max(stems, key=len), frozenset(stems), is_fact=is_fact, negates=negates)

    def _stemmed(self, word: str) -> tuple[str, ...]:
        if word not in self._stems:
            self._stems[word] = tuple(self._analyzer.stems(word))
        return self._stems[word]


def _value(match: re.Match[str]) -> Decimal | None:
    if match["number"]:
        return Decimal(match["number"].replace(",", ""))
    return _NUMBER_WORDS.get(match[0].lower())


def _is_name(word: str, *, is_first: bool) -> bool:
    """A capital that does not only begin the sentence, or letters and digits in one word."""
    if any(map(str.isdigit, word)):
        return True
    return (word[:1].isupper() and not is_first) or any(map(str.isupper, word[1:]))


def _sentences(text: str) -> list[str]:
    return [piece for piece in _SENTENCE.split(text) if piece and piece.strip()]


def _claims(text: str, reading: _Reading) -> list[_Claim]:
    """Sentences that say something. A mark behind the full stop belongs to the sentence before it."""
    claims = []
    for piece in _sentences(_MARK.sub(lambda mark: f" [{mark[1]}]", _marks_inside(text))):
        cites = frozenset(int(mark) for mark in _MARK.findall(piece))
        plain = " ".join(_MARK.sub("", piece).replace("\\", "").split()).strip("-*#>| ")
        tokens = reading.sentence(plain)
        telling = sum(bool(token.key) for token in tokens)
        if any(token.is_fact for token in tokens) or (telling >= _LEAST_TELLING and not plain.endswith((":", "?"))):
            claims.append(_Claim(plain, tokens, cites))
    return claims


_BEHIND: Final = re.compile(r"([.!?][\"')]*)((?:\s*(?<!\\)\[\d{1,3}\])+)")


def _marks_inside(text: str) -> str:
    """`so it is. [1] Then` as `so it is [1]. Then`."""
    return _BEHIND.sub(lambda found: f"{found[2]}{found[1]}", text)


def _source(passage: Passage, reading: _Reading) -> _Source:
    sentences = tuple(reading.sentence(piece) for piece in _sentences(passage.text))
    heading = reading.sentence(" ".join((passage.title, *passage.heading_path)))
    above = frozenset().union(*(token.parts for token in heading))
    places: dict[str, list[tuple[int, int]]] = {}
    for line, tokens in enumerate(sentences):
        for place, token in enumerate(tokens):
            for part in token.parts:
                places.setdefault(part, []).append((line, place))
    held, found = above | places.keys(), {key: tuple(there) for key, there in places.items()}
    return _Source(sentences, tuple(map(_parts, sentences)), above, held, found)


# Support


def _support(claim: _Claim, sources: Sequence[_Source]) -> float:
    """The share of its words that stand in the evidence, times what its facts are worth, the weakest above all."""
    weighed = [(source, _weight(claim, n, len(sources))) for n, source in enumerate(sources, 1)]
    words = [token for token in claim.tokens if token.key and not token.is_fact]
    coverage = sum(_best(token, weighed) for token in words) / len(words) if words else 1.0
    places = [place for place, token in enumerate(claim.tokens) if token.is_fact and token.key]
    worth = [_worth(claim, place, weighed) for place in places]
    facts = (sum(worth) / len(worth) + min(worth)) / 2 if worth else 1.0
    return min(1.0, coverage / _FULL_COVERAGE) * facts * _polarity(claim, weighed)


def _weight(claim: _Claim, n: int, passages: int) -> float:
    known = {cited for cited in claim.cites if cited <= passages}
    return 1.0 if not known or n in known else _UNCITED


def _best(token: _Token, weighed: Sequence[tuple[_Source, float]]) -> float:
    return max((weight for source, weight in weighed if token.parts & source.held), default=0.0)


def _worth(claim: _Claim, place: int, weighed: Sequence[tuple[_Source, float]]) -> float:
    """How like the fact's surroundings are to those of the most similar place where the evidence has it, 0 to 1."""
    token = claim.tokens[place]
    near = _surroundings(claim.tokens, place)
    best = 0.0
    for source, weight in weighed:
        for line, there in source.places.get(token.key, ())[:_MOST_PLACES]:
            other = source.sentences[line][there]
            strange = token.unit and other.unit and token.unit != other.unit
            likeness = _likeness(near, source, line=line, place=there) * (_OTHER_UNIT if strange else 1.0)
            best = max(best, weight * likeness)
        if token.key in source.above:
            best = max(best, weight * _IN_A_HEADING)
    return best


def _surroundings(tokens: Sequence[_Token], place: int) -> list[tuple[_Token, float]]:
    """The nearest that tell, with a weight that falls with the distance."""
    before = [token for token in reversed(tokens[:place]) if token.key][:_NEAR]
    after = [token for token in tokens[place + 1 :] if token.key][:_NEAR]
    return [(token, 1 / distance) for side in (before, after) for distance, token in enumerate(side, 1)]


def _likeness(near: Sequence[tuple[_Token, float]], source: _Source, *, line: int, place: int) -> float:
    if not near:
        return 1.0
    if (line, place) not in source.seen:
        source.seen[line, place] = _around(source.sentences[line], place), _window(source, line)
    close, wide = source.seen[line, place]
    whole = sum(weight for _, weight in near)
    at_hand = sum(weight for token, weight in near if not token.parts.isdisjoint(close)) / whole
    in_sight = sum(weight for token, weight in near if not token.parts.isdisjoint(wide)) / whole
    return 0.6 * at_hand + 0.4 * in_sight


def _around(tokens: Sequence[_Token], place: int) -> frozenset[str]:
    before = [token for token in reversed(tokens[:place]) if token.key][:_NEAR_THERE]
    after = [token for token in tokens[place + 1 :] if token.key][:_NEAR_THERE]
    return frozenset().union(*(token.parts for token in (*before, *after)))


def _window(source: _Source, line: int) -> frozenset[str]:
    """The sentence with its neighbours, and what stands above the passage."""
    return source.above.union(*source.parts[max(0, line - 1) : line + 2])


def _polarity(claim: _Claim, weighed: Sequence[tuple[_Source, float]]) -> float:
    """Whether a "not" stands on one side only, if the evidence has a sentence that says nearly the same."""
    own = _parts(claim.tokens)
    if not own:
        return 1.0
    sentences = (pair for source, _ in weighed for pair in zip(source.parts, source.sentences, strict=True))
    there, nearest = max(sentences, key=lambda pair: len(own & pair[0]), default=(frozenset[str](), ()))
    shared = len(own & there)
    denied, denies = any(t.negates for t in nearest), any(t.negates for t in claim.tokens)
    if denies == denied or shared < _SAME_CLAIM * len(own) or (denied and shared < _SAME_CLAIM * len(there)):
        return 1.0
    return _OTHER_POLARITY


def _parts(tokens: Sequence[_Token]) -> frozenset[str]:
    return frozenset().union(*(token.parts for token in tokens))
