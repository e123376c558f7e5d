"""The rule for follow-up questions: does a question rest on the one before, and if so, on which things of it?

A *thing* is what can be asked about: a name (`Kafka`, `gw-lock-3`), or words that stand together (`payment service`).
A question with a thing of its own stands alone, unless a word such as `it` points back beyond it.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from carrel.ports.lexical import Analyzer


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_TOKEN: Final = re.compile(r"[^\W_]+(?:[_.\-'\u2019/:@][^\W_]+)*")
_OPENING: Final = re.compile(
    r"(?:(?:and|but|so|or|also|then|ok|okay)\b[\s,]*)*(?:(?:what|how) about\b|what of\b)?[\s,]*", re.IGNORECASE
)
_FOR_NOTHING: Final = re.compile(
    r"\bit\b(?= (?:is |was |be )?(?:not )?(?:take|takes|took|cost|costs|matter|mean|possible|allowed|true|safe|okay|ok"
    r"|necessary|worth|normal|legal|important|difficult|hard|easy|common|likely|known|enough|better|help)\b.{0,200}\b(?:to|that|if|when)\b)",
    re.IGNORECASE,
)
"""The `it` of "is it allowed to" and "does it take to", which stands for nothing."""
_COURTESY: Final = _words("thanks thank great good hello hi hey bye yes no okay ok please cool fine nice perfect")
_ASKING: Final = _words("what which who whom whose when where why how")
_BEING: Final = _words("is are was were be been isn't aren't wasn't weren't")
_DOING: Final = _words(
    "do does did can could cannot may might must shall should will would has have had"
    " don't doesn't didn't can't couldn't won't wouldn't shouldn't mustn't"
)
_OWNING: Final = _words("has have had")
_POINTING: Final = _words(
    "it its itself they them their theirs themselves he him his she her hers this these those former latter"
)
_REPLACED: Final = _words("it they them this that these those")
_BETWEEN: Final = _words("of in on at for to by with from during after before outside within without about per")
_CLAUSES: Final = _words("and or but if when where because while since once until")
_BEFORE_ONE: Final = _words("if when which that")
_PERSONS: Final = _words("i we you he she it they one")
_ARTICLES: Final = _words("the a an our this that these those its their")
_THROUGH: Final = _ARTICLES | _BETWEEN | {"one", "any", "all", "some"}
_VERBS: Final = _words("do use have get happen last mean need")
_LIGHT: Final = (
    _ASKING
    | _BEING
    | _DOING
    | _POINTING
    | _BETWEEN
    | _words(
        "many much long often far old one ones two do use used have get got happen happens happened need needs also"
        " still any first last next else instead mean means anybody somebody everybody people thing things"
    )
)
_OF_SOMETHING: Final = _words(
    "lead owner cause causes reason reasons limit limits alternative alternatives price cost size number step steps"
    " peak result results contact deadline consequence consequences impact summary threshold condition severity"
)
"""Nouns that ask "of what?": `technical lead` is no thing before somebody says whose."""
_DONE: Final = re.compile(
    r".{2,}ed$|^(?:kept|sent|held|shown|built|paid|made|done|put|found|left|lost|run|set|told|used)$"
)
_SENTENCE: Final = re.compile(r"(?<=[.!?])\s+|\n+")
_CITATION: Final = re.compile(r"\\?\[\d{1,3}\\?\]")
_STANDS_ALONE_FROM: Final = 4  # terms; so many say enough, thing or no thing
_FARTHEST: Final = 24  # tokens between a subject and its verb
_MOST_ADDED: Final = 4
_MOST_NAMES: Final = 2


@dataclass(frozen=True, slots=True)
class _Token:
    """`tells` is whether it carries meaning by itself, as the lexical index sees it; `code` whether it is so marked."""

    text: str
    start: int
    end: int
    tells: bool
    code: bool = False

    @property
    def low(self) -> str:
        return self.text.lower()


@dataclass(frozen=True, slots=True)
class _Thing:
    """`article` is the word before it, or nothing; `acts` is whether the question says something of it."""

    words: tuple[_Token, ...]
    article: str
    named: bool
    acts: bool

    @property
    def start(self) -> int:
        return self.words[0].start

    @property
    def end(self) -> int:
        return self.words[-1].end

    @property
    def is_one_of_many(self) -> bool:
        return self.article in {"a", "an"}

    @property
    def is_measure(self) -> bool:
        """As `500 euros`: it says how much, and not of what."""
        return self.words[0].text.isdigit()

    @property
    def text(self) -> str:
        return " ".join(word.text for word in self.words)

    @property
    def phrase(self) -> str:
        """As it can stand in the place of `it`."""
        return self.text if self.named and not self.article else f"the {self.text}"


def completed(question: str, topic: str, answer: str, *, analyzer: Analyzer) -> str:
    """The question with what it needs of the one before (`topic`) and of its answer; itself if it needs nothing."""
    tokens = _tokens(question, analyzer)
    if not topic or not _rests(question, tokens):
        return question
    before = _tokens(topic, analyzer)
    things = [thing for thing in _things(topic, before) if not thing.is_measure]
    opening = _OPENING.match(question)
    rest = question[opening.end() :] if opening else question
    if rest != question and _is_fragment(_tokens(rest, analyzer)):
        return _in_place(rest, topic, things)
    names = _names(answer, topic, analyzer) if _asks_for_a_thing(before) else []
    names += _one_of(before) if any(token.low == "one" for token in tokens) else []
    if not things and not names:
        return _together(question, _said(before))
    return _with_things(question, tokens, things, names)


def _tokens(text: str, analyzer: Analyzer) -> list[_Token]:
    return [
        _Token(
            found[0],
            found.start(),
            found.end(),
            tells=found[0].lower() not in _LIGHT and bool(analyzer.words(found[0])),
            code=text[found.start() - 1 : found.start()] == "`" or text[found.end() : found.end() + 2] == "()",
        )
        for found in _TOKEN.finditer(text)
    ]


# Does it rest on what was said?


def _rests(question: str, tokens: Sequence[_Token]) -> bool:
    if not tokens or all(token.low in _COURTESY for token in tokens):
        return False
    things = [thing for thing in _things(question, tokens) if _is_whole(thing)]
    opening = _OPENING.match(question)
    rest = question[opening.end() :] if opening else question
    if rest != question and _is_fragment([token for token in tokens if token.start >= len(question) - len(rest)]):
        return True
    if _points_back(question, tokens, things):
        return True
    telling = sum(token.tells for token in tokens)
    if tokens[0].low == "why" and len(tokens) > 1 and tokens[1].low == "not":
        return telling <= 1
    return not things and telling < _STANDS_ALONE_FROM


def _is_whole(thing: _Thing) -> bool:
    """Whether it says what it is: a name does, and words that are left when "of what?" must be asked of the last."""
    if thing.named:
        return True
    words = thing.words[:-1] if thing.words[-1].low in _OF_SOMETHING else thing.words
    return len(words) > 1


def _points_back(question: str, tokens: Sequence[_Token], things: Sequence[_Thing]) -> bool:
    """A word that stands for something, with nothing before it in the question that it could stand for."""
    nothing = {found.start() for found in _FOR_NOTHING.finditer(question)}
    answered = _answered_from(tokens, things)
    return any(
        token.start < answered and token.start not in nothing and _is_pointing(place, tokens)
        for place, token in enumerate(tokens)
    )


def _answered_from(tokens: Sequence[_Token], things: Sequence[_Thing]) -> float:
    """The place from which on the question itself names what a word stands for: behind a thing, or a clause of it."""
    first = min((thing.end for thing in things if not thing.is_one_of_many), default=math.inf)
    has_told = False
    for token in tokens:
        if has_told and token.low in _CLAUSES:
            return min(first, token.end)
        has_told = has_told or token.tells
    return first


def _is_pointing(place: int, tokens: Sequence[_Token]) -> bool:
    low = tokens[place].low
    before = tokens[place - 1].low if place else ""
    is_last = place == len(tokens) - 1
    if low in {"this", "these", "those"} and not is_last and tokens[place + 1].tells:
        return False
    if low == "that":
        return is_last or not place or before in _DOING | _BEING
    if low in {"one", "ones"}:
        return (is_last and bool(place)) or before in _BEFORE_ONE
    return low in _POINTING


def _is_fragment(tokens: Sequence[_Token]) -> bool:
    """Some words without a verb: nothing that asks, does or is."""
    return bool(tokens) and not any(token.low in _ASKING | _DOING | _BEING for token in tokens)


def _asks_for_a_thing(tokens: Sequence[_Token]) -> bool:
    return any(token.low in {"which", "who", "whom", "where"} for token in tokens)


# What is it about?


def _things(text: str, tokens: Sequence[_Token]) -> list[_Thing]:
    """In their order."""
    found = []
    for first, last in _runs(text, tokens):
        words = _without_verbs(first, last, tokens)
        named = any(map(_is_name, words))
        if len(words) > 1 or named:
            found.append(_Thing(tuple(words), _article(first, tokens), named=named, acts=_is_subject(first, tokens)))
    return found


def _article(first: int, tokens: Sequence[_Token]) -> str:
    before = tokens[first - 1].low if first else ""
    return before if before in _ARTICLES else ""


def _runs(text: str, tokens: Sequence[_Token]) -> list[tuple[int, int]]:
    """Words that tell, with nothing but a space between them, from the first to before the last."""
    runs: list[tuple[int, int]] = []
    for place, token in enumerate(tokens):
        if not token.tells:
            continue
        if runs and runs[-1][1] == place and text[tokens[place - 1].end : token.start] == " ":
            runs[-1] = (runs[-1][0], place + 1)
        else:
            runs.append((place, place + 1))
    return runs


def _is_subject(first: int, tokens: Sequence[_Token]) -> bool:
    """Whether it comes after "does" or "is", with an article between at most."""
    place = first - 1
    if place >= 0 and tokens[place].low in _ARTICLES:
        place -= 1
    return place >= 0 and tokens[place].low in _DOING | _BEING


def _without_verbs(first: int, last: int, tokens: Sequence[_Token]) -> Sequence[_Token]:
    """Without `move` of "did we move vehicle positions", and without `listen` of "does the payment service listen"."""
    before = tokens[first - 1].low if first else ""
    if before in _PERSONS or (before in _BEING and _DONE.match(tokens[first].low)):
        return tokens[first + 1 : last]
    return tokens[first : last - 1] if _ends_in_a_verb(first, last, tokens) else tokens[first:last]


def _ends_in_a_verb(first: int, last: int, tokens: Sequence[_Token]) -> bool:
    """After "does" the verb of a subject comes at its end, if not behind it; after "is" only what was done to it."""
    helper, after = _helper(first, tokens), tokens[last].low if last < len(tokens) else ""
    if (last < len(tokens) and tokens[last].tells) or (last - first == 1 and _is_name(tokens[first])):
        return False
    if helper in _DOING - _OWNING:
        return after not in _VERBS
    return helper in _BEING and _DONE.match(tokens[last - 1].low) is not None


def _helper(first: int, tokens: Sequence[_Token]) -> str:
    """The "does" or "is" whose subject this is, also through "one node of the gateway"; nothing without one."""
    for place in range(first - 1, max(first - _FARTHEST, 0) - 1, -1):
        if tokens[place].low not in _THROUGH and not tokens[place].tells:
            return tokens[place].low
        if tokens[place].tells and tokens[place + 1].low not in _BETWEEN:
            return ""
    return ""


def _is_name(token: _Token) -> bool:
    """A capital that does not only begin the question, or what nobody would write in a sentence."""
    text = token.text
    if token.code:
        return True
    if any(mark in text for mark in "_.-/:@") or (any(map(str.isdigit, text)) and any(map(str.isalpha, text))):
        return token.tells
    return token.tells and ((text[0].isupper() and token.start > 0) or any(map(str.isupper, text[1:])))


def _one_of(tokens: Sequence[_Token]) -> list[str]:
    """`checksum` of "which checksum does it use": of what the question asked for one."""
    return [after.text for token, after in pairwise(tokens) if token.low in {"which", "what"} and after.tells]


def _names(answer: str, topic: str, analyzer: Analyzer) -> list[str]:
    """Those of the sentence of the answer that says most of what was asked, without those that the question had."""
    asked = frozenset(analyzer.stems(topic))
    sentences = _SENTENCE.split(_CITATION.sub(" ", answer))
    best = max(sentences, key=lambda sentence: len(asked & frozenset(analyzer.stems(sentence))), default="")
    tokens = _tokens(best, analyzer)
    names = [" ".join(token.text for token in run) for run in _name_runs(best, tokens)]
    fresh = [name for name in names if not frozenset(analyzer.stems(name)) <= asked]
    return list(dict.fromkeys(fresh))[:_MOST_NAMES]


def _name_runs(text: str, tokens: Sequence[_Token]) -> list[list[_Token]]:
    runs: list[list[_Token]] = []
    for token in tokens:
        if not _is_name(token):
            continue
        if runs and text[runs[-1][-1].end : token.start] == " ":
            runs[-1].append(token)
        else:
            runs.append([token])
    return runs


# The question made whole


def _in_place(fragment: str, topic: str, things: Sequence[_Thing]) -> str:
    """ "And at night?" is added to the former question; "and casting videos?" comes in place of what that was about."""
    plain = fragment.strip().rstrip("?.! ")
    stem = topic.strip().rstrip("?.! ")
    if plain.split(" ", 1)[0].lower() in _BETWEEN or not things:
        return f"{stem} {plain}?"
    subject = _main(things)
    before = topic[: subject.start].rstrip().removesuffix(subject.article).rstrip()
    return f"{before} {plain}{topic[subject.end :]}".strip()


def _with_things(question: str, tokens: Sequence[_Token], things: Sequence[_Thing], names: Sequence[str]) -> str:
    """What it points to in the place of the word that points; the other things behind.

    What the former question asked for is what its answer names: "which node has a leak? how often is it restarted?"
    """
    others = [*(thing.text for thing in things), *names]
    for place, token in enumerate(tokens):
        if token.low in _REPLACED and _is_pointing(place, tokens):
            main = _main(things) if things else None
            meant = main.phrase if main and not (main.is_one_of_many and names) else names[0]
            question = f"{question[: token.start]}{meant}{question[token.end :]}"
            break
    return _together(question, others[:_MOST_ADDED])


def _main(things: Sequence[_Thing]) -> _Thing:
    """What the question says something of; else what has a name; else the first."""
    return next((thing for thing in things if thing.acts), None) or next((t for t in things if t.named), things[0])


def _said(tokens: Sequence[_Token]) -> list[str]:
    """For a question without a thing: its words."""
    return [" ".join(token.text for token in tokens if token.tells)]


def _together(question: str, added: Sequence[str]) -> str:
    some = [one for one in dict.fromkeys(added) if one and one.lower() not in question.lower()]
    return f"{question} ({', '.join(some)})" if some else question
