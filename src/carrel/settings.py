"""Settings: read once from the environment and `.env`, frozen, and only the wiring knows them."""

from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Final, Literal, Self, get_args
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, DotEnvSettingsSource, EnvSettingsSource, SettingsConfigDict

_PREFIX: Final = "CARREL_"


class _Group(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Postgres(_Group):
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


class Pgvector(_Group):
    """Vectors in the same PostgreSQL."""

    kind: Literal["pgvector"] = "pgvector"


class MiniLM(_Group):
    """all-MiniLM-L6-v2 on onnxruntime, in the process itself."""

    kind: Literal["minilm"] = "minilm"
    threads: int = Field(default=1, ge=1, le=64, description="Texts that one process embeds at the same time.")


class Extractive(_Group):
    """Answers with the evidence's own sentences."""

    kind: Literal["extractive"] = "extractive"


class LocalBlobs(_Group):
    """Uploaded bytes in a folder."""

    kind: Literal["local"] = "local"
    path: Path | None = Field(default=None, description="The folder; empty means `blobs` in the home folder.")


class Worker(_Group):
    concurrency: int = Field(
        default=3, ge=1, le=64, description="Documents that one worker has in hand at the same time."
    )
    lease: float = Field(
        default=30.0, ge=1, le=600, description="Seconds after which a silent worker's job is another's."
    )


class Parser(_Group):
    memory_mb: int = Field(default=1024, ge=128, le=16384, description="Memory that reading one document may take.")
    seconds: float = Field(
        default=60.0, gt=0, le=3600, description="Processor time that reading one document may take."
    )


class Layout(_Group):
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
    database: Postgres = Postgres()
    vectors: Pgvector = Pgvector()
    embedder: MiniLM = MiniLM()
    model: Extractive = Extractive()
    blobs: LocalBlobs = LocalBlobs()
    worker: Worker = Worker()
    parser: Parser = Parser()
    layout: Layout = Layout()

    @property
    def folder(self) -> Path:
        return self.home.expanduser().absolute()


_SENTENCES = {"too_short": "write at least {min_length} characters"}


def explained(error: ValidationError) -> str:
    """The first thing that is wrong, as one sentence that names the variable; never the value, which may be secret."""
    first = error.errors(include_input=False)[0]
    name = _PREFIX + "__".join(str(part) for part in first["loc"] if str(part) not in _KINDS).upper()
    message = _SENTENCES.get(first["type"], first["msg"].removeprefix("Value error, ")).format(**first.get("ctx", {}))
    return f"{name}: {message}."


_KINDS = frozenset({"pgvector", "minilm", "extractive", "local"})


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
