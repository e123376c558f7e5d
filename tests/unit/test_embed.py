"""Chunks become vectors: each with its title and headings, and what reads the same only once."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from carrel.adapters.embedders import minilm
from carrel.domain.library import ChunkRules
from carrel.domain.text import Block, Chunk, ParsedDocument
from carrel.ingest.chunk import chunk
from carrel.ingest.embed import context_of, embed
from support.recording import RecordingEmbedder


@pytest.fixture(scope="module")
def embedder(models: Path) -> Iterator[RecordingEmbedder]:
    real = minilm.prepare(models, threads=1)
    yield RecordingEmbedder(real)
    real.close()


def chunks_of(embedder: RecordingEmbedder, text: str) -> list[Chunk]:
    document = ParsedDocument(text, (Block(0, len(text), "paragraph"),))
    return chunk(document, embedder.tokenize(text), ChunkRules(240, 32))


async def test_a_megabyte_of_one_letter_is_embedded_once(embedder: RecordingEmbedder) -> None:
    chunks = chunks_of(embedder, "x" * 1_000_000)

    vectors = await embed(embedder, "Letters", chunks)

    assert len(chunks) == len(vectors) > 500
    assert embedder.texts <= 3, "one of each length"


async def test_each_chunk_has_the_vector_of_its_own_text_and_context(embedder: RecordingEmbedder) -> None:
    other = "Sickness is told to the manager before nine."
    chunks = chunks_of(embedder, "Leave is thirty days. " * 90 + other + " Leave is thirty days." * 90)
    title = "Handbook"

    vectors = await embed(embedder, title, chunks)

    context = embedder.tokenize(context_of(title, ())).ids
    alone = [(await embedder.real.embed([(*context, *one.tokens)]))[0] for one in chunks]
    assert [one for one in chunks if other in one.text] != []
    assert all(np.array_equal(vector, expected) for vector, expected in zip(vectors, alone, strict=True))


async def test_equal_words_under_different_headings_are_different_readings(embedder: RecordingEmbedder) -> None:
    tokens = tuple(embedder.tokenize("Ask the manager.").ids)
    under = [Chunk(n, "Ask the manager.", (path,), None, 0, 16, tokens) for n, path in enumerate(("Leave", "Pay"))]

    leave, pay = await embed(embedder, "Handbook", under)

    assert not np.array_equal(leave, pay)
