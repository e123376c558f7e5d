"""What a victim's worker does beside its documents: walks of sources' places, webhooks, and the scrub."""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Final, cast

from carrel.domain.access import TenantGrant
from carrel.domain.ids import TenantId
from carrel.domain.jobs import JobKind
from carrel.domain.origins import Place
from carrel.domain.webhooks import Attempt
from carrel.ingest.scrub import Scrub
from carrel.ports.origins import Known, Notice, Origin, Origins, Sight
from carrel.ports.web import Outgoing
from carrel.store.deliveries import Errand
from carrel.tenancy.courier import Courier
from carrel.tenancy.dispatch import Dispatch
from carrel.tenancy.vault import Vault
from carrel.wiring import Base, fetching
from carrel.wiring.origins import places
from carrel.worker.loop import Task
from carrel.worker.post import telling
from carrel.worker.rounds import hourly
from support.fate import PHASE, Fate

WALKING: Final = ("opened", "sighted", "stored", "taking", "taken", "vanishing", "vanished")
TELLING: Final = ("entrusting", "entrusted", "telling", "told", "settling", "settled")
SCRUBBING: Final = ("read again", "noting", "noted")
_SCRUBS: Final = 0.5  # seconds from one scrub to the next
_LOOKS: Final = 0.3  # seconds from one look for deliveries to the next


@dataclass(frozen=True)
class FatedOrigin:
    """When its walk has seen everything, what the walk did not see is to vanish."""

    real: Origin
    fate: Fate

    async def walk(self, known: Known) -> AsyncIterator[Sight]:
        async with aclosing(cast("AsyncGenerator[Sight]", self.real.walk(known))) as sights:
            async for sight in sights:
                self.fate.meets("sighted")
                yield sight
        PHASE.set("walked")

    async def look(self, key: str, known: Known) -> Sight:
        return await self.real.look(key, known)

    def events(self) -> AsyncIterator[Notice]:
        return self.real.events()


@dataclass(frozen=True)
class FatedOrigins:
    real: Origins
    fate: Fate

    async def demand(self, slug: str, place: Place) -> None:
        await self.real.demand(slug, place)

    @asynccontextmanager
    async def opened(self, grant: TenantGrant, slug: str, place: Place) -> AsyncIterator[Origin]:
        async with self.real.opened(grant, slug, place) as origin:
            self.fate.meets("opened")
            yield FatedOrigin(origin, self.fate)


@dataclass(frozen=True)
class FatedOutgoing:
    real: Outgoing
    fate: Fate

    async def post(self, url: str, *, body: bytes, headers: Mapping[str, str]) -> int:
        self.fate.meets("telling")
        status = await self.real.post(url, body=body, headers=headers)
        PHASE.set("told")
        self.fate.meets("told")
        return status


class FatedCourier(Courier):
    async def deliver(self, errand: Errand) -> Attempt | None:
        PHASE.set("dispatching")
        return await super().deliver(errand)


@asynccontextmanager
async def chores(base: Base, fate: Fate, *, lease: float) -> AsyncIterator[Task]:
    """Webhooks and the scrub until the end; what walks a source's place."""

    def outgoing(tenant: TenantId) -> Outgoing:
        return FatedOutgoing(base.outgoing(tenant), fate)

    courier = FatedCourier(base.database, Vault(base.secrets.master_keys), outgoing)
    dispatch = Dispatch(base.database, courier, lease=lease, poll=_LOOKS)
    scrub = Scrub(base.database, base.blobs, days=1)
    async with telling(dispatch), hourly(scrub.run, seconds=_SCRUBS):
        yield fetching(base, FatedOrigins(places(base), fate)).tasks[JobKind.REFRESH]
