"""Settings: read once from the environment and `.env`, frozen, and only the wiring knows them."""

import json
import re
from collections.abc import Iterator
from difflib import get_close_matches
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Final, Literal, Self, get_args
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, DotEnvSettingsSource, EnvSettingsSource, SettingsConfigDict

_PREFIX: Final = "CARREL_"
_SHORTEST_KEY: Final = 32


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


Rate = Annotated[str, Field(pattern=r"^[1-9][0-9]{0,8}/(second|minute|hour|day)$")]


class TenantRates(_Group):
    """How often all of one tenant together may call, as in `600/minute`; empty means as often as they like."""

    search: Rate | None = Field(default=None, description="Searches, and documents' bytes read.")
    ask: Rate | None = Field(default=None, description="Questions, and chats read.")
    ingest: Rate | None = Field(default=None, description="Documents brought, changed and deleted.")
    other: Rate | None = Field(default=None, description="Everything else.")


class Limits(_Group):
    """How often one principal may call, as in `60/minute`, and where the calls are counted."""

    kind: Literal["memory", "redis"] = Field(
        default="memory", description="Memory counts in each process alone, Redis for all of them together."
    )
    url: SecretStr | None = Field(
        default=None, description="The address of Redis; needed for `redis`, only then given."
    )
    search: Rate | None = Field(default=None, description="Searches of one principal, and documents' bytes read.")
    ask: Rate | None = Field(default=None, description="Questions of one principal, and chats read.")
    ingest: Rate | None = Field(default=None, description="Documents brought, changed and deleted by one principal.")
    other: Rate | None = Field(default=None, description="Everything else that one principal calls.")
    tenant: TenantRates = TenantRates()
    streams: int | None = Field(default=None, ge=1, le=100_000, description="Answers of one tenant streamed at once.")

    @field_validator("url")
    @classmethod
    def _is_redis(cls, value: SecretStr | None) -> SecretStr | None:
        parts = urlsplit(value.get_secret_value()) if value else None
        if parts and (parts.scheme not in {"redis", "rediss"} or not parts.hostname):
            raise ValueError("write it as redis://user:password@host:port/number")
        return value

    @model_validator(mode="after")
    def _has_an_address(self) -> Self:
        if (self.kind == "redis") != (self.url is not None):
            raise ValueError("kind `redis` needs CARREL_LIMITS__URL, and `memory` takes none")
        return self


class Smtp(_Group):
    """Mail by an SMTP server."""

    kind: Literal["smtp"] = "smtp"
    host: str = Field(min_length=1, description="The mail server.")
    port: int = Field(default=587, ge=1, le=65535, description="Its port.")
    tls: Literal["starttls", "tls", "none"] = Field(
        default="starttls", description="STARTTLS (demanded), TLS from the first byte, or none."
    )
    username: str | None = Field(default=None, description="As whom to send; empty means without signing in.")
    password: SecretStr | None = Field(default=None, description="The password for that name.")
    sender: str = Field(description="The address that mail comes from, for example carrel@example.org.")
    timeout: float = Field(default=10.0, gt=0, le=60, description="Seconds to wait for each answer of the server.")

    @field_validator("sender")
    @classmethod
    def _is_an_address(cls, value: str) -> str:
        if not re.fullmatch(r"[!-?A-~]+@[!-?A-~]+", value, re.ASCII):
            raise ValueError("write it as carrel@example.org")
        return value

    @model_validator(mode="after")
    def _keeps_its_password(self) -> Self:
        if (self.username is None) != (self.password is None):
            raise ValueError("give a username and a password, or neither")
        if self.password is not None and self.tls == "none":
            raise ValueError("a password is not sent in clear: set CARREL_MAIL__TLS to starttls or tls")
        return self


class Outbox(_Group):
    """Mail as files in the home folder, and in development also in the log."""

    kind: Literal["outbox"] = "outbox"


class NoLogin(_Group):
    """Nobody but Carrel itself says who somebody is."""

    kind: Literal["none"] = "none"


class OidcLogin(_Group):
    """Tokens of an OpenID Connect issuer."""

    kind: Literal["oidc"] = "oidc"
    issuer: str = Field(description="The issuer, to the letter as it stands in `iss`.")
    audience: str = Field(min_length=1, description="What must stand in `aud`: mostly the id of the client.")
    algorithms: str = Field(default="RS256,ES256", description="Asymmetric algorithms, with commas between them.")
    groups_claims: str = Field(
        default="cognito:groups,groups", description="The claims that hold groups, with commas between them."
    )
    email_claim: str = Field(default="email", min_length=1, description="The claim that holds the address.")
    client: str | None = Field(
        default=None, description="Cognito: take access tokens, which name no audience, of this client."
    )
    allowed: str | None = Field(
        default=None, description="Names and networks at which the issuer may be though they are not public."
    )

    @field_validator("issuer")
    @classmethod
    def _is_an_address(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in {"https", "http"} or not parts.hostname or parts.query or parts.fragment or "@" in value:
            raise ValueError("write it as https://issuer.example.org/path")
        return value

    @field_validator("algorithms")
    @classmethod
    def _are_asymmetric(cls, value: str) -> str:
        if not all(re.fullmatch(r"[RPE]S(256|384|512)|EdDSA", word) for word in _words(value)) or not _words(value):
            raise ValueError("write asymmetric algorithms, as in RS256,ES256,EdDSA")
        return value

    @field_validator("allowed")
    @classmethod
    def _are_places(cls, value: str | None) -> str | None:
        try:
            for word in _words(value or ""):
                if "/" in word:
                    ip_network(word)
        except ValueError as error:
            raise ValueError("write names and networks, as in idp.internal,10.0.0.0/8") from error
        return value

    @model_validator(mode="after")
    def _is_not_in_clear(self) -> Self:
        if self.issuer.startswith("http:") and self.allowed is None:
            raise ValueError("an issuer without TLS must be one that CARREL_LOGIN__ALLOWED names")
        return self

    @property
    def algorithm_list(self) -> tuple[str, ...]:
        return _words(self.algorithms)

    @property
    def groups_claim_list(self) -> tuple[str, ...]:
        return _words(self.groups_claims)


def _words(value: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in value.split(",") if word.strip())


class QuotaDefaults(_Group):
    """What a tenant may have that has no quotas of its own; empty means as much as it likes."""

    documents: int | None = Field(default=None, ge=0, le=10**15, description="Documents that are kept.")
    bytes: int | None = Field(default=None, ge=0, le=10**18, description="Bytes of documents that are kept.")
    questions: int | None = Field(default=None, ge=0, le=10**15, description="Questions in a calendar month (UTC).")
    tokens: int | None = Field(default=None, ge=0, le=10**15, description="Tokens of answers in a calendar month.")


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
    former_master_keys: SecretStr | None = Field(
        default=None, description="Master keys that are only read with: one, or a list of them in JSON."
    )
    proxies: str | None = Field(
        default=None, description="Networks of proxies whose X-Forwarded-For is believed, with commas between them."
    )
    database: Postgres = Postgres()
    vectors: Pgvector = Pgvector()
    embedder: MiniLM = MiniLM()
    model: Extractive = Extractive()
    blobs: LocalBlobs = LocalBlobs()
    worker: Worker = Worker()
    parser: Parser = Parser()
    layout: Layout = Layout()
    mail: Smtp | Outbox = Field(default=Outbox(), discriminator="kind")
    limits: Limits = Limits()
    quotas: QuotaDefaults = QuotaDefaults()
    login: OidcLogin | NoLogin = Field(default=NoLogin(), discriminator="kind")

    @field_validator("proxies")
    @classmethod
    def _are_networks(cls, value: str | None) -> str | None:
        try:
            for network in value.split(",") if value else ():
                ip_network(network.strip())
        except ValueError as error:
            raise ValueError("write networks with commas between them, as in 10.0.0.0/8,fd00::/8") from error
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
    "too_short": "write at least {min_length} characters",
    "union_tag_not_found": "name its kind: smtp or outbox",
    "union_tag_invalid": "name its kind: smtp or outbox",
    "string_pattern_mismatch": "write it as 60/minute; second, hour and day will do too",
}


def explained(error: ValidationError) -> str:
    """The first thing that is wrong, as one sentence that names the variable; never the value, which may be secret."""
    first = error.errors(include_input=False)[0]
    name = _PREFIX + "__".join(str(part) for part in first["loc"] if str(part) not in _KINDS).upper()
    message = _SENTENCES.get(first["type"], first["msg"].removeprefix("Value error, ")).format(**first.get("ctx", {}))
    return f"{name}: {message}."


_KINDS = frozenset({"pgvector", "minilm", "extractive", "local", "smtp", "outbox", "oidc", "none"})


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
