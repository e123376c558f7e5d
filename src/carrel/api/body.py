"""JSON bodies, bounded while they stream: their size, and how deep they nest."""

from collections.abc import AsyncIterator
from typing import Any, Final, Self

import orjson
from fastapi import Request

from carrel.domain.errors import Invalid, TooLarge, Unsupported

MOST_BYTES: Final = 1024 * 1024
_MOST_DRAINED: Final = 16 * MOST_BYTES
_DEEPEST: Final = 32


class JsonRequest(Request):
    """A request whose body has been read and parsed, so that nothing about it can go wrong any more."""

    _read: bytes
    _parsed: Any

    @classmethod
    async def read(cls, request: Request) -> Self:
        """Raises TooLarge, Unsupported, Invalid `malformed_json`."""
        read = cls(request.scope, request.receive)
        read._read = await _bounded(request.stream())
        read._parsed = _parse(read._read, request.headers.get("content-type")) if read._read else None
        if read._read and "content-type" not in request.headers:
            headers = [*request.scope["headers"], (b"content-type", b"application/json")]
            read.scope = {**request.scope, "headers": headers}
        return read

    async def body(self) -> bytes:
        return self._read

    async def json(self) -> Any:
        return self._parsed


async def _bounded(stream: AsyncIterator[bytes]) -> bytes:
    """What comes beyond the limit is thrown away, and for a while still read, so that the sender sees the answer."""
    body, count = bytearray(), 0
    async for piece in stream:
        count += len(piece)
        if count <= MOST_BYTES:
            body += piece
        elif count > _MOST_DRAINED:
            break
    if count > MOST_BYTES:
        raise TooLarge(f"A JSON body has at most {MOST_BYTES:,} bytes.")
    return bytes(body)


def _parse(body: bytes, content_type: str | None) -> Any:
    spoken = (content_type or "application/json").partition(";")[0].strip().lower()
    if spoken != "application/json" and not (spoken.startswith("application/") and spoken.endswith("+json")):
        raise Unsupported("Send the body as application/json.")
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Invalid("The body is not JSON in UTF-8.", code="malformed_json", field="body") from error
    if body.count(b"[") + body.count(b"{") > _DEEPEST and _is_deep(parsed):
        raise Invalid(f"The body nests deeper than {_DEEPEST} levels.", code="malformed_json", field="body")
    return parsed


def _is_deep(parsed: Any) -> bool:
    level = [parsed]
    for _ in range(_DEEPEST):
        level = [inner for outer in level for inner in _inside(outer)]
        if not level:
            return False
    return any(isinstance(value, (dict, list)) for value in level)


def _inside(value: Any) -> Any:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()
