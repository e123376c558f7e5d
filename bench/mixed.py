"""More documents than there are: each made of two real ones, so that vectors and words keep their neighbourhoods.

Vectors drawn by chance would lie far from each other on all sides, which no text does, and an approximate index would
look worse than it is; copies would lie on top of each other, and it would look better.
"""

import random
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import cycle
from typing import Final

import numpy as np
from pgvector import HalfVector, SparseVector

from bench.prepared import Document
from bench.texts import Text
from carrel.adapters.lexical.postgres import document_weights
from carrel.domain.text import Chunk

_LEAST, _MOST = 0.55, 0.85  # the first one's share
_NOISE: Final = 0.01


def enlarged(documents: Sequence[Document], *, chunks: int) -> list[Document]:
    """The real ones and, if they are too few, mixtures of two each; the same in every run."""
    found, have = list(documents), sum(len(one.chunks) for one in documents)
    mixtures = _mixtures(documents)
    while have < chunks:
        found.append(next(mixtures))
        have += len(found[-1].chunks)
    return found


def _mixtures(documents: Sequence[Document]) -> Iterator[Document]:
    chance = random.Random(3)  # noqa: S311 - repeatable, not secret
    others = [(document, place) for document in documents for place in range(len(document.chunks))]
    for number, document in enumerate(cycle(documents)):
        yield _mixture(document, number, others, chance)


def _mixture(
    document: Document,
    number: int,
    others: Sequence[tuple[Document, int]],
    chance: random.Random,
) -> Document:
    noise = np.random.default_rng(number)
    vectors, stems, chunks, weights = [], [], [], list[SparseVector]()
    for place, piece in enumerate(document.chunks):
        other, there = chance.choice(others)
        share = chance.uniform(_LEAST, _MOST)
        vector = share * document.vectors[place] + (1 - share) * other.vectors[there]
        vector = vector + _NOISE * noise.standard_normal(len(vector))
        vectors.append((vector / np.linalg.norm(vector)).astype(np.float32))
        stems.append(_spliced(document.stems[place], other.stems[there], share))
        weights.append(document_weights(stems[-1]))
        chunks.append(_joined(piece, other.chunks[there], share))
    return replace(
        document,
        text=Text(f"mixed/{number}-{uuid.UUID(int=chance.getrandbits(128))}", document.text.content),
        chunks=tuple(chunks),
        stems=tuple(stems),
        vectors=np.stack(vectors),
        halves=tuple(HalfVector(vector.astype(np.float16)) for vector in vectors),
        weights=tuple(weights),
        profile=np.array([term for own in weights for term in own.indices()], np.uint32).tobytes(),
    )


def _spliced(one: Sequence[str], other: Sequence[str], share: float) -> tuple[str, ...]:
    return (*one[: int(len(one) * share)], *other[int(len(other) * share) :])


def _joined(piece: Chunk, other: Chunk, share: float) -> Chunk:
    text = piece.text[: int(len(piece.text) * share)] + other.text[int(len(other.text) * share) :]
    return replace(piece, text=text)
