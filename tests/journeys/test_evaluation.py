"""An evaluation asks as everybody does, with one leg or with both, behind the same walls, and leaves nothing behind."""

from dataclasses import dataclass

import pytest

from carrel.ask.pipeline import SearchWish
from carrel.ask.retrieve import BOTH, Leg
from carrel.domain.ids import DocumentId
from carrel.evaluate.pipeline import OWN, Evaluation, Reader, questions_put
from carrel.evaluate.sets import LabelledSet, SetDocument, SetQuery
from support.raw import connected
from support.stand import Stand
from support.tenants import SomeTenant, a_tenant

TEXTS = {
    "ports": "# Payment service\n\nThe payment service listens on port 7443.\n",
    "copies": "# Storage\n\nThe storage cluster keeps three copies of every object.\n",
    "pager": "# On call\n\nThe pager rings the engineer on call within five minutes.\n",
}
QUERIES = (
    SetQuery("1", "On which port does the payment service listen?"),
    SetQuery("2", "How many copies of an object does the storage cluster keep?"),
    SetQuery("3", "Who won the cup in 1998?", answerable=False),
)
LABELLED = LabelledSet(
    name="handbook",
    corpus=tuple(SetDocument(name, "", text, f"{name}.md", text) for name, text in TEXTS.items()),
    queries=QUERIES,
    qrels={"1": {"ports": 1}, "2": {"copies": 1}},
)
FOREIGN = LabelledSet("cells", (), (SetQuery("9", "Do microtubules bind kinesin in yeast?"),), {})


@dataclass(frozen=True)
class Scene:
    tenant: SomeTenant
    reader: Reader


@pytest.fixture(scope="module")
async def scene(carrel: Stand) -> Scene:
    tenant, neighbour = await a_tenant(carrel.app, "Evaluated"), await a_tenant(carrel.app, "Neighbour")
    source, other = await tenant.source(), await neighbour.source()
    documents: dict[DocumentId, str] = {}
    for name, text in TEXTS.items():
        documents[(await tenant.put(source.id, f"{name}.md", text)).id] = name
        await neighbour.put(other.id, f"{name}.md", text)
    return Scene(tenant, Reader(tenant.console, documents))


async def test_documents_are_ranked_for_each_leg_and_for_both(carrel: Stand, scene: Scene) -> None:
    found = await Evaluation(carrel.app.asking).run(scene.reader, LABELLED)

    assert (found.name, found.documents, found.queries, found.ranked) == ("handbook", 3, 3, 2)
    assert {way: ranking.ndcg_10 for way, ranking in found.rankings.items()} == {
        "hybrid": 1.0,
        "dense": 1.0,
        "lexical": 1.0,
    }


async def test_refusals_are_those_of_the_chat_for_questions_of_the_set_and_of_a_foreign_one(
    carrel: Stand, scene: Scene
) -> None:
    put = []

    found = await Evaluation(carrel.app.asking, tell=lambda: put.append(1)).run(scene.reader, LABELLED, [FOREIGN])

    assert [refusals.kind for refusals in found.refusals] == [OWN, "cells"]
    assert [refusals.auroc for refusals in found.refusals] == [1.0, 1.0]
    for refusals in found.refusals:
        assert [decision.answered for decision in refusals.answerable] == [True, True]
        assert [decision.answered for decision in refusals.unanswerable] == [False]
    assert len(put) == questions_put(LABELLED, [FOREIGN])


async def test_it_leaves_no_chat_behind(carrel: Stand, scene: Scene) -> None:
    await Evaluation(carrel.app.asking).run(scene.reader, LABELLED, [FOREIGN])

    async with connected(carrel.endpoint.superuser_url) as superuser:
        assert await superuser.fetch("select id from chats where tenant_id = $1", scene.tenant.id) == []


async def test_a_set_without_labels_that_rank_has_nothing_to_be_measured_by(carrel: Stand, scene: Scene) -> None:
    unlabelled = LabelledSet("bare", LABELLED.corpus, QUERIES, {})

    found = await Evaluation(carrel.app.asking).run(scene.reader, unlabelled, [FOREIGN])

    assert (found.rankings, found.refusals) == ({}, ())


@pytest.mark.parametrize("legs", [frozenset({Leg.DENSE}), frozenset({Leg.LEXICAL}), BOTH], ids=["dense", "words", "2"])
async def test_a_leg_that_is_not_asked_has_no_say(carrel: Stand, scene: Scene, legs: frozenset[Leg]) -> None:
    wish = SearchWish("payment service port", legs=legs)

    hits = (await carrel.app.asking.search(scene.tenant.console, wish)).hits

    assert hits[0].key == "ports.md"
    assert (hits[0].dense is not None, hits[0].lexical is not None) == (Leg.DENSE in legs, Leg.LEXICAL in legs)
    assert {hit.tenant for hit in hits} == {scene.tenant.id}
