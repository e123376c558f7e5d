"""Turning text into vectors."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Tokens:
    """Token ids without the model's own marks, and each token's span of characters in the text."""

    ids: tuple[int, ...]
    spans: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class EmbedderProfile:
    """What an index must know of its vectors. Two embedders with one `name` give vectors that may share an index."""

    name: str
    dimension: int
    max_tokens: int


class Embedder(Protocol):
    """Tokenize once: the same ids serve chunking and embedding. Vectors have length 1, so cosine is the inner product.

    The same tokens give the same vector, whatever else is in the batch. Raises Unavailable.
    """

    @property
    def profile(self) -> EmbedderProfile: ...

    def tokenize(self, text: str) -> Tokens: ...

    async def embed(self, batch: Sequence[Sequence[int]]) -> list[Vector]: ...
