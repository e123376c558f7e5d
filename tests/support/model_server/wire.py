"""What a provider's wire must be able to say, so that one way of speaking serves all of them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from support.model_server.scripts import Fault

Reason = Literal["stop", "length"]


@dataclass(frozen=True)
class Count:
    """Tokens, as the server counts them."""

    input: int
    output: int


@dataclass(frozen=True)
class Refused:
    status: int
    body: Any
    headers: Mapping[str, str] = field(default_factory=dict)


class Wire(Protocol):
    """One answer over one provider's wire: pieces of bytes, each of which is one chunk of the response's body."""

    name: str
    media_type: str

    def begin(self, count: Count, /) -> bytes: ...

    def piece(self, text: str, count: Count) -> bytes:
        """A token; the usage so far is told with it if the request or the script wants that."""
        ...

    def end(self, reason: Reason, count: Count) -> bytes:
        """Why it stopped, the usage, and whatever closes the stream."""
        ...

    def fault(self, fault: Fault) -> bytes:
        """An error in the midst of a stream."""
        ...

    def garbled(self) -> bytes:
        """An event that no client can read."""
        ...

    def whole(self, text: str, reason: Reason, count: Count) -> Any:
        """The answer that is not streamed, as JSON."""
        ...


def sse(data: Any, event: str = "") -> bytes:
    """One server-sent event."""
    named = f"event: {event}\n" if event else ""
    return f"{named}data: {json.dumps(data, ensure_ascii=False)}\n\n".encode()


def text_of(content: Any) -> str:
    """A message's content, which is a string or a list of blocks that have texts."""
    if isinstance(content, str):
        return content
    return "\n\n".join(block["text"] for block in content or [] if isinstance(block, dict) and "text" in block)
