"""What every protocol of a provider is told, and what it gives back: the small inside port of this family."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Protocol as Interface

from carrel.domain.errors import ModelFailed
from carrel.domain.ids import TenantId
from carrel.domain.models import Protocol
from carrel.domain.secret import Secret
from carrel.ports.model import Message


@dataclass(frozen=True, slots=True, eq=False)
class Account:
    """Who pays, and where the calls go. `is_ours` is the deployment's: the operator's word on its address is taken.

    `payer` is the tenant of any other.
    """

    provider: str
    base_url: str | None
    secret: Secret | None
    is_ours: bool = False
    region: str | None = None
    payer: TenantId | None = None

    @property
    def protocol(self) -> Protocol:
        return Protocol.of(self.provider)


@dataclass(frozen=True, slots=True)
class Told:
    model: str
    messages: tuple[Message, ...]
    most_tokens: int
    temperature: float
    context_tokens: int


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of a stream: text, tokens as far as they are counted by now, and whether the model said it was done."""

    text: str = ""
    input_tokens: int | None = None
    output_tokens: int | None = None
    is_last: bool = False


class Wire(Interface):
    """One account's connections to its provider. Raises Failed, and nothing of the provider's library."""

    def stream(self, told: Told) -> AsyncGenerator[Piece]:
        """Closing the generator closes the connection."""
        ...

    async def close(self) -> None: ...


class Failed(ModelFailed):
    """A failure that knows whether the same call may do better a moment later."""

    def __init__(self, detail: str, *, code: str, wait: float | None = None, again: bool = False) -> None:
        super().__init__(detail, code=code, wait=wait)
        self.again = again


def broke_off() -> Failed:
    return Failed("The model broke off in the middle of its answer.", code="model_broke_off", again=True)
