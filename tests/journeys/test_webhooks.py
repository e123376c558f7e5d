"""Webhooks: what happened is told to whoever wants to hear it, signed, at least once, and to nobody else."""

import asyncio
import base64
import uuid
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from carrel.domain.access import console, for_job, for_machine
from carrel.domain.audit import Act
from carrel.domain.errors import Conflict, Denied, Invalid, NotFound, Refusal, Throttled
from carrel.domain.ids import DeliveryId, SourceId, TenantId, WebhookId
from carrel.domain.quotas import Quota, Resource
from carrel.domain.secret import Secret
from carrel.domain.webhooks import (
    MOST_ATTEMPTS,
    MOST_WEBHOOKS,
    Delivery,
    DeliveryState,
    DisabledReason,
    Occasion,
    delay_after,
    signature,
)
from carrel.ingest.sweep import Sweep
from carrel.ports.web import Outgoing
from carrel.store import audit, deliveries, webhooks
from carrel.store.audit import Wanted
from carrel.store.deliveries import Places
from carrel.store.sources import NewSource
from carrel.tenancy.courier import Courier
from carrel.tenancy.dispatch import Dispatch
from carrel.tenancy.vault import Vault
from carrel.tenancy.webhooks import IssuedWebhook, WebhookChange, WebhookWish
from carrel.wiring.outgoing import way_out
from conftest import TenantMaker
from support.insides import NOT_PUBLIC
from support.raw import connected
from support.receiver import Receiver, a_receiver
from support.stand import Stand
from support.tenants import SomeTenant

DOCUMENTS = frozenset({Occasion.DOCUMENT_READY, Occasion.DOCUMENT_FAILED})
QUOTA = frozenset({Occasion.QUOTA_THRESHOLD})
ANYWHERE = frozenset(range(1, 1 << 16))


@pytest.fixture(autouse=True)
async def nothing_else_waits(carrel: Stand) -> None:
    """Of other tests."""
    async with connected(carrel.endpoint.superuser_url) as superuser:
        await superuser.execute("delete from webhooks")


@pytest.fixture
async def acme(tenant: TenantMaker) -> SomeTenant:
    return await tenant("Acme")


async def hooked(
    tenant: SomeTenant,
    receiver: Receiver,
    events: frozenset[Occasion] = DOCUMENTS,
    *,
    sources: frozenset[SourceId] | None = None,
) -> IssuedWebhook:
    made = await tenant.app.webhooks.create(tenant.console, WebhookWish(receiver.url, events, sources))
    receiver.secrets.append(made.secret.reveal())
    return made


TO_HERE, NOWHERE = way_out("127.0.0.1", ANYWHERE), way_out("", ANYWHERE)


def courier(carrel: Stand, way: Callable[[TenantId], Outgoing] = TO_HERE) -> Courier:
    base = carrel.parts.base
    return Courier(base.database, Vault(base.secrets.master_keys), way)


def dispatch(carrel: Stand, **manners: Any) -> Dispatch:
    return Dispatch(carrel.database, courier(carrel), **manners)


async def announced(tenant: SomeTenant, **more: Any) -> int:
    """Something about the tenant as a whole."""
    async with tenant.app.desk._database.transaction(for_job(tenant.id, None)) as tx:
        return await webhooks.announce(tx, Occasion.QUOTA_THRESHOLD, {"quota": "documents", **more})


async def backlog(tenant: SomeTenant, receiver: Receiver, much: int) -> IssuedWebhook:
    """One for which so much waits."""
    made = await hooked(tenant, receiver, QUOTA)
    for _ in range(much):
        await announced(tenant)
    return made


async def log_of(tenant: SomeTenant, webhook: WebhookId) -> list[Delivery]:
    return list((await tenant.app.webhooks.deliveries(tenant.console, webhook)).items)


async def only(tenant: SomeTenant, webhook: WebhookId) -> Delivery:
    (delivery,) = await log_of(tenant, webhook)
    return delivery


async def hurried(carrel: Stand, tenant: SomeTenant, change: str = "due_at = now()") -> None:
    """Time passes for what is on its way."""
    async with connected(carrel.endpoint.superuser_url) as superuser:
        await superuser.execute(f"update deliveries set {change} where tenant_id = $1", tenant.id)


# The scheme


def test_a_signature_is_that_of_the_published_vector() -> None:
    """From the reference implementation's own tests: svix-webhooks, go/webhook_test.go, TestWebhookSign."""
    secret = Secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    signed = signature([secret], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_tries_go_on_for_about_a_day() -> None:
    hours = [sum(map(delay_after, range(1, MOST_ATTEMPTS))) / 3600 for _ in range(200)]
    assert 20 < min(hours) < max(hours) < 32
    assert all(4 <= delay_after(1) <= 6 for _ in range(100))


# What is told


async def test_a_document_that_is_ready_is_told_signed_and_without_its_text(carrel: Stand, acme: SomeTenant) -> None:
    async with a_receiver() as receiver:
        made = await hooked(acme, receiver)
        source = await acme.source()
        document = await acme.put(source.id, "boats.md", "# Boats\n\nBoats float on water.")
        await dispatch(carrel).drain()

    (told,) = receiver.told
    assert told.signed_with == (made.secret.reveal(),)
    assert told.headers["content-type"] == "application/json"
    assert told.payload.keys() == {"type", "timestamp", "data"}
    assert told.payload["type"] == "document.ready"
    assert told.payload["data"] == {
        "document_id": str(document.id),
        "version": str(document.version),
        "source_id": str(source.id),
        "status": "ready",
        "error": None,
        "key": "boats.md",
    }
    logged = await only(acme, made.webhook.id)
    assert (logged.state, logged.attempts, logged.last and logged.last.status) == (DeliveryState.DELIVERED, 1, 204)
    assert told.id == f"msg_{logged.id.hex}"


async def test_a_document_that_failed_is_told_with_its_code(carrel: Stand, acme: SomeTenant) -> None:
    async with a_receiver() as receiver:
        await hooked(acme, receiver)
        await acme.put((await acme.source()).id, "bad.pdf", b"%PDF-1.7\nThis is no PDF after all.")
        await dispatch(carrel).drain()
    (told,) = receiver.told
    data = told.payload["data"]
    assert (told.payload["type"], data["status"], data["error"]) == ("document.failed", "failed", "damaged_document")


async def test_a_quota_is_told_when_it_crosses_its_soft_limit_and_not_again(carrel: Stand, acme: SomeTenant) -> None:
    await acme.app.allowances.limit(console(None), acme.id, {Resource.DOCUMENTS: Quota(2, 10)})
    async with a_receiver() as receiver:
        await hooked(acme, receiver, QUOTA)
        source = await acme.source()
        for number in range(3):
            await acme.put(source.id, f"{number}.md", f"Number {number}.")
        await dispatch(carrel).drain()
    (told,) = receiver.told
    assert told.payload["data"] == {"quota": "documents", "soft": 2, "hard": 10, "used": 2}


async def test_only_what_was_asked_for_is_told(carrel: Stand, acme: SomeTenant) -> None:
    wanted, other = await acme.source(), await acme.source()
    async with a_receiver() as receiver:
        await hooked(acme, receiver, frozenset({Occasion.DOCUMENT_READY}), sources=frozenset({wanted.id}))
        await acme.put(other.id, "other.md", "Other.")
        await acme.put(wanted.id, "bad.pdf", b"%PDF-1.7\nThis is no PDF after all.")
        document = await acme.put(wanted.id, "good.md", "Good.")
        await dispatch(carrel).drain()
    assert [told.payload["data"]["document_id"] for told in receiver.told] == [str(document.id)]


async def test_nothing_of_a_private_source_is_told(carrel: Stand, acme: SomeTenant) -> None:
    mine = await acme.app.sources.create(acme.console, NewSource("mine", owner=acme.console.user))
    async with a_receiver() as receiver:
        await hooked(acme, receiver, DOCUMENTS | {Occasion.SOURCE_REFRESHED})
        await acme.put(mine.id, "secret.md", "Secret.")
        async with carrel.database.transaction(for_job(acme.id, acme.console.user)) as tx:
            assert await webhooks.announce(tx, Occasion.SOURCE_REFRESHED, {"source_id": str(mine.id)}) == 0
        shared = await acme.source()
        async with carrel.database.transaction(for_job(acme.id, None)) as tx:
            assert await webhooks.announce(tx, Occasion.SOURCE_REFRESHED, {"source_id": str(shared.id)}) == 1
            with pytest.raises(KeyError):
                await webhooks.announce(tx, Occasion.SOURCE_REFRESHED, {})
        await dispatch(carrel).drain()
    assert [told.payload["type"] for told in receiver.told] == ["source.refreshed"]
    with pytest.raises(Invalid) as refused:
        await hooked(acme, receiver, sources=frozenset({mine.id}))
    assert refused.value.code == "private_source"


async def test_what_is_rolled_back_is_told_to_nobody(carrel: Stand, acme: SomeTenant) -> None:
    async with a_receiver() as receiver:
        made = await hooked(acme, receiver, QUOTA)

        async def broken() -> None:
            async with carrel.database.transaction(for_job(acme.id, None)) as tx:
                assert await webhooks.announce(tx, Occasion.QUOTA_THRESHOLD, {"quota": "bytes"}) == 1
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await broken()
        assert await log_of(acme, made.webhook.id) == []


async def test_a_foreign_tenant_hears_nothing_and_sees_nothing(
    carrel: Stand, acme: SomeTenant, tenant: TenantMaker
) -> None:
    other = await tenant("Other")
    async with a_receiver() as mine, a_receiver() as theirs:
        made = await hooked(acme, mine, QUOTA)
        foreign = await hooked(other, theirs, QUOTA)
        await announced(acme)
        await dispatch(carrel).drain()
        assert (len(mine.told), len(theirs.told)) == (1, 0)
        delivery = await only(acme, made.webhook.id)
        app = other.app.webhooks
        for attempt in (
            app.get(other.console, made.webhook.id),
            app.change(other.console, made.webhook.id, WebhookChange(enabled=False)),
            app.rotate(other.console, made.webhook.id),
            app.test(other.console, made.webhook.id),
            app.deliveries(other.console, made.webhook.id),
            app.retry(other.console, made.webhook.id, delivery.id),
            app.retry(other.console, foreign.webhook.id, delivery.id),
            app.delete(other.console, made.webhook.id),
        ):
            with pytest.raises(NotFound):
                await attempt
        with pytest.raises(NotFound):
            await hooked(other, theirs, sources=frozenset({(await acme.source()).id}))


# When the other side is bad


@pytest.mark.parametrize(
    ("manners", "status", "problem"),
    [
        ({"status": 500}, 500, "answer_refused"),
        ({"status": 404}, 404, "answer_refused"),
        ({"status": 302, "headers": {"Location": "http://169.254.169.254/"}}, 302, "answer_refused"),
        ({"status": 307, "headers": {"Location": "/elsewhere"}}, 307, "answer_refused"),
        ({"status": 101}, None, "web_unavailable"),
    ],
    ids=["fails", "knows nothing", "redirects inside", "redirects here", "switches protocols"],
)
async def test_an_answer_that_is_not_good_is_tried_again_later(
    carrel: Stand, acme: SomeTenant, *, manners: Mapping[str, Any], status: int | None, problem: str
) -> None:
    async with a_receiver(**manners) as receiver:
        made = await hooked(acme, receiver, QUOTA)
        await announced(acme)
        await dispatch(carrel).drain()
        waiting = await only(acme, made.webhook.id)
        assert (waiting.state, waiting.attempts) == (DeliveryState.WAITING, 1)
        assert waiting.last is not None
        assert (waiting.last.status, waiting.last.problem) == (status, problem)
        assert waiting.due_at is not None
        assert waiting.due_at > waiting.created_at
        assert (await acme.app.webhooks.get(acme.console, made.webhook.id)).failing_since is not None
        receiver.status = 204
        await hurried(carrel, acme)
        await dispatch(carrel).drain()
        assert [told.path for told in receiver.told] == ["/hook", "/hook"]
        assert len({told.id for told in receiver.told}) == 1
    delivered = await only(acme, made.webhook.id)
    assert (delivered.state, delivered.attempts, delivered.due_at) == (DeliveryState.DELIVERED, 2, None)
    assert (await acme.app.webhooks.get(acme.console, made.webhook.id)).failing_since is None


async def test_a_flood_is_a_good_answer_that_is_not_read(carrel: Stand, acme: SomeTenant) -> None:
    async with a_receiver(status=200, floods=True) as receiver:
        made = await hooked(acme, receiver, QUOTA)
        await announced(acme)
        await dispatch(carrel).drain()
    assert (await only(acme, made.webhook.id)).state is DeliveryState.DELIVERED


async def test_who_never_succeeds_is_given_up_and_can_be_tried_again_by_hand(carrel: Stand, acme: SomeTenant) -> None:
    async with a_receiver(status=503) as receiver:
        made = await hooked(acme, receiver, QUOTA)
        await announced(acme)
        for _ in range(MOST_ATTEMPTS):
            await dispatch(carrel).drain()
            await hurried(carrel, acme)
        failed = await only(acme, made.webhook.id)
        assert (failed.state, failed.attempts, len(receiver.told)) == (DeliveryState.FAILED, 11, MOST_ATTEMPTS)
        receiver.status = 200
        again = await acme.app.webhooks.retry(acme.console, made.webhook.id, failed.id)
        assert (again.state, again.attempts) == (DeliveryState.WAITING, 0)
        with pytest.raises(Conflict) as refused:
            await acme.app.webhooks.retry(acme.console, made.webhook.id, failed.id)
        assert refused.value.code == "delivery_waiting"
        await dispatch(carrel).drain()
    assert (await only(acme, made.webhook.id)).state is DeliveryState.DELIVERED
    assert len({told.id for told in receiver.told}) == 1


async def events_of(carrel: Stand, tenant: SomeTenant, act: Act) -> list[dict[str, Any]]:
    async with carrel.database.transaction(for_job(tenant.id, None)) as tx:
        found = await audit.listed(tx, Wanted(action=act), limit=50, cursor=None)
    return [dict(line.event.facts) for line in found.items]


async def test_who_is_gone_hears_nothing_more(monkeypatch: pytest.MonkeyPatch, carrel: Stand, acme: SomeTenant) -> None:
    monkeypatch.setattr(deliveries, "_SLICE", 2)
    async with a_receiver(status=410) as receiver:
        made = await backlog(acme, receiver, 6)
        await dispatch(carrel, each=1).drain()
        await announced(acme)
        await dispatch(carrel).drain()
        assert len(receiver.told) == 1
    await swept(carrel)
    shown = await acme.app.webhooks.get(acme.console, made.webhook.id)
    assert (shown.enabled, shown.disabled_reason) == (False, DisabledReason.GONE)
    log = await log_of(acme, made.webhook.id)
    assert {one.state for one in log} == {DeliveryState.FAILED}
    assert sorted(one.last.problem or "" for one in log if one.last) == ["answer_refused", *["webhook_disabled"] * 5]
    assert await events_of(carrel, acme, Act.WEBHOOK_DISABLED) == [{"reason": "gone"}]
    with pytest.raises(Conflict) as refused:
        await acme.app.webhooks.retry(acme.console, made.webhook.id, log[0].id)
    assert refused.value.code == "webhook_disabled"
    enabled = await acme.app.webhooks.change(acme.console, made.webhook.id, WebhookChange(enabled=True))
    assert (enabled.enabled, enabled.disabled_reason, enabled.failing_since) == (True, None, None)


async def test_many_that_hear_at_once_that_it_is_gone_do_not_block_each_other(carrel: Stand, acme: SomeTenant) -> None:
    async with a_receiver(status=410, wait=0.1) as receiver:
        made = await backlog(acme, receiver, 20)
        await dispatch(carrel, each=8).drain()
        assert 1 <= len(receiver.told) <= 16
    log = await log_of(acme, made.webhook.id)
    assert {one.state for one in log} == {DeliveryState.FAILED}
    assert len(await events_of(carrel, acme, Act.WEBHOOK_DISABLED)) == 1


async def test_who_fails_for_days_is_switched_off(carrel: Stand, acme: SomeTenant) -> None:
    async with a_receiver(status=500) as receiver:
        made = await hooked(acme, receiver, QUOTA)
        await announced(acme)
        await dispatch(carrel).drain()
        async with connected(carrel.endpoint.superuser_url) as superuser:
            await superuser.execute(
                "update webhooks set failing_since = now() - interval '73 hours' where id = $1", made.webhook.id
            )
        await hurried(carrel, acme)
        await dispatch(carrel).drain()
    shown = await acme.app.webhooks.get(acme.console, made.webhook.id)
    assert (shown.enabled, shown.disabled_reason) == (False, DisabledReason.FAILING)
    assert await events_of(carrel, acme, Act.WEBHOOK_DISABLED) == [{"reason": "failing"}]


# Addresses


async def test_no_address_inside_is_ever_told_anything(carrel: Stand, acme: SomeTenant) -> None:
    made = await acme.app.webhooks.create(acme.console, WebhookWish("https://hooks.example/", QUOTA))
    inside = [f"[{text}]" if ":" in text else text for text in NOT_PUBLIC]
    said = {}
    for host in (*inside, "localhost", "2130706433", "0x7f.1", "①27.0.0.1".encode("idna").decode()):
        url = f"http://{host}:9/"
        await acme.app.webhooks.change(acme.console, made.webhook.id, WebhookChange(url=url))
        async with carrel.database.transaction(for_job(acme.id, None)) as tx:
            errand = await deliveries.add_test(tx, DeliveryId(uuid.uuid4()), made.webhook.id, lease=60)
        attempt = await courier(carrel, NOWHERE).deliver(errand)
        said[host] = attempt and attempt.problem
    assert set(said.values()) == {"address_refused"}


async def test_an_address_is_judged_by_the_operators_list_when_it_is_told(carrel: Stand, acme: SomeTenant) -> None:
    async with a_receiver() as receiver:
        made = await hooked(acme, receiver, QUOTA)
        for way, problem in ((NOWHERE, "address_refused"), (TO_HERE, None)):
            async with carrel.database.transaction(for_job(acme.id, None)) as tx:
                errand = await deliveries.add_test(tx, DeliveryId(uuid.uuid4()), made.webhook.id, lease=60)
            attempt = await courier(carrel, way).deliver(errand)
            assert attempt is not None
            assert attempt.problem == problem
        assert len(receiver.told) == 1


@pytest.mark.parametrize(
    "url",
    [
        "",
        "ftp://hooks.example/",
        "https://",
        "https://user:pass@hooks.example/",
        "https://hooks.example/#part",
        "https://hooks.example/a b",
        "https://hooks.example:0/",
        "https://hooks.example:99999/",
        "https://hooks.exämple/",
        "https://[::1/",
        "file:///etc/passwd",
    ],
)
async def test_what_is_no_address_is_refused(acme: SomeTenant, url: str) -> None:
    with pytest.raises(Invalid) as refused:
        await acme.app.webhooks.create(acme.console, WebhookWish(url, QUOTA))
    assert refused.value.code == "invalid_url"


# Crashes, leases and fairness


async def test_a_crash_between_telling_and_writing_it_down_tells_again_under_the_same_id(
    carrel: Stand, acme: SomeTenant
) -> None:
    async with a_receiver() as receiver:
        made = await hooked(acme, receiver, QUOTA)
        await announced(acme)
        dying = dispatch(carrel)
        dying._courier._settle = _die  # type: ignore[assignment, method-assign]
        await dying.drain()
        assert (await only(acme, made.webhook.id)).state is DeliveryState.WAITING
        await dispatch(carrel).drain()
        assert len(receiver.told) == 1  # its lease is not over
        await hurried(carrel, acme, "leased_until = now() - interval '1 second'")
        await dispatch(carrel).drain()
        first, second = receiver.told
    assert (first.id, first.payload) == (second.id, second.payload)
    delivered = await only(acme, made.webhook.id)
    assert (delivered.state, delivered.attempts) == (DeliveryState.DELIVERED, 2)


async def _die(*_: object) -> bool:
    raise asyncio.CancelledError


async def test_who_lost_the_lease_writes_nothing(carrel: Stand, acme: SomeTenant) -> None:
    async with a_receiver(wait=0.3) as receiver:
        made = await hooked(acme, receiver, QUOTA)
        await announced(acme)
        slow = asyncio.create_task(dispatch(carrel).drain())
        await receiver.heard()
        await hurried(
            carrel, acme, "lease_epoch = lease_epoch + 1, leased_until = null, due_at = now() + interval '1 day'"
        )
        await slow
    waiting = await only(acme, made.webhook.id)
    assert (waiting.state, waiting.last) == (DeliveryState.WAITING, None)


async def test_a_slow_receiver_holds_up_nobody_else(carrel: Stand, acme: SomeTenant, tenant: TenantMaker) -> None:
    other = await tenant("Other")
    async with a_receiver(stalls=True) as stalled, a_receiver() as quick:
        await hooked(acme, stalled, QUOTA)
        await hooked(other, quick, QUOTA)
        for number in range(20):
            await announced(acme, number=number)
        running = asyncio.create_task(dispatch(carrel, places=8, poll=0.05).run())
        await stalled.heard(4)
        for number in range(20):
            await announced(other, number=number)
        await quick.heard(20)
        assert stalled.most_open <= 4  # of one webhook
        running.cancel()
        await asyncio.wait({running})
    assert len(quick.told) == 20


async def test_doubtful_webhooks_share_half_of_the_places(carrel: Stand, tenant: TenantMaker) -> None:
    """Claimed, and not told."""
    places, names = Places(most=6, doubtful=3, each=2), [await tenant(f"Doubtful {number}") for number in range(5)]
    async with a_receiver() as receiver:
        for one in names:
            made = await hooked(one, receiver, QUOTA)
            async with connected(carrel.endpoint.superuser_url) as superuser:
                await superuser.execute("update webhooks set failing_since = now() where id = $1", made.webhook.id)
            for _ in range(3):
                await announced(one)
        good = await tenant("Good")
        await hooked(good, receiver, QUOTA)
        for _ in range(9):
            await announced(good)
        async with carrel.database.transaction(for_machine()) as tx:
            claimed = await deliveries.claim(tx, places, lease=60)
        theirs = [errand for errand in claimed if errand.tenant in {one.id for one in names}]
        assert len(theirs) == 3
        assert all(errand.doubtful for errand in theirs)
        assert len({errand.tenant for errand in theirs}) == 3
        assert len([errand for errand in claimed if errand.tenant == good.id]) == 2
        async with carrel.database.transaction(for_machine()) as tx:
            again = await deliveries.claim(tx, places, lease=60)
        assert not [errand for errand in again if errand.tenant == good.id]  # as many as may be are in flight


async def test_a_tenant_that_is_not_active_is_told_when_it_is_again(carrel: Stand, acme: SomeTenant) -> None:
    async with a_receiver() as receiver:
        await hooked(acme, receiver, QUOTA)
        await announced(acme)
        await acme.app.life.suspend(console(None), acme.id)
        await dispatch(carrel).drain()
        assert receiver.told == []
        await acme.app.life.resume(console(None), acme.id)
        await dispatch(carrel).drain()
        assert len(receiver.told) == 1


async def test_what_is_deleted_or_switched_off_is_told_nothing(carrel: Stand, acme: SomeTenant) -> None:
    async with a_receiver() as receiver:
        gone, off = await hooked(acme, receiver, QUOTA), await hooked(acme, receiver, QUOTA)
        assert await announced(acme) == 2
        await acme.app.webhooks.delete(acme.console, gone.webhook.id)
        await acme.app.webhooks.change(acme.console, off.webhook.id, WebhookChange(enabled=False))
        assert await announced(acme) == 0
        await dispatch(carrel).drain()
        await acme.app.webhooks.change(acme.console, off.webhook.id, WebhookChange(enabled=True))
        await dispatch(carrel).drain()
        assert receiver.told == []
    given_up = await only(acme, off.webhook.id)
    assert (given_up.state, given_up.last and given_up.last.problem) == (DeliveryState.FAILED, "webhook_disabled")


async def swept(carrel: Stand) -> None:
    base = carrel.parts.base
    await Sweep(base.database, base.blobs).run()


async def test_what_is_announced_while_it_is_switched_off_is_ended_and_not_told(
    carrel: Stand, acme: SomeTenant
) -> None:
    async with a_receiver() as receiver:
        made = await hooked(acme, receiver, QUOTA)
        change = acme.app.webhooks.change
        async with carrel.database.transaction(for_job(acme.id, None)) as tx:
            assert await webhooks.announce(tx, Occasion.QUOTA_THRESHOLD, {"quota": "documents"}) == 1
            await change(acme.console, made.webhook.id, WebhookChange(enabled=False))
        await dispatch(carrel).drain()
        await change(acme.console, made.webhook.id, WebhookChange(enabled=True))
        await dispatch(carrel).drain()
        assert receiver.told == []
        await swept(carrel)
        ended = await only(acme, made.webhook.id)
        assert (ended.state, ended.last and ended.last.problem) == (DeliveryState.FAILED, "webhook_disabled")
        await acme.app.webhooks.retry(acme.console, made.webhook.id, ended.id)
        await dispatch(carrel).drain()
        assert len(receiver.told) == 1, "by hand it is told"


async def test_much_that_waits_is_ended_in_slices(
    monkeypatch: pytest.MonkeyPatch, carrel: Stand, acme: SomeTenant
) -> None:
    monkeypatch.setattr(deliveries, "_SLICE", 2)
    async with a_receiver() as receiver:
        made = await backlog(acme, receiver, 7)
        await acme.app.webhooks.change(acme.console, made.webhook.id, WebhookChange(enabled=False))
        states = [one.state for one in await log_of(acme, made.webhook.id)]
        assert (states.count(DeliveryState.FAILED), states.count(DeliveryState.WAITING)) == (2, 5)
        await acme.app.webhooks.change(acme.console, made.webhook.id, WebhookChange(enabled=True))
        await announced(acme)
        await dispatch(carrel).drain()
        assert len(receiver.told) == 1, "what was announced before is not told"
    await swept(carrel)
    problems = [one.last and one.last.problem for one in await log_of(acme, made.webhook.id)]
    assert problems == [None, *["webhook_disabled"] * 7]


async def test_a_slice_ends_what_waits_for_the_one_that_was_switched_off_and_no_other(
    monkeypatch: pytest.MonkeyPatch, carrel: Stand, acme: SomeTenant
) -> None:
    monkeypatch.setattr(deliveries, "_SLICE", 2)

    async def waiting(*hooks: IssuedWebhook) -> list[int]:
        logs = [await log_of(acme, one.webhook.id) for one in hooks]
        return [sum(one.state is DeliveryState.WAITING for one in log) for log in logs]

    async with a_receiver(status=410) as receiver:
        hooks = [await hooked(acme, receiver, QUOTA) for _ in range(3)]
        for _ in range(7):
            await announced(acme)
        for off in hooks[:2]:
            await acme.app.webhooks.change(acme.console, off.webhook.id, WebhookChange(enabled=False))
        assert await waiting(*hooks) == [5, 5, 7]
        await dispatch(carrel, each=1).drain()
        assert len(receiver.told) == 1
    assert await waiting(*hooks) == [5, 5, 4]


async def test_one_that_is_removed_waits_for_nobody_and_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, carrel: Stand, acme: SomeTenant
) -> None:
    monkeypatch.setattr(deliveries, "_SLICE", 2)
    async with a_receiver() as receiver:
        made = await backlog(acme, receiver, 5)
        async with carrel.database.transaction(for_job(acme.id, None)) as tx:
            assert await webhooks.announce(tx, Occasion.QUOTA_THRESHOLD, {"quota": "documents"}) == 1
            await asyncio.wait_for(acme.app.webhooks.delete(acme.console, made.webhook.id), 20)
        await dispatch(carrel).drain()
        assert receiver.told == []
    assert (await acme.app.webhooks.listed(acme.console)).items == []
    for attempt in (
        acme.app.webhooks.get(acme.console, made.webhook.id),
        acme.app.webhooks.change(acme.console, made.webhook.id, WebhookChange(enabled=True)),
        acme.app.webhooks.rotate(acme.console, made.webhook.id),
        acme.app.webhooks.test(acme.console, made.webhook.id),
        acme.app.webhooks.deliveries(acme.console, made.webhook.id),
        acme.app.webhooks.delete(acme.console, made.webhook.id),
    ):
        with pytest.raises(NotFound):
            await attempt
    async with connected(carrel.endpoint.superuser_url) as superuser:
        kept = await superuser.fetchrow("select url, ciphertext from webhooks where id = $1", made.webhook.id)
        assert tuple(kept or ()) == ("", b""), "neither its address nor its secret is kept"
        await swept(carrel)
        for table, column in (("deliveries", "webhook_id"), ("webhooks", "id")):
            assert not await superuser.fetchval(f"select count(*) from {table} where {column} = $1", made.webhook.id)


# Secrets


async def test_for_a_day_after_a_rotation_both_secrets_sign(carrel: Stand, acme: SomeTenant) -> None:
    async with a_receiver() as receiver:
        made = await hooked(acme, receiver, QUOTA)
        rotated = await acme.app.webhooks.rotate(acme.console, made.webhook.id)
        old, new = made.secret.reveal(), rotated.secret.reveal()
        receiver.secrets = [old, new]
        await announced(acme)
        await dispatch(carrel).drain()
        async with connected(carrel.endpoint.superuser_url) as superuser:
            await superuser.execute("update webhooks set former_until = now() where id = $1", made.webhook.id)
        await announced(acme)
        await dispatch(carrel).drain()
    assert old != new
    assert [told.signed_with for told in receiver.told] == [(old, new), (new,)]


async def test_no_secret_stands_in_the_database_and_one_opens_in_its_own_place_only(
    carrel: Stand, acme: SomeTenant
) -> None:
    async with a_receiver() as receiver:
        one, two = await hooked(acme, receiver, QUOTA), await hooked(acme, receiver, QUOTA)
        key = base64.b64decode(one.secret.reveal().removeprefix("whsec_"))
        assert len(key) == 32
        async with connected(carrel.endpoint.superuser_url) as superuser:
            row = await superuser.fetchrow("select * from webhooks where id = $1", one.webhook.id)
            assert row is not None
            assert not any(part in str(tuple(row.values())).encode() for part in (key, one.secret.reveal().encode()))
            await superuser.execute(
                "update webhooks w set ciphertext = o.ciphertext, nonce = o.nonce from webhooks o"
                " where w.id = $1 and o.id = $2",
                two.webhook.id,
                one.webhook.id,
            )
        await announced(acme)
        await dispatch(carrel).drain()
        assert [told.signed_with for told in receiver.told] == [(one.secret.reveal(),)]
    swapped = await only(acme, two.webhook.id)
    assert (swapped.state, swapped.last and swapped.last.problem) == (DeliveryState.FAILED, "secret_unreadable")


# Trying it out, and limits


async def test_a_test_says_what_the_other_side_said(carrel: Stand, acme: SomeTenant) -> None:
    async with a_receiver(statuses=[200, 500]) as receiver:
        made = await hooked(acme, receiver, QUOTA)
        good = await acme.app.webhooks.test(acme.console, made.webhook.id)
        bad = await acme.app.webhooks.test(acme.console, made.webhook.id)
    assert (good.state, good.last and good.last.status) == (DeliveryState.DELIVERED, 200)
    assert (bad.state, bad.last and bad.last.status) == (DeliveryState.FAILED, 500)
    assert [told.payload["type"] for told in receiver.told] == ["webhook.test"] * 2
    assert receiver.told[0].payload["data"] == {"webhook_id": str(made.webhook.id)}
    assert all(told.signed_with for told in receiver.told)


async def test_a_test_of_a_webhook_that_is_deleted_meanwhile_finds_none(carrel: Stand, acme: SomeTenant) -> None:
    async with a_receiver(stalls=True) as receiver:
        made = await hooked(acme, receiver, QUOTA)
        running = asyncio.create_task(acme.app.webhooks.test(acme.console, made.webhook.id))
        await receiver.heard()
        await acme.app.webhooks.delete(acme.console, made.webhook.id)
        await receiver.close()
        with pytest.raises(NotFound):
            await running
    async with carrel.database.transaction(for_job(acme.id, None)) as tx:
        with pytest.raises(NotFound):
            await deliveries.add_test(tx, DeliveryId(uuid.uuid4()), made.webhook.id, lease=60)


async def test_tests_of_one_webhook_are_few_at_once(acme: SomeTenant) -> None:
    async with a_receiver(stalls=True) as receiver:
        made = await hooked(acme, receiver, QUOTA)
        running = [asyncio.create_task(acme.app.webhooks.test(acme.console, made.webhook.id)) for _ in range(4)]
        await receiver.heard(4)
        with pytest.raises(Throttled):
            await acme.app.webhooks.test(acme.console, made.webhook.id)
        for task in running:
            task.cancel()
        await asyncio.wait(running)


async def test_a_tenant_has_so_many_webhooks_and_no_more_even_at_once(acme: SomeTenant) -> None:
    wish = WebhookWish("https://hooks.example/", QUOTA)
    made = await asyncio.gather(
        *(acme.app.webhooks.create(acme.console, wish) for _ in range(MOST_WEBHOOKS + 5)), return_exceptions=True
    )
    refused = [one for one in made if isinstance(one, BaseException)]
    assert [one.code for one in refused if isinstance(one, Refusal)] == ["too_many_webhooks"] * 5


async def test_what_cannot_be_chosen_is_refused(acme: SomeTenant) -> None:
    for events, code in ((frozenset[Occasion](), "no_events"), (frozenset({Occasion.TEST}), "invalid_event")):
        with pytest.raises(Invalid) as refused:
            await acme.app.webhooks.create(acme.console, WebhookWish("https://hooks.example/", events))
        assert refused.value.code == code
    with pytest.raises(Denied):
        await acme.app.webhooks.create(await acme.principal("ingest"), WebhookWish("https://hooks.example/", QUOTA))
    absent = frozenset({SourceId(uuid.uuid4())})
    with pytest.raises(NotFound):
        await acme.app.webhooks.create(acme.console, WebhookWish("https://hooks.example/", QUOTA, absent))


async def test_the_log_is_kept_for_a_month(carrel: Stand, acme: SomeTenant) -> None:
    async with a_receiver() as receiver:
        made = await hooked(acme, receiver, QUOTA)
        await announced(acme)
        await dispatch(carrel).drain()
        await announced(acme)
        await hurried(carrel, acme, "created_at = now() - interval '31 days'")
        async with carrel.database.transaction(for_job(acme.id, None)) as tx:
            assert not await deliveries.forget_old(tx), "a slice had room for all of it"
    assert (await only(acme, made.webhook.id)).state is DeliveryState.WAITING  # what waits is no log yet
