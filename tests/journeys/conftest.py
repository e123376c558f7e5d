"""A tenant and a source of it on the module's own Carrel, which each module gives as `quiet`."""

import pytest

from carrel.domain.ids import SourceId
from support.stand import Stand
from support.tenants import SomeTenant, a_tenant


@pytest.fixture
async def acme(quiet: Stand) -> SomeTenant:
    return await a_tenant(quiet.app, "Acme")


@pytest.fixture
async def source(acme: SomeTenant) -> SourceId:
    return (await acme.source()).id
