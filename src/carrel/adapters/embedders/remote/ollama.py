"""The wire of Ollama: POST /api/embed."""

from collections.abc import Sequence
from typing import Any, Final

from carrel.adapters.embedders.remote.calls import Calls, Place
from carrel.adapters.embedders.remote.wire import Rows, Wish, garbled, rows

_MOST_TEXTS: Final = 128
_BYTES_EACH: Final = 160_000
_BYTES: Final = 1 << 20


class OllamaWire:
    """Without `truncate` a long text is refused, so that none of it is lost unseen."""

    provider = "ollama"
    most_texts = _MOST_TEXTS

    def __init__(self, model: str, place: Place) -> None:
        self.model = model
        self._calls = Calls(place)

    async def embed(self, texts: Sequence[str], wish: Wish) -> Rows:
        body: dict[str, Any] = {"model": self.model, "input": list(texts), "truncate": False}
        if wish.dimension is not None:
            body["dimensions"] = wish.dimension
        answer = await self._calls.post("/api/embed", body, most=_BYTES + _BYTES_EACH * len(texts))
        vectors = answer.get("embeddings")
        if not isinstance(vectors, list) or len(vectors) != len(texts):
            raise garbled(f"It does not hold one vector for each of {len(texts)} texts.")
        return rows(vectors)

    async def close(self) -> None:
        await self._calls.close()
