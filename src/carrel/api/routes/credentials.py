"""Provider credentials of the tenant: written, named, replaced, removed, and never read."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query

from carrel.api.idempotency import IdempotencyKey
from carrel.api.schemas.credentials import CredentialChange, CredentialList, CredentialView, NewCredential
from carrel.api.schemas.types import Paging
from carrel.api.security import GuardedRoute, MayManage
from carrel.api.state import App
from carrel.domain.ids import CredentialId

router = APIRouter(prefix="/v1/credentials", tags=["credentials"], route_class=GuardedRoute)


@router.post("", status_code=201, responses={409: {}})
async def create_credential(
    principal: MayManage, app: App, wish: NewCredential, once: IdempotencyKey
) -> CredentialView:
    """Keep a provider's key, encrypted. No answer shows it again. 409 `credential_exists`."""
    memo = once.memo(app.credentials.fingerprint(wish.in_clear()), 201, CredentialView.of)
    return CredentialView.of(await app.credentials.create(principal, wish.wish(), memo=memo))


@router.get("")
async def list_credentials(principal: MayManage, app: App, query: Annotated[Paging, Query()]) -> CredentialList:
    """The tenant's provider credentials without their secrets, newest first."""
    page = await app.credentials.listed(principal, limit=query.limit, cursor=query.cursor)
    return CredentialList(items=[CredentialView.of(one) for one in page.items], next_cursor=page.next_cursor)


@router.get("/{credential_id}")
async def get_credential(principal: MayManage, app: App, credential_id: UUID) -> CredentialView:
    """One provider credential without its secret."""
    return CredentialView.of(await app.credentials.get(principal, CredentialId(credential_id)))


@router.patch("/{credential_id}", responses={409: {}})
async def change_credential(
    principal: MayManage, app: App, credential_id: UUID, change: CredentialChange
) -> CredentialView:
    """Rename it or replace its secret. Another `base_url` needs the secret anew. 409 `credential_exists`."""
    return CredentialView.of(await app.credentials.change(principal, CredentialId(credential_id), change.wish()))


@router.delete("/{credential_id}", status_code=204)
async def delete_credential(principal: MayManage, app: App, credential_id: UUID) -> None:
    """Remove it; bots that used it go on without one."""
    await app.credentials.delete(principal, CredentialId(credential_id))
