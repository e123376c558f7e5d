"""Which model a bot may name: one that the deployment offers, or any of a provider that the tenant itself pays."""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from carrel.domain.errors import Invalid
from carrel.domain.providers import S3, ProviderCredential

EXTRACTIVE: Final = "extractive"

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,199}", re.ASCII)
_BEDROCK: Final = re.compile(r"https://bedrock-runtime\.([a-z]{2}(?:-[a-z]+)+-[0-9])\.amazonaws\.com/?", re.ASCII)


class Protocol(StrEnum):
    """How a provider is spoken to. Whoever is none of these by name speaks OpenAI's."""

    OPENAI = "openai"
    ANTHROPIC = "anthropic"
    OLLAMA = "ollama"
    BEDROCK = "bedrock"

    @classmethod
    def of(cls, provider: str) -> "Protocol":
        return cls(provider) if provider in set(cls) else cls.OPENAI


@dataclass(frozen=True, slots=True)
class Offer:
    """What the deployment gives to bots without a credential: its own model, and others by name."""

    model: str = EXTRACTIVE
    others: tuple[str, ...] = ()

    def holds(self, model: str) -> bool:
        return model in {EXTRACTIVE, self.model, *self.others}


def judge_model(offer: Offer, model: str | None, credential: ProviderCredential | None) -> None:
    """Raises Invalid `invalid_model`, `unknown_model`, `unusable_credential`."""
    if model is None or model == EXTRACTIVE:
        return
    if not _NAME.fullmatch(model):
        raise Invalid(
            "Write a model's name as its provider does: 1 to 200 of A-Z, a-z, 0-9 and . _ : / @ + -",
            code="invalid_model",
            field="model",
        )
    if credential is None:
        if not offer.holds(model):
            raise Invalid(_not_offered(offer), code="unknown_model", field="model")
        return
    if reason := unusable(credential.provider, credential.base_url):
        raise Invalid(reason, code="unusable_credential", field="credential_id")


def unusable(provider: str, base_url: str | None) -> str | None:
    """Why a tenant's provider cannot be called at all; None if it can."""
    if provider == S3:
        return "A credential of s3 opens buckets, and no model."
    if provider == Protocol.BEDROCK and base_url is not None and bedrock_region(base_url) is None:
        return "A credential of bedrock has no address, or one as https://bedrock-runtime.eu-central-1.amazonaws.com."
    if provider not in {Protocol.OPENAI, Protocol.ANTHROPIC, Protocol.BEDROCK} and base_url is None:
        return f"The credential of {provider} names no address: make one with a base_url."
    return None


def bedrock_region(base_url: str) -> str | None:
    """The region that an address of Bedrock names; None for any other address."""
    found = _BEDROCK.fullmatch(base_url)
    return found[1] if found else None


def _not_offered(offer: Offer) -> str:
    offered = ", ".join(dict.fromkeys((offer.model, *offer.others, EXTRACTIVE)))
    return f"Without a credential_id a bot may name: {offered}."
