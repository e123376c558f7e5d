"""Questions with the words that a right answer holds, put to the chat: found, answered or refused, and said?

A folder holds the documents of several organisations, each in a folder of its own, and two files: `questions.json` and
`follow-ups.json`. A question of one organisation that another one's documents do not answer is to be refused there.
"""

import json
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from zlib import crc32

from carrel.ask.chats import Chats
from carrel.ask.pipeline import Asking, ChatWish, Done, Evidence, SearchWish
from carrel.domain.answers import Answer, Passage
from carrel.domain.ids import ChatId
from carrel.evaluate.metrics import Decision, Halved, halved
from carrel.evaluate.pipeline import Reader, Tell
from carrel.evaluate.sets import BadSet, LabelledSet, SetDocument
from carrel.evaluate.turns import in_turns

_QUESTIONS, _FOLLOW_UPS = "questions.json", "follow-ups.json"
_SHOWN: Final = 5
REWRITTEN, STAND_ALONE = "rewritten", "asked alone"
_PASSAGES: Final = 50


@dataclass(frozen=True, slots=True)
class FactQuestion:
    """`expects` are words of the answer, None where the organisation's documents do not hold one."""

    text: str
    expects: str | None


@dataclass(frozen=True, slots=True)
class FollowUp:
    """`documents` are the keys of those that answer it; `expects` are words of the passage that does."""

    part: str
    first: str
    text: str
    stand_alone: str
    documents: frozenset[str]
    expects: str


@dataclass(frozen=True, slots=True)
class Change:
    """A question that stands alone, put after one about something else."""

    first: str
    text: str


@dataclass(frozen=True, slots=True)
class Organisation:
    shelf: LabelledSet
    questions: tuple[FactQuestion, ...]
    follow_ups: tuple[FollowUp, ...]
    changes: tuple[Change, ...]


def load_organisations(folder: Path, names: Sequence[str]) -> list[Organisation]:
    """Raises BadSet."""
    questions, talks = _read(folder / _QUESTIONS), _read(folder / _FOLLOW_UPS)
    try:
        return [
            Organisation(
                _shelf(folder / name),
                _questions(questions, name),
                tuple(_follow_up(row) for row in talks["follow_ups"] if row["tenant"] == name),
                tuple(
                    Change(row["first"], row["follow_up"])
                    for row in talks["changes_of_subject"]
                    if row["tenant"] == name
                ),
            )
            for name in names
        ]
    except (KeyError, TypeError) as wrong:
        raise BadSet(f"{folder} holds questions of another form: {wrong!r}.") from None


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        raise BadSet(f"{path} is missing or no JSON.") from None


def _shelf(folder: Path) -> LabelledSet:
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    corpus = []
    for path in paths:
        key, text = path.relative_to(folder).as_posix(), path.read_text("utf-8")
        corpus.append(SetDocument(key, "", text, key, text))
    return LabelledSet(folder.name, tuple(corpus), (), {})


def _questions(written: Mapping[str, Any], name: str) -> tuple[FactQuestion, ...]:
    asked = [FactQuestion(one["question"], one["expects"][name]) for one in written["shared"]]
    asked += [
        FactQuestion(one["question"], one["expects"] if one["tenant"] == name else None) for one in written["own"]
    ]
    return (*asked, *(FactQuestion(one["question"], None) for one in written["refused"]))


def _follow_up(row: Mapping[str, Any]) -> FollowUp:
    return FollowUp(
        row["part"], row["first"], row["follow_up"], row["stand_alone"], frozenset(row["documents"]), row["expects"]
    )


# What was found out


@dataclass(frozen=True, slots=True)
class Tried:
    """One question: what was decided, and (where there is an answer) whether a passage and the answer hold it."""

    question: FactQuestion
    decision: Decision
    found: bool
    said: bool
    grounding: float | None

    @property
    def reports(self) -> bool:
        """Whether it is of the half that nothing is learned from; the same question is so in every organisation."""
        return bool(crc32(self.question.text.encode()) % 2)


@dataclass(frozen=True, slots=True)
class Talked:
    """A follow-up in three forms: as it was put, as it was searched, and as somebody would ask it alone."""

    follow_up: FollowUp
    asked: str
    bare: "Search"
    rewritten: "Search"
    stand_alone: "Search"


@dataclass(frozen=True, slots=True)
class Search:
    """`recall` (0 to 1) is of documents among the first five, `holds` whether one of five passages has the words."""

    recall: float
    holds: bool


@dataclass(frozen=True, slots=True)
class FactFindings:
    """Of all organisations together. `untouched` of `changes` questions that stand alone were left as they were."""

    tried: tuple[Tried, ...]
    talked: tuple[Talked, ...]
    untouched: int
    changes: int

    @property
    def reporting(self) -> "FactFindings":
        """The halves that nothing was learned from or tuned on."""
        talked = tuple(one for one in self.talked if one.follow_up.part == "reporting")
        return FactFindings(tuple(one for one in self.tried if one.reports), talked, self.untouched, self.changes)

    @property
    def answerable(self) -> tuple[Tried, ...]:
        return tuple(one for one in self.tried if one.question.expects is not None)

    @property
    def unanswerable(self) -> tuple[Tried, ...]:
        return tuple(one for one in self.tried if one.question.expects is None)

    @property
    def behaviour(self) -> float:
        """The share of questions that were answered or refused rightly, as the product decides."""
        right = sum(one.decision.answered is (one.question.expects is not None) for one in self.tried)
        return right / len(self.tried)

    @property
    def retrieval_pass(self) -> float:
        """The share of answerable questions of which one of the first five passages holds the answer's words."""
        return sum(one.found for one in self.answerable) / len(self.answerable)

    @property
    def said(self) -> float:
        """The share of answerable questions whose answer holds the words."""
        return sum(one.said for one in self.answerable) / len(self.answerable)

    @property
    def learned(self) -> Halved:
        """With a threshold of these questions' own instead of the product's."""
        pairs = [(one.decision.confidence, one.question.expects is not None, one.reports) for one in self.tried]
        return halved(pairs)

    def forms(self) -> dict[str, "Forms"]:
        """Means over the follow-ups, for each form in which they were searched."""
        searches = {
            "as it was put": [one.bare for one in self.talked],
            REWRITTEN: [one.rewritten for one in self.talked],
            STAND_ALONE: [one.stand_alone for one in self.talked],
        }
        return {
            name: Forms(_mean([s.recall for s in some]), _mean([s.holds for s in some]))
            for name, some in searches.items()
        }


@dataclass(frozen=True, slots=True)
class Forms:
    """As `Search`, of many."""

    recall: float
    holds: float


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0


class FactEvaluation:
    """By the chat and the search of everybody; the chats are deleted again. `tell` is called for each question."""

    def __init__(self, asking: Asking, chats: Chats, *, tell: Tell = lambda: None) -> None:
        self._asking = asking
        self._chats = chats
        self._tell = tell

    async def run(self, places: Sequence[tuple[Organisation, Reader]]) -> FactFindings:
        """Raises what asking raises."""
        tried: list[Tried] = []
        talked: list[Talked] = []
        untouched: list[bool] = []
        for organisation, reader in places:
            own = _Room(self._asking, self._chats, reader)
            tried += await in_turns(organisation.questions, own.ask, tell=self._tell)
            talked += await in_turns(organisation.follow_ups, own.talk, tell=self._tell)
            untouched += await in_turns(organisation.changes, own.leaves, tell=self._tell)
        return FactFindings(tuple(tried), tuple(talked), sum(untouched), len(untouched))


def facts_put(organisations: Sequence[Organisation]) -> int:
    """How many questions a run will put."""
    return sum(len(one.questions) + len(one.follow_ups) + len(one.changes) for one in organisations)


class _Room:
    """One organisation's documents."""

    def __init__(self, asking: Asking, chats: Chats, reader: Reader) -> None:
        self._asking = asking
        self._chats = chats
        self._reader = reader

    async def ask(self, question: FactQuestion) -> Tried:
        evidence, done = await self._turn(ChatWish(question.text))
        await self._forget(done.remembered.chat)
        answer = done.remembered.answer
        expects = question.expects
        found = expects is not None and _holds(await self._search(question.text), expects)
        said = expects is not None and _same(expects) in _same(answer.text.replace("\\", ""))
        return Tried(question, Decision(evidence.confidence, evidence.is_enough), found, said, answer.grounding)

    async def talk(self, follow_up: FollowUp) -> Talked:
        asked = (await self._second(follow_up.first, follow_up.text)).asked or follow_up.text
        forms = [await self._searched(text, follow_up) for text in (follow_up.text, asked, follow_up.stand_alone)]
        return Talked(follow_up, asked, *forms)

    async def leaves(self, change: Change) -> bool:
        return (await self._second(change.first, change.text)).asked in {None, change.text}

    async def _second(self, first: str, then: str) -> Answer:
        _, done = await self._turn(ChatWish(first))
        _, again = await self._turn(ChatWish(then, chat=done.remembered.chat))
        await self._forget(done.remembered.chat)
        return again.remembered.answer

    async def _turn(self, wish: ChatWish) -> tuple[Evidence, Done]:
        seen: list[Evidence] = []
        done: list[Done] = []
        async with aclosing(self._asking.chat(await self._asking.allow(self._reader.principal, wish))) as events:
            async for event in events:
                if isinstance(event, Evidence):
                    seen.append(event)
                elif isinstance(event, Done):
                    done.append(event)
        return seen[0], done[0]

    async def _forget(self, chat: ChatId) -> None:
        await self._chats.delete(self._reader.principal, chat)

    async def _search(self, text: str) -> Sequence[Passage]:
        return (await self._asking.search(self._reader.principal, SearchWish(text, limit=_PASSAGES))).hits

    async def _searched(self, text: str, follow_up: FollowUp) -> Search:
        hits = await self._search(text)
        documents = list(dict.fromkeys(self._reader.documents[hit.document] for hit in hits))[:_SHOWN]
        recall = len(follow_up.documents & set(documents)) / len(follow_up.documents)
        return Search(recall, _holds(hits, follow_up.expects))


def _holds(hits: Sequence[Passage], words: str) -> bool:
    return any(_same(words) in _same(hit.text) for hit in hits[:_SHOWN])


def _same(text: str) -> str:
    return " ".join(text.lower().split())
