"""Answering: the model writes from the evidence, the server keeps only citations that name evidence."""

import asyncio
import re
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final

import structlog

from carrel.ask.judge import Verdict
from carrel.domain.answers import Answer, AnswerStatus, Citation, Passage, Usage
from carrel.domain.errors import Unavailable
from carrel.ports.model import Draft, Model, Prompt

log = structlog.get_logger(__name__)

_MARK: Final = re.compile(r"\s*\[(\d{1,3})\]")
_EXCERPT: Final = 400


@dataclass(frozen=True, slots=True)
class Delta:
    """A piece of the answer's text, as the reader may see it."""

    text: str


@dataclass(frozen=True, slots=True)
class Finished:
    answer: Answer


class Answerer:
    def __init__(self, model: Model, *, patience: float) -> None:
        """`patience` is how many seconds the whole answer may take before the passages are returned instead."""
        self._model = model
        self._patience = patience

    async def answer(self, question: str, instructions: str, verdict: Verdict) -> AsyncGenerator[Delta | Finished]:
        """Deltas, then the whole. A refusal or a degraded answer comes as one piece."""
        if not verdict.evidence:
            refused = refusal(self._model.name, verdict)
            yield Delta(refused.text)
            yield Finished(refused)
            return
        written: list[str] = []
        usage = Usage(0, 0, self._model.name)
        try:
            async with aclosing(self._drafts(Prompt(question, verdict.evidence, instructions))) as drafts:
                async for draft in drafts:
                    written.append(draft.text)
                    usage = draft.usage or usage
                    if draft.text:
                        yield Delta(draft.text)
        except (Unavailable, TimeoutError) as problem:
            log.warning("answer.degraded", model=self._model.name, problem=str(problem) or "time-out")
            yield Finished(degraded(self._model.name, verdict))
            return
        answer = _answered("".join(written), verdict.evidence, usage)
        yield Finished(answer if answer.citations else degraded(self._model.name, verdict))

    async def _drafts(self, prompt: Prompt) -> AsyncGenerator[Draft]:
        """Raises TimeoutError. Only the time that we wait for the model counts, never a slow reader's.

        A time-out around a `yield` would strike whatever the reader's task is doing.
        """
        left = self._patience
        async with aclosing(self._model.write(prompt)) as drafts:
            while True:
                started = time.monotonic()
                async with asyncio.timeout(left):
                    try:
                        draft = await anext(drafts)
                    except StopAsyncIteration:
                        return
                left -= time.monotonic() - started
                yield draft


def refusal(model: str, verdict: Verdict) -> Answer:
    """No evidence, no answer: what was not found, what lies nearest, and how to ask better."""
    return Answer(
        status=AnswerStatus.REFUSED,
        text="I found nothing in these documents that answers this.",
        citations=(),
        evidence=verdict.nearest,
        guidance=tuple(_guidance(verdict)),
        usage=Usage(0, 0, model),
    )


def degraded(model: str, verdict: Verdict) -> Answer:
    """The model failed: the best passages themselves, each cited."""
    passages = verdict.evidence[:3]
    lines = [f"{_excerpt(passage.text)} [{n}]" for n, passage in enumerate(passages, 1)]
    return Answer(
        status=AnswerStatus.DEGRADED,
        text="The model did not answer; these passages are the nearest.\n\n" + "\n\n".join(lines),
        citations=tuple(Citation(n, passage, _excerpt(passage.text)) for n, passage in enumerate(passages, 1)),
        evidence=verdict.evidence,
        guidance=("Ask again in a moment for a written answer.",),
        usage=Usage(0, 0, model),
    )


def _answered(text: str, evidence: Sequence[Passage], usage: Usage) -> Answer:
    named = dict.fromkeys(int(mark) for mark in _MARK.findall(text))
    citations = tuple(
        Citation(n, evidence[n - 1], _excerpt(evidence[n - 1].text)) for n in named if 1 <= n <= len(evidence)
    )
    known = {citation.n for citation in citations}
    clean = _MARK.sub(lambda mark: mark[0] if int(mark[1]) in known else "", text)
    return Answer(AnswerStatus.ANSWERED, clean.strip(), citations, tuple(evidence), (), usage)


def _guidance(verdict: Verdict) -> list[str]:
    lines = []
    if verdict.missing:
        lines.append("None of the nearest passages mentions: " + ", ".join(verdict.missing) + ".")
    if verdict.nearest:
        titles = dict.fromkeys(passage.title for passage in verdict.nearest)
        lines.append("The nearest documents: " + "; ".join(titles) + ".")
    lines.append("Name the system, the error or the document that you mean, in the words that the documents use.")
    return lines


def _excerpt(text: str) -> str:
    plain = " ".join(text.split())
    return plain if len(plain) <= _EXCERPT else plain[:_EXCERPT].rsplit(" ", 1)[0] + " …"
