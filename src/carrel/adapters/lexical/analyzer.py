"""Text as the lexical index sees it: Unicode words, identifiers split, English stems (Snowball)."""

import re
from collections.abc import Iterable, Sequence
from typing import Final
from unicodedata import normalize

import Stemmer

from carrel.domain.text import Term

_WORD: Final = re.compile(r"[^\W_]+(?:[_.\-'\u2019/:@][^\W_]+)*")
_PART: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_a-zA-Z]+")
_JOINTS: Final = re.compile(r"[_.\-/:@]")
_APOSTROPHE: Final = re.compile(r"['\u2019].*$")
_LONGEST: Final = 64
_NONE: Final[frozenset[str]] = frozenset()

STOP_WORDS: Final = frozenset(
    """
    a about above after again against all am an and any are as at be because been before being below between
    both but by can could did do does doing down during each few for from further had has have having he her
    here hers herself him himself his how i if in into is it its itself just me more most my myself no nor not
    now of off on once only or other our ours ourselves out over own please same shall she should so some such
    tell than that the their theirs them themselves then there these they this those through to too under until
    up us very was we were what when where which while who whom whose why will with would you your yours
    yourself yourselves
    """.split()  # noqa: SIM905 - a hundred words read better as a text than as a list
)


class EnglishAnalyzer:
    """`payment_service`, `paymentService` and `payment-service` give whole and parts, so each finds the others.

    Nothing is kept from one text to the next: a cache of words would let one tenant measure what another wrote.
    """

    name: Final = "english-1"

    def __init__(self) -> None:
        stemmer = Stemmer.Stemmer("english")
        stemmer.maxCacheSize = 0
        self._stemmer = stemmer

    def stems(self, text: str) -> list[str]:
        words = [word for surface in _surfaces(text) for word in _words(surface)]
        return list(self._stemmer.stemWords(words))

    def words(self, text: str) -> list[Term]:
        found: dict[str, Term] = {}
        for surface in _surfaces(text):
            for stem in self._stemmer.stemWords(list(_words(surface))):
                found.setdefault(stem, Term(stem, surface))
        return list(found.values())

    def held(self, wanted: frozenset[str], texts: Sequence[str]) -> list[frozenset[str]]:
        """Each distinct word is stemmed once for all texts, and only if it may become a stem that is wanted."""
        surfaces = [set(_surfaces(text)) for text in texts]
        words = [(surface, word) for surface in _likely(set().union(*surfaces), wanted) for word in _words(surface)]
        found: dict[str, frozenset[str]] = {}
        for (surface, _), stem in zip(words, self._stemmer.stemWords([word for _, word in words]), strict=True):
            if stem in wanted:
                found[surface] = found.get(surface, _NONE) | {stem}
        return [_NONE.union(*(found[one] for one in own & found.keys())) for own in surfaces]


def _likely(surfaces: Iterable[str], wanted: Iterable[str]) -> list[str]:
    """All that may become a stem that is wanted. Of a plain word its first letters tell, and most words are plain."""
    heads = _heads(wanted)
    return [
        one
        for one in surfaces
        if one[:2].lower() in heads
        or one[0].lower() in heads
        or (not (one.isascii() and one.isalpha() and one[1:].islower()) and _may_hold(one, heads))
    ]


def _heads(stems: Iterable[str]) -> frozenset[str]:
    """How a word must begin to become one of the stems: stemming keeps two letters, but makes `die` of `dying`."""
    heads = {stem[:2] for stem in stems}
    return frozenset(heads | {head[0] + "y" for head in heads if head.endswith("i")})


def _may_hold(compound: str, heads: Iterable[str]) -> bool:
    """False is sure: neither the whole nor a part begins so."""
    joined = _JOINTS.sub("", compound.lower())
    return not compound.isascii() or any(map(joined.__contains__, heads))


def _surfaces(text: str) -> list[str]:
    """In composed letters: what a Mac or a PDF writes as `o` and two dots is the same word."""
    return _WORD.findall(normalize("NFC", text))


def _words(surface: str) -> Iterable[str]:
    """The word in lower case, unless it is a stop word; for a compound the whole without its joints, then its parts."""
    word = surface.lower()
    if surface[1:] == word[1:] and word.isalpha():
        return () if word in STOP_WORDS else (word[:_LONGEST],)
    return [word for word in _parts(surface) if word not in STOP_WORDS]


def _parts(surface: str) -> list[str]:
    plain = _APOSTROPHE.sub("", surface)
    parts = [part for piece in _JOINTS.split(plain) for part in _split(piece)]
    if len(parts) <= 1:
        return [plain.lower()[:_LONGEST]]
    whole = "".join(parts).lower()
    return [word[:_LONGEST] for word in (whole, *(part.lower() for part in parts))]


def _split(piece: str) -> list[str]:
    """What is longer than any name that somebody chose (a hash, a key, data) has no parts."""
    return _PART.findall(piece) if len(piece) <= _LONGEST else [piece[:_LONGEST]]
