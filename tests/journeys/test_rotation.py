"""Another master key, beside whoever uses the old one, and interrupted anywhere."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from carrel import wiring
from carrel.adapters.postgres import Endpoint, bootstrap
from carrel.domain.access import console, for_job
from carrel.domain.errors import Conflict, Unavailable
from carrel.domain.ids import CredentialId, SessionId, TenantId, UserId
from carrel.domain.secret import MasterKeys, Secret, master_id
from carrel.settings import Settings
from carrel.store.transaction import Database
from carrel.tenancy.credentials import Credentials, CredentialWish
from carrel.tenancy.rotation import Rewrapped, rewrap_all
from carrel.tenancy.tenants import Tenants
from carrel.tenancy.tokens import AccessTokens
from carrel.tenancy.vault import Vault
from carrel.wiring.master_keys import MasterKeyFiles
from support.raw import connected
from support.rounds import rounds
from support.stand import a_database

NAME = "rotation"
PEPPER = b"a pepper for tests, of thirty-two bytes"
OLD, NEW = "the old master key, of 32 letters", '[a new "master key", of 32 letters]'


class PowerCutError(BaseException):
    """Nothing after it runs."""


@dataclass(frozen=True)
class Place:
    """A deployment whose master key is a file, in a database of its own: a rotation is for all tenants."""

    settings: Settings
    database: Database
    superuser_url: str

    @property
    def files(self) -> MasterKeyFiles:
        """As a process sees them that was started now."""
        return MasterKeyFiles(self.settings.folder / "secrets")

    def credentials(self, masters: Callable[[], MasterKeys]) -> Credentials:
        return Credentials(self.database, Vault(masters), pepper=PEPPER)

    async def keep(self, masters: Callable[[], MasterKeys], tenant: TenantId, text: str) -> CredentialId:
        wish = CredentialWish(f"name {uuid.uuid4()}", "openai", Secret(text))
        return (await self.credentials(masters).create(console(tenant), wish)).id

    async def opens(self, masters: Callable[[], MasterKeys], tenant: TenantId, credential: CredentialId) -> str:
        access = await self.credentials(masters).access(for_job(tenant, None), credential)
        return access.secret.reveal()

    async def tenant(self) -> TenantId:
        return (await Tenants(self.database).create(console(None), "Tenant", slug=f"t-{uuid.uuid4().hex}")).id

    async def masters_named(self) -> set[str]:
        async with connected(self.superuser_url) as superuser:
            return {row[0] for row in await superuser.fetch("select distinct master_id from tenant_keys")}


@pytest.fixture
async def place(endpoint: Endpoint, tmp_path: Path) -> AsyncIterator[Place]:
    own = replace(endpoint, database=NAME, owner=f"{NAME}_owner", app=f"{NAME}_app")
    bootstrap(own)
    addresses = {"url": own.app_url, "owner_url": own.owner_url}
    settings = Settings(home=tmp_path, database=addresses)  # type: ignore[arg-type]  # pydantic reads it
    wiring.secrets_of(settings)
    async with a_database(own) as database:
        yield Place(settings, database, own.superuser_url)
        async with connected(own.superuser_url) as superuser:
            await superuser.execute("delete from provider_credentials; delete from tenant_keys")


async def test_everything_opens_before_and_after_and_the_old_key_is_not_needed_any_more(place: Place) -> None:
    running, tenant = place.files, await place.tenant()
    credential = await place.keep(running.present, tenant, "kept before")
    before = running.present().current

    done = await wiring.rotate(place.settings)

    assert (done.new, done.keys, done.unreadable) == (True, 1, ())
    assert place.files.present().current != before
    assert await place.masters_named() == {done.master} == {master_id(place.files.present().current)}
    for masters in (running.present, place.files.present):
        assert await place.opens(masters, tenant, credential) == "kept before"
    assert await wiring.retire(place.settings) == 1
    assert before not in place.files.present().every()
    for masters in (running.present, place.files.present):
        assert await place.opens(masters, tenant, credential) == "kept before"


@pytest.mark.parametrize("survived", range(4))
async def test_a_rotation_that_stops_at_any_tenant_goes_on(place: Place, survived: int) -> None:
    running = place.files
    tenants = [await place.tenant() for _ in range(3)]
    kept = [(tenant, await place.keep(running.present, tenant, str(tenant))) for tenant in tenants]
    ahead = place.files.begin()

    with pytest.raises(PowerCutError):
        await rewrap_all(place.database, Vault(_cut_after(survived * 2, ahead)))

    for tenant, credential in kept:
        assert await place.opens(running.present, tenant, credential) == str(tenant)
        assert await place.opens(place.files.present, tenant, credential) == str(tenant)
    done = await wiring.rotate(place.settings)
    assert place.files.present().current == ahead.current
    assert await place.masters_named() == {done.master}
    await wiring.retire(place.settings)
    for tenant, credential in kept:
        assert await place.opens(running.present, tenant, credential) == str(tenant)


def _cut_after(calls: int, keys: MasterKeys) -> Callable[[], MasterKeys]:
    """They are asked for twice for each tenant with a data key: to see whether it is stale, and to unwrap it."""
    left = iter(range(calls + 1))

    def masters() -> MasterKeys:
        if next(left) == calls:
            raise PowerCutError
        return keys

    return masters


async def test_a_key_that_is_made_after_the_switch_by_who_has_not_seen_it_is_found_too(place: Place) -> None:
    tenant, old = await place.tenant(), place.files.present()
    await wiring.rotate(place.settings)
    credential = await place.keep(lambda: old, tenant, "a straggler")
    assert await place.masters_named() == {master_id(old.current)}
    assert await place.opens(place.files.present, tenant, credential) == "a straggler"
    await wiring.retire(place.settings)
    assert await place.opens(place.files.present, tenant, credential) == "a straggler"


async def test_nothing_fails_under_load(place: Place) -> None:
    """Readers, writers and tokens of a process that was started before, while the key changes again and again."""
    running, over = place.files, asyncio.Event()
    tenants = [await place.tenant() for _ in range(4)]
    tokens, did = AccessTokens(running.present), [0] * len(tenants)

    async def use(number: int) -> None:
        while not over.is_set() or did[number] < 3:
            tenant = tenants[number] if did[number] > 3 else await place.tenant()
            text, token = str(uuid.uuid4()), tokens.mint(*_somebody(), None)
            fresh = await place.keep(running.present, tenant, text)
            old = await place.keep(running.present, tenants[number], text)
            await asyncio.sleep(0)
            assert await place.opens(running.present, tenant, fresh) == text
            assert await place.opens(place.files.present, tenants[number], old) == text
            tokens.read(token)
            AccessTokens(place.files.present).read(token)
            did[number] += 1

    async with asyncio.TaskGroup() as group:
        for number in range(len(tenants)):
            group.create_task(use(number))
        for _ in range(rounds(3, 25)):
            done = await wiring.rotate(place.settings)
            assert done.unreadable == ()
        over.set()
    assert min(did) >= 3
    await wiring.retire(place.settings)
    assert await place.masters_named() == {master_id(place.files.present().current)}


def _somebody() -> tuple[UserId, SessionId]:
    return UserId(uuid.uuid4()), SessionId(uuid.uuid4())


async def test_where_the_master_key_is_a_setting_the_operator_changes_it_in_steps(place: Place) -> None:
    def told(current: str, former: str | None) -> Settings:
        more = {"master_key": current, "former_master_keys": former and json.dumps([former])}
        return Settings(**{**place.settings.model_dump(), **more})

    first = wiring.secrets_of(told(OLD, None)).master_keys
    tenant = await place.tenant()
    credential = await place.keep(first, tenant, "kept before")
    reads_both, switched = wiring.secrets_of(told(OLD, NEW)).master_keys, wiring.secrets_of(told(NEW, OLD)).master_keys
    made_late = await place.keep(switched, await place.tenant(), "kept between")
    assert await place.opens(reads_both, tenant, credential) == await place.opens(switched, tenant, credential)

    done = await wiring.rotate(told(NEW, OLD))

    assert (done.new, done.keys, done.unreadable) == (False, 1, ())
    alone = wiring.secrets_of(told(NEW, None)).master_keys
    for masters in (reads_both, switched, alone):
        assert await place.opens(masters, tenant, credential) == "kept before"
    assert made_late is not None
    with pytest.raises(Unavailable):
        await place.opens(first, tenant, credential)
    assert await wiring.retire(told(NEW, None)) == 0


async def test_a_tenant_whose_key_cannot_be_read_is_named_and_keeps_the_old_master_keys(place: Place) -> None:
    lost, good = await place.tenant(), await place.tenant()
    await place.keep(lambda: MasterKeys(b"a master key that is lost for ever"), lost, "lost")
    credential = await place.keep(place.files.present, good, "good")
    done = await wiring.rotate(place.settings)
    assert (done.keys, done.unreadable) == (1, (lost,))
    with pytest.raises(Conflict) as refusal:
        await wiring.retire(place.settings)
    assert refusal.value.code == "master_key_in_use"
    assert len(place.files.present().others) == 1
    assert await place.opens(place.files.present, good, credential) == "good"


async def test_what_is_wrapped_already_is_left_alone(place: Place) -> None:
    await place.keep(place.files.present, await place.tenant(), "kept")
    assert await rewrap_all(place.database, Vault(place.files.present)) == Rewrapped(0, ())
