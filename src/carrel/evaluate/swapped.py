"""Answers of which one fact was swapped, to see whether groundedness notices.

A faithful answer is a sentence or two of the evidence, paraphrased and shortened by rule, and cited. Its twin is the
same but for one number or name, which was replaced by another of its kind: from elsewhere in the same passage, from
another passage of the evidence, or from a text about something else. How facts are found here has nothing to do with
how `ask/ground.py` finds them.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from types import MappingProxyType
from typing import Final

NUMBER, NAME = "number", "name"
SAME_PASSAGE, OTHER_PASSAGE, ALIEN = "the same passage", "another passage", "a foreign text"
ORIGINS: Final = (SAME_PASSAGE, OTHER_PASSAGE, ALIEN)

_LEAST_WORDS: Final = 7
_MOST_WORDS: Final = 60
_AMONG: Final = 3  # of the best passages one is chosen
_SENTENCE: Final = re.compile(r"(?<=[.!?])\s+(?=[A-Z\"'(])|\n+")
_FIGURE: Final = re.compile(r"(?<![\w.\-/:,])\d[\d,]*(?:\.\d+)?(?![\w\-/:]|\.\d)")
_CAPITALS: Final = re.compile(r"(?<=[a-z,;] )[A-Z][A-Za-z]+(?: [A-Z][A-Za-z]+){0,2}")
_IDENTIFIER: Final = re.compile(r"(?<![\w`\-])(?=[\w\-]*[A-Z0-9_])(?=[\w\-]*[A-Za-z])[\w]+(?:[\-_][\w]+)+(?![\w\-])")
_PARENTHESES: Final = re.compile(r"\s*\([^()]*\)")
_OPENING: Final = re.compile(r"^((?:In|On|At|During|After|Since|Before|For|Among) [^,]{3,60}), (\w)([^.]*)\.$")
_SIDE_CLAUSE: Final = re.compile(r", (?:which|because|so that|since|as|although|while|and so) [^,;]*(?=\.$)")
_SAYINGS: Final[Mapping[str, str]] = MappingProxyType({
    "at most": "no more than", "more than": "over", "less than": "under", "because": "since", "must": "has to",
    "about": "around", "show": "demonstrate", "shows": "demonstrates", "showed": "demonstrated", "large": "big",
    "begins": "starts", "began": "started", "however": "though", "percent": "%", "also": "", "therefore": "so",
    "significantly": "markedly", "uses": "employs", "caused by": "due to", "such as": "like", "several": "a number of",
    "in order to": "to", "was released": "came out", "is located": "lies", "approximately": "about", "kept": "stored",
})  # fmt: skip
_WORDED: Final = re.compile(r"\b(?:" + "|".join(sorted(_SAYINGS, key=len, reverse=True)) + r")\b")


@dataclass(frozen=True, slots=True)
class Pair:
    """`kind` is what was swapped, `origin` where the false one is from."""

    kind: str
    origin: str
    faithful: str
    swapped: str


@dataclass(frozen=True, slots=True)
class _Fact:
    kind: str
    shape: str
    text: str
    start: int
    end: int


def pairs(evidence: Sequence[str], alien: Sequence[str], chance: Random) -> list[Pair]:
    """At most one of each kind and origin from one question's evidence; `alien` texts are another question's."""
    told = [(n, said) for n, text in enumerate(evidence[:_AMONG], 1) for said in _sayable(text)]
    chance.shuffle(told)
    found = []
    for kind in (NUMBER, NAME):
        for origin in ORIGINS:
            swap = _Swap(kind, origin, chance)
            tries = (swap.made(n, said, _texts(swap, n, evidence, alien)) for n, said in told)
            found += next(([pair] for pair in tries if pair is not None), [])
    return found


def _texts(swap: "_Swap", n: int, evidence: Sequence[str], alien: Sequence[str]) -> Sequence[str]:
    """Where a false fact may be from."""
    same = evidence[n - 1]
    others = [text for text in evidence if text != same]
    return {SAME_PASSAGE: [same], OTHER_PASSAGE: others, ALIEN: alien}[swap.origin]


@dataclass(frozen=True, slots=True)
class _Swap:
    kind: str
    origin: str
    chance: Random

    def made(self, n: int, said: str, texts: Sequence[str]) -> Pair | None:
        """None where the sentence has no such fact, or the texts no other of its kind."""
        told = paraphrased(said, self.chance)
        others = [fact for text in texts for fact in _facts(text)]
        facts = [fact for fact in _facts(told) if fact.kind == self.kind]
        self.chance.shuffle(facts)
        for fact in facts:
            false = [one.text for one in others if _is_another(one, fact, told)]
            if false:
                swapped = told[: fact.start] + self.chance.choice(false) + told[fact.end :]
                return Pair(self.kind, self.origin, _cited(told, n), _cited(swapped, n))
        return None


def _is_another(one: _Fact, fact: _Fact, said: str) -> bool:
    return (one.kind, one.shape) == (fact.kind, fact.shape) and one.text.lower() not in said.lower()


def _cited(text: str, n: int) -> str:
    return f"{text.rstrip('.')} [{n}]."


def _sayable(text: str) -> list[str]:
    """Whole sentences of an ordinary length, each once."""
    pieces = (" ".join(piece.strip(" -*#>|").split()) for piece in _SENTENCE.split(text))
    return list(dict.fromkeys(p for p in pieces if _LEAST_WORDS <= len(p.split()) <= _MOST_WORDS and p.endswith(".")))


def paraphrased(sentence: str, chance: Random) -> str:
    """Shorter, in other words and in another order where a rule allows it; the facts that are left are the same."""
    text = _PARENTHESES.sub("", sentence)
    if chance.random() < 0.5:  # noqa: PLR2004 - each second time
        text = _SIDE_CLAUSE.sub("", text)
    if moved := _OPENING.match(text):
        opening = moved[1][0].lower() + moved[1][1:]
        text = f"{moved[2].upper()}{moved[3]} {opening}."
    text = _WORDED.sub(lambda found: _SAYINGS[found[0]], text)
    return " ".join(text.split()).replace(" ,", ",").replace(" .", ".")


def _facts(text: str) -> list[_Fact]:
    found = [
        _Fact(NUMBER, _number_shape(one, text), one[0].rstrip(","), one.start(), one.start() + len(one[0].rstrip(",")))
        for one in _FIGURE.finditer(text)
    ]
    found += [
        _Fact(NAME, f"{len(one[0].split())} capitals", one[0], one.start(), one.end())
        for one in _CAPITALS.finditer(text)
    ]
    found += [_Fact(NAME, "identifier", one[0], one.start(), one.end()) for one in _IDENTIFIER.finditer(text)]
    return found


def _number_shape(found: re.Match[str], text: str) -> str:
    plain = found[0].rstrip(",").replace(",", "")
    if text[found.end() : found.end() + 9].lstrip().startswith(("%", "percent", "per cent")):
        return "percentage"
    if "." in plain:
        return "decimal"
    return "year" if len(plain) == 4 and plain[:2] in {"18", "19", "20"} and "," not in found[0] else "whole"  # noqa: PLR2004
