"""Asking, where it is easy to be wrong: filters, compounds, other embedders, documents that come and go."""

import pytest

from carrel.ask.pipeline import ChatWish, Done, Evidence, SearchWish
from carrel.domain.answers import AnswerStatus
from carrel.domain.errors import Unavailable
from carrel.domain.library import AttributeValue
from conftest import TenantMaker
from support.raw import connected
from support.stand import Stand


async def test_a_filter_that_few_documents_fit_still_fills_the_limit(carrel: Stand, tenant: TenantMaker) -> None:
    acme = await tenant("Acme")
    source = (await acme.source()).id
    words = "payment service restart port escalation engineer"
    many = "\n\n".join(f"# Section {n}\n\nThe payment service {words} {words} number {n}." * 4 for n in range(150))
    await acme.put(source, "many.md", many)
    rare = await acme.put(source, "rare.md", "# Rare\n\nA word on the payment service.")
    flagged: dict[str, AttributeValue] = {"team": "rare", "flag": True}
    await carrel.app.documents.describe(acme.console, rare.id, flagged)

    fitting: tuple[dict[str, object], ...] = ({"team": "rare"}, {"team": ["x", "rare"]}, {"flag": True})
    for filters in fitting:
        found = await carrel.app.asking.search(acme.console, SearchWish("payment service", limit=1, filters=filters))
        assert [hit.document for hit in found.hits] == [rare.id], filters
    others: tuple[dict[str, object], ...] = ({"flag": 1}, {"team": "other"}, {"absent": "rare"})
    for filters in others:
        found = await carrel.app.asking.search(acme.console, SearchWish("payment service", filters=filters))
        assert found.hits == (), filters


async def test_a_compound_is_found_by_its_parts(carrel: Stand, tenant: TenantMaker) -> None:
    acme = await tenant("Acme")
    await acme.put((await acme.source()).id, "owners.md", "# Owners\n\nTeam Heron owns the payment service.")
    allowed = await carrel.app.asking.allow(acme.console, ChatWish("Who owns the Payment-Service?"))
    done = [event async for event in carrel.app.asking.chat(allowed)][-1]
    assert isinstance(done, Done)
    assert done.remembered.answer.status is AnswerStatus.ANSWERED
    assert "Team Heron" in done.remembered.answer.text


async def test_an_answer_is_withdrawn_when_its_document_was_deleted_and_came_again(
    carrel: Stand, tenant: TenantMaker
) -> None:
    acme = await tenant("Acme")
    source = (await acme.source()).id
    document = await acme.put(source, "code.md", "# Door\n\nThe code of the door is 4471.")
    principal = await acme.principal()
    allowed = await carrel.app.asking.allow(principal, ChatWish("What is the code of the door?"))
    events = carrel.app.asking.chat(allowed)
    assert isinstance(await anext(events), Evidence)

    await carrel.app.forgetting.document(principal, document.id)
    await acme.put(source, "code.md", "# Door\n\nThe door has a lock.")
    done = [event async for event in events][-1]

    assert isinstance(done, Done)
    assert done.remembered.answer.status is AnswerStatus.REFUSED
    async with connected(carrel.endpoint.superuser_url) as superuser:
        kept = await superuser.fetchval("select answer from carrel.messages where id = $1", done.remembered.message)
    assert "4471" not in kept


async def test_an_index_of_another_embedder_is_not_searched(carrel: Stand, tenant: TenantMaker) -> None:
    acme = await tenant("Acme")
    await acme.put((await acme.source()).id, "a.md", "# A\n\nThe payment service listens on port 7443.")
    async with connected(carrel.endpoint.superuser_url) as superuser:
        await superuser.execute("update carrel.generations set embedder = 'another' where tenant_id = $1", acme.id)
    with pytest.raises(Unavailable) as refusal:
        await carrel.app.asking.search(acme.console, SearchWish("payment service"))
    assert refusal.value.code == "generation_mismatch"
