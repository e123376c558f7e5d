"""Fixtures: one embedded PostgreSQL and one running Carrel for a session; each test makes tenants of its own."""

import gc
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Final

import pytest
from hypothesis import settings

from carrel.adapters.postgres import EmbeddedPostgres, Endpoint
from carrel.domain.access import console
from support.s3_server import S3Server, an_s3
from support.stand import Stand, a_stand, a_worker
from support.tenants import SomeTenant, a_tenant

# What chance finds is for the proof, and not for whoever changed something else.
settings.register_profile("every day", derandomize=True)
if not os.environ.get("FULL_ROUNDS"):
    settings.load_profile("every day")

_FIRST: Final = ("proof", "journeys", "cli", "api", "adapters")
# Each test process is given a second module at once: behind the longest that is a short one (of two processes).
_LONGEST: Final = ("isolation_machine", "schemathesis", "tokens", "mutants", "kill_sweep", "evil_files")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What is too long for every day is left to the proof."""
    long = [] if os.environ.get("FULL_ROUNDS") else [item for item in items if item.get_closest_marker("long")]
    config.hook.pytest_deselected(items=long)
    items[:] = sorted((item for item in items if item not in long), key=_how_late)


def pytest_collection_finish() -> None:
    """Ten thousand tests stay: the collector, which a worker calls after each job, need not look through them."""
    gc.collect()
    gc.freeze()


def _how_late(item: pytest.Item) -> tuple[int, int]:
    """Sweeps, crashes and processes take longest: they begin first, so that nobody waits for one of them at the end."""
    folder = item.path.relative_to(Path(__file__).parent).parts[0]
    return _rank(folder, _FIRST), _rank(item.path.stem.removeprefix("test_"), _LONGEST)


def _rank(name: str, ranked: tuple[str, ...]) -> int:
    return ranked.index(name) if name in ranked else len(ranked)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Where everything must run (REFUSE_SKIPS is set), a test that was skipped is a failure."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("REFUSE_SKIPS") and reporter and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


TenantMaker = Callable[..., Awaitable[SomeTenant]]


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the built embedder lives; the test processes of one run share it."""
    return tmp_path_factory.getbasetemp().parent / "models"


@pytest.fixture(scope="session")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    with EmbeddedPostgres(tmp_path_factory.mktemp("postgres"), fsync=False) as started:
        yield started


@pytest.fixture(scope="session")
def s3() -> Iterator[S3Server]:
    """A server that speaks S3 and SQS; each test makes buckets of its own."""
    with an_s3() as server:
        yield server


@pytest.fixture(scope="session")
async def stand(endpoint: Endpoint, models: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stand]:
    async with a_stand(endpoint, tmp_path_factory.mktemp("home"), models=models) as standing:
        yield standing


@pytest.fixture(scope="session")
async def carrel(stand: Stand) -> AsyncIterator[Stand]:
    """A Carrel with a worker."""
    async with a_worker(stand):
        yield stand


@pytest.fixture
def tenant(carrel: Stand) -> TenantMaker:
    async def make(name: str = "Tenant") -> SomeTenant:
        return await a_tenant(carrel.app, name)

    return make


@pytest.fixture
async def operator(carrel: Stand) -> str:
    """An operator key in clear."""
    return (await carrel.app.keys.create_operator(console(None), name="test")).reveal()
