"""Builders of tenants and what they keep, through the application's own doors."""

import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass

from carrel.domain.access import Principal, console
from carrel.domain.ids import SourceId, TenantId
from carrel.domain.library import Document, Source, Tenant
from carrel.domain.rights import Scope
from carrel.store.sources import NewSource
from carrel.tenancy.keys import KeyWish
from carrel.wiring import Application

ALL_SCOPES = ("search", "ask", "ingest", "manage")


@dataclass(frozen=True)
class SomeTenant:
    """A tenant, and the ways to act in it."""

    app: Application
    tenant: Tenant

    @property
    def id(self) -> TenantId:
        return self.tenant.id

    @property
    def slug(self) -> str:
        return self.tenant.slug

    @property
    def console(self) -> Principal:
        return console(self.tenant.id)

    async def key(self, *scopes: str) -> str:
        """A key in clear; without scopes it has all four."""
        wish = KeyWish(f"key {uuid.uuid4()}", frozenset(map(Scope, scopes or ALL_SCOPES)))
        return (await self.app.keys.create(self.console, wish)).clear

    async def principal(self, *scopes: str) -> Principal:
        return await self.app.principals.authenticate(await self.key(*scopes))

    async def source(self, name: str | None = None) -> Source:
        return await self.app.sources.create(self.console, NewSource(name or f"source {uuid.uuid4()}"))

    async def put(self, source: SourceId, key: str, text: str | bytes, *, seconds: float = 60) -> Document:
        """The document once it is ready or failed."""
        dock = await self.app.uploads.dock(self.console, source)
        content = text.encode() if isinstance(text, str) else text
        delivery = await self.app.uploads.deliver(dock, key, pieces(content), declared=None)
        return await self.app.uploads.settled(dock, delivery, seconds=seconds)


async def a_tenant(app: Application, name: str = "Tenant") -> SomeTenant:
    slug = f"{name.lower().replace(' ', '-')}-{uuid.uuid4().hex[:8]}"
    return SomeTenant(app, await app.tenants.create(console(None), name, slug=slug))


async def pieces(content: bytes, size: int = 64 * 1024) -> AsyncIterator[bytes]:
    for start in range(0, len(content), size):
        yield content[start : start + size]
