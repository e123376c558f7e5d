"""Whose sources refresh themselves, from where, and who may see and say so."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from carrel.adapters.postgres import Endpoint
from carrel.domain.library import SourceKind
from carrel.domain.origins import Site
from carrel.domain.places import fields_of
from carrel.library.sources import Refit
from carrel.store.sources import NewSource
from support.places import Watched, a_watched
from support.quiet import a_quiet_stand
from support.raw import connected
from support.stand import Stand

Make = Callable[..., Awaitable[Watched]]
HERE, ELSEWHERE = Site(("https://a.example/",)), Site(("https://b.example/",))


@pytest.fixture(scope="module")
async def quiet(endpoint: Endpoint, models: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stand]:
    home = tmp_path_factory.mktemp("who_refreshes")
    async with a_quiet_stand(endpoint, "who_refreshes", home, models=models) as standing:
        yield standing


@pytest.fixture
def watched(quiet: Stand, tmp_path: Path) -> Make:
    folder = tmp_path / "opened"
    folder.mkdir()

    async def make(**more: Any) -> Watched:
        return await a_watched(quiet, folder, **more)

    return make


# Changes


async def test_two_who_change_a_source_at_once_lose_nothing_of_each_other(watched: Make) -> None:
    """One has written another place and not yet committed when the other asks for another schedule."""
    place = await watched()
    app, console = place.tenant.app, place.tenant.console
    source = await app.sources.create(console, NewSource("site", SourceKind.URL, place=HERE, schedule=3600))
    async with connected(place.stand.endpoint.superuser_url) as other, other.transaction():
        moved = json.dumps(fields_of(ELSEWHERE))
        await other.execute("update sources set place = $2::jsonb where id = $1", source.id, moved)
        refit = Refit(schedule=7200, keeps_schedule=False)
        changing = asyncio.create_task(app.sources.change(console, source.id, refit=refit))
        await until_somebody_waits(other)
    changed = await changing
    assert (changed.place, changed.schedule) == (ELSEWHERE, 7200)


async def until_somebody_waits(connection: Any) -> None:
    """For a lock that this connection holds."""
    sql = "select exists (select from pg_stat_activity where pg_backend_pid() = any (pg_blocking_pids(pid)))"
    async with asyncio.timeout(20):
        while not await connection.fetchval(sql):
            await asyncio.sleep(0.02)
