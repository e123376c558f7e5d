"""Answering: the model writes from the evidence, the server keeps only citations that name evidence.

Whatever the model does, there is an answer: it is refused where the evidence does not hold one, and degraded, with the
best passages, where the model failed. All that is told piece by piece makes up the answer's text, letter for letter.
"""

import re
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final

import structlog

from carrel.ask.judge import Verdict
from carrel.ask.prompt import DECLINED, Brief, assemble
from carrel.ask.sanitise import Sanitiser, sanitised
from carrel.domain.answers import Answer, AnswerStatus, Citation, ModelProblem, Passage, Usage
from carrel.domain.chats import excerpt_of
from carrel.domain.errors import ModelFailed, Unavailable
from carrel.ports.model import LONGEST_TOKEN, MOST_ANSWER_TOKENS, Draft, Model, Prompt

log = structlog.get_logger(__name__)

_MARK: Final = re.compile(r"(?<!\\)\[(\d{1,3})\]")
_SHOWN: Final = 3


@dataclass(frozen=True, slots=True)
class Delta:
    """A piece of the answer's text, as the reader may see it."""

    text: str


@dataclass(frozen=True, slots=True)
class Finished:
    answer: Answer


class Bill:
    """What models have used for one answer so far; it counts also when there will be no answer.

    `is_booked` once it stands in the ledger: a reader who leaves after that is not charged again.
    """

    def __init__(self, model: str) -> None:
        self.model = model
        self.is_booked = False
        self.rewriting: Usage | None = None
        self.writing: Usage | None = None

    @property
    def total(self) -> Usage:
        parts = [usage for usage in (self.rewriting, self.writing) if usage is not None]
        name = parts[-1].model if parts else self.model
        return Usage(sum(one.input_tokens for one in parts), sum(one.output_tokens for one in parts), name)


class Absent:
    """Stands for a model that cannot be called at all: it fails when it should write, as others do."""

    follows_instructions: Final = False
    context_tokens: Final = 1_000_000

    def __init__(self, name: str, failure: ModelFailed) -> None:
        self.name = name
        self._failure = failure

    async def write(self, prompt: Prompt) -> AsyncGenerator[Draft]:  # noqa: ARG002 - whatever is asked
        raise self._failure
        yield


class Answerer:
    """`degraded` counts the answers that a model owes, by the code of what went wrong, since the process began."""

    def __init__(self, *, most_tokens: int = MOST_ANSWER_TOKENS) -> None:
        """`most_tokens` is how many tokens a model may write."""
        self._most_tokens = most_tokens
        self.degraded: Counter[str] = Counter()

    async def answer(
        self, model: Model, brief: Brief, verdict: Verdict, *, bill: Bill | None = None
    ) -> AsyncGenerator[Delta | Finished]:
        """Deltas, then the whole. The bill is kept up while the model writes."""
        bill = bill or Bill(model.name)
        if not verdict.evidence:
            refused = refusal(verdict, bill.total)
            yield Delta(refused.text)
            yield Finished(refused)
            return
        pen, problem = _Pen(len(verdict.evidence), most=self._most_tokens * LONGEST_TOKEN), None
        try:
            prompt = assemble(model, brief, verdict.evidence, most_tokens=self._most_tokens)
            pen.passages(len(prompt.evidence))
            async with aclosing(model.write(prompt)) as drafts:
                async for draft in drafts:
                    bill.writing = draft.usage or bill.writing
                    if piece := pen.write(draft.text):
                        yield Delta(piece)
        except Unavailable as failure:
            problem = _problem(failure)
        if rest := pen.end():
            yield Delta(rest)
        for step in self._concluded(pen, problem, verdict, bill):
            yield step

    def _concluded(
        self, pen: "_Pen", problem: ModelProblem | None, verdict: Verdict, bill: Bill
    ) -> tuple[Delta | Finished, ...]:
        if pen.has_declined and problem is None:
            refused = refusal(verdict, bill.total)
            return Delta(refused.text), Finished(refused)
        citations = _citations(pen.text, verdict.evidence)
        if problem is None and not citations:
            problem = ModelProblem(code="model_uncited", detail="The model named no passage for what it wrote.")
        if problem is None:
            return (Finished(Answer(AnswerStatus.ANSWERED, pen.text, citations, verdict.evidence, (), bill.total)),)
        self.degraded[problem.code] += 1
        log.warning("answer.degraded", model=bill.model, code=problem.code, problem=problem.detail)
        degraded = _degraded(pen.text, problem, verdict, bill.total)
        return Delta(degraded.text.removeprefix(pen.text)), Finished(degraded)


class _Pen:
    """The answer's text as it comes: made safe, bounded, and silent while the model may just be declining."""

    def __init__(self, passages: int, *, most: int) -> None:
        self._sanitiser = Sanitiser(passages=passages)
        self._most = most
        self._size = 0
        self._opening: str | None = ""
        self._pieces: list[str] = []
        self.has_declined = False

    def passages(self, number: int) -> None:
        """Before anything is written: how many of the passages the model has seen."""
        self._sanitiser = Sanitiser(passages=number)

    @property
    def text(self) -> str:
        return "".join(self._pieces)

    def write(self, text: str) -> str:
        """What may be shown now. Raises ModelFailed for a model that does not stop."""
        self._size += len(text)
        if self._size > self._most:
            raise ModelFailed("The model wrote far more than it was asked for.")
        if self.has_declined:
            return ""
        if self._opening is not None:
            text = self._opened(text)
        return self._kept(self._sanitiser.feed(text))

    def end(self) -> str:
        opening, self._opening = self._opening or "", None
        return self._kept(self._sanitiser.feed(opening) + self._sanitiser.end())

    def _opened(self, text: str) -> str:
        """Nothing as long as it may become the word by which a model declines."""
        self._opening = (self._opening or "") + text
        said = self._opening.lstrip()
        if said.startswith(DECLINED):
            self.has_declined, self._opening = True, None
            return ""
        if DECLINED.startswith(said):
            return ""
        text, self._opening = self._opening, None
        return text

    def _kept(self, text: str) -> str:
        if text:
            self._pieces.append(text)
        return text


def refusal(verdict: Verdict, usage: Usage) -> Answer:
    """No evidence, no answer: what was not found, what lies nearest, and how to ask better."""
    return Answer(
        status=AnswerStatus.REFUSED,
        text="I found nothing in these documents that answers this.",
        citations=(),
        evidence=verdict.nearest,
        guidance=tuple(_guidance(verdict)),
        usage=usage,
    )


def _degraded(written: str, problem: ModelProblem, verdict: Verdict, usage: Usage) -> Answer:
    """What the model wrote before it failed, and the best passages themselves, each cited."""
    passages = verdict.evidence[:_SHOWN]
    lines = [f"{_quoted(passage)} [{n}]" for n, passage in enumerate(passages, 1)]
    opening = written and f"{written}\n\n"
    text = f"{opening}{_why(written, problem)}\n\n" + "\n\n".join(lines)
    return Answer(
        status=AnswerStatus.DEGRADED,
        text=text,
        citations=_citations(text, verdict.evidence),
        evidence=verdict.evidence,
        guidance=(_ADVICE.get(problem.code, "Ask again in a moment for a written answer."),),
        usage=usage,
        problem=problem,
    )


def _why(written: str, problem: ModelProblem) -> str:
    if problem.code == "model_uncited":
        return "The model named no passage for this; these passages are the nearest."
    said = "The model broke off here" if written else "The model did not answer"
    return f"{said}; these passages are the nearest."


_ASK_THE_KEEPER: Final = "Asking again will not help: tell whoever looks after this bot or this server."
_ADVICE: Final = {
    "model_credential_missing": _ASK_THE_KEEPER,
    "model_key_refused": _ASK_THE_KEEPER,
    "model_unknown": _ASK_THE_KEEPER,
    "model_quota_exhausted": _ASK_THE_KEEPER,
    "model_refused_input": "Put the question in other words.",
    "model_uncited": "Judge by the passages themselves, or put the question in other words.",
    "context_too_long": "Ask a shorter question, or begin a new chat.",
}


def _problem(failure: Unavailable) -> ModelProblem:
    code = failure.code if isinstance(failure, ModelFailed) else ModelFailed.default_code
    return ModelProblem(code, failure.detail)


def _citations(text: str, evidence: Sequence[Passage]) -> tuple[Citation, ...]:
    """Each passage that the text names, once, in the order in which it names them."""
    named = dict.fromkeys(int(mark) for mark in _MARK.findall(text))
    return tuple(
        Citation(n, evidence[n - 1], excerpt_of(evidence[n - 1].text)) for n in named if 1 <= n <= len(evidence)
    )


def _quoted(passage: Passage) -> str:
    """As text of an answer: a document's own `[1]` is no citation."""
    return sanitised(_MARK.sub(r"\\[\1\\]", excerpt_of(passage.text)), passages=0)


def _guidance(verdict: Verdict) -> list[str]:
    lines = []
    if verdict.missing:
        lines.append("None of the nearest passages mentions: " + ", ".join(verdict.missing) + ".")
    if verdict.nearest:
        titles = dict.fromkeys(sanitised(passage.title, passages=0) for passage in verdict.nearest)
        lines.append("The nearest documents: " + "; ".join(titles) + ".")
    lines.append("Name the system, the error or the document that you mean, in the words that the documents use.")
    return lines
