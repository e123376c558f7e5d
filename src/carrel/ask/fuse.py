"""Fusion: one score from two, each scaled by its theoretical minimum and the query's maximum, then combined.

The convex combination of Bruch, Gai and Ingber, "An Analysis of Fusion Functions for Hybrid Retrieval" (2023).
"""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from carrel.domain.answers import Hit
from carrel.domain.ids import ChunkId

DENSE_SHARE: Final = 0.6
# Siblings (KubeletTooManyPods, KubeletPlegDurationHigh) mean nearly the same, and only their names tell them apart.
DENSE_SHARE_OF_A_NAME: Final = 0.4


class Fused(NamedTuple):
    """A candidate: its combined score (0 to 1), and what each leg said; None where a leg did not return it."""

    chunk: ChunkId
    score: float
    dense: float | None
    lexical: float | None


def fuse(dense: Sequence[Hit], lexical: Sequence[Hit], *, dense_share: float = DENSE_SHARE) -> list[Fused]:
    """Best first, ties by chunk id. A leg that returned nothing has no say.

    What the dense leg did not return is at most as near as the farthest that it did; what the lexical leg did not
    return holds none of the words, or hardly any.
    """
    by_dense, by_words = dict(dense), dict(lexical)
    share = dense_share if by_dense and by_words else float(bool(by_dense))
    near, farthest = _scale(by_dense, share), min(by_dense.values(), default=0.0)
    wordy = _scale(by_words, 1 - share)
    scores = {chunk: near * max(score, 0.0) for chunk, score in by_dense.items()}
    unseen = near * max(farthest, 0.0)
    for chunk, score in by_words.items():
        scores[chunk] = scores.get(chunk, unseen) + wordy * max(score, 0.0)
    fused = [Fused(chunk, score, by_dense.get(chunk), by_words.get(chunk)) for chunk, score in scores.items()]
    return sorted(fused, key=lambda found: (-found.score, found.chunk))


def _scale(scores: Mapping[ChunkId, float], share: float) -> float:
    """What a leg's score is multiplied by: its best is worth the leg's share, 0 is worth nothing.

    Both legs' scores have a practical minimum of 0: unrelated texts have a cosine near it, BM25 is never below.
    """
    highest = max(scores.values(), default=0.0)
    return share / highest if highest > 0 else 0.0
