"""Attachments: bytes that a browser keeps and never shows."""

import re
from collections.abc import AsyncIterator
from typing import Final
from urllib.parse import quote

from starlette.responses import StreamingResponse

_PLAIN: Final = re.compile(r"[\w.-]+", re.ASCII)


async def attachment(
    content: AsyncIterator[bytes], name: str, media_type: str, *, size: int | None = None, ahead: int = 1
) -> StreamingResponse:
    """So many pieces are there before the response begins: what goes wrong until then has its own status.

    Raises what the content raises.
    """
    begun = [await anext(content, b"") for _ in range(ahead)]
    named = f'filename="{name}"' if _PLAIN.fullmatch(name) else f"filename*=UTF-8''{quote(name, safe='')}"
    headers = {
        "Content-Disposition": f"attachment; {named}",
        "Content-Security-Policy": "sandbox; default-src 'none'",
        **({} if size is None else {"Content-Length": str(size)}),
    }
    return StreamingResponse(_all(begun, content), headers=headers, media_type=media_type)


async def _all(begun: list[bytes], rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    for piece in begun:
        yield piece
    async for piece in rest:
        yield piece
