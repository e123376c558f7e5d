"""Every version leaves a record, and an answer says which one it saw."""

from collections.abc import AsyncIterator
from hashlib import sha256
from itertools import pairwise
from pathlib import Path

import pytest

from carrel.adapters.postgres import Endpoint
from carrel.ask.pipeline import ChatWish, Done, SearchWish
from carrel.domain.access import Principal, for_job
from carrel.domain.chats import Quotation
from carrel.domain.errors import Invalid, NotFound
from carrel.domain.ids import ChatId, DocumentId, SourceId
from carrel.domain.library import VersionRecord
from carrel.store import erasure, records
from carrel.store.sources import NewSource
from support.people import a_person
from support.quiet import a_quiet_stand, delivered, drained
from support.raw import connected
from support.stand import Stand
from support.tenants import SomeTenant, a_tenant


@pytest.fixture(scope="module")
async def quiet(endpoint: Endpoint, models: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stand]:
    async with a_quiet_stand(endpoint, "versions", tmp_path_factory.mktemp("versions"), models=models) as standing:
        yield standing


def a_page(port: int) -> str:
    return f"# Payments\n\nThe payment service listens on port {port}.\n"


async def brought(tenant: SomeTenant, source: SourceId, *ports: int, stand: Stand | None = None) -> DocumentId:
    """One version after the other, each ready before the next one comes where a stand is given."""
    documents = []
    for port in ports:
        documents.append((await delivered(tenant, source, "payments.md", a_page(port))).document)
        if stand is not None:
            await drained(stand)
    assert documents[-1] is not None
    return documents[-1]


async def history(tenant: SomeTenant, document: DocumentId, *, most: int = 50) -> list[VersionRecord]:
    """All pages of it."""
    found: list[VersionRecord] = []
    cursor = None
    while True:
        page = await tenant.app.documents.versions(tenant.console, document, limit=most, cursor=cursor)
        found.extend(page.items)
        if (cursor := page.next_cursor) is None:
            return found


async def test_each_version_has_its_number_its_sum_and_its_time(
    quiet: Stand, acme: SomeTenant, source: SourceId
) -> None:
    await brought(acme, source, 7001, stand=quiet)
    document = await brought(acme, source, 7002, 7003)
    await drained(quiet)

    told = await history(acme, document, most=2)

    assert [one.number for one in told] == [3, 2, 1]
    assert [one.fingerprint for one in told] == [sha256(a_page(n).encode()).hexdigest() for n in (7003, 7002, 7001)]
    assert [one.chunks for one in told] == [1, 0, 1]
    assert told[0].id == (await acme.app.documents.get(acme.console, document)).live_version
    newest, never, oldest = told
    assert (newest.live_until, never.live_from, never.live_until) == (None, None, None)
    assert newest.live_from == oldest.live_until != oldest.live_from
    assert all(later.created_at > earlier.created_at for later, earlier in pairwise(told))
    with pytest.raises(Invalid) as refused:
        await acme.app.documents.versions(acme.console, document, cursor="c2hvcnQ")
    assert refused.value.code == "invalid_cursor"


async def test_a_person_who_brought_a_version_is_named_and_strangers_see_none_of_it(quiet: Stand) -> None:
    acme = await a_tenant(quiet.app, "Acme")
    who = await a_person(quiet, owner=acme.id)
    owner = await who.principal(acme.id)
    diary = await quiet.app.sources.create(owner, NewSource("diary", owner=owner.user))
    dock = await quiet.app.uploads.dock(owner, diary.id)
    delivery = await quiet.app.uploads.deliver(dock, "a.md", one_piece(a_page(7001)), declared=None)
    await drained(quiet)
    assert delivery.document is not None

    (record,) = (await quiet.app.documents.versions(owner, delivery.document)).items

    assert record.brought_by == owner.user
    rival = await a_tenant(quiet.app, "Rival")
    for stranger in (acme.console, await acme.principal(), rival.console):
        with pytest.raises(NotFound):
            await quiet.app.documents.versions(stranger, delivery.document)


async def one_piece(text: str) -> AsyncIterator[bytes]:
    yield text.encode()


async def answered(stand: Stand, who: Principal, question: str) -> ChatId:
    allowed = await stand.app.asking.allow(who, ChatWish(question))
    done = [event async for event in stand.app.asking.chat(allowed)][-1]
    assert isinstance(done, Done)
    assert done.remembered.answer.citations
    return done.remembered.chat


async def quotation(stand: Stand, who: Principal, chat: ChatId) -> Quotation:
    (message,) = (await stand.app.chats.messages(who, chat)).items
    return message.quotations[0]


async def test_an_old_answer_says_which_version_it_saw_of_how_many_and_until_when(
    quiet: Stand, acme: SomeTenant, source: SourceId
) -> None:
    first = await delivered(acme, source, "payments.md", a_page(7001))
    await drained(quiet)
    who = await acme.principal()
    chat = await answered(quiet, who, "On which port does the payment service listen?")
    hit = (await acme.app.asking.search(acme.console, SearchWish("payment service port"))).hits[0]
    assert hit.version == first.version

    seen = (await quotation(quiet, who, chat)).seen
    assert seen is not None
    assert (seen.number, seen.newest, seen.replaced_at) == (1, 1, None)
    for port in (7002, 7003):
        await delivered(acme, source, "payments.md", a_page(port))
        await drained(quiet)

    told = await quotation(quiet, who, chat)

    assert (told.version, told.text) == (first.version, None), "what it said is gone"
    assert told.seen is not None
    assert (told.seen.number, told.seen.newest) == (1, 3)
    assert first.document is not None
    assert told.seen.replaced_at == (await history(acme, first.document))[-1].live_until


async def test_a_deleted_document_has_no_history_and_the_receipt_says_how_much_it_was(
    quiet: Stand, acme: SomeTenant, source: SourceId
) -> None:
    gone = await brought(acme, source, 7001, 7002, 7003, stand=quiet)

    await acme.app.forgetting.document(acme.console, gone)

    with pytest.raises(NotFound):
        await history(acme, gone)
    async with connected(quiet.endpoint.superuser_url) as connection:
        left = await connection.fetchval("select count(*) from version_records where tenant_id = $1", acme.id)
        counted = await connection.fetchval("select sum(records) from erasure_receipts where tenant_id = $1", acme.id)
    assert (left, counted) == (0, 3)
    await delivered(acme, source, "payments.md", a_page(7004))
    assert [one.number for one in await history(acme, gone)] == [1], "it begins anew"
    await drained(quiet)


async def test_only_the_newest_records_are_kept(
    quiet: Stand, acme: SomeTenant, source: SourceId, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "MOST_RECORDS", 3)
    document = await brought(acme, source, *range(7001, 7006))
    assert [one.number for one in await history(acme, document)] == [5, 4, 3]
    async with quiet.database.transaction(for_job(acme.id, None)) as tx:
        receipt = await erasure.erase(tx, document)
        found = await erasure.receipt(tx, receipt)
    assert found is not None
    assert found.records == 3
    await drained(quiet)
