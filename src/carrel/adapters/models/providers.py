"""Which model writes, for whom: a bot's own with its tenant's credential, or what the deployment offers."""

import re
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from typing import Protocol as Interface

from carrel.adapters.models.breaker import Circuits
from carrel.adapters.models.calls import Account
from carrel.adapters.models.clients import Clients
from carrel.adapters.models.remote import Patience, Remote
from carrel.domain.access import TenantGrant
from carrel.domain.errors import Conflict, ModelFailed, NotFound
from carrel.domain.ids import CredentialId, TenantId
from carrel.domain.models import EXTRACTIVE, Offer, Protocol, bedrock_region, unusable
from carrel.domain.providers import ProviderAccess
from carrel.ports.model import Model, ModelWish

if TYPE_CHECKING:
    from carrel.adapters.models.ways import Ways

CONTEXT_TOKENS: Final = 16_000

_KEY: Final = re.compile(r"[\x21-\x7e]+", re.ASCII)


class Safe(Interface):
    """Where tenants' credentials are kept."""

    async def access(self, grant: TenantGrant, credential: CredentialId) -> ProviderAccess:
        """Raises NotFound, Conflict, Unavailable."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Own:
    """The deployment's account, and the models that it may be used for."""

    account: Account
    offer: Offer
    context_tokens: int = CONTEXT_TOKENS


class Providers:
    """Keeps the port `Models`. Each provider and tenant has a circuit breaker, each account a client.

    `own` is None where the deployment has no other model than the extractive one. `ways` leads to providers; what it
    imports is slow, and comes with the first call of one, or with `prepare`.
    """

    def __init__(
        self,
        extractive: Model,
        safe: Safe,
        ways: "Ways",
        *,
        own: Own | None = None,
        patience: Patience | None = None,
        circuits: Circuits | None = None,
    ) -> None:
        self._extractive = extractive
        self._safe = safe
        self._own = own
        self._patience = patience or Patience()
        self._circuits = circuits or Circuits()
        self._clients = Clients(ways.to)

    async def of(self, grant: TenantGrant, wish: ModelWish) -> Model:
        """Raises ModelFailed `model_credential_missing` or `model_key_refused`, Unavailable."""
        own, model = self._own, wish.model
        if model == EXTRACTIVE or (model is None and own is None):
            return self._extractive
        if own is not None and model is None:
            return self._remote(grant, own.account, own.offer.model, own.context_tokens)
        assert model is not None
        if wish.credential is not None:
            return self._remote(grant, await self._account(grant, wish.credential), model, CONTEXT_TOKENS)
        if own is not None and own.offer.holds(model):
            return self._remote(grant, own.account, model, own.context_tokens)
        raise _missing(f"There is no credential to call {model} with.")

    async def prepare(self) -> None:
        """Whatever fails here fails again when a model should write, and is told there."""
        if self._own is not None:
            with suppress(ModelFailed):
                async with self._clients.using(self._own.account):
                    pass

    async def close(self) -> None:
        await self._clients.close()

    def _remote(self, grant: TenantGrant, account: Account, model: str, context_tokens: int) -> Remote:
        circuit = self._circuits.of((self._clients.mark(account), grant.tenant), name=account.provider)
        return Remote(account, model, self._clients, circuit, context_tokens=context_tokens, patience=self._patience)

    async def _account(self, grant: TenantGrant, credential: CredentialId) -> Account:
        try:
            access = await self._safe.access(grant, credential)
        except NotFound:
            raise _missing("The credential of this bot is gone.") from None
        except Conflict:
            raise _missing("The credential of this bot cannot be read: give its secret anew.") from None
        if reason := unusable(access.provider, access.base_url):
            raise _missing(reason)
        if not _KEY.fullmatch(access.secret.reveal()):
            raise ModelFailed("The key has characters that no provider takes.", code="model_key_refused")
        return _account(access, grant.tenant)


def _account(access: ProviderAccess, payer: TenantId) -> Account:
    if access.provider == Protocol.BEDROCK:
        region = bedrock_region(access.base_url) if access.base_url else None
        return Account(access.provider, None, access.secret, region=region, payer=payer)
    return Account(access.provider, access.base_url, access.secret, payer=payer)


def _missing(detail: str) -> ModelFailed:
    return ModelFailed(detail, code="model_credential_missing")
