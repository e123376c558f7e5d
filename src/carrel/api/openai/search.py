"""Search in one vector store: the same search, under OpenAI's filters and names."""

from typing import Annotated, Any, Final, Literal
from uuid import UUID

from fastapi import APIRouter, Request
from pydantic import BaseModel, BeforeValidator, Field, PlainValidator, WithJsonSchema

from carrel.api.complaints import wrong
from carrel.api.limits import count
from carrel.api.openai.store_shapes import TextPart
from carrel.api.schemas.types import Asked, Flag, Text, Texts, scalar, whole
from carrel.api.security import GuardedRoute, MaySearch
from carrel.api.state import App
from carrel.ask.pipeline import SearchWish
from carrel.domain.answers import Passage
from carrel.domain.errors import Invalid
from carrel.domain.filters import OF_A_SET, AllOf, AnyOf, Clause, Comparing, Filter, demand_bounded
from carrel.domain.ids import ChunkId, SourceId
from carrel.domain.library import AttributeValue, Document
from carrel.domain.rights import Permission

router = APIRouter(prefix="/openai/v1/vector_stores", tags=["openai"], route_class=GuardedRoute)

_MOST_QUERIES: Final = 8
_JOINS: Final = frozenset({"and", "or"})
_TREE: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["type"],
    "properties": {
        "type": {"enum": [*Comparing, *sorted(_JOINS)]},
        "key": {"type": "string", "minLength": 1, "maxLength": 200},
        "value": {"type": ["string", "number", "boolean", "array"]},
        "filters": {"type": "array", "minItems": 1, "items": {"type": "object"}},
    },
    "description": "A comparison (type, key, value), or `and` and `or` with filters; 5 deep, 50 comparisons at most.",
}


def _tree(value: Any) -> Filter:
    try:
        found = _filter(value)
        demand_bounded(found)
    except Invalid as refusal:
        raise wrong(refusal.code, refusal.detail) from refusal
    return found


def _filter(value: Any) -> Filter:
    match value:
        case {"type": "and" | "or" as join, "filters": list(parts), **rest} if not rest:
            inner = tuple(_filter(part) for part in parts)
            return AllOf(inner) if join == "and" else AnyOf(inner)
        case {"type": str(how), "key": str(key), "value": wanted, **rest} if how in list(Comparing) and not rest:
            return Clause(key, Comparing(how), _values(Comparing(how), wanted))
        case _:
            raise wrong("invalid_filter", "A filter has type, key and value, or type `and` or `or` and filters.")


def _values(how: Comparing, wanted: Any) -> tuple[AttributeValue, ...]:
    if (how in OF_A_SET) != isinstance(wanted, list):
        raise wrong("invalid_filter", "`in` and `nin` take a list of values, every other comparison one value.")
    return tuple(scalar(one) for one in (wanted if isinstance(wanted, list) else [wanted]))


class Hybrid(Asked):
    embedding_weight: Annotated[float, Field(ge=0)] = 1.0
    text_weight: Annotated[float, Field(ge=0)] = 1.0


class RankingOptions(Asked):
    ranker: Annotated[Text | None, Field(max_length=64, description="Taken and not used: there is one.")] = None
    score_threshold: Annotated[float, Field(ge=0, le=1, description="The least confidence.")] = 0.0
    hybrid_search: Annotated[Hybrid | None, Field(description="Taken and not used: the weights are learned.")] = None


class StoreSearch(Asked):
    query: Annotated[Texts, Field(description="One question, or several whose finds come together.")]
    filters: Annotated[Filter, PlainValidator(_tree), WithJsonSchema(_TREE)] | None = None
    max_num_results: Annotated[int, Field(ge=1, le=50), BeforeValidator(whole)] = 10
    ranking_options: RankingOptions | None = None
    rewrite_query: Annotated[Flag, Field(description="Taken and not used: the question is searched as it is.")] = False

    def queries(self) -> list[str]:
        """Raises Invalid."""
        if not 1 <= len(self.query) <= _MOST_QUERIES:
            raise Invalid(f"Ask 1 to {_MOST_QUERIES} questions.", code="too_long", field="query")
        return self.query

    def wish(self, source: SourceId, query: str) -> SearchWish:
        return SearchWish(
            query=query,
            sources=frozenset({source}),
            limit=self.max_num_results,
            filters=self.filters if self.filters is not None else {},
        )

    @property
    def threshold(self) -> float:
        return self.ranking_options.score_threshold if self.ranking_options else 0.0


class FoundView(BaseModel):
    """A chunk. `score` is the confidence, 0 to 1."""

    file_id: str
    filename: str
    score: float
    attributes: dict[str, AttributeValue]
    content: list[TextPart]
    chunk_id: UUID
    document_id: UUID
    version_id: UUID
    title: str
    heading_path: list[str]
    page: int | None
    line: int | None

    @classmethod
    def of(cls, passage: Passage, document: Document | None) -> "FoundView":
        return cls(
            file_id=str(document.file if document and document.file else passage.document),
            filename=passage.key,
            score=round(passage.confidence, 3),
            attributes=dict(document.attributes) if document else {},
            content=[TextPart(text=passage.text)],
            chunk_id=passage.chunk,
            document_id=passage.document,
            version_id=passage.version,
            title=passage.title,
            heading_path=list(passage.heading_path),
            page=passage.page,
            line=passage.line,
        )


class FoundPage(BaseModel):
    object: Literal["vector_store.search_results.page"] = "vector_store.search_results.page"
    search_query: list[str]
    data: list[FoundView]
    has_more: Literal[False] = False
    next_page: None = None


@router.post("/{vector_store_id}/search")
async def openai_search(  # noqa: PLR0917 - FastAPI calls it by name
    request: Request, principal: MaySearch, app: App, vector_store_id: UUID, wish: StoreSearch
) -> FoundPage:
    """The chunks of one vector store that fit best, the most confident first. Each question counts as a search."""
    queries, best = wish.queries(), dict[ChunkId, Passage]()
    for _ in queries[1:]:
        await count(request, principal, Permission.SEARCH)
    for query in queries:
        found = await app.asking.search(principal, wish.wish(SourceId(vector_store_id), query))
        for hit in found.hits:
            if hit.chunk not in best or best[hit.chunk].confidence < hit.confidence:
                best[hit.chunk] = hit
    kept = sorted((hit for hit in best.values() if hit.confidence >= wish.threshold), key=_order)
    shown = kept[: wish.max_num_results]
    documents = await app.documents.many(principal, {hit.document for hit in shown})
    return FoundPage(search_query=queries, data=[FoundView.of(hit, documents.get(hit.document)) for hit in shown])


def _order(hit: Passage) -> tuple[float, float]:
    return -hit.confidence, -hit.score
