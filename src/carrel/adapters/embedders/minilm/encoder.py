"""The default Embedder: all-MiniLM-L6-v2 on onnxruntime, in this process."""

import asyncio
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from carrel.adapters.embedders.minilm.session import Session
from carrel.adapters.embedders.minilm.tokenizer import MAX_TOKENS, WordPieces, marked
from carrel.domain.errors import Unavailable
from carrel.ports.embedder import EmbedderProfile, Tokens, Vector

DIMENSION = 384


class MiniLM:
    """Embeds with `threads` threads of its own, one text each; a call that is alone keeps one more waiting.

    So a question waits for a chunk or two, and a short document for one of each that is in hand, not for whole batches.
    """

    def __init__(self, model: Path, tokenizer: Path, *, threads: int, name: str) -> None:
        self._profile = EmbedderProfile(name=name, dimension=DIMENSION, max_tokens=MAX_TOKENS)
        self._tokenizer = WordPieces(tokenizer)
        self._session = Session(model)
        self._threads = threads
        self._callers = 0
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="minilm")

    @property
    def profile(self) -> EmbedderProfile:
        return self._profile

    def tokenize(self, text: str) -> Tokens:
        """Of any length; what is longer than the profile's max_tokens is for the caller to cut."""
        return self._tokenizer.tokenize(text)

    async def embed(self, batch: Sequence[Sequence[int]]) -> list[Vector]:
        """Of ids beyond max_tokens nothing is seen. No ids at all have a vector too."""
        vectors: list[Vector] = []
        ahead: deque[asyncio.Future[Vector]] = deque()
        self._callers += 1
        try:
            for ids in batch:
                while len(ahead) >= self._most_ahead():
                    vectors.append(await ahead.popleft())
                ahead.append(self._start(ids))
            while ahead:
                vectors.append(await ahead.popleft())
        finally:
            self._callers -= 1
            for vector in ahead:
                vector.cancel()
        return vectors

    def close(self) -> None:
        """Waits for the texts that are running; those that wait are dropped. `embed` is Unavailable from then on."""
        self._pool.shutdown(cancel_futures=True)

    def _most_ahead(self) -> int:
        """Of one call. Where others call too, their texts are what a thread finds next."""
        return self._threads + (self._callers == 1)

    def _start(self, ids: Sequence[int]) -> asyncio.Future[Vector]:
        try:
            return asyncio.get_running_loop().run_in_executor(self._pool, self._vector, ids)
        except RuntimeError as error:
            raise Unavailable("The embedder is closed.", code="model_closed") from error

    def _vector(self, ids: Sequence[int]) -> Vector:
        vector: Vector = self._session.run(marked(ids))[0][0]
        return vector
