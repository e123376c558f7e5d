"""Names that people give at the terminal, turned into what they name."""

import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from carrel.cli.terminal import Absent
from carrel.domain.access import Principal, console
from carrel.domain.errors import NotFound
from carrel.domain.ids import BotId, ChatId, CredentialId, SourceId, TenantId
from carrel.domain.library import Bot, Source, Tenant
from carrel.domain.providers import ProviderCredential

if TYPE_CHECKING:
    from carrel.tenancy.life import TenantReceipt
    from carrel.wiring import Office


async def tenant(office: "Office", name: str) -> Tenant:
    """By slug or id. Raises Absent."""
    try:
        return await office.tenants.find(console(None), name)
    except NotFound as error:
        raise Absent(f"There is no tenant {name!r}; `carrel tenants list` shows them.") from error


async def receipt(office: "Office", name: str) -> "TenantReceipt":
    """Of a tenant that was deleted, by its id: it has no other name any more. Raises Absent."""
    try:
        return await office.life.receipt(console(None), TenantId(uuid.UUID(name)))
    except (ValueError, NotFound) as error:
        raise Absent(f"No tenant of the id {name!r} was deleted here.") from error


async def member(office: "Office", name: str) -> Principal:
    """Whoever sits at this terminal, inside the tenant of that name. Raises Absent."""
    return console((await tenant(office, name)).id)


async def source(office: "Office", principal: Principal, name: str) -> Source:
    """By name, or else by id. Raises Absent."""
    found = await office.sources.named(principal, name)
    if found is not None:
        return found
    try:
        return await office.sources.get(principal, SourceId(uuid.UUID(name)))
    except (ValueError, NotFound) as error:
        raise Absent(f"There is no source {name!r}; `carrel sources list` shows them.") from error


async def bot(office: "Office", principal: Principal, name: str) -> Bot:
    """By name, or else by id. Raises Absent."""
    found = await office.bots.named(principal, name)
    if found is not None:
        return found
    try:
        return await office.bots.get(principal, BotId(uuid.UUID(name)))
    except (ValueError, NotFound) as error:
        raise Absent(f"There is no bot {name!r}; `carrel bots list` shows them.") from error


async def credential(office: "Office", principal: Principal, name: str) -> ProviderCredential:
    """By name, or else by id. Raises Absent."""
    found = await office.credentials.named(principal, name)
    if found is not None:
        return found
    try:
        return await office.credentials.get(principal, CredentialId(uuid.UUID(name)))
    except (ValueError, NotFound) as error:
        raise Absent(f"There is no credential {name!r}; `carrel credentials list` shows them.") from error


def chat(name: str) -> ChatId:
    """Raises Absent for what is no id."""
    try:
        return ChatId(uuid.UUID(name))
    except ValueError as error:
        raise _no_chat(name) from error


@contextmanager
def naming(chat: str) -> Iterator[None]:
    """Whatever is not found in it is that chat. Raises Absent."""
    try:
        yield
    except NotFound as error:
        raise _no_chat(chat) from error


def _no_chat(name: str) -> Absent:
    return Absent(f"There is no chat {name!r}; `carrel chats list` shows them.")


async def sources(office: "Office", principal: Principal, names: Sequence[str] | None) -> frozenset[SourceId] | None:
    """None when no name is given. Raises Absent."""
    if not names:
        return None
    return frozenset([(await source(office, principal, name)).id for name in names])
