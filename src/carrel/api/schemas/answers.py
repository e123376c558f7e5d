"""Questions, hits and answers over the wire. Scores are rounded: a raw similarity tells more than it should."""

from collections.abc import Mapping
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, Field

from carrel.api.schemas.types import Asked, AttributeName, Choice, Flag, Identifier, Identifiers, Name, Text, whole
from carrel.ask.across import MOST_TENANTS, FoundAcross
from carrel.ask.pipeline import ChatWish, Found, SearchWish
from carrel.domain.answers import AnswerStatus, Citation, ModelProblem, Passage, Remembered
from carrel.domain.ids import BotId, ChatId, SourceId

Question = Annotated[
    str, Field(description="1 to 8,000 characters after trimming.", json_schema_extra={"minLength": 1})
]


class Scoped(Asked):
    bot_id: Annotated[Identifier | None, Field(description="Read what this bot reads.")] = None
    source_ids: Annotated[
        Identifiers | None, Field(description="Read these sources, an empty list none; not together with bot_id.")
    ] = None

    def bot(self) -> BotId | None:
        return None if self.bot_id is None else BotId(self.bot_id)

    def sources(self) -> frozenset[SourceId] | None:
        return None if self.source_ids is None else frozenset(map(SourceId, self.source_ids))


class SearchRequest(Scoped):
    query: Question
    tenants: Annotated[
        tuple[Annotated[Text, Field(min_length=1, max_length=200)], ...] | None,
        Field(max_length=MOST_TENANTS, description="Slugs or ids; absent: the credential's own, an empty list: none."),
    ] = None
    limit: Annotated[int, Field(ge=1, le=100), BeforeValidator(whole)] = 10
    filters: Annotated[
        Mapping[AttributeName, Choice],
        Field(max_length=50, description="Attributes and the values that they may have."),
    ] = Field(default_factory=dict)
    explain: Annotated[Flag, Field(description="Show what each leg of retrieval gave.")] = False

    def wish(self) -> SearchWish:
        return SearchWish(
            query=self.query,
            bot=self.bot(),
            sources=self.sources(),
            tenants=self.tenants,
            limit=self.limit,
            filters=self.filters,
        )


class ChatRequest(Scoped):
    message: Question
    chat_id: Annotated[Identifier | None, Field(description="Go on with this chat; absent begins one.")] = None
    end_user: Annotated[Name | None, Field(description="Your own name for who asks; its chats are its own.")] = None
    stream: Annotated[Flag, Field(description="Answer as server-sent events.")] = False

    def wish(self) -> ChatWish:
        return ChatWish(
            message=self.message,
            bot=self.bot(),
            sources=self.sources(),
            chat=None if self.chat_id is None else ChatId(self.chat_id),
            end_user=self.end_user,
        )


class Explanation(BaseModel):
    """Each leg's own score; null where the leg did not find the chunk."""

    dense: float | None
    lexical: float | None


class HitView(BaseModel):
    chunk_id: UUID
    document_id: UUID
    version_id: Annotated[UUID, Field(description="The version of the document that was read.")]
    source_id: UUID
    tenant_id: UUID
    title: str
    key: str
    heading_path: list[str]
    page: Annotated[int | None, Field(description="1-based; null where the format has no pages.")]
    line: Annotated[int | None, Field(description="1-based; null where nobody cites the format by lines.")]
    text: str
    score: float
    confidence: Annotated[float, Field(ge=0, le=1)]
    explain: Explanation | None = None

    @classmethod
    def of(cls, passage: Passage, *, explain: bool = False) -> "HitView":
        return cls(
            chunk_id=passage.chunk,
            document_id=passage.document,
            version_id=passage.version,
            source_id=passage.source,
            tenant_id=passage.tenant,
            title=passage.title,
            key=passage.key,
            heading_path=list(passage.heading_path),
            page=passage.page,
            line=passage.line,
            text=passage.text,
            score=round(passage.score, 6),
            confidence=round(passage.confidence, 3),
            explain=_explanation(passage) if explain else None,
        )


class MissedView(BaseModel):
    """A tenant that was asked for and could not be searched."""

    tenant_id: UUID
    code: str


class Hits(BaseModel):
    hits: Annotated[list[HitView], Field(description="Best first; of several tenants, by confidence.")]
    took_ms: float
    partial: Annotated[
        list[MissedView], Field(description="Tenants that none of the hits could come from; mostly empty.")
    ] = []

    @classmethod
    def of(cls, found: Found | FoundAcross, *, explain: bool) -> "Hits":
        hits = [HitView.of(passage, explain=explain) for passage in found.hits]
        missed = found.partial if isinstance(found, FoundAcross) else ()
        partial = [MissedView(tenant_id=one.tenant, code=one.code) for one in missed]
        return cls(hits=hits, took_ms=round(found.took_ms, 1), partial=partial)


class CitationView(BaseModel):
    """`n` is the number that stands in the answer as `[n]`."""

    n: int
    chunk_id: UUID
    document_id: UUID
    version_id: UUID
    source_id: UUID
    title: str
    key: str
    heading_path: list[str]
    page: int | None
    line: int | None
    excerpt: str

    @classmethod
    def of(cls, citation: Citation) -> "CitationView":
        passage = citation.passage
        return cls(
            n=citation.n,
            chunk_id=passage.chunk,
            document_id=passage.document,
            version_id=passage.version,
            source_id=passage.source,
            title=passage.title,
            key=passage.key,
            heading_path=list(passage.heading_path),
            page=passage.page,
            line=passage.line,
            excerpt=citation.excerpt,
        )


class UsageView(BaseModel):
    input_tokens: int
    output_tokens: int
    model: str


class ModelProblemView(BaseModel):
    """Why the model's answer is missing or cut off."""

    code: str
    detail: str

    @classmethod
    def of(cls, problem: ModelProblem | None) -> "ModelProblemView | None":
        return None if problem is None else cls(code=problem.code, detail=problem.detail)


class ChatAnswer(BaseModel):
    chat_id: UUID
    message_id: UUID
    status: AnswerStatus
    answer: str
    citations: list[CitationView]
    evidence: list[HitView]
    guidance: list[str]
    usage: UsageView
    problem: Annotated[ModelProblemView | None, Field(description="What the model did, when degraded.")] = None
    asked: Annotated[str | None, Field(description="The question as it was searched, made to stand alone.")] = None
    grounding: Annotated[
        float | None, Field(ge=0, le=1, description="How far the evidence bears the answer out; null unless answered.")
    ] = None
    unsupported: Annotated[list[str], Field(description="Sentences that the evidence does not bear out.")] = []

    @classmethod
    def of(cls, remembered: Remembered) -> "ChatAnswer":
        answer = remembered.answer
        return cls(
            chat_id=remembered.chat,
            message_id=remembered.message,
            status=answer.status,
            answer=answer.text,
            citations=[CitationView.of(citation) for citation in answer.citations],
            evidence=[HitView.of(passage) for passage in answer.evidence],
            guidance=list(answer.guidance),
            usage=UsageView(
                input_tokens=answer.usage.input_tokens,
                output_tokens=answer.usage.output_tokens,
                model=answer.usage.model,
            ),
            problem=ModelProblemView.of(answer.problem),
            asked=answer.asked,
            grounding=answer.grounding,
            unsupported=list(answer.unsupported),
        )


def _explanation(passage: Passage) -> Explanation:
    return Explanation(dense=_rounded(passage.dense), lexical=_rounded(passage.lexical))


def _rounded(score: float | None) -> float | None:
    return None if score is None else round(score, 6)
