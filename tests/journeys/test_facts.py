"""The demo's questions by the chat and the search of everybody: what is found, answered, refused, and asked further."""

from dataclasses import replace
from pathlib import Path

import pytest

from carrel.cli.tour.corpus import labelled
from carrel.domain.ids import DocumentId
from carrel.evaluate.facts import (
    REWRITTEN,
    STAND_ALONE,
    FactEvaluation,
    FactFindings,
    Organisation,
    facts_put,
    load_organisations,
)
from carrel.evaluate.pipeline import Reader
from carrel.evaluate.report import facts_markdown, facts_shape
from carrel.evaluate.sets import BadSet
from support.raw import connected
from support.rounds import rounds
from support.stand import Stand
from support.tenants import SomeTenant, a_tenant


async def brought(tenant: SomeTenant, organisation: Organisation) -> Reader:
    source = await tenant.source()
    documents: dict[DocumentId, str] = {}
    for one in organisation.shelf.corpus:
        documents[(await tenant.put(source.id, one.key, one.text)).id] = one.id
    return Reader(tenant.console, documents)


@pytest.fixture(scope="module")
async def tenants(carrel: Stand) -> list[tuple[Organisation, Reader, SomeTenant]]:
    """One organisation of the demo, or all three."""
    some = labelled()[: rounds(1, 3)]
    made = [(one, await a_tenant(carrel.app, one.shelf.name)) for one in some]
    return [(one, await brought(tenant, one), tenant) for one, tenant in made]


@pytest.fixture(scope="module")
async def found(carrel: Stand, tenants: list[tuple[Organisation, Reader, SomeTenant]]) -> FactFindings:
    put: list[int] = []
    evaluation = FactEvaluation(carrel.app.asking, carrel.app.chats, tell=lambda: put.append(1))
    places = [(one, reader) for one, reader, _ in tenants]
    result = await evaluation.run(places)
    assert len(put) == facts_put([one for one, _ in places])
    return result


async def test_a_follow_up_finds_what_its_stand_alone_form_finds(found: FactFindings) -> None:
    assert len(found.talked) == rounds(10, 30)
    for some in (found, found.reporting):
        forms = some.forms()
        assert forms[REWRITTEN].recall >= 0.9 * forms[STAND_ALONE].recall
        assert forms[STAND_ALONE].recall >= 0.9
    assert any(one.asked != one.follow_up.text for one in found.talked)


async def test_a_change_of_subject_is_searched_as_it_was_put(found: FactFindings) -> None:
    assert found.untouched == found.changes > 0


async def test_questions_are_answered_with_the_fact_or_refused(found: FactFindings) -> None:
    assert found.retrieval_pass >= 0.9
    assert found.behaviour >= 0.95
    assert found.said >= 0.85
    answered = [one.grounding for one in found.tried if one.decision.answered]
    assert all(grounding is not None and grounding > 0.8 for grounding in answered), "it quotes its evidence"
    assert all(one.grounding is None for one in found.tried if not one.decision.answered)


async def test_it_leaves_no_chat_behind(
    carrel: Stand, found: FactFindings, tenants: list[tuple[Organisation, Reader, SomeTenant]]
) -> None:
    assert found.tried
    async with connected(carrel.endpoint.superuser_url) as superuser:
        ids = [tenant.id for _, _, tenant in tenants]
        assert await superuser.fetch("select id from chats where tenant_id = any($1::uuid[])", ids) == []


async def test_it_is_told_as_tables_and_as_a_value(found: FactFindings) -> None:
    told, value = facts_markdown(found), facts_shape(found)
    assert f"| all | {len(found.talked)} | rewritten |" in told
    assert value.keys() == {"all", "reporting_half"}


def test_the_halves_share_no_question() -> None:
    organisations = labelled()
    assert [one.shelf.name for one in organisations] == ["forgecraft", "roadkeep", "northbeam"]
    assert sum(len(one.follow_ups) for one in organisations) == 30
    parts = {
        part: [f for one in organisations for f in one.follow_ups if f.part == part] for part in ("tuning", "reporting")
    }
    assert [len(some) for some in parts.values()] == [15, 15]
    corpora = {one.shelf.name: {document.id for document in one.shelf.corpus} for one in organisations}
    for one in organisations:
        assert all(follow_up.documents <= corpora[one.shelf.name] for follow_up in one.follow_ups)


def test_questions_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(BadSet, match=r"questions\.json"):
        load_organisations(tmp_path, ["acme"])
    (tmp_path / "questions.json").write_text("{}")
    (tmp_path / "follow-ups.json").write_text("{}")
    (tmp_path / "acme").mkdir()
    with pytest.raises(BadSet, match="another form"):
        load_organisations(tmp_path, ["acme"])


def test_a_learned_threshold_is_reported_on_the_other_half_only(found: FactFindings) -> None:
    worst = replace(found, tried=tuple(one for one in found.tried if not one.reports))
    assert worst.learned.right == 1.0, "where there is nothing to report on, nothing is wrong"
    assert 0 < found.learned.threshold < 1
