"""The ways to providers: which transport, whose certificates, how long. Imports what is slow when it is needed."""

import asyncio
import ssl
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING

from carrel.adapters.models.calls import Account, Wire
from carrel.adapters.models.remote import Patience
from carrel.domain.errors import ModelFailed
from carrel.domain.ids import TenantId
from carrel.domain.models import Protocol

if TYPE_CHECKING:
    import httpx2

Transport = Callable[[ssl.SSLContext, TenantId | None], "httpx2.AsyncBaseTransport"]


class Ways:
    """`judged` makes the transport to the addresses of a tenant; the deployment's own is trusted.

    `region` is where Bedrock is called by those who do not name one. `trust` says which certificates count; without it
    those that the machine trusts.
    """

    def __init__(
        self, judged: Transport, patience: Patience, *, region: str | None = None, trust: ssl.SSLContext | None = None
    ) -> None:
        self._judged = judged
        self._patience = patience
        self._region = region
        self._trust = trust

    async def to(self, account: Account) -> Wire:
        """Raises ModelFailed."""
        if account.protocol is Protocol.BEDROCK:
            return await self._to_bedrock(account)
        wires = await asyncio.to_thread(import_module, "carrel.adapters.models.wires")
        if self._trust is None:
            self._trust = await asyncio.to_thread(ssl.create_default_context)
        import httpx2

        transport = self._plain(self._trust) if account.is_ours else self._judged(self._trust, account.payer)
        # One read waits no longer than the whole may take: who waits for what is decided by Remote.
        timeout = httpx2.Timeout(self._patience.whole, connect=self._patience.connect)
        wire: Wire = wires.wire(account, transport, timeout=timeout)
        return wire

    def _plain(self, trust: ssl.SSLContext) -> "httpx2.AsyncBaseTransport":
        import httpx2

        return httpx2.AsyncHTTPTransport(
            verify=trust, trust_env=False, limits=httpx2.Limits(max_connections=None, max_keepalive_connections=64)
        )

    async def _to_bedrock(self, account: Account) -> Wire:
        try:
            bedrock = await asyncio.to_thread(import_module, "carrel.adapters.models.bedrock")
        except ModuleNotFoundError:
            raise ModelFailed("Bedrock needs the extra `bedrock`: install carrel[bedrock].") from None
        wire: Wire = await bedrock.open_bedrock(account, region=self._region, patience=self._patience)
        return wire
