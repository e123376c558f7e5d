"""Asking: the verbs in order. Search shows passages; chat answers, refuses or falls back, and remembers."""

import time
from collections.abc import AsyncGenerator, AsyncIterator, Hashable, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Final

from carrel.ask.answer import Absent, Answerer, Bill, Delta, Finished
from carrel.ask.authorize import Leave, authorize
from carrel.ask.ground import ground
from carrel.ask.judge import Verdict, assess, judge
from carrel.ask.prompt import Brief
from carrel.ask.question import LONGEST, MOST_HITS, Asker, Question, judged, judged_filters
from carrel.ask.retrieve import BOTH, Leg, Need, Retrieved, Retriever
from carrel.ask.rewrite import stand_alone
from carrel.domain.access import Principal
from carrel.domain.answers import Answer, AnswerStatus, Passage, Remembered, Usage, Wish
from carrel.domain.chats import Turn
from carrel.domain.errors import Denied, Invalid, ModelFailed
from carrel.domain.filters import Filter, Filters
from carrel.domain.ids import BotId, ChatId, SourceId, UserId
from carrel.domain.prices import NO_PRICES, Prices
from carrel.domain.quotas import NO_QUOTAS, Level, Quotas
from carrel.domain.rights import Permission
from carrel.ports.lexical import Analyzer
from carrel.ports.model import Model, Models
from carrel.store import chats, idempotency, quotas
from carrel.store.chats import Asked
from carrel.store.idempotency import Memo
from carrel.store.quotas import Reserved, Wanted
from carrel.store.transaction import Database, Transaction

_DEPTH: Final = 20
_QUESTION: Final = Wanted(questions=1, tokens=2_000)
_HISTORY: Final = 6  # turns of the chat that a question may rest on
_BASIS: Final = 10  # passages that a confidence rests on, however few are shown


@dataclass(frozen=True, slots=True)
class SearchWish:
    query: str
    bot: BotId | None = None
    sources: frozenset[SourceId] | None = None
    tenants: tuple[str, ...] | None = None
    limit: int = 10
    filters: Mapping[str, object] | Filter = field(default_factory=dict)
    legs: frozenset[Leg] = BOTH


@dataclass(frozen=True, slots=True)
class ChatWish:
    """`said` is what was said before, for a caller that keeps its talks itself; with a chat its own turns count."""

    message: str
    bot: BotId | None = None
    sources: frozenset[SourceId] | None = None
    chat: ChatId | None = None
    end_user: str | None = None
    said: tuple[Turn, ...] = ()
    instructions: str = ""  # beside those of the bot


@dataclass(frozen=True, slots=True)
class Found:
    """`dropped` ids were returned by an index and not shown; `alarms` of them the tenant never had."""

    hits: tuple[Passage, ...]
    took_ms: float
    dropped: int
    alarms: int


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the answer will rest on, before a word of it is written.

    `confidence` is the best passage's of all that were looked at. Without `is_enough` the answer will be a refusal.
    `warnings` are the quotas of which the tenant has used more than the soft limit.
    """

    passages: tuple[Passage, ...]
    confidence: float = 0.0
    is_enough: bool = False
    warnings: tuple[Level, ...] = ()


@dataclass(frozen=True, slots=True)
class Done:
    remembered: Remembered


Event = Evidence | Delta | Done


@dataclass(frozen=True, slots=True)
class Allowed:
    """A chat that may begin: every refusal that has a status of its own lies behind it."""

    leave: Leave
    asked: Asked
    history: tuple[Turn, ...] = ()


class Asking:
    """`quotas` are those of tenants that have none of their own; `models` says which model writes for whom, `prices`
    what its tokens cost.
    """

    def __init__(  # noqa: PLR0913 - the wiring calls it by name
        self,
        database: Database,
        retriever: Retriever,
        answerer: Answerer,
        *,
        models: Models,
        asker: Asker,
        analyzer: Analyzer,
        quotas: Quotas = NO_QUOTAS,
        prices: Prices = NO_PRICES,
    ) -> None:
        self._database = database
        self._quotas = quotas
        self._prices = prices
        self._retriever = retriever
        self._answerer = answerer
        self._models = models
        self._asker = asker
        self._analyzer = analyzer

    @property
    def degraded(self) -> Mapping[str, int]:
        """How many answers of this process had to do without their model, by the code of what went wrong."""
        return self._answerer.degraded

    @property
    def analyzer(self) -> Analyzer:
        """How questions and passages are read as words."""
        return self._analyzer

    async def prepare(self) -> None:
        """What the first answer would wait for, done before anybody asks."""
        await self._models.prepare()

    async def understand(self, wish: SearchWish, *, flow: Hashable) -> Question:
        """For searches of the same question in several tenants: `flow` is who asks. Raises Invalid, Unavailable."""
        return await self._asker.understand(_judged(wish)[0], flow=flow)

    async def search(self, principal: Principal, wish: SearchWish, *, question: Question | None = None) -> Found:
        """Never refuses for lack of evidence; `question` is the wish's query, if it was understood before.

        Raises Denied, NotFound, Invalid, Unavailable.
        """
        started = time.perf_counter()
        query, filters, limit = _judged(wish)
        leave = await authorize(self._database, principal, Permission.SEARCH, _wish(wish), tenant_names=wish.tenants)
        question = question or await self._asker.understand(query, flow=leave.grant.tenant)
        retrieved = await self._retrieve(leave, question, limit=max(limit, _BASIS), filters=filters, legs=wish.legs)
        hits = assess(self._analyzer, question, retrieved).passages[:limit]
        return Found(hits, (time.perf_counter() - started) * 1000, retrieved.dropped, retrieved.alarms)

    async def allow(self, principal: Principal, wish: ChatWish) -> Allowed:
        """Raises Denied, NotFound (also for a chat that is not one's own), Invalid."""
        message = judged(wish.message, field_name="message")
        end_user = wish.end_user or None
        leave = await authorize(self._database, principal, Permission.ASK, _wish(wish), end_user=end_user)
        leave = replace(leave, instructions="\n\n".join(filter(None, [leave.instructions, wish.instructions])))
        if principal.user is None:
            raise Denied("Chats belong to somebody: use a key of the tenant.", code="user_required")
        history = tuple(Turn(turn.question[:LONGEST], turn.answer[:LONGEST]) for turn in wish.said[-_HISTORY:])
        if wish.chat is not None:
            async with self._database.transaction(leave.grant) as tx:
                await chats.demand(tx, wish.chat)
                history = await chats.turns(tx, wish.chat, _HISTORY)
        asked = Asked(UserId(principal.user), message, wish.chat, wish.bot, end_user)
        return Allowed(leave, asked, history)

    async def chat(self, allowed: Allowed, *, memo: Memo[Remembered] | None = None) -> AsyncGenerator[Event]:
        """Evidence, then the answer piece by piece, then the whole, remembered; no transaction is open meanwhile.

        What the answer may need of the tenant's quota is reserved first, and given back when none is remembered. With a
        memo the answer is kept for a repetition of the request. Raises Unavailable, Replayed, Invalid, Throttled
        `quota_exceeded`.
        """
        model = await self._model_of(allowed.leave)
        bill = Bill(model.name)
        async with (
            idempotency.held(self._database, allowed.leave.grant, memo),
            self._reserving(allowed, bill) as reserved,
            aclosing(self._answered(allowed, reserved, memo, model=model, bill=bill)) as events,
        ):
            async for event in events:
                yield event

    async def _answered(
        self, allowed: Allowed, reserved: Reserved, memo: Memo[Remembered] | None, *, model: Model, bill: Bill
    ) -> AsyncGenerator[Event]:
        brief = await self._brief(allowed, model, bill)
        question = await self._asker.understand(brief.asked, flow=allowed.leave.grant.tenant)
        retrieved = await self._retrieve(allowed.leave, question, limit=_DEPTH, filters=None)
        assessment = assess(self._analyzer, question, retrieved)
        verdict = judge(assessment)
        best = max((passage.confidence for passage in assessment.passages), default=0.0)
        passages, warnings = verdict.evidence or verdict.nearest, reserved.hold.warnings
        yield Evidence(passages, best, is_enough=bool(verdict.evidence), warnings=warnings)
        writing = self._answerer.answer(model, brief, verdict, bill=bill)
        async with aclosing(writing) as steps:
            async for step in steps:
                match step:
                    case Delta():
                        yield step
                    case Finished(answer):
                        whole = replace(self._grounded(answer, verdict), asked=brief.asked)
                        remembered = await self._remember(allowed, reserved, whole, memo)
                        bill.is_booked = True
                        yield Done(remembered)

    async def _model_of(self, leave: Leave) -> Model:
        """A model that cannot be called fails when it should write: what needs none is done all the same."""
        try:
            return await self._models.of(leave.grant, leave.model)
        except ModelFailed as failure:
            return Absent(leave.model.model or "none", failure)

    async def _brief(self, allowed: Allowed, model: Model, bill: Bill) -> Brief:
        question = allowed.asked.question
        rewritten = await stand_alone(question, allowed.history, analyzer=self._analyzer, model=model)
        bill.rewriting = rewritten.usage
        return Brief(question, rewritten.text, allowed.leave.instructions, allowed.history)

    def _grounded(self, answer: Answer, verdict: Verdict) -> Answer:
        if answer.status is not AnswerStatus.ANSWERED:
            return answer
        grounding = ground(answer.text, verdict.evidence, analyzer=self._analyzer)
        return replace(answer, grounding=grounding.score, unsupported=grounding.unsupported)

    async def _remember(
        self, allowed: Allowed, reserved: Reserved, answer: Answer, memo: Memo[Remembered] | None
    ) -> Remembered:
        async with self._database.transaction(allowed.leave.grant) as tx:
            remembered = await chats.remember(tx, allowed.asked, answer, begun=reserved.at)
            await idempotency.keep(tx, memo, remembered, shows=_shown(answer))
            await self._settle(tx, allowed, reserved, answer.usage)
        return remembered

    async def _settle(self, tx: Transaction, allowed: Allowed, reserved: Reserved, usage: Usage) -> None:
        await quotas.settle(
            tx,
            reserved.hold,
            usage,
            bot=allowed.asked.bot,
            defaults=self._quotas,
            cost=self._prices.cost(usage),
        )

    @asynccontextmanager
    async def _reserving(self, allowed: Allowed, bill: Bill) -> AsyncIterator[Reserved]:
        """What a model has used is used, also when there is no answer."""
        async with self._database.transaction(allowed.leave.grant) as tx:
            reserved = await quotas.reserve(tx, _QUESTION, self._quotas)
        try:
            yield reserved
        except BaseException:
            if not bill.is_booked:
                await self._book(allowed, reserved, bill.total)
            raise

    async def _book(self, allowed: Allowed, reserved: Reserved, used: Usage) -> None:
        """Of an answer that there will not be."""
        grant = allowed.leave.grant
        if used.input_tokens or used.output_tokens:
            async with self._database.transaction(grant) as tx:
                await self._settle(tx, allowed, reserved, used)
        elif reserved.hold.id is not None:
            async with self._database.transaction(grant) as tx:
                await quotas.release(tx, reserved.hold)

    async def _retrieve(
        self, leave: Leave, question: Question, *, limit: int, filters: Filters, legs: frozenset[Leg] = BOTH
    ) -> Retrieved:
        if leave.generation is None:
            return Retrieved((), (), 0.0)
        self._asker.demand_same(leave.generation)
        need = Need(question, leave.generation.id, limit, filters, legs=legs)
        return await self._retriever.retrieve(leave.scope, need)


def _shown(answer: Answer) -> frozenset[SourceId]:
    """The sources whose text an answer holds."""
    passages = (*answer.evidence, *(citation.passage for citation in answer.citations))
    return frozenset(passage.source for passage in passages)


def _judged(wish: SearchWish) -> tuple[str, Filters, int]:
    if not 1 <= wish.limit <= MOST_HITS:
        raise Invalid(f"A limit is 1 to {MOST_HITS}.", code="out_of_range", field="limit")
    return judged(wish.query, field_name="query"), judged_filters(wish.filters), wish.limit


def _wish(wish: SearchWish | ChatWish) -> Wish:
    if wish.bot is not None and wish.sources is not None:
        raise Invalid("Give bot_id or source_ids, not both.", code="bot_and_sources", field="source_ids")
    return Wish(wish.bot, wish.sources)
