"""Somebody before the door, with a credential or without."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import httpx2

from support.tenants import SomeTenant


@dataclass(frozen=True)
class Caller:
    """Somebody with a credential (or without) before the door."""

    client: httpx2.AsyncClient
    key: str | None = None
    tenant: SomeTenant | None = None

    async def __call__(self, method: str, path: str, **options: Any) -> httpx2.Response:
        headers = {**({"Authorization": f"Bearer {self.key}"} if self.key else {}), **options.pop("headers", {})}
        return await self.client.request(method, path, headers=headers, **options)

    async def made(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = await self("POST", path, json=body)
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    async def source(self, name: str = "Docs", **more: Any) -> str:
        return str((await self.made("/v1/sources", {"name": name, **more}))["id"])

    async def put(self, source: str, key: str, content: str | bytes) -> dict[str, Any]:
        """The document, ready or failed."""
        answer = await self("PUT", f"/v1/sources/{source}/documents/{key}?wait=true", content=content)
        assert answer.status_code in {200, 201}, answer.text
        return dict(answer.json()["document"])


CallerMaker = Callable[..., Awaitable[Caller]]
