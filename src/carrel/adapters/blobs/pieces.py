"""Pieces of a stream of bytes."""

from collections.abc import AsyncIterator

__all__ = ["gathered", "once"]


async def gathered(content: AsyncIterator[bytes], *, least: int) -> AsyncIterator[bytes]:
    """The same bytes in pieces that are worth handing over: of at least so many bytes, but for the last."""
    held = bytearray()
    async for piece in content:
        held += piece
        if len(held) >= least:
            yield bytes(held)
            held.clear()
    if held:
        yield bytes(held)


async def once(content: bytes) -> AsyncIterator[bytes]:
    yield content
