"""Origins: which product reads which kind of place, and whether a tenant may name it."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import cache
from typing import TypeAlias

from carrel.domain.access import TenantGrant
from carrel.domain.errors import Invalid, Refusal
from carrel.domain.ids import TenantId
from carrel.domain.origins import Bucket, Folder, Place, Site
from carrel.ingest.upload import MOST_BYTES
from carrel.ports.origins import Origin
from carrel.tenancy.buckets import BucketKeys
from carrel.wiring.credentials import bucket_keys
from carrel.wiring.database import Base
from carrel.wiring.opened import Opened

Way: TypeAlias = Callable[[TenantGrant, str, Place], AbstractAsyncContextManager[Origin]]


class OriginNotAvailable(Refusal):
    """This installation has nothing that reads such a place."""

    default_code = "origin_not_available"


class Places:
    """Keeps `carrel.ports.origins.Origins`. `ways` lead to each kind of place."""

    def __init__(self, opened: Opened, ways: Mapping[type[Place], Way]) -> None:
        self._allowed = opened
        self._ways = ways

    async def demand(self, slug: str, place: Place) -> None:
        match place:
            case Folder():
                from carrel.adapters.origins.folder import real_folder

                await asyncio.to_thread(real_folder, place.path, self._allowed.folders_of(slug))
            case Bucket():
                try:
                    self._allowed.buckets.judge(place)
                except Invalid as refusal:
                    raise Invalid(refusal.detail, code=refusal.code, field=f"place.{refusal.field}") from refusal
            case Site():
                pass  # an address is judged when it is fetched: what a name leads to may change

    @asynccontextmanager
    async def opened(self, grant: TenantGrant, slug: str, place: Place) -> AsyncIterator[Origin]:
        way = self._ways.get(type(place))
        if way is None:
            raise OriginNotAvailable("This installation does not read such places.")
        await self.demand(slug, place)
        async with way(grant, slug, place) as origin:
            yield origin


def places(base: Base) -> Places:
    """Here each kind of place gets what reads it."""
    opened = base.places
    ways = {Folder: _folders(opened), Site: _sites(opened), Bucket: _buckets(opened, bucket_keys(base))}
    return Places(opened, ways)


def _folders(opened: Opened) -> Way:
    @asynccontextmanager
    async def way(_: TenantGrant, slug: str, place: Place) -> AsyncIterator[Origin]:
        from carrel.adapters.origins.folder import WatchedFolder

        assert isinstance(place, Folder)
        yield WatchedFolder(place.path, opened.folders_of(slug), most_bytes=MOST_BYTES)

    return way


def _sites(opened: Opened) -> Way:
    """The pauses between requests to one host are kept for all walks of a process.

    So are the threads that look names up, of which no tenant has them all.
    """

    @cache
    def product() -> Callable[[TenantId, Site], Origin]:
        from carrel.adapters.origins.manners import Manners
        from carrel.adapters.origins.site import WebSite
        from carrel.adapters.web import Allowed, Names, OutboundWeb, Rules

        rules = Rules(Allowed.read(opened.web.allowed or ""), opened.web.port_set)
        trust, names, manners = ssl.create_default_context(), Names(), Manners(opened.web.pause)

        def made(tenant: TenantId, site: Site) -> Origin:
            return WebSite(site, OutboundWeb(rules, trust=trust, resolve=names.of(tenant)), manners)

        return made

    @asynccontextmanager
    async def way(grant: TenantGrant, _: str, place: Place) -> AsyncIterator[Origin]:
        assert isinstance(place, Site)
        yield product()(grant.tenant, place)

    return way


def _buckets(opened: Opened, keys: BucketKeys) -> Way:
    @asynccontextmanager
    async def way(grant: TenantGrant, _: str, place: Place) -> AsyncIterator[Origin]:
        from carrel.adapters.origins.bucket import BucketOrigin

        assert isinstance(place, Bucket)
        yield BucketOrigin(place, await keys.of(grant, place), opened.buckets)

    return way
