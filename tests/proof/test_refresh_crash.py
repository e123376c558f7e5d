"""`kill -9` in the middle of a walk: whatever was taken is there once, and the next walk goes on."""

import asyncio
import random
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from carrel.adapters.postgres import Endpoint
from carrel.domain.library import Source
from carrel.domain.origins import RunState
from support.crash_walker import Walk
from support.nursery import Nursery, a_nursery
from support.places import Watched, a_watched
from support.quiet import a_quiet_stand, blobs_of, drained
from support.raw import connected
from support.rounds import rounds
from support.stand import Stand
from support.tally import assert_whole, tally

pytestmark = [pytest.mark.proof, pytest.mark.timeout(rounds(180, 1_500))]

KILLS = rounds(4, 90)
FILES = 12
LAST_COMMIT = 24  # more than a run of so many files has


@pytest.fixture(scope="module")
async def quiet(endpoint: Endpoint, models: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stand]:
    async with a_quiet_stand(endpoint, "walked", tmp_path_factory.mktemp("walked"), models=models) as standing:
        yield standing


async def killed(nursery: Nursery, place: Watched, source: Source, *, number: int, before: bool) -> bool:
    """Whether the process was killed, and did not come to its end."""
    stand = place.stand
    walk = Walk(
        app_url=stand.endpoint.app_url,
        blobs=str(blobs_of(stand)),
        folder=str(place.folder),
        slug=place.tenant.slug,
        source=str(source.id),
        number=number,
        before=before,
    )
    async with asyncio.timeout(60), nursery.victim("walker", walk) as victim:
        code = await victim.wait()
    assert code in {0, -signal.SIGKILL}
    async with connected(stand.endpoint.superuser_url) as connection:
        expire = (
            "update jobs set leased_until = now() - interval '1 second' where subject_id = $1 and leased_until > now()"
        )
        await connection.execute(expire, source.id)
    return code != 0


def changed(place: Watched, chance: random.Random) -> None:
    """Some files come, some go, some are others."""
    for number in range(FILES):
        path = place.folder / f"page-{number}.md"
        match chance.randrange(4):
            case 0:
                path.unlink(missing_ok=True)
            case 1 | 2:
                path.write_text(f"# Page {number}\n\nThis is told for the {chance.randrange(10**6)}th time.")
            case _:
                pass


async def test_a_walk_that_is_killed_anywhere_loses_and_doubles_nothing(
    quiet: Stand, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = await a_watched(quiet, tmp_path)
    source = await place.source()
    chance = random.Random(20261121)
    kills = 0
    async with a_nursery() as nursery:
        while kills < KILLS:
            changed(place, chance)
            await place.tenant.app.refreshes.request(place.tenant.console, source.id, accept_empty=True)
            number, before = chance.randrange(1, LAST_COMMIT), chance.random() < 0.5
            kills += await killed(nursery, place, source, number=number, before=before)

    run = await place.walked(source.id)
    if run.problem is not None and run.problem.code == "worker_crashed":  # the last kills used up its attempts
        run = await place.walked(source.id)
    assert run.state is RunState.DONE
    there = {path.name: path.stat().st_size for path in place.folder.iterdir()}
    assert {key: document.size for key, document in (await place.documents(source.id)).items()} == there
    await drained(quiet)
    for stray in set((found := await tally(quiet, place.tenant.id)).files) - set(found.blobs):
        (blobs_of(quiet) / stray).unlink()  # as the sweep does after a day: killed between its bytes and its row
    assert_whole(await tally(quiet, place.tenant.id), documents=len(there))
    again = await place.walked(source.id)
    assert (again.state, again.counts.unchanged) == (RunState.DONE, len(there))
    with capsys.disabled():
        print(f"\nkills: {kills} of walks over {FILES} documents: 0 lost, 0 doubled, 0 stuck")  # noqa: T201 - the verdict
