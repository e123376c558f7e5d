"""A tenant, and a source or a watched folder of it, on the module's own Carrel, which each module gives as `quiet`."""

from pathlib import Path
from typing import Any

import pytest

from carrel.domain.ids import SourceId
from support.places import Make, Watched, a_watched
from support.stand import Stand
from support.tenants import SomeTenant, a_tenant


@pytest.fixture
async def acme(quiet: Stand) -> SomeTenant:
    return await a_tenant(quiet.app, "Acme")


@pytest.fixture
async def source(acme: SomeTenant) -> SourceId:
    return (await acme.source()).id


@pytest.fixture
def watched(quiet: Stand, tmp_path: Path) -> Make:
    folder = tmp_path / "opened"
    folder.mkdir()

    async def make(**more: Any) -> Watched:
        return await a_watched(quiet, folder, **more)

    return make
