"""One's own sessions: where one is signed in."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query

from carrel.api.schemas.accounts import SessionList, SessionView
from carrel.api.schemas.types import Paging
from carrel.api.security import GuardedRoute, MaySeeAccount
from carrel.api.state import App
from carrel.domain.ids import SessionId

router = APIRouter(prefix="/v1/sessions", tags=["account"], route_class=GuardedRoute)


@router.get("")
async def list_sessions(principal: MaySeeAccount, app: App, query: Annotated[Paging, Query()]) -> SessionList:
    """One's own living sessions, newest first."""
    page = await app.entrance.accounts.sessions(principal, limit=query.limit, cursor=query.cursor)
    items = [SessionView.of(one, asking=principal.credential) for one in page.items]
    return SessionList(items=items, next_cursor=page.next_cursor)


@router.delete("", status_code=204)
async def end_other_sessions(principal: MaySeeAccount, app: App) -> None:
    """End every session but the one that asks; 204 also when there is no other."""
    await app.entrance.accounts.end_other_sessions(principal)


@router.delete("/{session_id}", status_code=204)
async def end_session(principal: MaySeeAccount, app: App, session_id: UUID) -> None:
    """End one session: its tokens are dead at once."""
    await app.entrance.accounts.end_session(principal, SessionId(session_id))
