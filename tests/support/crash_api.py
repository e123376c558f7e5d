"""An API that kills itself with SIGKILL at a named point; `support.nursery` makes one.

It is given a listening socket, as `carrel serve` gives one to the API: that outlives the process.
"""

import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

from carrel.adapters.blobs.local import LocalBlobs
from carrel.api.app import create_app
from carrel.api.server import serve
from carrel.domain.access import Principal
from carrel.domain.ids import DocumentId, TenantId
from carrel.domain.library import Blob
from carrel.ingest.forget import Forgetting
from carrel.wiring import assemble
from support.crash_worker import fated_parts
from support.fate import PHASE, Fate, Order

POINTS = ("staged", "registering", "registered", "erasing", "erased")


class FatedBlobs(LocalBlobs):
    fate: Fate

    async def put(self, tenant: TenantId, content: AsyncIterator[bytes], *, limit: int) -> Blob:
        blob = await super().put(tenant, content, limit=limit)
        PHASE.set("staged")
        self.fate.meets("staged")
        return blob

    async def put_all(self, tenant: TenantId, contents: Sequence[bytes]) -> list[Blob]:
        blobs = await super().put_all(tenant, contents)
        PHASE.set("staged")
        for _ in blobs:
            self.fate.meets("staged")
        return blobs


class FatedForgetting(Forgetting):
    async def document(self, principal: Principal, document: DocumentId) -> None:
        PHASE.set("erasing")
        await super().document(principal, document)


async def answer(order: Order, listener: socket.socket, tell: Callable[[], None]) -> None:
    """`tell` is called once it answers."""
    fate = Fate(order)
    blobs = FatedBlobs(Path(order.blobs))
    blobs.fate = fate
    async with fated_parts(order, fate, blobs) as parts:
        application = replace(assemble(parts), forgetting=FatedForgetting(parts.base.database))
        await serve(create_app(lambda: nullcontext(application)), listener, ready=tell)
