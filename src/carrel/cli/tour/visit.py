"""The visit itself: organisations, documents, questions, a refusal, a wall; each step says whether it held."""

import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from carrel.cli import find
from carrel.cli.tour.client import Client
from carrel.cli.tour.corpus import Organisation, SharedQuestion
from carrel.domain.access import console
from carrel.domain.rights import Scope

if TYPE_CHECKING:
    from carrel.wiring import Office

_SOURCE: Final = "handbook"
_KEY_DAYS: Final = 30
Body = Mapping[str, Any]


@dataclass(slots=True)
class Guest:
    """An organisation on the tour: its key, its client, and its documents' ids by key."""

    organisation: Organisation
    key: str
    client: Client
    source: str = ""
    documents: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.organisation.name


@dataclass(frozen=True, slots=True)
class Wall:
    """What one tenant's key gets on another's document, on an absent one, and what the owner gets."""

    stranger: tuple[int, str]
    absent: tuple[int, str]
    owner: int
    key: str

    @property
    def stands(self) -> bool:
        return self.stranger[0] == 404 and self.stranger == self.absent and self.owner == 200  # noqa: PLR2004 - HTTP


@asynccontextmanager
async def guests(office: "Office", url: str, organisations: list[Organisation]) -> AsyncIterator[list[Guest]]:
    """Tenants made over HTTP by an operator whose key ends with the tour; the tenants' own keys live a month."""
    operator = await office.keys.create_operator(console(None), name="demo")
    try:
        async with AsyncExitStack() as stack:
            door = await stack.enter_async_context(Client(url, operator.reveal()))
            arrived = []
            for organisation in organisations:
                wish = {"name": organisation.name, "slug": organisation.slug}
                await door.make_or_find("/v1/tenants", wish, by="slug")
                key = await _key(office, organisation.slug)
                arrived.append(Guest(organisation, key, await stack.enter_async_context(Client(url, key))))
            yield arrived
    finally:
        await office.keys.revoke(console(None), operator.id)


async def bring(guest: Guest, landed: Callable[[Body], None]) -> list[str]:
    """All documents over HTTP; `landed` hears of each. The keys of those that failed."""
    source = await guest.client.make_or_find("/v1/sources", {"name": _SOURCE}, by="name")
    guest.source = source["id"]
    results = await guest.client.upload(guest.source, guest.organisation.documents)
    guest.documents = {result["key"]: result["document_id"] for result in results if result["document_id"]}
    failed = [result["key"] for result in results if result["problem"]]
    async for document in guest.client.settled(list(guest.documents.values())):
        landed(document)
        if document["status"] == "failed":
            failed.append(document["key"])
    return failed


async def ask_all(arrived: list[Guest], question: str) -> dict[str, Body]:
    """The same question to each, by slug."""
    return {guest.organisation.slug: await guest.client.ask(question) for guest in arrived}


def faults(question: SharedQuestion, arrived: list[Guest], answers: Mapping[str, Body]) -> list[str]:
    """Sentences about what is not as it should be: each answered, cited from its own documents, and all different."""
    found = []
    for guest in arrived:
        slug, answer = guest.organisation.slug, answers[guest.organisation.slug]
        own = set(guest.documents.values())
        cited = {citation["document_id"] for citation in answer["citations"]}
        if question.expects[slug].lower() not in answer["answer"].lower():
            found.append(f"{guest.name} did not find {question.expects[slug]!r} for {question.text!r}.")
        if not cited or not cited <= own:
            found.append(f"{guest.name} did not cite its own documents for {question.text!r}.")
    if len({answer["answer"] for answer in answers.values()}) < len(arrived):
        found.append(f"Two organisations gave the same answer to {question.text!r}.")
    return found


async def lean_on_the_wall(owner: Guest, stranger: Guest) -> Wall:
    key, document = next(iter(sorted(owner.documents.items())))
    return Wall(
        stranger=await stranger.client.knock(document),
        absent=await stranger.client.knock(str(uuid.uuid4())),
        owner=(await owner.client.knock(document))[0],
        key=key,
    )


async def _key(office: "Office", slug: str) -> str:
    from carrel.tenancy.keys import KeyWish

    ends = datetime.now(UTC) + timedelta(days=_KEY_DAYS)
    wish = KeyWish(f"demo {datetime.now(UTC):%Y-%m-%d %H:%M}", frozenset(Scope), expires_at=ends)
    return (await office.keys.create(await find.member(office, slug), wish)).clear
