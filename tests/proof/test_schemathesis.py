"""The whole surface, asked by Schemathesis with every kind of key: no mistake of ours, and nothing undocumented.

Schemathesis reads the OpenAPI document as a client would, over HTTP, and makes requests that fit it and requests that
do not. The ids that it puts into them are mostly those of a real tenant, so that it comes past the first 404. What came
back is judged twice: by Schemathesis, and by a tally at the door that knows which statuses each route documents.
"""

import asyncio
import json
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import pytest
from fastapi import FastAPI
from starlette.types import Message, Receive, Scope, Send

from carrel.api.app import create_app
from carrel.domain import access, rights
from carrel.domain.credentials import new_api_key
from carrel.domain.ids import BotId, SourceId
from carrel.library.documents import Shelf
from carrel.store.bots import NewBot
from carrel.tenancy.keys import KeyWish
from support.doors import serving
from support.furnished import ask
from support.people import a_person
from support.raw import connected
from support.rounds import rounds
from support.stand import Stand
from support.tenants import SomeTenant, a_tenant

pytestmark = [pytest.mark.proof, pytest.mark.slow]

EXAMPLES: Final = rounds(2, 10)
# The others end at the same few doors: a look at each operation is enough for them.
THOROUGH: Final = frozenset({"limited to a source", "an owner's session", "a viewer's session", "full", "none"})
# A schema cannot say that a cursor is ours, that a time lies ahead, or which two fields exclude each other; a repeated
# Idempotency-Key gives the answer of the first request, although what that one made was deleted meanwhile.
BEYOND_A_SCHEMA: Final = "positive_data_acceptance,ensure_resource_availability"
KEYS_OF_DOCUMENTS: Final = ("a.txt", "notes/b.md", "bad.pdf", "line\nbreak", "../up", "ü.txt", "%", "a\\b", " ")

World = Mapping[str, Sequence[str]]
Bearer = Callable[[Stand, SomeTenant, World], Awaitable[str | None]]


def holding(*scopes: str, bots: bool = False, sources: bool = False) -> Bearer:
    async def make(_: Stand, tenant: SomeTenant, world: World) -> str:
        wish = KeyWish(
            "a key",
            frozenset(map(rights.Scope, scopes or rights.Scope)),
            bots=frozenset(BotId(UUID(one)) for one in world["bots"][:1]) if bots else None,
            sources=frozenset(SourceId(UUID(one)) for one in world["sources"][:1]) if sources else None,
        )
        return (await tenant.app.keys.create(tenant.console, wish)).clear

    return make


async def nothing(_: Stand, _tenant: SomeTenant, _world: World) -> None:
    return None


async def malformed(_: Stand, _tenant: SomeTenant, _world: World) -> str:
    return "ck_1_2_3"


async def unknown(_: Stand, _tenant: SomeTenant, _world: World) -> str:
    return new_api_key().reveal()


async def revoked(carrel: Stand, tenant: SomeTenant, _world: World) -> str:
    return await _spoilt(carrel, tenant, "revoked_at = now()")


async def expired(carrel: Stand, tenant: SomeTenant, _world: World) -> str:
    return await _spoilt(carrel, tenant, "expires_at = now() - interval '1 second'")


async def operators(carrel: Stand, _tenant: SomeTenant, _world: World) -> str:
    return (await carrel.app.keys.create_operator(access.console(None), name="test")).reveal()


async def strangers(carrel: Stand, _tenant: SomeTenant, _world: World) -> str:
    return await (await a_tenant(carrel.app, "Stranger")).key()


def signed_in(role: str) -> Bearer:
    async def make(carrel: Stand, tenant: SomeTenant, _: World) -> str:
        return (await a_person(carrel, **{role: tenant.id})).token(tenant.id)

    return make


BEARERS: Final[Mapping[str, Bearer]] = {
    "limited to a source": holding(sources=True),
    "an owner's session": signed_in("owner"),
    "a viewer's session": signed_in("viewer"),
    "full": holding(),
    "operator": operators,
    "search": holding("search"),
    "ask": holding("ask"),
    "ingest": holding("ingest"),
    "manage": holding("manage"),
    "limited to a bot": holding(bots=True),
    "another tenant's": strangers,
    "none": nothing,
    "malformed": malformed,
    "unknown": unknown,
    "revoked": revoked,
    "expired": expired,
}


@pytest.mark.parametrize("kind", list(BEARERS)[: rounds(2, len(BEARERS))])
async def test_nothing_undocumented_and_no_mistake_of_ours(carrel: Stand, tmp_path: Path, kind: str) -> None:
    tenant = await a_tenant(carrel.app)
    world = await a_world(carrel, tenant)
    key = await BEARERS[kind](carrel, tenant, world)
    door = create_app(lambda: nullcontext(carrel.app))
    tally = Tally(door)
    (tmp_path / "schemathesis.toml").write_text(configuration(world))
    async with serving(tally) as (host, port):
        thorough = bool(rounds(0, kind in THOROUGH))
        found = await schemathesis(f"http://{host}:{port}", key, tmp_path, thorough=thorough)
    sys.stdout.write(f"{kind}: {found.cases} cases, {tally.seen.total()} requests, {tally.statuses()}\n")
    assert found.failures == [], found.said
    assert tally.mistakes() == []
    assert found.cases > 0


@dataclass
class Tally:
    """Counts what the door answers to whom, as an application around it."""

    door: FastAPI
    seen: Counter[tuple[str, str, int]] = field(default_factory=Counter)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                route = getattr(scope.get("route"), "path_format", "")
                self.seen[scope["method"], route, message["status"]] += 1
            await send(message)

        await self.door(scope, receive, counted)

    def statuses(self) -> dict[int, int]:
        found: Counter[int] = Counter()
        for (_, _, status), count in self.seen.items():
            found[status] += count
        return dict(sorted(found.items()))

    def mistakes(self) -> list[tuple[str, str, int]]:
        """Every 5xx, and every status that the route's own operation does not name."""
        return [one for one in self.seen if one[2] >= 500 or one[2] not in self._documented(one[0], one[1])]

    def _documented(self, method: str, route: str) -> set[int]:
        if route == "/openapi.json":  # the document does not describe itself
            return {200}
        operations = self.door.openapi()["paths"].get(route, {})
        operation = operations.get({"HEAD": "get"}.get(method, method.lower()))
        if operation is None:
            return {404, 405}
        beside_ids = {405} if "{" in route else set()  # a path of its own may stand where the route has an id
        return {int(status) for status in operation["responses"]} | beside_ids


@dataclass(frozen=True)
class Found:
    cases: int
    failures: list[Any]
    said: str


async def schemathesis(url: str, key: str | None, folder: Path, *, thorough: bool) -> Found:
    """One run of the program, as its users run it. What it keeps between runs stays in the folder."""
    phases = "coverage,fuzzing,stateful" if thorough else "fuzzing"
    report = folder / "report.json"
    credential = [] if key is None else ["--header", f"Authorization: Bearer {key}"]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "schemathesis.cli", "run", f"{url}/openapi.json", *credential,
        "--phases", phases, "--max-examples", str(EXAMPLES), "--exclude-checks", BEYOND_A_SCHEMA,
        "--continue-on-failure", "--request-timeout", "90", "--suppress-health-check", "all", "--warnings", "off",
        "--report", "json", "--report-json-path", str(report), "--no-color",
        cwd=folder, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    try:
        said = (await process.communicate())[0].decode()
    finally:
        if process.returncode is None:
            process.kill()
    assert report.is_file(), said
    assert report.stat().st_size, said
    told = json.loads(report.read_text())
    assert told["complete"], said
    return Found(told["test_cases"]["generated"], [*told["failures"], *told["errors"]], said)


async def a_world(carrel: Stand, tenant: SomeTenant) -> World:
    """Ids of everything that a tenant can have; those that are deleted meanwhile are others."""
    sources = [(await tenant.source(f"source {number}")).id for number in range(6)]
    bots = [
        (await carrel.app.bots.create(tenant.console, NewBot(f"bot {number}", frozenset(sources[:2])))).id
        for number in range(6)
    ]
    documents = [
        (await tenant.put(sources[number % 2], f"{number}.md", f"# Boats {number}\n\nBoats float on water.")).id
        for number in range(8)
    ]
    failed = await tenant.put(sources[0], "bad.pdf", b"%PDF-1.7\nThis is no PDF after all.")
    principal = await tenant.principal()
    chat = (await ask(carrel, principal, "Do boats float on water?")).chat
    keys = [
        (await carrel.app.keys.create(tenant.console, KeyWish("k", frozenset({rights.Scope.SEARCH})))).row.id
        for _ in range(6)
    ]
    page = await carrel.app.documents.listed(tenant.console, Shelf(), limit=2, cursor=None)
    return {
        "sources": _texts(sources[:3]),
        "bots": _texts(bots[:3]),
        "documents": _texts([failed.id, *documents[:4]]),
        "keys": _texts(keys[:3]),
        "chats": _texts([chat]),
        "files": _texts(documents[:2]),
        "models": ["carrel", *_texts(bots[:1])],
        "tenants": [str(tenant.id), tenant.slug],
        "cursors": [page.next_cursor or ""],
        "names": KEYS_OF_DOCUMENTS,
        "doomed_sources": _texts(sources[3:]),
        "doomed_bots": _texts(bots[3:]),
        "doomed_documents": _texts(documents[4:]),
        "doomed_keys": _texts(keys[3:]),
    }


def configuration(world: World) -> str:
    """Which ids to try: most are real, the others are made up."""
    kinds = {"source_id": "sources", "bot_id": "bots", "document_id": "documents", "key_id": "keys"}
    inside = {
        "body.source_id": "sources",
        "body.source_ids[*]": "sources",
        "body.bot_id": "bots",
        "body.bot_ids[*]": "bots",
        "body.chat_id": "chats",
        "body.tenants[*]": "tenants",
        "tenant_id": "tenants",
        "cursor": "cursors",
        "path.key": "names",
        "vector_store_id": "sources",
        "file_id": "files",
        "body.file_ids[*]": "files",
        "body.metadata.chat_id": "chats",
        "path.model": "models",
        "body.model": "models",
    }
    lines = list(_REFUSALS)
    lines += ["[dictionaries]", *(f"{name} = {{ values = {json.dumps(list(ids))} }}" for name, ids in world.items())]
    lines += ["[parameters]", *(_bound(name, kind) for name, kind in {**kinds, **inside}.items())]
    lines += ["[[operations]]", 'include-method = "DELETE"', "[operations.parameters]"]
    lines += [_bound(name, f"doomed_{kind}") for name, kind in kinds.items()]
    return "\n".join([*lines, *_WITHOUT_A_VERDICT])


# Of those that it knows, 5xx are none to us; and a body that is too long for its schema may be too long for anybody.
_REFUSALS: Final = (
    "[checks.negative_data_rejection]",
    "expected-statuses = [400, 401, 403, 404, 405, 406, 409, 413, 415, 422, 428, 429]",
)

# An upload is answered file by file: what cannot be taken is `rejected` in a 202. A stream of events does not end.
_WITHOUT_A_VERDICT: Final = (
    "[[operations]]",
    'include-operation-id = "watch_ingestion"',
    "enabled = false",
    "[[operations]]",
    'include-operation-id = "upload_documents"',
    "[operations.checks.negative_data_rejection]",
    "enabled = false",
)


def _texts(ids: Sequence[UUID]) -> list[str]:
    return [str(one) for one in ids]


def _bound(name: str, kind: str) -> str:
    return f'"{name}" = {{ dictionary = "{kind}", probability = 0.8 }}'


async def _spoilt(carrel: Stand, tenant: SomeTenant, how: str) -> str:
    key = await tenant.key()
    async with connected(carrel.endpoint.superuser_url) as superuser:
        await superuser.execute(f"update api_keys set {how} where tenant_id = $1", tenant.id)
    return key
