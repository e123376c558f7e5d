"""Settings: read once from the environment and `.env`, frozen, and only the wiring knows them."""

import json
import re
from collections.abc import Iterator
from difflib import get_close_matches
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Final, Literal, Self, get_args
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    Field,
    SecretStr,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, DotEnvSettingsSource, EnvSettingsSource, SettingsConfigDict

from carrel.settings.blobs import LocalBlobs, S3Blobs
from carrel.settings.doors import Limits, Mcp, NoLogin, OidcLogin, Outbox, Smtp, TenantRates, Webhooks
from carrel.settings.group import Group
from carrel.settings.models import (
    Answers,
    AnthropicModel,
    BedrockEmbedder,
    BedrockModel,
    Extractive,
    MiniLM,
    ModelPrice,
    OllamaEmbedder,
    OllamaModel,
    OpenAIEmbedder,
    OpenAIModel,
    Providers,
    RemoteEmbedder,
    RemoteModel,
)
from carrel.settings.origins import OriginRules
from carrel.settings.web import Web

__all__ = [
    "Answers",
    "AnthropicModel",
    "BedrockEmbedder",
    "BedrockModel",
    "Chats",
    "Extractive",
    "Layout",
    "Limits",
    "LocalBlobs",
    "Mcp",
    "MiniLM",
    "ModelPrice",
    "NoLogin",
    "Ocr",
    "OidcLogin",
    "OllamaEmbedder",
    "OllamaModel",
    "OpenAIEmbedder",
    "OpenAIModel",
    "OriginRules",
    "Outbox",
    "Parser",
    "Pgvector",
    "Postgres",
    "Providers",
    "QuotaDefaults",
    "RemoteEmbedder",
    "RemoteModel",
    "S3Blobs",
    "Settings",
    "Smtp",
    "TenantRates",
    "Web",
    "Webhooks",
    "Worker",
    "explained",
    "misspelt",
]

_PREFIX: Final = "CARREL_"
_SHORTEST_KEY: Final = 32
_LANGUAGES: Final = re.compile(r"[\w-]+(/[\w-]+)?(\+[\w-]+(/[\w-]+)?)*")


class Postgres(Group):
    """The database. Without an address it is the embedded one, in the home folder."""

    url: SecretStr | None = Field(
        default=None, description="The serving role's address; empty means the embedded server."
    )
    owner_url: SecretStr | None = Field(default=None, description="The owner's address, for migrations only.")
    connections: int = Field(default=10, ge=2, le=200, description="Connections that one process may hold.")
    patience: float = Field(default=10.0, gt=0, le=120, description="Seconds to wait for a free connection.")

    @field_validator("url", "owner_url")
    @classmethod
    def _is_postgresql(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None:
            return value
        parts = urlsplit(value.get_secret_value())
        if parts.scheme not in {"postgresql", "postgresql+asyncpg"} or not parts.hostname or not parts.username:
            raise ValueError("write it as postgresql://user:password@host:port/database")
        return value


class Pgvector(Group):
    """Vectors in the same PostgreSQL."""

    kind: Literal["pgvector"] = "pgvector"


class Worker(Group):
    concurrency: int = Field(
        default=3, ge=1, le=64, description="Documents that one worker has in hand at the same time."
    )
    lease: float = Field(
        default=30.0, ge=1, le=600, description="Seconds after which a silent worker's job is another's."
    )
    drain: float = Field(
        default=25.0, ge=0, le=3600, description="Seconds that a worker which is stopped gives what it has in hand."
    )


class Parser(Group):
    memory_mb: int = Field(default=1024, ge=128, le=16384, description="Memory that reading one document may take.")
    seconds: float = Field(
        default=60.0, gt=0, le=3600, description="Processor time that reading one document may take."
    )


class Ocr(Group):
    """Text recognition, where the extra `ocr` is installed."""

    data: Path | None = Field(default=None, description="A folder with Tesseract's language data (.traineddata).")
    languages: str = Field(
        default="eng",
        description="Languages of scanned documents, with plus signs between them; `none` turns it off.",
    )
    seconds: float = Field(default=600.0, gt=0, le=36_000, description="Processor time that one document may take.")
    at_once: int = Field(default=1, ge=1, le=64, description="Documents that are recognised at the same time.")

    @field_validator("languages")
    @classmethod
    def _are_joined(cls, value: str) -> str:
        if not _LANGUAGES.fullmatch(value):
            raise ValueError("write languages with plus signs between them, as in deu+eng")
        return value


class QuotaDefaults(Group):
    """What a tenant may have that has no quotas of its own; empty means as much as it likes."""

    documents: int | None = Field(default=None, ge=0, le=10**15, description="Documents that are kept.")
    bytes: int | None = Field(default=None, ge=0, le=10**18, description="Bytes of documents that are kept.")
    questions: int | None = Field(default=None, ge=0, le=10**15, description="Questions in a calendar month (UTC).")
    tokens: int | None = Field(default=None, ge=0, le=10**15, description="Tokens of answers in a calendar month.")


class Chats(Group):
    retention_days: int | None = Field(
        default=None,
        ge=1,
        le=36_500,
        description="Days after its last question for which a chat is kept; empty means until it is deleted.",
    )


_PRICES: Final = TypeAdapter(dict[Annotated[str, Field(pattern=r"^[^\s:]+(:\S+)?$")], ModelPrice])


class Layout(Group):
    """When a tenant gets index tables of its own."""

    promote_at: int = Field(default=20_000, ge=1, description="Chunks from which on a tenant is dedicated.")
    demote_below: int = Field(default=12_000, ge=0, description="Chunks below which a tenant is pooled again.")

    @model_validator(mode="after")
    def _is_a_step(self) -> Self:
        if self.demote_below >= self.promote_at:
            raise ValueError("demote_below must be less than promote_at, or tenants would go to and fro")
        return self


class Settings(BaseSettings):
    model_config = SettingsConfigDict(
        env_prefix=_PREFIX,
        env_nested_delimiter="__",
        env_file=".env",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
    )

    home: Path = Field(
        default=Path("~/.local/share/carrel"), description="The folder of everything that Carrel keeps itself."
    )
    environment: Literal["development", "staging", "production"] = Field(
        default="development", description="Production migrates only when told to."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="The least that is logged."
    )
    pepper: SecretStr | None = Field(
        default=None,
        min_length=32,
        description="The secret in every key's HMAC; empty means a file in the home folder.",
    )
    master_key: SecretStr | None = Field(
        default=None,
        min_length=32,
        description="The secret behind access tokens and tenants' own keys; empty means a file in the home folder.",
    )
    former_master_keys: SecretStr | None = Field(
        default=None, description="Master keys that are only read with: one, or a list of them in JSON."
    )
    proxies: str | None = Field(
        default=None, description="Networks of proxies whose X-Forwarded-For is believed, with commas between them."
    )
    database: Postgres = Postgres()
    vectors: Pgvector = Pgvector()
    embedder: RemoteEmbedder | MiniLM = Field(default=MiniLM(), discriminator="kind")
    model: RemoteModel | Extractive = Field(default=Extractive(), discriminator="kind")
    providers: Providers = Providers()
    answers: Answers = Answers()
    blobs: S3Blobs | LocalBlobs = Field(default=LocalBlobs(), discriminator="kind")
    worker: Worker = Worker()
    parser: Parser = Parser()
    ocr: Ocr = Ocr()
    layout: Layout = Layout()
    mail: Smtp | Outbox = Field(default=Outbox(), discriminator="kind")
    limits: Limits = Limits()
    quotas: QuotaDefaults = QuotaDefaults()
    chats: Chats = Chats()
    prices: str | None = Field(
        default=None,
        description="What models cost, in JSON: by `provider:model` or `provider:*`, the `input` and `output` prices of"
        " a million tokens.",
    )
    login: OidcLogin | NoLogin = Field(default=NoLogin(), discriminator="kind")
    mcp: Mcp = Mcp()
    web: Web = Web()
    webhooks: Webhooks = Webhooks()
    origins: OriginRules = OriginRules()

    @field_validator("embedder", mode="before")
    @classmethod
    def _is_minilm_unless_said(cls, value: object) -> object:
        return {"kind": "minilm", **value} if isinstance(value, dict) else value

    @field_validator("blobs", mode="before")
    @classmethod
    def _are_local_unless_said(cls, value: object) -> object:
        return {"kind": "local", **value} if isinstance(value, dict) else value

    @field_validator("proxies")
    @classmethod
    def _are_networks(cls, value: str | None) -> str | None:
        try:
            for network in value.split(",") if value else ():
                ip_network(network.strip())
        except ValueError as error:
            raise ValueError("write networks with commas between them, as in 10.0.0.0/8,fd00::/8") from error
        return value

    @field_validator("prices")
    @classmethod
    def _are_prices(cls, value: str | None) -> str | None:
        try:
            _PRICES.validate_json(value or "{}")
        except ValidationError as error:
            raise ValueError('write JSON as {"openai:gpt-5-mini": {"input": 0.25, "output": 2}}') from error
        return value

    @field_validator("former_master_keys")
    @classmethod
    def _are_long(cls, value: SecretStr | None) -> SecretStr | None:
        try:
            _keys(value)
        except json.JSONDecodeError as error:
            raise ValueError("write one key, or a list of them in JSON") from error
        return value

    @property
    def folder(self) -> Path:
        return self.home.expanduser().absolute()

    @property
    def price_table(self) -> dict[str, ModelPrice]:
        return _PRICES.validate_json(self.prices or "{}")

    @property
    def former_keys(self) -> list[str]:
        return _keys(self.former_master_keys)


def _keys(value: SecretStr | None) -> list[str]:
    """One key as it is, or several as a list in JSON: a key may hold any character. Raises ValueError."""
    text = "" if value is None else value.get_secret_value()
    found = json.loads(text) if text.startswith("[") else [text] if text else []
    if not all(isinstance(key, str) and len(key) >= _SHORTEST_KEY for key in found):
        raise ValueError(f"write one key, or a list of them in JSON, each of at least {_SHORTEST_KEY} characters")
    return list(found)


_SENTENCES = {
    "missing": "it is needed",
    "extra_forbidden": "the kind that is chosen has no such setting",
    "too_short": "write at least {min_length} characters",
    "union_tag_not_found": "name its kind: {kinds}",
    "union_tag_invalid": "name its kind: {kinds}",
    "string_pattern_mismatch": "write it as 60/minute; second, hour and day will do too",
}


def explained(error: ValidationError) -> str:
    """The first thing that is wrong, as one sentence that names the variable; never the value, which may be secret."""
    first = error.errors(include_input=False)[0]
    name = _PREFIX + "__".join(str(part) for part in first["loc"] if str(part) not in _KINDS).upper()
    sentence = _SENTENCES.get(first["type"])
    if sentence is None:
        return f"{name}: {first['msg'].removeprefix('Value error, ')}."  # as it is: it may hold braces of JSON
    kinds = _kinds_of(str(first["loc"][0])) if first["loc"] else ""
    return f"{name}: {sentence.format(**first.get('ctx', {}), kinds=kinds)}."


def _kinds_of(field: str) -> str:
    """As in `smtp or outbox`."""
    groups = get_args(Settings.model_fields[field].annotation)
    kinds = [group.model_fields["kind"].default for group in groups if issubclass(group, BaseModel)]
    return " or ".join(filter(None, (", ".join(kinds[:-1]), *kinds[-1:])))


_KINDS = frozenset(
    {"pgvector", "minilm", "extractive", "openai", "anthropic", "ollama", "bedrock"}
    | {"local", "s3", "smtp", "outbox", "oidc", "none"}
)


def misspelt() -> str | None:
    """One sentence about a name, in the environment or `.env`, that looks like a setting and is none."""
    known = sorted(_names(Settings, _PREFIX))
    given = {name.upper() for source in (EnvSettingsSource, DotEnvSettingsSource) for name in source(Settings).env_vars}
    for name in sorted(given.difference(known)):
        if name.startswith(_PREFIX):
            near = get_close_matches(name, known, n=1)
            return f"{name}: there is no such setting{f'; did you mean {near[0]}?' if near else '.'}"
    return None


def _names(group: type[BaseModel], prefix: str) -> Iterator[str]:
    """Every variable: also that of a whole group, which takes JSON."""
    for field, info in group.model_fields.items():
        name = prefix + field.upper()
        yield name
        for kind in (info.annotation, *get_args(info.annotation)):
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                yield from _names(kind, f"{name}__")
