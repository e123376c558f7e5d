"""One's own chats: listed, read again, renamed, taken along, deleted; and what their reader says of the answers."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final

from carrel.domain.access import Principal, TenantGrant, enter, enter_unlimited
from carrel.domain.chats import Chat, Feedback, Message, Rating, Ratings
from carrel.domain.errors import Denied, Invalid, NotFound
from carrel.domain.ids import ChatId, MessageId
from carrel.domain.rights import Permission
from carrel.store import chats, idempotency, usage
from carrel.store.idempotency import Memo
from carrel.store.pages import Page
from carrel.store.transaction import Database

__all__ = ["Chats", "Page"]

MOST_DAYS: Final = 366
_AT_ONCE: Final = 100


@dataclass(frozen=True, slots=True)
class RatingsReport:
    """How answers were rated from the first day on, the last one included, in UTC."""

    first: date
    last: date
    lines: tuple[Ratings, ...]


class Chats:
    """Each call is for one end user of the principal, or for nobody in particular: another one's chats are not there.

    A key that is limited to sources or bots reads no answer that quotes anything else.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def listed(
        self, principal: Principal, *, end_user: str | None = None, limit: int = 50, cursor: str | None = None
    ) -> Page[Chat]:
        """By the time of the last question, newest first. Raises Denied, Invalid `invalid_cursor`."""
        async with self._database.transaction(_grant(principal, end_user)) as tx:
            return await chats.listed(tx, limit=limit, cursor=cursor)

    async def get(self, principal: Principal, chat: ChatId, *, end_user: str | None = None) -> Chat:
        """Raises Denied, NotFound."""
        async with self._database.transaction(_grant(principal, end_user)) as tx:
            return await chats.get(tx, chat)

    async def messages(
        self,
        principal: Principal,
        chat: ChatId,
        *,
        end_user: str | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page[Message]:
        """Oldest first. Raises Denied, NotFound, Invalid `invalid_cursor`."""
        async with self._database.transaction(_grant(principal, end_user)) as tx:
            return await chats.messages(tx, chat, limit=limit, cursor=cursor)

    async def rename(self, principal: Principal, chat: ChatId, title: str, *, end_user: str | None = None) -> Chat:
        """Raises Denied, NotFound."""
        async with self._database.transaction(_grant(principal, end_user)) as tx:
            return await chats.rename(tx, chat, title)

    async def delete(self, principal: Principal, chat: ChatId, *, end_user: str | None = None) -> None:
        """With its messages, for ever. Raises Denied, NotFound."""
        async with self._database.transaction(_grant(principal, end_user)) as tx:
            await chats.delete(tx, chat)

    async def rate(
        self,
        principal: Principal,
        message: MessageId,
        rating: Rating,
        reason: str = "",
        *,
        end_user: str | None = None,
        memo: Memo[Feedback] | None = None,
    ) -> Feedback:
        """Instead of what was said of this answer before. Raises Denied, NotFound."""
        async with self._database.transaction(_grant(principal, end_user)) as tx:
            return await idempotency.once(tx, memo, lambda: chats.rate(tx, message, rating, reason))

    async def withdraw(self, principal: Principal, message: MessageId, *, end_user: str | None = None) -> None:
        """Raises Denied, NotFound when nothing was said of it."""
        async with self._database.transaction(_grant(principal, end_user)) as tx:
            await chats.withdraw(tx, message)

    async def whole(
        self, principal: Principal, chat: ChatId | None = None, *, end_user: str | None = None
    ) -> AsyncGenerator[Chat | Message]:
        """One chat, or every one in the order in which they were begun; behind each its messages, oldest first.

        In short transactions: none is open while the caller works. Raises Denied, NotFound.
        """
        grant = _grant(principal, end_user)
        async for one in self._each(grant) if chat is None else self._only(grant, chat):
            yield one
            cursor = None
            while True:
                try:
                    async with self._database.transaction(grant) as tx:
                        found = await chats.messages(tx, one.id, limit=_AT_ONCE, cursor=cursor)
                except NotFound:  # deleted meanwhile: the others are wanted all the same
                    break
                for message in found.items:
                    yield message
                if (cursor := found.next_cursor) is None:
                    break

    async def ratings(self, principal: Principal, *, first: date | None, last: date | None) -> RatingsReport:
        """How often everybody's answers were called good and bad, by bot; no word of them. Days in UTC, both included.

        Without `first` it begins with the month of `last`, without `last` it ends today. Raises Denied, Invalid
        `out_of_range`.
        """
        async with self._database.transaction(enter_unlimited(principal, Permission.AUDIT)) as tx:
            last = last or await usage.today(tx)
            first = first or last.replace(day=1)
            if not timedelta() <= last - first < timedelta(days=MOST_DAYS):
                raise Invalid(f"Ask for 1 to {MOST_DAYS} days.", code="out_of_range", field="from")
            return RatingsReport(first, last, tuple(await chats.ratings(tx, _midnight(first), _midnight(last))))

    async def _only(self, grant: TenantGrant, chat: ChatId) -> AsyncGenerator[Chat]:
        async with self._database.transaction(grant) as tx:
            found = await chats.get(tx, chat)
        yield found

    async def _each(self, grant: TenantGrant) -> AsyncGenerator[Chat]:
        last: Chat | None = None
        while True:
            async with self._database.transaction(grant) as tx:
                found = await chats.after(tx, last, most=_AT_ONCE)
            for chat in found:
                yield chat
            if len(found) < _AT_ONCE:
                return
            last = found[-1]


def _grant(principal: Principal, end_user: str | None) -> TenantGrant:
    """Raises Denied, Invalid for the empty name, which would be nobody's."""
    if end_user is not None and not end_user.strip():
        raise Invalid("Leave the end user out, or give a name.", code="too_short", field="end_user")
    grant = enter(principal, Permission.ASK, end_user=end_user)
    if grant.user is None:
        raise Denied("Chats belong to somebody: use a key of the tenant.", code="user_required")
    return grant


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)
