"""How people come in: registration, sign-in, refresh, a forgotten password. Public, and always limited."""

from fastapi import APIRouter, Request

from carrel.api import form
from carrel.api.origin import Client, Origin
from carrel.api.schemas.accounts import (
    Address,
    Leaving,
    NewAccount,
    NewPassword,
    PendingView,
    Proof,
    Refreshing,
    TokenForm,
    TokenView,
    VerifiedView,
)
from carrel.api.security import GuardedRoute
from carrel.api.state import App
from carrel.domain.errors import Invalid
from carrel.tenancy.sign_in import Issued, Knock

router = APIRouter(prefix="/v1/auth", tags=["sign-in"], route_class=GuardedRoute, responses={429: {}, 503: {}})


@router.post("/register", status_code=202)
async def register(app: App, wish: NewAccount, origin: Origin) -> PendingView:
    """Ask for an account and an organisation: a code goes to the address. The answer is the same for every address."""
    await app.entrance.registration.register(wish.wish(), origin=origin)
    return PendingView()


@router.post("/resend", status_code=202)
async def resend_code(app: App, wish: Address, origin: Origin) -> PendingView:
    """Send another code to an address that was registered within the hour; the one before is dead."""
    await app.entrance.registration.resend(wish.email, origin=origin)
    return PendingView()


@router.post("/verify")
async def verify(app: App, proof: Proof, origin: Origin) -> VerifiedView:
    """Prove the address by its code: makes the account and the organisation. 422 `invalid_code`."""
    return VerifiedView.of(await app.entrance.registration.verify(proof.email, proof.code, origin=origin))


@router.post(
    "/token",
    responses={401: {}, 404: {}, 413: {}, 415: {}, 422: {}},
    openapi_extra=form.described(TokenForm),
)
async def get_token(request: Request, app: App, origin: Origin, client: Client) -> TokenView:
    """Sign in with a password, or refresh. 401 `invalid_credentials`, 404 for a tenant that one is not a member of."""
    wish = await form.read(request, TokenForm)
    if wish.grant_type == "refresh_token":
        refresh = _needed(wish.refresh_token, "refresh_token")
        return TokenView.of(await app.entrance.sign_in.refresh(refresh, tenant=wish.tenant, origin=origin))
    knock = Knock(
        email=_needed(wish.username, "username"),
        password=_needed(wish.password, "password"),
        tenant=wish.tenant,
        client=client,
        origin=origin,
    )
    issued: Issued = await app.entrance.sign_in.by_password(knock)
    return TokenView.of(issued)


@router.post("/refresh", responses={401: {}, 404: {}})
async def refresh_token(app: App, wish: Refreshing, origin: Origin) -> TokenView:
    """The next tokens, of the same tenant or of another. A refresh token that comes twice ends the session."""
    return TokenView.of(await app.entrance.sign_in.refresh(wish.refresh_token, tenant=wish.tenant, origin=origin))


@router.post("/logout", status_code=204)
async def sign_out(app: App, wish: Leaving, origin: Origin) -> None:
    """End the session of a refresh token. 204 whether there was one or not."""
    await app.entrance.sign_in.sign_out(wish.refresh_token, origin=origin)


@router.post("/password/forgot", status_code=202)
async def forgot_password(app: App, wish: Address, origin: Origin) -> PendingView:
    """Send a code to the address, if there is an account. The answer is the same for every address."""
    await app.entrance.recovery.forgot(wish.email, origin=origin)
    return PendingView()


@router.post("/password/reset", status_code=204)
async def reset_password(app: App, wish: NewPassword, origin: Origin) -> None:
    """A new password by a code: ends all sessions and signs nobody in. 422 `invalid_code`, `weak_password`."""
    await app.entrance.recovery.reset(wish.email, wish.code, wish.password, origin=origin)


def _needed(value: str | None, field: str) -> str:
    if value is None:
        raise Invalid("This kind of grant needs it.", code="missing", field=field)
    return value
