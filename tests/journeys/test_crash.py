"""`kill -9` of the worker anywhere, and of PostgreSQL: nothing lost, nothing doubled, nothing stuck."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from carrel.adapters.postgres import EmbeddedPostgres, Endpoint
from carrel.ask.pipeline import SearchWish
from carrel.domain.errors import Unavailable
from carrel.domain.ids import SourceId
from carrel.domain.jobs import MOST_CRASHES
from carrel.domain.library import DocumentStatus
from support.crash_worker import POINTS
from support.fate import Order, thresholds_at
from support.nursery import a_nursery
from support.quiet import a_quiet_stand, blobs_of, delivered, document_of, drained, idle
from support.stand import Stand, a_stand, a_worker
from support.tally import assert_whole, tally
from support.tenants import SomeTenant, a_tenant

Killed = Callable[..., Awaitable[None]]

LEASE = 0.6
LARGE = 9  # chunks: more than one of the documents has, fewer than two, so the second brings the tenant its own tables


@pytest.fixture(scope="module")
async def quiet(endpoint: Endpoint, models: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stand]:
    async with a_quiet_stand(endpoint, "crash", tmp_path_factory.mktemp("crash"), models=models) as standing:
        yield replace(standing, parts=replace(standing.parts, thresholds=thresholds_at(LARGE)))


@pytest.fixture(scope="module")
async def killed(quiet: Stand, models: Path) -> AsyncIterator[Killed]:
    """Runs a worker process until it has killed itself at a point; in the parser, at a key that has `only`."""
    async with a_nursery() as nursery:

        async def kill(point: str, only: str = "") -> None:
            app_url, blobs = quiet.endpoint.app_url, str(blobs_of(quiet))
            order = Order(app_url, blobs, str(models), point, lease=LEASE, only=only, many=LARGE)
            async with asyncio.timeout(120), nursery.victim("worker", order) as victim:
                assert await victim.wait() == -signal.SIGKILL

        yield kill


@dataclass(frozen=True)
class Scene:
    """A tenant with a document that is ready, which the test replaces."""

    tenant: SomeTenant
    source: SourceId


@pytest.fixture(scope="module")
async def scenes(quiet: Stand) -> dict[str, Scene]:
    """One for each point, made ready in one go."""
    made = {}
    for point in POINTS:
        tenant = await a_tenant(quiet.app, f"Crash {point}")
        made[point] = Scene(tenant, (await tenant.source()).id)
        await delivered(tenant, made[point].source, "gateway.md", a_text("older"))
    await drained(quiet)
    return made


def a_text(marker: str, *, sections: int = 3) -> str:
    """Several chunks, each with the marker."""
    body = " ".join(f"Step {number} of the {marker} procedure drains one gateway." for number in range(30))
    return "\n\n".join(f"# Section {number} of {marker}\n\n{body}" for number in range(sections))


async def texts_of(tenant: SomeTenant, query: str) -> list[str]:
    found = await tenant.app.asking.search(tenant.console, SearchWish(query, limit=50))
    assert found.alarms == 0
    return [hit.text for hit in found.hits]


@pytest.mark.parametrize("point", POINTS)
async def test_a_worker_killed_anywhere_loses_and_doubles_nothing(
    killed: Killed, quiet: Stand, scenes: dict[str, Scene], point: str
) -> None:
    acme, source = scenes[point].tenant, scenes[point].source
    replaced = await delivered(acme, source, "gateway.md", a_text("newer"))
    added = await delivered(acme, source, "second.md", a_text("second"))

    await killed(point)

    seen = await texts_of(acme, "gateway procedure")
    assert any("older" in text for text in seen) != any("newer" in text for text in seen), "one version, and only one"
    await drained(quiet, lease=LEASE)
    assert_whole(await tally(quiet, acme.id), documents=2)
    assert [(await document_of(acme, one)).status for one in (replaced, added)] == [DocumentStatus.READY] * 2
    seen = await texts_of(acme, "gateway procedure")
    assert any("newer" in text for text in seen)
    assert not any("older" in text for text in seen)


async def test_a_document_that_kills_every_worker_dies_alone(killed: Killed, quiet: Stand) -> None:
    acme = await a_tenant(quiet.app, "Poison")
    source = (await acme.source()).id
    innocent = [await delivered(acme, source, f"early-{number}.md", a_text(f"early{number}")) for number in range(2)]
    poison = await delivered(acme, source, "poison.md", a_text("poison"))
    innocent += [await delivered(acme, source, f"late-{number}.md", a_text(f"late{number}")) for number in range(3)]

    for _ in range(1 + MOST_CRASHES):  # the first time beside others
        await killed("parsing", "poison")
    await drained(quiet, lease=LEASE)

    dead = await document_of(acme, poison)
    assert (dead.status, dead.attempts) == (DocumentStatus.FAILED, 1 + MOST_CRASHES)
    assert dead.error is not None
    assert dead.error.code == "quarantined"
    spared = [await document_of(acme, one) for one in innocent]
    assert [one.status for one in spared] == [DocumentStatus.READY] * 5
    assert max(one.attempts for one in spared) <= 3, "taken down once, beside it; a busy machine may lose a short lease"
    found = await tally(quiet, acme.id)
    assert (found.jobs, found.chunks) == (0, found.promised)


async def test_postgres_killed_in_mid_ingest_costs_nothing(tmp_path: Path, models: Path) -> None:
    with EmbeddedPostgres(tmp_path / "home") as endpoint:
        async with a_stand(endpoint, tmp_path / "home", models=models) as stand:
            acme = await a_tenant(stand.app, "Survivor")
            source = (await acme.source()).id
            waiting = [await delivered(acme, source, f"{n}.md", a_text(f"marker{n}")) for n in range(20)]
            async with a_worker(stand, lease=2.0):
                await count_ready(acme, source, at_least=4)
                os.kill(postmaster(tmp_path / "home"), signal.SIGKILL)
                await count_ready(acme, source, at_least=20)
                await idle(stand)
            assert_whole(await tally(stand, acme.id), documents=20)
            assert max([(await document_of(acme, one)).attempts for one in waiting]) <= 3


def postmaster(home: Path) -> int:
    return int((home / "postgres" / "data" / "postmaster.pid").read_text().splitlines()[0])


async def count_ready(tenant: SomeTenant, source: SourceId, *, at_least: int) -> None:
    async with asyncio.timeout(120):
        while True:
            with suppress(Unavailable):
                found = await tenant.app.sources.get(tenant.console, source)
                if found.documents[DocumentStatus.READY] >= at_least:
                    return
            await asyncio.sleep(0.02)
