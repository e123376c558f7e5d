"""Machines whose clocks are days apart serve one database, and only the database's clock counts.

Every Python process of the served Carrel lives in a wrong time; PostgreSQL and the Carrel in the test's own process
live in the right one. Leases, the expiry of keys, idempotency and the sweep must not notice.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import httpx2
import pytest

from carrel.adapters.postgres import Endpoint
from carrel.api.app import create_app
from carrel.domain.access import console
from carrel.domain.library import DocumentStatus
from carrel.domain.rights import Scope
from carrel.ingest.upload import Arrival, Dock
from carrel.tenancy.keys import KeyWish
from support.doors import serving
from support.quiet import a_quiet_stand, blobs_of, delivered, document_of
from support.rounds import rounds
from support.served import Served, served
from support.stand import SECRETS, Stand, a_worker
from support.tenants import SomeTenant, a_tenant, pieces

pytestmark = [pytest.mark.proof, pytest.mark.slow]

SKEW: Final = Path(__file__).parents[1] / "support" / "skew"
DAYS: Final = (3, -3)[: rounds(1, 2)]
DOCUMENTS: Final = rounds(8, 60)


@dataclass(frozen=True)
class Pair:
    """One database, seen from two times; `wrong` is served, `right` is this process."""

    right: Stand
    wrong: Served
    days: int
    tenant: SomeTenant
    dock: Dock
    staged: Arrival

    async def __call__(self, key: str, method: str, path: str, **options: object) -> httpx2.Response:
        async with self.wrong.client(key) as client:
            return await client.request(method, path, **options)  # type: ignore[arg-type]


@pytest.fixture(scope="module", params=DAYS, ids=lambda days: f"{days:+d} days")
async def pair(
    request: pytest.FixtureRequest, endpoint: Endpoint, models: Path, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Pair]:
    """Bytes are staged before the wrong one starts, so that its first sweep meets them."""
    home, days = tmp_path_factory.mktemp("clocks"), request.param
    name = f"clocks_{'ahead' if days > 0 else 'behind'}"
    async with a_quiet_stand(endpoint, name, home, models=models) as right:
        tenant = await a_tenant(right.app, "Clocks")
        source = (await tenant.source("staged")).id
        dock = await right.app.uploads.dock(tenant.console, source)
        arrival = await right.app.uploads.stage(dock, "staged.md", pieces(b"# Staged\n\nIt waits."), declared=None)
        settings = {
            "CARREL_DATABASE__URL": right.endpoint.app_url,
            "CARREL_BLOBS__PATH": str(blobs_of(right)),
            "CARREL_PEPPER": SECRETS.pepper.decode(),
            "CARREL_MASTER_KEY": SECRETS.master_key.decode(),
            "CARREL_WORKER__LEASE": "3",
            "PYTHONPATH": str(SKEW),
            "TEST_CLOCK_SHIFT": str(days * 86_400),
        }
        async with served(home / "wrong", models, settings=settings) as wrong:
            yield Pair(right, wrong, days, tenant, dock, arrival)


async def test_the_wrong_clock_is_wrong(pair: Pair) -> None:
    """Its ids hold its time: the tenant that it makes seems to be made on another day."""
    operator = (await pair.right.app.keys.create_operator(console(None), name="clocks")).reveal()
    made = await pair(operator, "POST", "/v1/tenants", json={"name": f"Elsewhere {pair.days}"})
    stamp = int(made.json()["id"].replace("-", "")[:12], 16) / 1000
    assert abs(stamp - datetime.now(UTC).timestamp() - pair.days * 86_400) < 60
    assert abs(datetime.fromisoformat(made.json()["created_at"]) - datetime.now(UTC)) < timedelta(minutes=1)


async def test_keys_live_and_die_by_the_databases_clock(pair: Pair) -> None:
    key = await pair.tenant.key()
    now = datetime.now(UTC)
    for moment, status in ((now + timedelta(hours=1), 201), (now - timedelta(seconds=1), 422)):
        wish = {"name": "k", "scopes": ["search"], "expires_at": moment.isoformat()}
        made = await pair(key, "POST", "/v1/keys", json=wish)
        assert made.status_code == status, made.text
        if status == 201:
            assert (await pair(made.json()["key"], "GET", "/v1/sources")).status_code == 200
            await pair.right.app.principals.authenticate(made.json()["key"])

    soon = KeyWish("k", frozenset({Scope.SEARCH}), expires_at=datetime.now(UTC) + timedelta(seconds=1.5))
    dying = (await pair.right.app.keys.create(pair.tenant.console, soon)).clear
    assert (await pair(dying, "GET", "/v1/sources")).status_code == 200
    await asyncio.sleep(1.6)
    assert (await pair(dying, "GET", "/v1/sources")).json()["code"] == "expired_key"


async def test_a_repetition_is_known_on_both_sides(pair: Pair) -> None:
    key, headers = await pair.tenant.key(), {"Idempotency-Key": f"once {pair.days}".replace(" ", "-")}
    first = await pair(key, "POST", "/v1/sources", json={"name": "once"}, headers=headers)
    again = await pair(key, "POST", "/v1/sources", json={"name": "once"}, headers=headers)
    async with serving(create_app(lambda: nullcontext(pair.right.app))) as (host, port):
        url, own = f"http://{host}:{port}/v1/sources", {**headers, "Authorization": f"Bearer {key}"}
        async with httpx2.AsyncClient() as here:
            third = await here.post(url, json={"name": "once"}, headers=own)
    assert first.status_code == again.status_code == third.status_code == 201
    assert first.json() == again.json() == third.json()


async def test_each_document_is_read_once_whoever_has_the_lease(pair: Pair) -> None:
    """Both sides work the queue with leases of seconds; a lease that ended too soon would make a second attempt."""
    source = (await pair.tenant.source()).id
    waiting = [
        await delivered(pair.tenant, source, f"{number}.md", f"# Page {number}\n\nMarker {number}.")
        for number in range(DOCUMENTS)
    ]
    async with a_worker(pair.right, concurrency=1, lease=3.0), asyncio.timeout(120):
        while {(await document_of(pair.tenant, one)).status for one in waiting} != {DocumentStatus.READY}:  # noqa: ASYNC110 - no event
            await asyncio.sleep(0.2)
    documents = [await document_of(pair.tenant, one) for one in waiting]
    assert {document.attempts for document in documents} == {1}


async def test_what_was_staged_just_now_is_not_swept(pair: Pair) -> None:
    """A worker sweeps when it starts, and has started by now; by its clock the bytes are days old."""
    late = await pair.right.app.uploads.commit(pair.dock, pair.staged)
    document = await pair.right.app.uploads.settled(pair.dock, late, seconds=30)
    assert document.status is DocumentStatus.READY
