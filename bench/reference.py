"""What searches are compared with: the same embedder, an exact scan and bm25s in one process, no HTTP, no database.

Nobody is authorized, nothing is filtered, judged or counted, and every tenant lies in memory: it is the least that
a hybrid search of these texts can cost in Python, not a product. A product of vectors runs in one thread, which
`python -m bench` sets for its rows: with more, clients that ask at once would wait for each other.
"""

import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import bm25s
import numpy as np
from numpy.typing import NDArray

from bench.prepared import Document
from carrel.adapters.embedders.minilm.session import Session
from carrel.adapters.embedders.minilm.tokenizer import WordPieces, marked
from carrel.adapters.lexical.analyzer import EnglishAnalyzer

logging.getLogger("bm25s").setLevel(logging.WARNING)  # it tells of each index that it builds

_DEPTH: Final = 100
_LIMIT: Final = 10
_DENSE_SHARE: Final = 0.6


@dataclass(frozen=True, slots=True)
class _Shelf:
    """One tenant's chunks."""

    texts: list[str]
    vectors: NDArray[np.float32]
    words: bm25s.BM25


class Reference:
    def __init__(self, models: Path, shares: Sequence[Sequence[Document]]) -> None:
        """`models` is the folder of the built embedder, which a home holds."""
        self._session = Session(next(models.glob("*.onnx")))
        self._tokenizer = WordPieces(next(models.glob("*.tokenizer.json")))
        self._analyzer = EnglishAnalyzer()
        self._shelves = [_shelf(share) for share in shares]

    def search(self, tenant: int, question: str) -> list[tuple[float, str]]:
        """The best texts with their scores, best first."""
        shelf = self._shelves[tenant]
        vector = self._session.run(marked(self._tokenizer.tokenize(question).ids))[0][0]
        stems = list(dict.fromkeys(self._analyzer.stems(question)))
        words = shelf.words.get_scores(stems) if stems else np.zeros(len(shelf.texts), np.float32)
        return _fused(shelf, _best(shelf.vectors @ vector), _best(words))

    def rate(self, asked: Sequence[tuple[int, str]], *, clients: int, seconds: float) -> float:
        """Searches in a second with so many threads asking at once."""
        counts = [0] * clients
        end = time.perf_counter() + seconds

        def client(first: int) -> None:
            number = first
            while time.perf_counter() < end:
                self.search(*asked[number % len(asked)])
                counts[first] += 1
                number += clients

        threads = [threading.Thread(target=client, args=(first,)) for first in range(clients)]
        began = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return sum(counts) / (time.perf_counter() - began)


@dataclass(frozen=True, slots=True)
class _Leg:
    """Places on the shelf with their scores, in no order."""

    places: NDArray[np.int64]
    scores: NDArray[np.float32]


def _best(scores: NDArray[np.float32]) -> _Leg:
    places = np.argpartition(-scores, min(_DEPTH, len(scores) - 1))[:_DEPTH]
    return _Leg(places, scores[places])


def _fused(shelf: _Shelf, dense: _Leg, words: _Leg) -> list[tuple[float, str]]:
    scores = np.zeros(len(shelf.texts))
    for share, leg in ((_DENSE_SHARE, dense), (1 - _DENSE_SHARE, words)):
        highest = leg.scores.max(initial=0.0)
        if highest > 0:
            scores[leg.places] += share * np.maximum(leg.scores, 0) / highest
    best = np.argsort(-scores)[:_LIMIT]
    return [(float(scores[place]), shelf.texts[place]) for place in best]


def _shelf(share: Sequence[Document]) -> _Shelf:
    words = bm25s.BM25(k1=1.2, b=0.75)  # type: ignore[no-untyped-call]
    words.index([list(stems) for document in share for stems in document.stems], show_progress=False)
    texts = [piece.text for document in share for piece in document.chunks]
    return _Shelf(texts, np.concatenate([document.vectors for document in share]), words)
