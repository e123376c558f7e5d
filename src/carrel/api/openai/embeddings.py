"""Embeddings: vectors by the deployment's own embedder."""

import base64
from typing import Annotated, Literal

import numpy as np
from fastapi import APIRouter, Request
from pydantic import BaseModel, BeforeValidator, Field

from carrel.api.limits import warn
from carrel.api.openai.models import EVERYTHING, NoSuchModel
from carrel.api.schemas.types import Asked, Text, Texts, whole
from carrel.api.security import GuardedRoute, MaySearch
from carrel.api.state import App
from carrel.ask.vectors import Embedded
from carrel.domain.errors import Invalid

router = APIRouter(prefix="/openai/v1/embeddings", tags=["openai"], route_class=GuardedRoute)

Encoding = Literal["float", "base64"]


class EmbeddingRequest(Asked):
    input: Annotated[
        Texts,
        Field(description="A text or several; ids of tokens are not taken: their words are not known."),
    ]
    model: Annotated[Text, Field(max_length=200, description="The embedder's name, or `carrel`.")]
    encoding_format: Encoding = "float"
    dimensions: Annotated[int | None, Field(ge=1, description="Only the embedder's own."), BeforeValidator(whole)] = (
        None
    )
    user: Annotated[Text | None, Field(max_length=512, description="Taken and not used.")] = None


class EmbeddingView(BaseModel):
    object: Literal["embedding"] = "embedding"
    index: int
    embedding: Annotated[list[float] | str, Field(description="Base64: the numbers as 32 bits, lowest byte first.")]


class TokenCount(BaseModel):
    prompt_tokens: int
    total_tokens: int


class EmbeddingList(BaseModel):
    object: Literal["list"] = "list"
    data: list[EmbeddingView]
    model: str
    usage: TokenCount

    @classmethod
    def of(cls, embedded: Embedded, model: str, encoding: Encoding) -> "EmbeddingList":
        data = [
            EmbeddingView(index=index, embedding=_encoded(vector, encoding))
            for index, vector in enumerate(embedded.vectors)
        ]
        usage = TokenCount(prompt_tokens=embedded.tokens, total_tokens=embedded.tokens)
        return cls(data=data, model=model, usage=usage)


@router.post("", responses={404: {}})
async def openai_embed(request: Request, principal: MaySearch, app: App, wish: EmbeddingRequest) -> EmbeddingList:
    """Vectors of length 1. A text that is longer than the embedder takes becomes the mean of its parts."""
    if wish.model not in {EVERYTHING, app.embeddings.name}:
        raise NoSuchModel
    if wish.dimensions not in {None, app.embeddings.dimension}:
        sentence = f"This embedder has {app.embeddings.dimension} dimensions."
        raise Invalid(sentence, code="unsupported_parameter", field="dimensions")
    embedded = await app.embeddings.embed(principal, wish.input)
    warn(request, embedded.warnings)
    return EmbeddingList.of(embedded, app.embeddings.name, wish.encoding_format)


def _encoded(vector: "np.ndarray[tuple[int], np.dtype[np.float32]]", encoding: Encoding) -> list[float] | str:
    if encoding == "base64":
        return base64.b64encode(np.asarray(vector, dtype="<f4").tobytes()).decode("ascii")
    return [float(number) for number in vector]
