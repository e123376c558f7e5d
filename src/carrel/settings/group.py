"""What all groups of settings have in common."""

import re
from ipaddress import ip_network
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    field_validator,
)


class Group(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def named_model(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,199}", value):
        raise ValueError("write a model's name as its provider does, as in gpt-5-mini")
    return value


ModelName = Annotated[str, AfterValidator(named_model)]


def words(value: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in value.split(",") if word.strip())


def port_words(value: str) -> str:
    """Raises ValueError for what is no list of ports."""
    ports = words(value)
    if not ports or not all(re.fullmatch(r"[1-9][0-9]{0,4}", port) and int(port) < 1 << 16 for port in ports):
        raise ValueError("write ports with commas between them, as in 80,443")
    return value


def places(value: str | None) -> str | None:
    """Raises ValueError for what is neither a name nor a network."""
    try:
        for word in words(value or ""):
            if "/" in word:
                ip_network(word)
    except ValueError as error:
        raise ValueError("write names and networks, as in idp.internal,10.0.0.0/8") from error
    return value


def endpoint(value: str) -> str:
    """Raises ValueError for what is no plain address of a service."""
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.hostname or "@" in parts.netloc or parts.query:
        raise ValueError("write an address as https://s3.example.org, without user and query")
    return value.rstrip("/")


class WayOut(Group):
    """Where requests that tenants cause may go: each kind says it in its own words."""

    allowed: str | None = None
    ports: str = "80,443"

    @field_validator("allowed")
    @classmethod
    def _are_places(cls, value: str | None) -> str | None:
        return places(value)

    @field_validator("ports")
    @classmethod
    def _are_ports(cls, value: str) -> str:
        return port_words(value)

    @property
    def port_set(self) -> frozenset[int]:
        return frozenset(map(int, words(self.ports)))
