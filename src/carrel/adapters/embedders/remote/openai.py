"""The wire of OpenAI, and of all who speak it: POST /embeddings."""

from base64 import b64decode
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from carrel.adapters.embedders.remote.calls import Calls, Place
from carrel.adapters.embedders.remote.wire import Rows, Wish, garbled, rows

_MOST_TEXTS: Final = 128
_BYTES_EACH: Final = 160_000  # of 4,000 numbers, each written out
_BYTES: Final = 1 << 20


class OpenAiWire:
    """Vectors are asked for in base64 of float32, and read as numbers where a server knows nothing else."""

    provider = "openai"
    most_texts = _MOST_TEXTS

    def __init__(self, model: str, place: Place) -> None:
        self.model = model
        self._calls = Calls(place)

    async def embed(self, texts: Sequence[str], wish: Wish) -> Rows:
        body: dict[str, Any] = {"model": self.model, "input": list(texts), "encoding_format": "base64"}
        if wish.dimension is not None:
            body["dimensions"] = wish.dimension
        answer = await self._calls.post("/embeddings", body, most=_BYTES + _BYTES_EACH * len(texts))
        return rows([_vector(entry) for entry in _in_order(answer.get("data"), len(texts))])

    async def close(self) -> None:
        await self._calls.close()


def _in_order(data: object, count: int) -> list[dict[str, Any]]:
    """By their own index, each there once."""
    entries = [entry for entry in data if isinstance(entry, dict)] if isinstance(data, list) else []
    places = [entry.get("index") for entry in entries]
    if len(entries) != count or set(places) != set(range(count)):
        raise garbled(f"It holds {len(entries)} vectors, not one for each of {count} texts.")
    return sorted(entries, key=lambda entry: int(entry["index"]))


def _vector(entry: dict[str, Any]) -> Any:
    vector = entry.get("embedding")
    if not isinstance(vector, str):
        return vector
    try:
        return np.frombuffer(b64decode(vector, validate=True), "<f4")
    except ValueError as error:
        raise garbled("A vector is not base64 of float32.") from error
