"""What a provider's wire can do for the embedder, and what it says when it cannot."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from carrel.domain.errors import EmbedderFailed

Rows = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Wish:
    """`dimension` is asked of a model that can give several; some models read a question otherwise than a text."""

    dimension: int | None
    question: bool = False


class TooLong(Exception):  # noqa: N818 - not an error: the caller sends less
    """The provider takes fewer texts at once, or shorter ones."""


class DimensionRefused(Exception):  # noqa: N818 - not an error: the caller asks without
    """The provider's model has one dimension, or not this one."""


class Wire(Protocol):
    """One request each. Raises EmbedderFailed, TooLong, DimensionRefused."""

    @property
    def provider(self) -> str: ...

    @property
    def model(self) -> str: ...

    @property
    def most_texts(self) -> int:
        """In one request."""
        ...

    async def embed(self, texts: Sequence[str], wish: Wish) -> Rows:
        """One row for each text, in their order."""
        ...

    async def close(self) -> None: ...


def rows(vectors: ArrayLike) -> Rows:
    """Raises EmbedderFailed `embedder_garbled` for anything but rows of numbers of one length."""
    try:
        found = np.array(vectors, np.float64)
    except (ValueError, TypeError, OverflowError) as error:
        raise garbled("It did not send rows of numbers.") from error
    if found.ndim != 2:  # noqa: PLR2004 - a table
        raise garbled("It did not send rows of numbers.")
    return found


def garbled(what: str) -> EmbedderFailed:
    return EmbedderFailed(f"The embedder's answer cannot be used. {what}", code="embedder_garbled")
