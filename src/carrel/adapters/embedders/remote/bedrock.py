"""The wire of Amazon Bedrock: InvokeModel, for the embedders of Amazon (Titan) and of Cohere.

With an API key of Bedrock's it is one POST. Without one the machine's own AWS credentials sign it: that is the work of
aiobotocore (the extra `bedrock`).
"""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any, Final, Protocol
from urllib.parse import quote

import orjson

from carrel.adapters.embedders.remote.calls import Calls, Place, bounded, refusal
from carrel.adapters.embedders.remote.wire import Rows, Wish, garbled, rows
from carrel.domain.errors import EmbedderFailed

_BYTES_EACH: Final = 160_000
_BYTES: Final = 1 << 20
_PIECE: Final = 1 << 16
_COHERE: Final = "cohere.embed"


class Invoked(Protocol):
    """InvokeModel, in whoever's name."""

    async def invoke(self, model: str, body: dict[str, Any], *, most: int) -> dict[str, Any]: ...

    async def close(self) -> None: ...


class BedrockWire:
    """Titan reads one text at a time, Cohere 96; only Cohere asks whether it is a question."""

    provider = "bedrock"

    def __init__(self, model: str, invoked: Invoked) -> None:
        self.model = model
        self.most_texts = 96 if _COHERE in model else 1
        self._invoked = invoked

    async def embed(self, texts: Sequence[str], wish: Wish) -> Rows:
        body = _cohere(texts, wish) if _COHERE in self.model else _titan(texts, wish)
        answer = await self._invoked.invoke(self.model, body, most=_BYTES + _BYTES_EACH * len(texts))
        vectors = _vectors(answer)
        if not isinstance(vectors, list) or len(vectors) != len(texts):
            raise garbled(f"It does not hold one vector for each of {len(texts)} texts.")
        return rows(vectors)

    async def close(self) -> None:
        await self._invoked.close()


class ByKey:
    """With an API key of Bedrock's."""

    def __init__(self, place: Place) -> None:
        self._calls = Calls(place)

    async def invoke(self, model: str, body: dict[str, Any], *, most: int) -> dict[str, Any]:
        return await self._calls.post(f"/model/{quote(model, safe='')}/invoke", body, most=most)

    async def close(self) -> None:
        await self._calls.close()


class ByAccount:
    """With the machine's AWS credentials; the client is made at the first call."""

    def __init__(self, *, region: str | None, base_url: str | None, connections: int) -> None:
        self._region = region
        self._base_url = base_url
        self._connections = connections
        self._open = AsyncExitStack()
        self._client: Any = None
        self._turn = asyncio.Lock()

    async def invoke(self, model: str, body: dict[str, Any], *, most: int) -> dict[str, Any]:
        from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, NoRegionError

        try:
            client = await self._made()
            answer = await client.invoke_model(modelId=model, body=orjson.dumps(body))
            async with answer["body"] as stream:
                content = await bounded(stream.iter_chunks(_PIECE), most)  # a read gives what has come by then
            found = orjson.loads(content)
        except ClientError as error:
            told = error.response.get("Error", {})
            status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
            raise refusal(status, f"{told.get('Code')}: {told.get('Message')}") from error
        except (NoCredentialsError, NoRegionError) as error:
            raise EmbedderFailed(
                "There are no AWS credentials or no region for the embedder.", code="embedder_key_refused", final=True
            ) from error
        except (BotoCoreError, OSError) as error:
            raise EmbedderFailed("Bedrock cannot be reached.", code="embedder_unreachable") from error
        except orjson.JSONDecodeError as error:
            raise garbled("It is not JSON.") from error
        return found if isinstance(found, dict) else {}

    async def close(self) -> None:
        await self._open.aclose()

    async def _made(self) -> Any:
        async with self._turn:
            if self._client is None:
                self._client = await self._open.enter_async_context(self._making())
        return self._client

    def _making(self) -> Any:
        from aiobotocore.config import AioConfig
        from aiobotocore.session import get_session

        rules = AioConfig(retries={"total_max_attempts": 1}, connect_timeout=10, max_pool_connections=self._connections)
        return get_session().create_client(
            "bedrock-runtime", region_name=self._region, endpoint_url=self._base_url, config=rules
        )


def _titan(texts: Sequence[str], wish: Wish) -> dict[str, Any]:
    (text,) = texts
    return {"inputText": text, **({"dimensions": wish.dimension} if wish.dimension else {})}


def _cohere(texts: Sequence[str], wish: Wish) -> dict[str, Any]:
    return {
        "texts": list(texts),
        "input_type": "search_query" if wish.question else "search_document",
        "truncate": "NONE",
        "embedding_types": ["float"],
        **({"output_dimension": wish.dimension} if wish.dimension else {}),
    }


def _vectors(answer: dict[str, Any]) -> object:
    if "embedding" in answer:
        return [answer["embedding"]]
    vectors = answer.get("embeddings")
    return vectors.get("float") if isinstance(vectors, dict) else vectors
