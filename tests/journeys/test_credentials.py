"""Provider credentials: what is kept opens in its own place only, and is shown nowhere."""

import asyncio
import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from carrel.domain.access import for_job
from carrel.domain.errors import Conflict, Denied, Invalid, NotFound, Refusal, Unavailable
from carrel.domain.ids import CredentialId
from carrel.domain.origins import Bucket
from carrel.domain.providers import ProviderCredential
from carrel.domain.secret import MasterKeys, Secret
from carrel.store.bots import BotChange, NewBot
from carrel.tenancy.buckets import BucketKeys
from carrel.tenancy.credentials import CredentialChange, Credentials, CredentialWish
from carrel.tenancy.vault import Vault, shred
from conftest import TenantMaker
from support.raw import Raw, connected
from support.stand import SECRETS, Stand
from support.tenants import SomeTenant

TEXT = "sk-live-0123456789-abcd"


@pytest.fixture
async def acme(tenant: TenantMaker) -> SomeTenant:
    return await tenant("Acme")


async def kept(
    acme: SomeTenant, name: str = "main", text: str = TEXT, base_url: str | None = None
) -> ProviderCredential:
    wish = CredentialWish(name, "openai", Secret(text), base_url)
    return await acme.app.credentials.create(acme.console, wish)


async def opened(acme: SomeTenant, credential: CredentialId) -> str:
    access = await acme.app.credentials.access(for_job(acme.id, None), credential)
    return access.secret.reveal()


async def code_of(acme: SomeTenant, credential: CredentialId) -> str:
    with pytest.raises(Refusal) as refusal:
        await opened(acme, credential)
    return refusal.value.code


async def test_what_is_kept_is_shown_by_its_last_four_and_opens_for_a_bot(acme: SomeTenant) -> None:
    made = await kept(acme, base_url="https://llm.example/v1")
    assert (made.name, made.provider, made.base_url, made.last_four) == (
        "main",
        "openai",
        "https://llm.example/v1",
        "abcd",
    )
    assert await acme.app.credentials.get(acme.console, made.id) == made
    access = await acme.app.credentials.access(for_job(acme.id, None), made.id)
    assert (access.provider, access.base_url, access.secret.reveal()) == ("openai", "https://llm.example/v1", TEXT)


async def test_two_of_one_text_are_not_alike_in_the_database(carrel: Stand, acme: SomeTenant) -> None:
    await kept(acme, "one")
    await kept(acme, "two")
    async with connected(carrel.endpoint.superuser_url) as superuser:
        rows = await superuser.fetch("select ciphertext, nonce from provider_credentials where tenant_id = $1", acme.id)
        keys = await superuser.fetchval("select count(*) from tenant_keys where tenant_id = $1", acme.id)
    assert len({bytes(row["ciphertext"]) for row in rows}) == len({bytes(row["nonce"]) for row in rows}) == 2
    assert keys == 1


FLIPPED = "set_byte({0}, 0, get_byte({0}, 0) # 1)"
TAMPERING: dict[str, str] = {
    "the ciphertext": f"update provider_credentials set ciphertext = {FLIPPED.format('ciphertext')} where id = $1",
    "a shorter ciphertext": "update provider_credentials set ciphertext = substr(ciphertext, 1, 20) where id = $1",
    "no ciphertext": "update provider_credentials set ciphertext = '' where id = $1",
    "the nonce": f"update provider_credentials set nonce = {FLIPPED.format('nonce')} where id = $1",
    "no nonce": "update provider_credentials set nonce = '' where id = $1",
    "the version of the key": "update provider_credentials set key_version = 2 where id = $1",
    "the address": "update provider_credentials set base_url = 'https://attacker.example' where id = $1",
    "the provider": "update provider_credentials set provider = 'another' where id = $1",
    "the data key": f"""update tenant_keys set wrapped = {FLIPPED.format("wrapped")}
                        where tenant_id = (select tenant_id from provider_credentials where id = $1)""",
    "the data key's nonce": f"""update tenant_keys set nonce = {FLIPPED.format("nonce")}
                                where tenant_id = (select tenant_id from provider_credentials where id = $1)""",
    "the data key's version": """with moved as (update tenant_keys set version = 2 where tenant_id =
                                 (select tenant_id from provider_credentials where id = $1))
                                 update provider_credentials set key_version = 2 where id = $1""",
}


@pytest.mark.parametrize("statement", TAMPERING.values(), ids=TAMPERING)
async def test_what_was_tampered_with_does_not_open(carrel: Stand, acme: SomeTenant, statement: str) -> None:
    made = await kept(acme)
    async with connected(carrel.endpoint.superuser_url) as superuser:
        await superuser.execute(statement, made.id)
    assert await code_of(acme, made.id) == "secret_unreadable"


async def test_an_unknown_master_key_is_named_as_the_reason(carrel: Stand, acme: SomeTenant) -> None:
    made = await kept(acme)
    async with connected(carrel.endpoint.superuser_url) as superuser:
        await superuser.execute("update tenant_keys set master_id = 'another' where tenant_id = $1", acme.id)
    assert await code_of(acme, made.id) == "master_key_unknown"
    with pytest.raises(Unavailable):
        await kept(acme, "second")


async def test_nothing_opens_with_another_deployments_master_key(carrel: Stand, acme: SomeTenant) -> None:
    made = await kept(acme)
    elsewhere = Credentials(carrel.database, Vault(lambda: MasterKeys(b"x" * 32)), pepper=SECRETS.pepper)
    with pytest.raises(Unavailable):
        await elsewhere.access(for_job(acme.id, None), made.id)


COPY = "update provider_credentials t set ciphertext = s.ciphertext, nonce = s.nonce from provider_credentials s"


async def test_a_ciphertext_of_another_row_does_not_open(carrel: Stand, acme: SomeTenant) -> None:
    one, two = await kept(acme, "one"), await kept(acme, "two")
    async with connected(carrel.endpoint.superuser_url) as superuser:
        await superuser.execute(f"{COPY} where t.id = $1 and s.id = $2", one.id, two.id)
    assert await code_of(acme, one.id) == "secret_unreadable"
    assert await opened(acme, two.id) == TEXT


async def test_nor_does_a_ciphertext_of_another_tenant_even_with_its_key(
    carrel: Stand, acme: SomeTenant, tenant: TenantMaker
) -> None:
    """Row, key and all, under the same ids: the tenant itself is part of what was encrypted."""
    mine, thief = await kept(acme), await tenant("Thief")
    async with connected(carrel.endpoint.superuser_url) as superuser:
        await _steal(superuser, acme, thief)
    assert await code_of(thief, mine.id) == "secret_unreadable"
    assert await opened(acme, mine.id) == TEXT


async def _steal(superuser: Raw, acme: SomeTenant, thief: SomeTenant) -> None:
    for table in ("tenant_keys", "provider_credentials"):
        await superuser.execute(
            f"create temporary table stolen as select * from {table} where tenant_id = '{acme.id}';"
            f"update stolen set tenant_id = '{thief.id}'; insert into {table} select * from stolen; drop table stolen"
        )


async def test_shredding_the_data_key_shreds_what_it_encrypted(carrel: Stand, acme: SomeTenant) -> None:
    made = await kept(acme)
    async with carrel.database.transaction(for_job(acme.id, None)) as tx:
        assert await shred(tx) == 1
        assert await shred(tx) == 0
    assert await code_of(acme, made.id) == "secret_unreadable"
    again = await kept(acme, "after")
    assert await opened(acme, again.id) == TEXT
    assert await code_of(acme, made.id) == "secret_unreadable"


async def test_a_new_secret_replaces_the_old_one(acme: SomeTenant) -> None:
    made = await kept(acme)
    change = CredentialChange(name="renamed", secret=Secret("sk-live-9876543210-wxyz"))
    changed = await acme.app.credentials.change(acme.console, made.id, change)
    assert (changed.name, changed.last_four) == ("renamed", "wxyz")
    assert changed.rotated_at > made.rotated_at
    assert await opened(acme, made.id) == "sk-live-9876543210-wxyz"


async def test_a_name_alone_leaves_the_secret(acme: SomeTenant) -> None:
    made = await kept(acme, base_url="https://llm.example")
    changed = await acme.app.credentials.change(acme.console, made.id, CredentialChange(name="renamed"))
    assert changed == replace(made, name="renamed")
    assert await opened(acme, made.id) == TEXT


async def test_an_address_is_not_changed_without_its_secret(acme: SomeTenant) -> None:
    """Else whoever may change it sends the secret to an address of their own."""
    made = await kept(acme, base_url="https://llm.example")
    with pytest.raises(Invalid) as refusal:
        await acme.app.credentials.change(acme.console, made.id, CredentialChange(base_url="https://attacker.example"))
    assert (refusal.value.code, refusal.value.field) == ("secret_required", "secret")
    assert await acme.app.credentials.get(acme.console, made.id) == made
    both = CredentialChange(base_url="https://other.example", secret=Secret("another"))
    assert (await acme.app.credentials.change(acme.console, made.id, both)).base_url == "https://other.example"
    assert await opened(acme, made.id) == "another"


@pytest.mark.parametrize(
    "url",
    [
        "llm.example",
        "ftp://llm.example",
        "https://",
        "https://user:word@llm.example",
        "https://llm.example/?key=1",
        "https://llm.example/#there",
        "https://llm.example:0",
        "https://llm.example:99999",
        "https://llm example",
        "https://llm.example\\@attacker.example",
        "https://[::1",
        "https://lĺm.example",
        "https://llm.example/" + "a" * 2000,
        "",
    ],
)
async def test_an_address_that_is_none_is_refused(acme: SomeTenant, url: str) -> None:
    with pytest.raises(Invalid) as refusal:
        await kept(acme, base_url=url)
    assert (refusal.value.code, refusal.value.field) == ("invalid_url", "base_url")


@pytest.mark.parametrize("provider", ["", "Open AI", "-x", "a" * 64, "öpen"])
async def test_a_provider_that_is_none_is_refused(acme: SomeTenant, provider: str) -> None:
    with pytest.raises(Invalid) as refusal:
        await acme.app.credentials.create(acme.console, CredentialWish("n", provider, Secret(TEXT)))
    assert refusal.value.code == "invalid_provider"


async def test_a_name_is_taken_once(acme: SomeTenant, tenant: TenantMaker) -> None:
    await kept(acme)
    other = await kept(acme, "other")
    for take in (kept(acme), acme.app.credentials.change(acme.console, other.id, CredentialChange(name="main"))):
        with pytest.raises(Conflict) as refusal:
            await take
        assert refusal.value.code == "credential_exists"
    assert (await kept(await tenant("Other"))).name == "main"


async def test_a_limited_key_keeps_no_credentials(acme: SomeTenant) -> None:
    principal = replace(await acme.principal("manage"), only_sources=frozenset())
    with pytest.raises(Denied):
        await acme.app.credentials.listed(principal)


Attempt = Callable[[SomeTenant, CredentialId], Any]
ATTEMPTS: dict[str, Attempt] = {
    "get": lambda who, it: who.app.credentials.get(who.console, it),
    "change": lambda who, it: who.app.credentials.change(who.console, it, CredentialChange(name="mine now")),
    "delete": lambda who, it: who.app.credentials.delete(who.console, it),
    "access": lambda who, it: who.app.credentials.access(for_job(who.id, None), it),
    "a bot": lambda who, it: who.app.bots.create(who.console, NewBot("b", frozenset(), credential=it)),
}


@pytest.mark.parametrize("attempt", ATTEMPTS.values(), ids=ATTEMPTS)
async def test_a_foreign_credential_is_not_there(acme: SomeTenant, tenant: TenantMaker, attempt: Attempt) -> None:
    mine, stranger = await kept(acme), await tenant("Stranger")
    for credential in (mine.id, CredentialId(uuid.uuid4())):
        with pytest.raises(NotFound):
            await attempt(stranger, credential)


async def test_a_bot_keeps_its_credential_until_that_is_deleted(acme: SomeTenant, tenant: TenantMaker) -> None:
    made, app = await kept(acme), acme.app
    bot = await app.bots.create(acme.console, NewBot("helper", frozenset(), credential=made.id))
    assert bot.credential == made.id
    assert (await app.bots.change(acme.console, bot.id, BotChange(instructions="Be brief."))).credential == made.id
    foreign = await kept(await tenant("Other"))
    with pytest.raises(NotFound):
        await app.bots.change(acme.console, bot.id, BotChange(credential=foreign.id))
    await app.credentials.delete(acme.console, made.id)
    assert (await app.bots.get(acme.console, bot.id)).credential is None


async def test_two_first_credentials_at_once_end_with_one_data_key(carrel: Stand, acme: SomeTenant) -> None:
    made = await asyncio.gather(*(kept(acme, f"number {number}") for number in range(6)))
    assert [await opened(acme, one.id) for one in made] == [TEXT] * 6
    async with connected(carrel.endpoint.superuser_url) as superuser:
        assert await superuser.fetchval("select count(*) from tenant_keys where tenant_id = $1", acme.id) == 1


# Keys of buckets

S3_TEXT = "AKIAEXAMPLE:a-secret/of+a-bucket"
MINIO = "https://minio.example.org:9000"


async def s3_credential(acme: SomeTenant, base_url: str | None = None, name: str = "bucket") -> CredentialId:
    wish = CredentialWish(name, "s3", Secret(S3_TEXT), base_url)
    return (await acme.app.credentials.create(acme.console, wish)).id


async def bucket_key(acme: SomeTenant, place: Bucket) -> str:
    secret = await BucketKeys(acme.app.credentials).of(for_job(acme.id, None), place)
    return "" if secret is None else secret.reveal()


async def test_a_buckets_key_opens_the_place_that_it_is_kept_for(acme: SomeTenant) -> None:
    amazons, minios = await s3_credential(acme), await s3_credential(acme, f"{MINIO}/", "minio")
    assert await bucket_key(acme, Bucket("a-bucket", credential=amazons)) == S3_TEXT
    assert await bucket_key(acme, Bucket("a-bucket", endpoint=MINIO, credential=minios)) == S3_TEXT
    assert await bucket_key(acme, Bucket("a-bucket")) == ""


async def test_a_buckets_key_is_shown_to_no_other_place(acme: SomeTenant) -> None:
    amazons, minios = await s3_credential(acme), await s3_credential(acme, MINIO, "minio")
    models, odd = (await kept(acme)).id, await s3_credential(acme, f"{MINIO}/path", "odd")
    for credential, endpoint in (
        (amazons, MINIO),
        (minios, None),
        (minios, "https://else.example"),
        (models, None),
        (odd, None),
    ):
        with pytest.raises(Conflict) as refused:
            await bucket_key(acme, Bucket("a-bucket", endpoint=endpoint, credential=credential))
        assert refused.value.code == "unusable_credential"


async def test_a_buckets_key_of_another_tenant_is_not_found(acme: SomeTenant, tenant: TenantMaker) -> None:
    credential = await s3_credential(acme)
    with pytest.raises(NotFound):
        await bucket_key(await tenant("Rival"), Bucket("a-bucket", credential=credential))


async def test_what_is_no_key_of_a_bucket_is_not_kept(acme: SomeTenant) -> None:
    credential = await s3_credential(acme)
    with pytest.raises(Invalid) as refused:
        await acme.app.credentials.create(acme.console, CredentialWish("wrong", "s3", Secret(TEXT)))
    with pytest.raises(Invalid) as refused_again:
        await acme.app.credentials.change(acme.console, credential, CredentialChange(secret=Secret(TEXT)))
    assert {refused.value.code, refused_again.value.code} == {"invalid_s3_secret"}
    assert TEXT not in str(refused.value)
    assert await bucket_key(acme, Bucket("a-bucket", credential=credential)) == S3_TEXT


async def test_a_buckets_key_is_sent_to_no_model(acme: SomeTenant) -> None:
    credential = await s3_credential(acme, "https://llm.example/v1")
    with pytest.raises(Invalid) as refused:
        await acme.app.bots.create(acme.console, NewBot("bot", frozenset(), model="any", credential=credential))
    assert refused.value.code == "unusable_credential"
