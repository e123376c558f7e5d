"""Embedding: each chunk with its title and headings before it, within the embedder's length, in batches."""

from array import array
from collections.abc import Callable, Hashable, Sequence
from hashlib import sha256
from typing import Final

from carrel.domain.text import Chunk
from carrel.ports.embedder import Embedder, Vector

_BATCH: Final = 512  # texts; an embedder divides them as it likes
_LONGEST_CONTEXT: Final = 32
_HASH: Final = 16  # bytes


class Reader:
    """What the embedder reads of each chunk of one document."""

    def __init__(self, embedder: Embedder, title: str) -> None:
        self._embedder = embedder
        self._title = title
        self._contexts: dict[tuple[str, ...], tuple[int, ...]] = {}

    def reading(self, chunk: Chunk) -> tuple[int, ...]:
        """The title and the headings say what a chunk is about; the chunk's own tokens are never cut for them."""
        path = chunk.heading_path
        if path not in self._contexts:
            context = self._embedder.tokenize(context_of(self._title, path))
            self._contexts[path] = tuple(context.ids[:_LONGEST_CONTEXT])
        room = min(_LONGEST_CONTEXT, self._embedder.profile.max_tokens - len(chunk.tokens))
        return (*self._contexts[path][: max(room, 0)], *chunk.tokens)

    def hashed(self, chunk: Chunk) -> bytes:
        """Equal for chunks to which the embedder gives the same vector."""
        return sha256(array("q", self.reading(chunk))).digest()[:_HASH]


async def embed(
    embedder: Embedder,
    title: str,
    chunks: Sequence[Chunk],
    *,
    flow: Hashable = None,
    advanced: Callable[[float], None] = lambda _: None,
) -> list[Vector]:
    """One vector for each chunk, in order; `advanced` hears what share is done. Raises Unavailable.

    Chunks that read the same are embedded once: a megabyte of one letter is hundreds of them.
    """
    readings = [(chunk.heading_path, chunk.tokens) for chunk in chunks]
    distinct = dict(zip(readings, chunks, strict=True))
    reader, vectors, wanted = Reader(embedder, title), list[Vector](), list(distinct.values())
    for first in range(0, len(wanted), _BATCH):
        some = [reader.reading(chunk) for chunk in wanted[first : first + _BATCH]]
        vectors.extend(await embedder.embed(some, flow=flow))
        advanced(len(vectors) / len(wanted))
    vector_of = dict(zip(distinct, vectors, strict=True))
    return [vector_of[reading] for reading in readings]


def context_of(title: str, heading_path: tuple[str, ...]) -> str:
    """`Title. Heading. Heading. `, each once."""
    return "".join(f"{part}. " for part in dict.fromkeys((title, *heading_path)))
