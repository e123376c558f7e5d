"""One's own chats, and what one says of their answers."""

from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse

from carrel.api.attachment import attachment
from carrel.api.idempotency import IdempotencyKey
from carrel.api.schemas.chats import (
    ChatChange,
    ChatList,
    ChatsQuery,
    ChatView,
    ExportQuery,
    FeedbackView,
    FeedbackWish,
    ForWhom,
    MessageList,
    MessageView,
    RatingsQuery,
    RatingsView,
)
from carrel.api.security import GuardedRoute, MayAsk, MayAudit
from carrel.api.state import App
from carrel.ask.transcript import as_csv, as_json
from carrel.domain.access import Principal
from carrel.domain.ids import ChatId, MessageId
from carrel.wiring import Application

router = APIRouter(prefix="/v1", tags=["chat"], route_class=GuardedRoute)

_FILES: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "content": {
            "application/json": {"schema": {"type": "object"}},
            "text/csv": {"schema": {"type": "string"}},
        }
    }
}


@router.get("/chats")
async def list_chats(principal: MayAsk, app: App, query: Annotated[ChatsQuery, Query()]) -> ChatList:
    """One's own chats, the latest question first."""
    page = await app.chats.listed(principal, end_user=query.end_user, limit=query.limit, cursor=query.cursor)
    return ChatList(items=[ChatView.of(chat) for chat in page.items], next_cursor=page.next_cursor)


@router.get("/chats/export", response_class=StreamingResponse, responses=_FILES)
async def export_chats(principal: MayAsk, app: App, query: Annotated[ExportQuery, Query()]) -> StreamingResponse:
    """All of one's own chats with their messages, as JSON or as a table, in the order in which they were begun."""
    return await _exported(principal, app, None, query)


@router.get("/chats/{chat_id}")
async def get_chat(principal: MayAsk, app: App, chat_id: UUID, whose: Annotated[ForWhom, Query()]) -> ChatView:
    """One chat, without its messages."""
    return ChatView.of(await app.chats.get(principal, ChatId(chat_id), end_user=whose.end_user))


@router.patch("/chats/{chat_id}")
async def rename_chat(  # noqa: PLR0917 - FastAPI calls it by name
    principal: MayAsk, app: App, chat_id: UUID, whose: Annotated[ForWhom, Query()], change: ChatChange
) -> ChatView:
    """Give a chat another title."""
    return ChatView.of(await app.chats.rename(principal, ChatId(chat_id), change.title, end_user=whose.end_user))


@router.delete("/chats/{chat_id}", status_code=204)
async def delete_chat(principal: MayAsk, app: App, chat_id: UUID, whose: Annotated[ForWhom, Query()]) -> None:
    """Delete a chat with its messages, for ever."""
    await app.chats.delete(principal, ChatId(chat_id), end_user=whose.end_user)


@router.get("/chats/{chat_id}/messages")
async def list_messages(
    principal: MayAsk, app: App, chat_id: UUID, query: Annotated[ChatsQuery, Query()]
) -> MessageList:
    """The questions and answers of a chat, oldest first. Excerpts are shown as far as they may be read now."""
    page = await app.chats.messages(
        principal, ChatId(chat_id), end_user=query.end_user, limit=query.limit, cursor=query.cursor
    )
    return MessageList(items=[MessageView.of(message) for message in page.items], next_cursor=page.next_cursor)


@router.get("/chats/{chat_id}/export", response_class=StreamingResponse, responses=_FILES)
async def export_chat(
    principal: MayAsk, app: App, chat_id: UUID, query: Annotated[ExportQuery, Query()]
) -> StreamingResponse:
    """One chat with its messages, as JSON or as a table."""
    return await _exported(principal, app, ChatId(chat_id), query)


@router.put("/messages/{message_id}/feedback")
async def set_feedback(  # noqa: PLR0917 - FastAPI calls it by name
    principal: MayAsk, app: App, message_id: UUID, whose: Annotated[ForWhom, Query()], wish: FeedbackWish
) -> FeedbackView:
    """Say that an answer is good or bad, and why; it stands instead of what was said before."""
    said = await app.chats.rate(
        principal, MessageId(message_id), wish.rating, wish.reason or "", end_user=whose.end_user
    )
    return FeedbackView.of(said)


@router.post("/messages/{message_id}/feedback", status_code=201)
async def give_feedback(  # noqa: PLR0917 - FastAPI calls it by name
    principal: MayAsk,
    app: App,
    message_id: UUID,
    whose: Annotated[ForWhom, Query()],
    wish: FeedbackWish,
    once: IdempotencyKey,
) -> FeedbackView:
    """As PUT, for clients that only post."""
    memo = once.memo(wish, 201, FeedbackView.of)
    said = await app.chats.rate(
        principal, MessageId(message_id), wish.rating, wish.reason or "", end_user=whose.end_user, memo=memo
    )
    return FeedbackView.of(said)


@router.delete("/messages/{message_id}/feedback", status_code=204)
async def withdraw_feedback(principal: MayAsk, app: App, message_id: UUID, whose: Annotated[ForWhom, Query()]) -> None:
    """Take back what was said of an answer."""
    await app.chats.withdraw(principal, MessageId(message_id), end_user=whose.end_user)


@router.get("/feedback")
async def get_feedback(principal: MayAudit, app: App, query: Annotated[RatingsQuery, Query()]) -> RatingsView:
    """How often everybody's answers were called good and bad, by bot: numbers, no word of any chat."""
    return RatingsView.of(await app.chats.ratings(principal, first=query.first, last=query.last))


async def _exported(
    principal: Principal, app: Application, chat: ChatId | None, query: ExportQuery
) -> StreamingResponse:
    """The first chat is there before the response begins."""
    told = app.chats.whole(principal, chat, end_user=query.end_user)
    is_json = query.format == "json"
    content = as_json(told, alone=chat is not None) if is_json else as_csv(told)
    media_type = "application/json" if is_json else "text/csv; charset=utf-8"
    return await attachment(content, f"chats.{query.format}", media_type, ahead=2)
