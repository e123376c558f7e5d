"""Writing an answer from evidence."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Protocol

from carrel.domain.answers import Passage, Usage


@dataclass(frozen=True, slots=True)
class Prompt:
    """The question and the evidence that was judged good enough; passage n is cited as `[n]`, counted from 1."""

    question: str
    evidence: tuple[Passage, ...]
    instructions: str = ""


@dataclass(frozen=True, slots=True)
class Draft:
    """A piece of the answer's text as it comes; the last piece carries the usage."""

    text: str
    usage: Usage | None = None


class Model(Protocol):
    """Streams an answer that cites `[n]`; what it quotes has no such mark unescaped.

    It sees the prompt and nothing else. Raises Unavailable.
    """

    @property
    def name(self) -> str: ...

    def write(self, prompt: Prompt) -> AsyncGenerator[Draft]: ...
