"""What the server was told, and what it said: its own count of tokens, which a bill would rest on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from support.model_server.scripts import Signal


@dataclass(frozen=True)
class Told:
    """A request as any wire means it: who said what, and how the answer is wanted."""

    model: str
    messages: Sequence[tuple[str, str]] = ()
    stream: bool = False
    most_tokens: int | None = None
    wants_usage: bool = True
    wants_usage_each: bool = False
    key: str = ""
    texts: Sequence[str] = ()
    dimensions: int | None = None
    base64: bool = False

    @property
    def question(self) -> str:
        """What was said last."""
        return self.messages[-1][1] if self.messages else ""

    @property
    def everything(self) -> str:
        return "\n\n".join(text for _, text in self.messages)


@dataclass
class Heard:
    """One request: what it said, and how far the answer came.

    `output_tokens` counts what was sent, also of an answer that broke off or that nobody stayed for. `ended` is set
    when nothing more comes of it; `left` tells that the client went before.
    """

    wire: str
    path: str
    headers: Mapping[str, str]
    body: Any
    told: Told
    input_tokens: int = 0
    output_tokens: int = 0
    status: int = 0
    said: str = ""
    left: bool = False
    ended: Signal = field(default_factory=Signal)
