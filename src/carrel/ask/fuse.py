"""Fusion: one score from two, each scaled by its theoretical minimum and the query's maximum, then combined.

The convex combination of Bruch, Gai and Ingber, "An Analysis of Fusion Functions for Hybrid Retrieval" (2023).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from carrel.domain.answers import Hit
from carrel.domain.ids import ChunkId

DENSE_SHARE: Final = 0.5
_LEAST_COSINE: Final = -1.0


@dataclass(frozen=True, slots=True)
class Fused:
    """A candidate: its combined score (0 to 1), and what each leg said; None where a leg did not return it."""

    chunk: ChunkId
    score: float
    dense: float | None
    lexical: float | None


def fuse(dense: Sequence[Hit], lexical: Sequence[Hit], *, dense_share: float = DENSE_SHARE) -> list[Fused]:
    """Best first, ties by chunk id. A leg that returned nothing has no say."""
    by_dense = {hit.chunk: hit.score for hit in dense}
    by_words = {hit.chunk: hit.score for hit in lexical}
    share = dense_share if by_dense and by_words else float(bool(by_dense))
    scaled_dense = _scaled(by_dense, _LEAST_COSINE)
    scaled_words = _scaled(by_words, 0.0)
    fused = [
        Fused(
            chunk,
            share * scaled_dense.get(chunk, 0.0) + (1 - share) * scaled_words.get(chunk, 0.0),
            by_dense.get(chunk),
            by_words.get(chunk),
        )
        for chunk in by_dense.keys() | by_words.keys()
    ]
    return sorted(fused, key=lambda found: (-found.score, found.chunk))


def _scaled(scores: Mapping[ChunkId, float], least: float) -> dict[ChunkId, float]:
    highest = max(scores.values(), default=least)
    span = highest - least
    return {chunk: (score - least) / span if span > 0 else 0.0 for chunk, score in scores.items()}
