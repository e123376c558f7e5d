"""Documents made ready once by the product's own verbs (parse, chunk, embed, analyze), for loading them many times.

Vectors are kept from one run to the next and from one row to another, by what the embedder read: nothing is embedded
twice. All else is made anew, since it takes seconds and follows from the code.
"""

import hashlib
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pgvector import HalfVector, SparseVector

from bench.texts import Text
from carrel.adapters.lexical.analyzer import EnglishAnalyzer
from carrel.adapters.lexical.postgres import document_weights, term_id
from carrel.adapters.parsers import markdown, plain
from carrel.domain.keys import title_from_key
from carrel.domain.library import ChunkRules
from carrel.domain.text import Chunk, ParsedDocument
from carrel.ingest.chunk import chunk
from carrel.ingest.embed import Reader, context_of
from carrel.ports.embedder import Embedder, Vector

_FORMATS: Final = {"md": (markdown.parse, "text/markdown"), "txt": (plain.parse, "text/plain")}


@dataclass(frozen=True, slots=True, eq=False)
class Document:
    """All that ingestion would write of a text, whichever tenant has it. `profile` is its packed term ids."""

    text: Text
    media_type: str
    title: str
    chunks: tuple[Chunk, ...]
    stems: tuple[tuple[str, ...], ...]
    vectors: NDArray[np.float32]
    halves: tuple[HalfVector, ...]
    weights: tuple[SparseVector, ...]
    profile: bytes


@dataclass(frozen=True, slots=True)
class _Cut:
    """`readings`: what the embedder reads of each chunk, by its hash."""

    text: Text
    title: str
    chunks: tuple[Chunk, ...]
    readings: tuple[tuple[bytes, tuple[int, ...]], ...]


async def prepare(embedder: Embedder, texts: Sequence[Text], *, kept: Path) -> list[Document]:
    """The vectors are kept in the folder `kept`, in one file for each embedder."""
    rules = ChunkRules().within(embedder.profile.max_tokens)
    cuts = [_cut(embedder, text, rules) for text in texts]
    vectors = await _vectors(embedder, cuts, kept / f"{_mark(embedder)}.npz")
    analyzer = EnglishAnalyzer()
    return [_document(analyzer, cut, np.stack([vectors[own] for own, _ in cut.readings])) for cut in cuts]


def _cut(embedder: Embedder, text: Text, rules: ChunkRules) -> _Cut:
    parsed = _parsed(text)
    chunks = chunk(parsed, embedder.tokenize(parsed.text), rules)
    title = parsed.title or title_from_key(text.key)
    reader = Reader(embedder, title)
    return _Cut(text, title, tuple(chunks), tuple((reader.hashed(piece), reader.reading(piece)) for piece in chunks))


def _parsed(text: Text) -> ParsedDocument:
    parse, _ = _FORMATS[text.key.rpartition(".")[2]]
    return parse(text.content, key=text.key)


async def _vectors(embedder: Embedder, cuts: Sequence[_Cut], file: Path) -> dict[bytes, Vector]:
    found = _kept(file)
    missing = {own: reading for cut in cuts for own, reading in cut.readings if own not in found}
    if missing:
        made = await embedder.embed(list(missing.values()))
        found |= dict(zip(missing, made, strict=True))
        _keep(file, found)
    return found


def _kept(file: Path) -> dict[bytes, Vector]:
    with suppress(FileNotFoundError), np.load(file) as kept:
        return dict(zip((bytes(own) for own in kept["readings"]), kept["vectors"], strict=True))
    return {}


def _keep(file: Path, vectors: dict[bytes, Vector]) -> None:
    """Whole or not at all: two rows may be at work at once."""
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(f".{os.getpid()}.npz")
    readings = np.array([list(own) for own in vectors], np.uint8)
    np.savez(part, readings=readings, vectors=np.stack(list(vectors.values())).astype(np.float32))
    part.rename(file)


def _mark(embedder: Embedder) -> str:
    return hashlib.sha256(embedder.profile.name.encode()).hexdigest()[:16]


def _document(analyzer: EnglishAnalyzer, cut: _Cut, vectors: NDArray[np.float32]) -> Document:
    key, chunks = cut.text.key, cut.chunks
    readings = (f"{context_of(cut.title, piece.heading_path)}\n{key}\n{piece.text}" for piece in chunks)
    stems = tuple(tuple(analyzer.stems(reading)) for reading in readings)
    return Document(
        text=cut.text,
        media_type=_FORMATS[key.rpartition(".")[2]][1],
        title=cut.title,
        chunks=chunks,
        stems=stems,
        vectors=vectors,
        halves=tuple(HalfVector(vector.astype(np.float16)) for vector in vectors),
        weights=tuple(document_weights(own) for own in stems),
        profile=np.array([term_id(stem) for own in stems for stem in set(own)], np.uint32).tobytes(),
    )
