"""A folder of many small files: all of them taken, nothing read twice, and memory that does not grow with them."""

import mmap
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from carrel.adapters.postgres import Endpoint
from carrel.domain.origins import Counts, RunState
from support.places import a_watched
from support.quiet import a_quiet_stand
from support.rounds import rounds
from support.stand import Stand

pytestmark = [pytest.mark.proof, pytest.mark.timeout(rounds(180, 1_500))]

FILES = rounds(150, 3_000)
MOST_GROWTH = 24 << 20


@pytest.fixture(scope="module")
async def quiet(endpoint: Endpoint, models: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stand]:
    async with a_quiet_stand(endpoint, "large_place", tmp_path_factory.mktemp("large"), models=models) as standing:
        yield standing


def resident() -> int:
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * mmap.PAGESIZE


async def test_many_small_files_are_taken_in_flat_memory(quiet: Stand, tmp_path: Path) -> None:
    """Nobody works on the documents, so the room in the queue is made large enough for all."""
    place = await a_watched(quiet, tmp_path, pending=FILES + 1)
    for number in range(FILES):
        place.write(f"{number % 50}/{number}.md", f"# Page {number}\n\nThis is page {number} of many.")
    source = await place.source()
    before = resident()
    first = await place.next_run(source.id)
    assert (first.state, first.counts) == (RunState.DONE, Counts(found=FILES, created=FILES))
    again = await place.walked(source.id)
    assert (again.state, again.counts) == (RunState.DONE, Counts(found=FILES, unchanged=FILES))
    assert resident() - before < MOST_GROWTH

    for number in range(0, FILES, 3):
        (place.folder / f"{number % 50}/{number}.md").unlink()
    gone = len(range(0, FILES, 3))
    last = await place.walked(source.id)
    assert last.counts == Counts(found=FILES - gone, unchanged=FILES - gone, deleted=gone)
