"""The default Embedder: all-MiniLM-L6-v2 on onnxruntime, in this process."""

import asyncio
from collections import deque
from collections.abc import Hashable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np

from carrel.adapters.embedders.minilm.pool import FairPool
from carrel.adapters.embedders.minilm.session import Session
from carrel.adapters.embedders.minilm.tokenizer import MAX_TOKENS, WordPieces, marked
from carrel.domain.errors import Unavailable
from carrel.ports.embedder import EmbedderProfile, Tokens, Vector

DIMENSION = 384

_BREATH: Final = 0.3  # seconds after a call, when mostly nobody is in the middle of a document any more
_A_QUESTION: Final = 64  # tokens, which need little memory


class MiniLM:
    """Embeds with `threads` threads of its own, one text each; a call that is alone keeps one more waiting.

    So a question waits for a chunk or two, not for whole batches: a tenant that comes, for what is running, and a short
    document for one of each of its own tenant's that is in hand. What long texts took of memory goes back a breath
    after a call, unless there is another then.
    """

    def __init__(self, model: Path, tokenizer: Path, *, threads: int, name: str) -> None:
        self._profile = EmbedderProfile(name=name, dimension=DIMENSION, max_tokens=MAX_TOKENS)
        self._tokenizer = WordPieces(tokenizer)
        self._session = Session(model)
        self._threads = threads
        self._callers = 0
        self._grown = False
        self._pool: FairPool[Vector] = FairPool(threads, name="minilm")

    @property
    def profile(self) -> EmbedderProfile:
        return self._profile

    def tokenize(self, text: str) -> Tokens:
        """Of any length; what is longer than the profile's max_tokens is for the caller to cut."""
        return self._tokenizer.tokenize(text)

    async def embed(self, batch: Sequence[Sequence[int]], *, flow: Hashable = None) -> list[Vector]:
        """Of ids beyond max_tokens nothing is seen. No ids at all have a vector too."""
        vectors = np.empty((len(batch), DIMENSION), np.float32)
        ahead, rows = deque[asyncio.Future[Vector]](), iter(vectors)
        self._callers += 1
        try:
            for ids in batch:
                while len(ahead) >= self._most_ahead():
                    next(rows)[:] = await ahead.popleft()
                ahead.append(self._start(flow, ids))
            while ahead:
                next(rows)[:] = await ahead.popleft()
        finally:
            self._callers -= 1
            for vector in ahead:
                vector.cancel()
            if self._grown and not self._callers:
                asyncio.get_running_loop().call_later(_BREATH, self._rest)
        return list(vectors)

    def close(self) -> None:
        """Waits for the texts that are running; those that wait are dropped. `embed` is Unavailable from then on."""
        self._pool.close()

    def _most_ahead(self) -> int:
        """Of one call. Where others call too, their texts are what a thread finds next."""
        return self._threads + (self._callers == 1)

    def _rest(self) -> None:
        if self._grown and not self._callers:
            self._grown = False
            with suppress(RuntimeError):  # closed by now
                self._pool.start(None, partial(self._vector, (), rests=True))

    def _start(self, flow: Hashable, ids: Sequence[int]) -> asyncio.Future[Vector]:
        self._grown |= len(ids) > _A_QUESTION
        try:
            return self._pool.start(flow, partial(self._vector, ids))
        except RuntimeError as error:
            raise Unavailable("The embedder is closed.", code="model_closed") from error

    def _vector(self, ids: Sequence[int], *, rests: bool = False) -> Vector:
        """Lies in the session's memory, and keeps all of it: to be copied at once."""
        vector: Vector = self._session.run(marked(ids), rests=rests)[0][0]
        return vector
