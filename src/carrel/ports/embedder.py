"""Turning text into vectors."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float32]
Spans = NDArray[np.int32]

MOST_TOKENS: Final = 2_000_000


@dataclass(frozen=True, slots=True, eq=False)
class Tokens:
    """Token ids without the model's own marks, and each token's span of characters in the text: an array of pairs.

    A long text has millions: `ids` is best something flat, such as `array("i")`.
    """

    ids: Sequence[int]
    spans: Spans


@dataclass(frozen=True, slots=True)
class EmbedderProfile:
    """What an index must know of its vectors. Two embedders with one `name` give vectors that may share an index."""

    name: str
    dimension: int
    max_tokens: int


class Embedder(Protocol):
    """Tokenize once: the same ids serve chunking and embedding. Vectors have length 1, so cosine is the inner product.

    The same tokens give the same vector, whatever else is in the batch. Ids are all that an embedder needs: where the
    model's tokenizer lies elsewhere they hold the text itself. Raises Unavailable (EmbedderFailed for a provider's).
    """

    @property
    def profile(self) -> EmbedderProfile: ...

    def tokenize(self, text: str) -> Tokens:
        """Raises Unreadable `too_long` beyond MOST_TOKENS."""
        ...

    async def embed(self, batch: Sequence[Sequence[int]], *, flow: Hashable = None) -> list[Vector]:
        """Calls of one `flow`, mostly a tenant, stand in one line; where texts must wait, the lines take turns."""
        ...
