"""One's own account: who one is, where a member, with which rights."""

from fastapi import APIRouter

from carrel.api.origin import Origin
from carrel.api.schemas.accounts import AccountChange, MeView, PasswordChange
from carrel.api.security import GuardedRoute, MaySeeAccount
from carrel.api.state import App

router = APIRouter(prefix="/v1/me", tags=["account"], route_class=GuardedRoute)


@router.get("")
async def get_me(principal: MaySeeAccount, app: App) -> MeView:
    """Who is signed in, with all memberships, and the rights in the tenant that the token names."""
    return MeView.of(await app.entrance.accounts.me(principal))


@router.patch("")
async def change_me(principal: MaySeeAccount, app: App, change: AccountChange) -> MeView:
    """Take another name."""
    return MeView.of(await app.entrance.accounts.rename(principal, change.name))


@router.post("/password", status_code=204, responses={409: {}, 429: {}})
async def change_password(principal: MaySeeAccount, app: App, change: PasswordChange, origin: Origin) -> None:
    """Take another password; every other session ends. 422 `wrong_password`, `weak_password`, 409 `no_password`."""
    await app.entrance.accounts.change_password(principal, change.current, change.new, origin=origin)
