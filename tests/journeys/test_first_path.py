"""The whole path: a file goes in, a cited answer comes out, and a stranger gets nothing."""

import pytest

from carrel.ask.pipeline import ChatWish, Done, SearchWish
from carrel.domain.answers import AnswerStatus
from carrel.domain.errors import NotFound
from carrel.domain.library import DocumentStatus
from conftest import TenantMaker
from support.stand import Stand

RUNBOOK = """# Payment service

## Restart

Restart the payment service with `systemctl restart payments`. It listens on port 7443.

## Escalation

Call the on-call engineer of team Heron after 15 minutes.
"""


async def test_a_file_becomes_a_cited_answer(carrel: Stand, tenant: TenantMaker) -> None:
    acme = await tenant("Acme")
    source = await acme.source()
    document = await acme.put(source.id, "runbooks/payments.md", RUNBOOK)
    assert (document.status, document.error) == (DocumentStatus.READY, None)

    allowed = await carrel.app.asking.allow(
        await acme.principal("ask"), ChatWish("On which port does the payment service listen?")
    )
    events = [event async for event in carrel.app.asking.chat(allowed)]

    done = events[-1]
    assert isinstance(done, Done)
    answer = done.remembered.answer
    assert answer.status is AnswerStatus.ANSWERED
    assert "7443" in answer.text
    assert [citation.passage.document for citation in answer.citations] == [document.id]


async def test_a_stranger_finds_nothing_and_sees_no_document(carrel: Stand, tenant: TenantMaker) -> None:
    acme, rival = await tenant("Acme"), await tenant("Rival")
    document = await acme.put((await acme.source()).id, "payments.md", RUNBOOK)
    stranger = await rival.principal()

    found = await carrel.app.asking.search(stranger, SearchWish("payment service port"))
    assert found.hits == ()
    with pytest.raises(NotFound):
        await carrel.app.documents.get(stranger, document.id)
