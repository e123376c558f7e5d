"""How one comes in and letters go out: limits, mail, logins, and the hosts of MCP."""

import re
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    Field,
    SecretStr,
    field_validator,
    model_validator,
)

from carrel.settings.group import Group, WayOut, places, words

Rate = Annotated[str, Field(pattern=r"^[1-9][0-9]{0,8}/(second|minute|hour|day)$")]


class TenantRates(Group):
    """How often all of one tenant together may call, as in `600/minute`; empty means as often as they like."""

    search: Rate | None = Field(default=None, description="Searches, and documents' bytes read.")
    ask: Rate | None = Field(default=None, description="Questions, and chats read.")
    ingest: Rate | None = Field(default=None, description="Documents brought, changed and deleted.")
    other: Rate | None = Field(default=None, description="Everything else.")


class Limits(Group):
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
    streams: int | None = Field(default=None, ge=1, le=100_000, description="Streams that one tenant has open.")

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


class Smtp(Group):
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


class Outbox(Group):
    """Mail as files in the home folder, and in development also in the log."""

    kind: Literal["outbox"] = "outbox"


class NoLogin(Group):
    """Nobody but Carrel itself says who somebody is."""

    kind: Literal["none"] = "none"


class OidcLogin(Group):
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
        if not all(re.fullmatch(r"[RPE]S(256|384|512)|EdDSA", word) for word in words(value)) or not words(value):
            raise ValueError("write asymmetric algorithms, as in RS256,ES256,EdDSA")
        return value

    @field_validator("allowed")
    @classmethod
    def _are_places(cls, value: str | None) -> str | None:
        return places(value)

    @model_validator(mode="after")
    def _is_not_in_clear(self) -> Self:
        if self.issuer.startswith("http:") and self.allowed is None:
            raise ValueError("an issuer without TLS must be one that CARREL_LOGIN__ALLOWED names")
        return self

    @property
    def algorithm_list(self) -> tuple[str, ...]:
        return words(self.algorithms)

    @property
    def groups_claim_list(self) -> tuple[str, ...]:
        return words(self.groups_claims)


class Mcp(Group):
    """From where the Model Context Protocol may be spoken; this machine may in any case."""

    hosts: str | None = Field(
        default=None, description="Names under which this deployment is called, as in carrel.example.org, with commas."
    )
    origins: str | None = Field(
        default=None, description="Pages that may call it, as in https://chat.example.org, with commas between them."
    )

    @field_validator("hosts")
    @classmethod
    def _are_hosts(cls, value: str | None) -> str | None:
        for word in words(value or ""):
            if not re.fullmatch(r"([A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?", word):
                raise ValueError("write names, with a port where only that one is meant, as in carrel.example.org")
        return value

    @field_validator("origins")
    @classmethod
    def _are_origins(cls, value: str | None) -> str | None:
        for word in words(value or ""):
            parts = urlsplit(word)
            if (
                parts.scheme not in {"https", "http"}
                or not parts.hostname
                or f"{parts.scheme}://{parts.netloc}" != word
            ):
                raise ValueError("write whole origins without a path, as in https://chat.example.org")
        return value

    @property
    def host_list(self) -> tuple[str, ...]:
        named = (word.lower() for word in words(self.hosts or ""))
        return tuple(word[1:-1] if word.endswith("]") else word for word in named)

    @property
    def origin_list(self) -> tuple[str, ...]:
        return tuple(word.lower() for word in words(self.origins or ""))


class Webhooks(WayOut):
    """Where tenants' webhooks may be, beyond the public internet."""

    allowed: str | None = Field(
        default=None, description="Names and networks at which webhooks may be though they are not public."
    )
    ports: str = Field(default="80,443", description="Ports at which webhooks may be, with commas between them.")
