"""The default Embedder: all-MiniLM-L6-v2 on onnxruntime, in this process."""

import asyncio
from collections import deque
from collections.abc import Hashable, Sequence
from functools import partial
from pathlib import Path

from carrel.adapters.embedders.minilm.pool import FairPool
from carrel.adapters.embedders.minilm.session import Session
from carrel.adapters.embedders.minilm.tokenizer import MAX_TOKENS, WordPieces, marked
from carrel.domain.errors import Unavailable
from carrel.ports.embedder import EmbedderProfile, Tokens, Vector

DIMENSION = 384


class MiniLM:
    """Embeds with `threads` threads of its own, one text each; a call that is alone keeps one more waiting.

    So a question waits for a chunk or two, not for whole batches: a tenant that comes, for what is running, and a short
    document for one of each of its own tenant's that is in hand.
    """

    def __init__(self, model: Path, tokenizer: Path, *, threads: int, name: str) -> None:
        self._profile = EmbedderProfile(name=name, dimension=DIMENSION, max_tokens=MAX_TOKENS)
        self._tokenizer = WordPieces(tokenizer)
        self._session = Session(model)
        self._threads = threads
        self._callers = 0
        self._pool: FairPool[Vector] = FairPool(threads, name="minilm")

    @property
    def profile(self) -> EmbedderProfile:
        return self._profile

    def tokenize(self, text: str) -> Tokens:
        """Of any length; what is longer than the profile's max_tokens is for the caller to cut."""
        return self._tokenizer.tokenize(text)

    async def embed(self, batch: Sequence[Sequence[int]], *, flow: Hashable = None) -> list[Vector]:
        """Of ids beyond max_tokens nothing is seen. No ids at all have a vector too."""
        vectors: list[Vector] = []
        ahead: deque[asyncio.Future[Vector]] = deque()
        self._callers += 1
        try:
            for ids in batch:
                while len(ahead) >= self._most_ahead():
                    vectors.append(await ahead.popleft())
                ahead.append(self._start(flow, ids))
            while ahead:
                vectors.append(await ahead.popleft())
        finally:
            self._callers -= 1
            for vector in ahead:
                vector.cancel()
        return vectors

    def close(self) -> None:
        """Waits for the texts that are running; those that wait are dropped. `embed` is Unavailable from then on."""
        self._pool.close()

    def _most_ahead(self) -> int:
        """Of one call. Where others call too, their texts are what a thread finds next."""
        return self._threads + (self._callers == 1)

    def _start(self, flow: Hashable, ids: Sequence[int]) -> asyncio.Future[Vector]:
        try:
            return self._pool.start(flow, partial(self._vector, ids))
        except RuntimeError as error:
            raise Unavailable("The embedder is closed.", code="model_closed") from error

    def _vector(self, ids: Sequence[int]) -> Vector:
        vector: Vector = self._session.run(marked(ids))[0][0]
        return vector
