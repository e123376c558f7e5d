"""Language models: they write from what a prompt holds, and see nothing else."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

from carrel.domain.access import TenantGrant
from carrel.domain.answers import Passage, Usage
from carrel.domain.ids import CredentialId

MOST_ANSWER_TOKENS: Final = 1024
LONGEST_TOKEN: Final = 32
"""Characters: more than a tokenizer puts into one, on average. Whoever writes more than that does not stop."""
BYTES_OF_A_TOKEN: Final = 3
"""English has more of them: whoever counts too many tokens is never refused for length."""

_BESIDE_A_MESSAGE: Final = 8


class Speaker(StrEnum):
    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of what a model is told."""

    speaker: Speaker
    text: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """The question and the evidence that was judged good enough; passage n is cited as `[n]`, counted from 1.

    `messages` is the same in words, for a model that follows instructions. `most_tokens` bounds what it may write.
    """

    question: str
    evidence: tuple[Passage, ...]
    instructions: str = ""
    messages: tuple[Message, ...] = ()
    most_tokens: int = MOST_ANSWER_TOKENS


@dataclass(frozen=True, slots=True)
class Draft:
    """A piece of the answer's text as it comes; the last piece carries the usage.

    A usage may come earlier too, as far as it is known by then: then the latest counts, also when the stream breaks.
    """

    text: str
    usage: Usage | None = None


class Model(Protocol):
    """Streams an answer that cites `[n]`.

    It sees the prompt and nothing else. Nobody waits for it without end: it has time limits of its own. Raises
    ModelFailed; a stream that ends without saying that it is whole is one that broke off.
    """

    @property
    def name(self) -> str:
        """As usage is booked: `extractive`, or provider and model as in `openai:gpt-5-mini`."""
        ...

    @property
    def follows_instructions(self) -> bool:
        """Whether it reads `messages`; without, it works with the question and the evidence alone."""
        ...

    @property
    def context_tokens(self) -> int:
        """How much it may be told, prompt and answer together."""
        ...

    def write(self, prompt: Prompt) -> AsyncGenerator[Draft]: ...


@dataclass(frozen=True, slots=True)
class ModelWish:
    """What a bot asks for: a model, and the tenant's credential that pays for it; None is the deployment's own."""

    model: str | None = None
    credential: CredentialId | None = None


class Models(Protocol):
    """Which model writes, for whom."""

    async def of(self, grant: TenantGrant, wish: ModelWish) -> Model:
        """Makes no call to a provider. Raises ModelFailed when there is no such model or nothing to call it with."""
        ...

    async def prepare(self) -> None:
        """What the first answer of the deployment's own model would wait for, done before; nobody need call it."""
        ...


def weight(text: str) -> int:
    """An upper estimate of the tokens of one message, whichever tokenizer the model has."""
    return len(text.encode("utf-8", "replace")) // BYTES_OF_A_TOKEN + _BESIDE_A_MESSAGE
