"""Server-sent events as providers send them: one JSON object on each `data:` line.

https://html.spec.whatwg.org/multipage/server-sent-events.html. The libraries' own readers build a typed model of each
event, only for us to take two fields out of it; a hundred readers at fifty tokens a second would feel that.
"""

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any, Final

import orjson

from carrel.adapters.models.failures import not_understood

_LONGEST: Final = 1 << 20  # bytes of one line
MOST: Final = 50_000
"""Events of one answer, which has a thousand tokens; a model that thinks aloud sends some ten thousand."""
_LINES: Final = 3  # of one event, on average
_DATA: Final = b"data:"
_DONE: Final = b"[DONE]"


async def events(pieces: AsyncIterator[bytes]) -> AsyncGenerator[dict[str, Any]]:
    """To the very end, so that the connection can be used again. Raises Failed for what is none, and for too many."""
    left = MOST
    async for line in _lines(pieces):
        data = line[len(_DATA) :].strip() if line.startswith(_DATA) else b""
        if not data or data == _DONE:
            continue
        try:
            event = orjson.loads(data)
        except orjson.JSONDecodeError:
            raise not_understood() from None
        if not isinstance(event, dict):
            raise not_understood()
        if (left := left - 1) < 0:
            raise not_understood()
        yield event


async def _lines(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Divided at line feeds alone: other marks of a line's end may stand inside of a text."""
    held, seen, left = bytearray(), 0, _LINES * MOST
    async for piece in pieces:
        held += piece
        while (end := held.find(b"\n", seen)) >= 0:
            if (left := left - 1) < 0:
                raise not_understood()
            yield bytes(held[:end])
            del held[: end + 1]
            seen = 0
        seen = len(held)
        if seen > _LONGEST:
            raise not_understood()
    if held:
        yield bytes(held)
