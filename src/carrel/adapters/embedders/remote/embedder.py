"""The Embedder of a provider's: batches, patience, and no trust in what comes back."""

import asyncio
import random
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Final

import numpy as np

from carrel.adapters.embedders.remote import letters
from carrel.adapters.embedders.remote.wire import DimensionRefused, Rows, TooLong, Wire, Wish, garbled
from carrel.adapters.embedders.turns import FairSemaphore
from carrel.domain.errors import EmbedderFailed
from carrel.ports.embedder import EmbedderProfile, Tokens, Vector

LONGEST: Final = 4_000  # numbers in a vector: what a dedicated tenant's index can hold
_MOST_TOKENS: Final = 64_000  # in one request
_ATTEMPTS: Final = 4
_LONGEST_WAIT: Final = 30.0  # seconds: whoever is told to wait longer gives the work back
_SMALLEST: Final = 16  # tokens that any model takes
_UNKNOWN: Final = 0  # the dimension of an embedder that was not asked yet
_EMPTY: Final = "."  # for a text without anything to read: providers refuse an empty one
_PROBE: Final = "Carrel asks how long a vector is."
_QUESTIONS: Final = 64  # at the same time
_PASSING: Final = frozenset({"embedder_throttled", "embedder_unreachable", "embedder_timeout", "embedder_garbled"})


@dataclass(frozen=True, slots=True)
class Plan:
    """`dimension` None is found by one call. Times in seconds: of a request of texts, and of a question as a whole."""

    dimension: int | None = None
    max_tokens: int = 384
    concurrency: int = 4
    seconds: float = 60.0
    question_seconds: float = 10.0
    pause: float = 0.5


@dataclass(slots=True)
class _Line:
    """To the provider, for all who use it in this process."""

    wire: Wire
    asks: bool
    texts: FairSemaphore
    questions: FairSemaphore = field(default_factory=lambda: FairSemaphore(_QUESTIONS))


class RemoteEmbedder:
    """Tokens are letters.py's; of ids beyond max_tokens nothing is seen, and no ids at all have a vector too.

    A text that the provider finds too long is sent in halves: its vector is then their weighted mean, as each part
    would have been found. Raises EmbedderFailed.
    """

    def __init__(self, line: _Line, profile: EmbedderProfile, plan: Plan, *, question: bool = False) -> None:
        self._line = line
        self._profile = profile
        self._plan = plan
        self._question = question

    @property
    def profile(self) -> EmbedderProfile:
        return self._profile

    def tokenize(self, text: str) -> Tokens:
        return letters.tokenize(text)

    def for_questions(self) -> "RemoteEmbedder":
        """The same one, less patient, and as a question is read by models that tell the two apart."""
        return RemoteEmbedder(self._line, self._profile, self._plan, question=True)

    async def embed(self, batch: Sequence[Sequence[int]], *, flow: Hashable = None) -> list[Vector]:
        pieces = [ids[: self._profile.max_tokens] for ids in batch]
        if not self._question:
            return await self._all(flow, pieces)
        with _timely():
            async with asyncio.timeout(self._plan.question_seconds):
                return await self._all(flow, pieces)

    async def close(self) -> None:
        await self._line.wire.close()

    async def _all(self, flow: Hashable, pieces: Sequence[Sequence[int]]) -> list[Vector]:
        """So many requests at a time as the plan says; a failed one ends the others."""
        vectors: dict[int, list[Vector]] = {}
        groups = self._groups(pieces)

        async def work() -> None:
            for group in groups:
                vectors[group.start] = await self._answered(flow, [pieces[place] for place in group])

        try:
            async with asyncio.TaskGroup() as workers:
                for _ in range(min(self._plan.concurrency, len(pieces))):
                    workers.create_task(work())
        except BaseExceptionGroup as failures:
            raise failures.exceptions[0] from None
        return [vector for start in sorted(vectors) for vector in vectors[start]]

    def _groups(self, pieces: Sequence[Sequence[int]]) -> Iterator[range]:
        start, held = 0, 0
        for place, piece in enumerate(pieces):
            if place > start and (place - start == self._line.wire.most_texts or held + len(piece) > _MOST_TOKENS):
                yield range(start, place)
                start, held = place, 0
            held += len(piece)
        if pieces:
            yield range(start, len(pieces))

    async def _answered(self, flow: Hashable, pieces: Sequence[Sequence[int]]) -> list[Vector]:
        try:
            return await self._tried(flow, [letters.text_of(piece) or _EMPTY for piece in pieces])
        except TooLong:
            pass
        if len(pieces) > 1:
            middle = len(pieces) // 2
            return [*await self._answered(flow, pieces[:middle]), *await self._answered(flow, pieces[middle:])]
        (piece,) = pieces
        middle = len(piece) // 2
        if len(piece) < _SMALLEST:
            raise EmbedderFailed("The provider takes hardly any text.", code="embedder_input_refused", final=True)
        halves = [piece[:middle], piece[middle:]]
        (first,), (second,) = [await self._answered(flow, [half]) for half in halves]
        mean = len(halves[0]) * first.astype(np.float64) + len(halves[1]) * second.astype(np.float64)
        return _of_length_one(mean[np.newaxis] if np.any(mean) else first.astype(np.float64)[np.newaxis])

    async def _tried(self, flow: Hashable, texts: Sequence[str]) -> list[Vector]:
        """Again after what passes by: with back-off, or when the provider says."""
        for attempt in count(1):
            wish = Wish(self._plan.dimension if self._line.asks else None, question=self._question)
            try:
                return await self._once(flow, texts, wish)
            except DimensionRefused as error:
                if wish.dimension is None:
                    raise self._of_another_dimension("refuses") from error
                self._line.asks = False
            except EmbedderFailed as failure:
                wait = failure.wait if failure.wait is not None else self._plan.pause * 2 ** (attempt - 1)
                if failure.code not in _PASSING or attempt >= _ATTEMPTS or wait > _LONGEST_WAIT:
                    raise
                await asyncio.sleep(wait + random.random() * self._plan.pause)  # noqa: S311 - jitter, not a secret
        raise AssertionError

    async def _once(self, flow: Hashable, texts: Sequence[str], wish: Wish) -> list[Vector]:
        line = self._line
        with _timely():
            turns = line.questions if self._question else line.texts
            async with turns.held(flow), asyncio.timeout(self._plan.seconds):
                found = await line.wire.embed(texts, wish)
        if found.shape[0] != len(texts):
            raise garbled(f"It holds {found.shape[0]} vectors for {len(texts)} texts.")
        if self._profile.dimension not in {_UNKNOWN, found.shape[1]}:
            raise self._of_another_dimension(f"sent {found.shape[1]:,} of")
        return _of_length_one(found)

    def _of_another_dimension(self, did: str) -> EmbedderFailed:
        return EmbedderFailed(
            f"The embedder {did} {self._profile.dimension:,} numbers in a vector: set CARREL_EMBEDDER__DIMENSION.",
            code="embedder_dimension",
            final=True,
        )


async def opened(wire: Wire, plan: Plan) -> RemoteEmbedder:
    """The name of its profile holds provider, model and dimension, so vectors never mix.

    Calls the provider only when the dimension is not told. Raises EmbedderFailed.
    """
    line = _Line(wire, asks=plan.dimension is not None, texts=FairSemaphore(plan.concurrency))
    dimension = plan.dimension or await _dimension(line, plan)
    if dimension > LONGEST:
        raise EmbedderFailed(
            f"{wire.model} gives {dimension:,} numbers in a vector, and at most {LONGEST:,} can be kept:"
            " set CARREL_EMBEDDER__DIMENSION, if the model can give fewer.",
            code="embedder_dimension",
            final=True,
        )
    name = f"{wire.provider}/{wire.model}/{dimension}"
    return RemoteEmbedder(line, EmbedderProfile(name, dimension, plan.max_tokens), plan)


async def _dimension(line: _Line, plan: Plan) -> int:
    asker = RemoteEmbedder(line, EmbedderProfile(line.wire.model, _UNKNOWN, plan.max_tokens), plan)
    (vector,) = await asker.embed([letters.tokenize(_PROBE).ids])
    return len(vector)


def _of_length_one(found: Rows) -> list[Vector]:
    """Raises EmbedderFailed `embedder_garbled` for what is no direction: not finite, or nothing at all."""
    with np.errstate(all="ignore"):
        lengths = np.linalg.norm(found, axis=1, keepdims=True)
        if not (np.isfinite(found).all() and np.isfinite(lengths).all() and (lengths > 0).all()):
            raise garbled("A vector holds no finite numbers, or zeros alone.")
        return list((found / lengths).astype(np.float32))


@contextmanager
def _timely() -> Iterator[None]:
    try:
        yield
    except TimeoutError as error:
        raise EmbedderFailed("The embedder's provider does not answer in time.", code="embedder_timeout") from error
