"""Embedders and models, in the process or at providers, and how those are called."""

import re
from decimal import Decimal
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    Field,
    SecretStr,
    field_validator,
    model_validator,
)

from carrel.settings.group import Group, ModelName, WayOut, named_model, words


def _address(value: str) -> str:
    parts = urlsplit(value)
    known = parts.scheme in {"https", "http"} and parts.hostname
    if not known or parts.query or parts.fragment or "@" in parts.netloc:
        raise ValueError("write it as https://models.example.org/v1")
    return value


def _region(value: str) -> str:
    if not re.fullmatch(r"[a-z]{2}(-[a-z]+)+-[0-9]", value):
        raise ValueError("write it as eu-central-1")
    return value


Address = Annotated[str, AfterValidator(_address)]
Region = Annotated[str, AfterValidator(_region)]


class MiniLM(Group):
    """all-MiniLM-L6-v2 on onnxruntime, in the process itself."""

    kind: Literal["minilm"] = "minilm"
    threads: int = Field(default=1, ge=1, le=64, description="Texts that one process embeds at the same time.")


class _RemoteEmbedder(Group):
    """An embedder elsewhere, called with the deployment's own account."""

    model: ModelName = Field(description="Which embedder, as its provider calls it.")
    base_url: Address | None = Field(default=None, description="Where it is; empty means the provider's own address.")
    api_key: SecretStr | None = Field(default=None, description="The account's key; not every address needs one.")
    dimension: int | None = Field(
        default=None, ge=32, le=4_000, description="Numbers in a vector; empty asks the provider at the start."
    )
    max_tokens: int = Field(
        default=512, ge=64, le=32_768, description="Tokens that it takes in one text; a quarter is kept as a margin."
    )
    concurrency: int = Field(default=4, ge=1, le=64, description="Requests of one process at the same time.")
    seconds: float = Field(default=60.0, gt=0, le=600, description="Seconds for a request of texts.")
    question_seconds: float = Field(
        default=10.0, gt=0, le=60, description="Seconds for a question, repeated calls and waiting included."
    )


class OpenAIEmbedder(_RemoteEmbedder):
    """OpenAI, or whoever speaks its protocol."""

    kind: Literal["openai"] = "openai"

    @model_validator(mode="after")
    def _can_be_called(self) -> Self:
        if self.api_key is None and self.base_url is None:
            raise ValueError("set CARREL_EMBEDDER__API_KEY, or CARREL_EMBEDDER__BASE_URL of a server without keys")
        return self


class OllamaEmbedder(_RemoteEmbedder):
    """Ollama, on this machine or another."""

    kind: Literal["ollama"] = "ollama"


class BedrockEmbedder(_RemoteEmbedder):
    """The embedders of Amazon (Titan) and Cohere on Amazon Bedrock."""

    kind: Literal["bedrock"] = "bedrock"
    region: Region | None = Field(
        default=None, description="The region, as in eu-central-1; empty means the machine's own AWS configuration."
    )

    @model_validator(mode="after")
    def _can_be_called(self) -> Self:
        if "titan-embed" not in self.model and "cohere.embed" not in self.model:
            raise ValueError("of Bedrock's embedders, amazon.titan-embed-… and cohere.embed-… are known")
        if self.api_key is not None and self.region is None and self.base_url is None:
            raise ValueError("a key of Bedrock's needs CARREL_EMBEDDER__REGION")
        return self


RemoteEmbedder = OpenAIEmbedder | OllamaEmbedder | BedrockEmbedder


class Extractive(Group):
    """Answers with the evidence's own sentences."""

    kind: Literal["extractive"] = "extractive"


class _RemoteModel(Group):
    """A model elsewhere, called with the deployment's own account."""

    model: ModelName = Field(description="Which model writes where a bot names none, as its provider calls it.")
    allowed: str | None = Field(
        default=None,
        description="Other models of it that bots may name without a credential, with commas between them.",
    )
    context_tokens: int = Field(
        default=16_000, ge=2_000, le=2_000_000, description="How much it may be told, prompt and answer together."
    )
    base_url: Address | None = Field(default=None, description="Where it is; empty means the provider's own address.")

    @field_validator("allowed")
    @classmethod
    def _are_models(cls, value: str | None) -> str | None:
        for word in words(value or ""):
            named_model(word)
        return value

    @property
    def allowed_models(self) -> tuple[str, ...]:
        return words(self.allowed or "")


class OpenAIModel(_RemoteModel):
    """OpenAI, or whoever speaks its protocol."""

    kind: Literal["openai"] = "openai"
    api_key: SecretStr | None = Field(default=None, description="The account's key; not every address needs one.")

    @model_validator(mode="after")
    def _can_be_called(self) -> Self:
        if self.api_key is None and self.base_url is None:
            raise ValueError("set CARREL_MODEL__API_KEY, or CARREL_MODEL__BASE_URL of a server that needs no key")
        return self


class AnthropicModel(_RemoteModel):
    """Anthropic."""

    kind: Literal["anthropic"] = "anthropic"
    api_key: SecretStr = Field(description="The account's key.")


class OllamaModel(_RemoteModel):
    """Ollama, on this machine or another."""

    kind: Literal["ollama"] = "ollama"
    api_key: SecretStr | None = Field(default=None, description="A key, if something in front of it asks for one.")


class BedrockModel(_RemoteModel):
    """Amazon Bedrock."""

    kind: Literal["bedrock"] = "bedrock"
    api_key: SecretStr | None = Field(
        default=None, description="A Bedrock API key; empty means the machine's own AWS credentials."
    )
    region: Region | None = Field(
        default=None, description="The region, as in eu-central-1; empty means the machine's own AWS configuration."
    )


RemoteModel = OpenAIModel | AnthropicModel | OllamaModel | BedrockModel


class Answers(Group):
    """What an answer may cost."""

    tokens: int = Field(default=1_024, ge=64, le=32_000, description="The most tokens that a model may write.")


class Providers(WayOut):
    """How providers of models are called, with whoever's account."""

    connect: float = Field(default=10.0, gt=0, le=60, description="Seconds for a connection.")
    first_token: float = Field(
        default=30.0, gt=0, le=600, description="Seconds to the first word, repeated calls and waiting included."
    )
    # A quota is held for a quarter of an hour: for longer than an answer takes.
    whole: float = Field(default=120.0, gt=0, le=600, description="Seconds for the whole answer.")
    allowed: str | None = Field(
        default=None, description="Names and networks at which tenants' providers may be though they are not public."
    )
    ports: str = Field(
        default="80,443", description="Ports at which tenants' providers may be, with commas between them."
    )


class ModelPrice(Group):
    """What a million tokens cost, in any unit of money: the same one for all models."""

    input: Decimal = Field(ge=0, le=10**9)
    output: Decimal = Field(ge=0, le=10**9)
