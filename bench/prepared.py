"""Documents made ready once by the product's own verbs (parse, chunk, embed, analyze), for loading them many times."""

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
from carrel.ingest.embed import context_of, embed
from carrel.ports.embedder import Embedder

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
    text: Text
    title: str
    chunks: tuple[Chunk, ...]


async def prepare(embedder: Embedder, texts: Sequence[Text], *, kept: Path) -> list[Document]:
    """The vectors are kept in the folder `kept` from one run to the next, by embedder and texts; the rest is quick."""
    rules = ChunkRules().within(embedder.profile.max_tokens)
    cuts = [_cut(embedder, text, rules) for text in texts]
    vectors = await _vectors(embedder, cuts, kept / f"{_mark(embedder, texts)}.npy")
    analyzer = EnglishAnalyzer()
    documents, first = [], 0
    for cut in cuts:
        documents.append(_document(analyzer, cut, vectors[first : first + len(cut.chunks)]))
        first += len(cut.chunks)
    return documents


def _cut(embedder: Embedder, text: Text, rules: ChunkRules) -> _Cut:
    parsed = _parsed(text)
    chunks = chunk(parsed, embedder.tokenize(parsed.text), rules)
    return _Cut(text, parsed.title or title_from_key(text.key), tuple(chunks))


def _parsed(text: Text) -> ParsedDocument:
    parse, _ = _FORMATS[text.key.rpartition(".")[2]]
    return parse(text.content, key=text.key)


async def _vectors(embedder: Embedder, cuts: Sequence[_Cut], file: Path) -> NDArray[np.float32]:
    with suppress(FileNotFoundError):
        kept: NDArray[np.float32] = np.load(file)
        return kept
    made = [vector for cut in cuts for vector in await embed(embedder, cut.title, cut.chunks)]
    vectors = np.stack(made).astype(np.float32)
    _keep(file, vectors)
    return vectors


def _keep(file: Path, vectors: NDArray[np.float32]) -> None:
    """Whole or not at all: two rows may be at work at once."""
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(f".{os.getpid()}.npy")
    np.save(part, vectors)
    part.rename(file)


def _mark(embedder: Embedder, texts: Sequence[Text]) -> str:
    digest = hashlib.sha256(f"{embedder.profile.name}:{ChunkRules()}".encode())
    for text in texts:
        digest.update(hashlib.sha256(text.key.encode() + b"\0" + text.content).digest())
    return digest.hexdigest()[:16]


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
