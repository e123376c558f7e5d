"""Random histories of three tenants through the HTTP door, compared after each step with who may find what.

The indexes are honest in half of the histories; in the others one leg or both put every foreign, forbidden and
forgotten chunk that they ever held before the real ones.
"""

import asyncio
import logging
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path

import httpx2
import pytest
import structlog
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from carrel.adapters.parsers import plain
from carrel.adapters.postgres import Endpoint
from carrel.api.app import create_app
from carrel.domain.access import console
from carrel.domain.answers import Hit
from carrel.domain.ids import ChunkId, TenantId
from carrel.domain.rights import Role, Scope
from carrel.domain.text import ParsedDocument
from carrel.tenancy.keys import KeyWish
from carrel.wiring import Application
from proof.model import SCOPES, Key, Model, Person, Source, marker
from proof.visitor import Operation, Visitor, World, surface
from support.liars import behind_a_liar
from support.people import a_person
from support.quiet import a_quiet_stand
from support.raw import Raw, connected
from support.rounds import rounds
from support.stand import Stand, a_worker

pytestmark = [pytest.mark.proof, pytest.mark.timeout(rounds(600, 5_400))]

SEQUENCES = rounds(40, 10_000)
OPERATIONS = 20
PHASES = [Phase.generate, *[Phase.shrink] * rounds(0, 1)]  # making a history short takes minutes
TENANTS = 3
MOST_LIES = 40

KINDS = (
    "list_sources", "list_sources", "list_bots", "list_documents", "list_documents", "list_keys",
    "read_source", "read_bot", "read_key", "read_document", "read_document", "read_content", "operate",
    *["search"] * 9, "chat", "chat", "chat", "list_chats", "read_chat", "read_chat", "delete_chat",
    "mcp_search", "mcp_search", "mcp_read",
    "upload", "upload", "delete_document", "create_source", "delete_source",
    "create_bot", "change_bot", "delete_bot", "create_key", "create_key", "revoke_key", "expire_key",
    "search_across", "search_across", "search_across", "change_role", "suspend_member", "bar", "sign_out",
)  # fmt: skip
INDEXES = ("honest", "honest", "honest", "dense lies", "words lie", "both lie")

UNSETTLED = """
    select exists (select from document_versions
                   where tenant_id = any ($1::uuid[]) and state in ('pending', 'processing'))
"""
MEMBER = "update memberships set role = $3, status = $4 where tenant_id = $1::uuid and user_id = $2::uuid"
BAR = "update users set status = $2 where id = $1::uuid"
SIGN_OUT = "update sessions set ended_at = now() where id = $1::uuid"
EXPIRE = "update api_keys set expires_at = now() - interval '1 second' where id = $1::uuid"
FAILED = """
    select exists (select from document_versions v
                   join documents d on (d.tenant_id, d.id) = (v.tenant_id, v.document_id)
                   join sources s on (s.tenant_id, s.id) = (v.tenant_id, v.source_id)
                   where v.tenant_id = any ($1::uuid[]) and v.state = 'failed'
                     and d.deleted_at is null and s.deleted_at is null)
"""

PEOPLE = ({0: "owner", 1: "viewer"}, {0: "editor", 1: "admin", 2: "viewer"}, {2: "editor"})
"""Three people, and what they are in which tenant at first."""

BEGINNING = (
    ("create_source", 0, 0), ("upload", 0, 0), ("upload", 0, 1), ("create_bot", 0, 1), ("create_key", 0, 0),
    ("create_key", 0, 1), ("upload", 1, 0), ("create_bot", 1, 0),
)  # fmt: skip
"""The first operations, so that there is something to find and somebody who seeks: kind, tenant (0 is home), target.

A bot gets one source only, so that there is one which it does not read.
"""
ACTORS = (0, 1, 2, 0, 1, 2, -1, -1, -1, -1, -1, -2, -2, -2, -3, -3, *range(3, 16))
"""The first keys of the three tenants, the sessions, and above all the latest keys: mostly these are limited."""

targets, ways = st.integers(0, 11), st.integers(0, 15)
operations = st.builds(
    Operation,
    st.sampled_from(KINDS),
    st.sampled_from(ACTORS),
    st.sampled_from([True, True, False]),
    targets,
    targets,
    ways,
)


@st.composite
def histories(draw: st.DrawFn) -> list[Operation]:
    home = draw(st.integers(0, TENANTS - 1))
    begun = [
        Operation(
            kind,
            (home + tenant) % TENANTS,
            own=True,
            target=target,
            other=draw(targets),
            way=draw(ways) * (kind != "create_bot"),
        )
        for kind, tenant, target in BEGINNING
    ]
    left = OPERATIONS - len(begun)
    return begun + draw(st.lists(operations, min_size=left, max_size=left))


class PlainParser:
    """Our own parser of plain text without the sandbox around it, which is no part of this wall and costs a process."""

    async def parse(self, content: Path, *, media_type: str, key: str) -> ParsedDocument:
        assert media_type == "text/plain"
        return plain.parse(await asyncio.to_thread(content.read_bytes), key=key)


@dataclass
class Grudge:
    """Every chunk that an index ever held of the tenants of one history: what a liar tells."""

    superuser: Raw
    known: list[ChunkId] = field(default_factory=list)

    async def learn(self, tenants: list[str]) -> None:
        rows = await self.superuser.fetch(
            "select id from chunks where tenant_id = any ($1::uuid[]) and not id = any ($2::uuid[])",
            tenants,
            self.known,
        )
        self.known += [row["id"] for row in rows]

    def tell(self, honest: list[Hit], limit: int) -> list[Hit]:
        return [*(Hit(chunk, 1.0) for chunk in self.known[-MOST_LIES:]), *honest][:limit]


@dataclass(frozen=True)
class Theatre:
    """One database and worker, and a door for each kind of index."""

    stand: Stand
    clients: dict[str, httpx2.AsyncClient]
    superuser: Raw
    grudge: Grudge
    operator: Key

    def __repr__(self) -> str:
        """Short, for it stands in each history that is told."""
        return "Theatre()"


@pytest.fixture(scope="module")
def silent() -> Iterator[None]:
    """A hundred thousand requests are not worth a line each."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.configure(**before)


@pytest.fixture(scope="module")
async def theatre(
    endpoint: Endpoint, models: Path, tmp_path_factory: pytest.TempPathFactory, silent: None
) -> AsyncIterator[Theatre]:
    async with AsyncExitStack() as stack:
        home = tmp_path_factory.mktemp("machine")
        stand = await stack.enter_async_context(a_quiet_stand(endpoint, "machine", home, models=models))
        stand = replace(stand, parser=PlainParser())
        await stack.enter_async_context(a_worker(stand))
        superuser = await stack.enter_async_context(connected(stand.endpoint.superuser_url))
        grudge = Grudge(superuser)
        clients = {"honest": await _client(stack, stand.app)}
        for name, dense, lexical in (
            ("dense lies", True, False),
            ("words lie", False, True),
            ("both lie", True, True),
        ):
            app, liar = behind_a_liar(stand, dense=dense, lexical=lexical)
            liar.lie = grudge.tell
            clients[name] = await _client(stack, app)
        clear = (await stand.app.keys.create_operator(console(None), name="machine")).reveal()
        operator = Key(str(uuid.uuid4()), clear, "the operator", None, frozenset())
        yield Theatre(stand, clients, superuser, grudge, operator)


async def _client(stack: AsyncExitStack, app: Application) -> httpx2.AsyncClient:
    door = create_app(lambda: nullcontext(app))
    await stack.enter_async_context(door.router.lifespan_context(door))
    transport = httpx2.ASGITransport(door)
    return await stack.enter_async_context(httpx2.AsyncClient(transport=transport, base_url="http://carrel.test"))


async def a_world(theatre: Theatre, index: str) -> World:
    """Three new tenants, each with a key that may do everything and a source; the operator, and three people."""
    client = theatre.clients[index]
    furnished = [await _furnish(theatre, client, number) for number in range(TENANTS)]
    roots = [root for _, root, _ in furnished]
    absent = await client.get(f"/v1/documents/{uuid.uuid4()}", headers={"Authorization": f"Bearer {roots[0].clear}"})
    assert absent.status_code == 404
    tenants = [tenant for tenant, *_ in furnished]
    people = [seat for roles in PEOPLE for seat in await _seats(theatre, tenants, roles)]
    model = Model(tenants, [*roots, theatre.operator, *people], [source for *_, source in furnished])

    async def settle() -> None:
        await _settle(theatre, model, learning=index != "honest")

    async def expire(key: Key) -> None:
        await theatre.superuser.execute(EXPIRE, key.id)

    async def member(person: Person, tenant: int, role: str, *, suspended: bool) -> None:
        status = "suspended" if suspended else "active"
        await theatre.superuser.execute(MEMBER, tenants[tenant], person.id, role, status)

    async def bar(person: Person) -> None:
        await theatre.superuser.execute(BAR, person.id, "suspended" if person.barred else "active")

    async def sign_out(session: str) -> None:
        await theatre.superuser.execute(SIGN_OUT, session)

    theatre.grudge.known.clear()
    return World(client, model, surface(absent), roots, settle, expire, member=member, bar=bar, sign_out=sign_out)


async def _seats(theatre: Theatre, tenants: list[str], roles: dict[int, str]) -> list[Key]:
    """What one person shows: a token of each tenant, and one that names none, all of one session."""
    made = await a_person(theatre.stand)
    for tenant, role in roles.items():
        await made.joins(TenantId(uuid.UUID(tenants[tenant])), Role(role))
    person = Person(str(made.id), marker(), dict(roles))
    chosen: list[int | None] = [*roles, None]
    return [
        Key(
            str(made.session),
            made.token(None if tenant is None else TenantId(uuid.UUID(tenants[tenant]))),
            f"{person.id} in {tenant}",
            tenant,
            frozenset(),
            person=person,
            session=True,
        )
        for tenant in chosen
    ]


async def _furnish(theatre: Theatre, client: httpx2.AsyncClient, number: int) -> tuple[str, Key, Source]:
    app = theatre.stand.app
    tenant = await app.tenants.create(console(None), "Tenant", slug=uuid.uuid4().hex)
    wish = KeyWish(marker(), frozenset(Scope))
    issued = await app.keys.create(console(tenant.id), wish)
    root = Key(str(issued.row.id), issued.clear, wish.name, number, frozenset(SCOPES))
    body, headers = {"name": marker()}, {"Authorization": f"Bearer {root.clear}"}
    made = await client.post("/v1/sources", headers=headers, json=body)
    return str(tenant.id), root, Source(made.json()["id"], body["name"], number, None)


async def _settle(theatre: Theatre, model: Model, *, learning: bool) -> None:
    """Until no version of these tenants is on its way. What a liar could tell is written down before it is gone."""
    async with asyncio.timeout(60):
        while await theatre.superuser.fetchval(UNSETTLED, model.tenants):  # noqa: ASYNC110 - the database decides
            await asyncio.sleep(0.003)
    assert not await theatre.superuser.fetchval(FAILED, model.tenants), "A document failed that is wanted."
    if learning:
        await theatre.grudge.learn(model.tenants)


@settings(
    max_examples=SEQUENCES,
    deadline=None,
    database=None,
    print_blob=True,
    phases=PHASES,
    suppress_health_check=list(HealthCheck),
)
@seed(20_260)
@given(index=st.sampled_from(INDEXES), history=histories())
async def test_nobody_finds_what_the_model_does_not_allow_and_everybody_what_it_does(
    theatre: Theatre, index: str, history: list[Operation]
) -> None:
    visitor = Visitor(await a_world(theatre, index))
    for step, wanted in enumerate(history):
        try:
            await visitor.do(wanted)
        except BaseException as error:
            error.add_note(
                f"{index}; it broke at the last of these steps:\n" + "\n".join(map(str, history[: step + 1]))
            )
            raise
