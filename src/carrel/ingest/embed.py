"""Embedding: each chunk with its title and headings before it, within the embedder's length, in batches."""

from collections.abc import Sequence
from typing import Final

from carrel.domain.text import Chunk
from carrel.ports.embedder import Embedder, Vector

_BATCH: Final = 512  # texts; an embedder divides them as it likes
_LONGEST_CONTEXT: Final = 32


async def embed(embedder: Embedder, title: str, chunks: Sequence[Chunk]) -> list[Vector]:
    """One vector for each chunk, in order. Raises Unavailable.

    Chunks that read the same are embedded once: a megabyte of one letter is hundreds of them.
    """
    readings = [(chunk.heading_path, chunk.tokens) for chunk in chunks]
    distinct = dict(zip(readings, chunks, strict=True))
    vectors = await _each(embedder, title, list(distinct.values()))
    vector_of = dict(zip(distinct, vectors, strict=True))
    return [vector_of[reading] for reading in readings]


async def _each(embedder: Embedder, title: str, chunks: Sequence[Chunk]) -> list[Vector]:
    known: dict[tuple[str, ...], tuple[int, ...]] = {}
    vectors: list[Vector] = []
    for first in range(0, len(chunks), _BATCH):
        batch = [_with_context(embedder, title, chunk, known) for chunk in chunks[first : first + _BATCH]]
        vectors.extend(await embedder.embed(batch))
    return vectors


def _with_context(
    embedder: Embedder, title: str, chunk: Chunk, known: dict[tuple[str, ...], tuple[int, ...]]
) -> tuple[int, ...]:
    """The title and the headings say what a chunk is about; the chunk's own tokens are never cut for them."""
    path = chunk.heading_path
    if path not in known:
        known[path] = tuple(embedder.tokenize(context_of(title, path)).ids[:_LONGEST_CONTEXT])
    room = min(_LONGEST_CONTEXT, embedder.profile.max_tokens - len(chunk.tokens))
    return (*known[path][: max(room, 0)], *chunk.tokens)


def context_of(title: str, heading_path: tuple[str, ...]) -> str:
    """`Title. Heading. Heading. `, each once."""
    return "".join(f"{part}. " for part in dict.fromkeys((title, *heading_path)))
