"""The evaluation's rows: what must hold is held, missed or only told, by the half that nothing was learned from."""

from bench.evaluation.holds import fact_rows, missed, rows_of
from carrel.evaluate.facts import FactFindings, FactQuestion, FollowUp, Search, Talked, Tried
from carrel.evaluate.groundedness import Groundedness, Weighed
from carrel.evaluate.metrics import Decision, Ranking
from carrel.evaluate.pipeline import WAYS, Findings
from carrel.evaluate.report import facts_markdown, facts_shape, markdown, shape
from carrel.evaluate.swapped import ALIEN, NUMBER, Pair

NOTHING, ALL = Search(0.0, holds=False), Search(1.0, holds=True)


def some_facts(*, said: bool, rewritten: Search) -> FactFindings:
    tried = []
    for number in range(40):
        expects = "port 8443" if number % 2 else None
        question = FactQuestion(f"Question {number}?", expects)
        sure = 0.9 if expects else 0.1
        tried.append(Tried(question, Decision(sure, answered=bool(expects)), bool(expects), said, None))
    follow_up = FollowUp("reporting", "Which port?", "Why?", "Why that port?", frozenset({"a"}), "since")
    talked = Talked(follow_up, "Why? (port)", bare=NOTHING, rewritten=rewritten, stand_alone=ALL)
    return FactFindings(tuple(tried), (talked,), untouched=9, changes=10)


def findings(name: str, grounding: Groundedness | None) -> Findings:
    perfect = Ranking(1.0, 1.0, 1.0, 1.0, 1.0)
    return Findings(name, 1, 1, 1, dict.fromkeys(WAYS, perfect), (), grounding)


def test_what_was_promised_of_the_demo_is_held_or_missed() -> None:
    good, bad = some_facts(said=True, rewritten=ALL), some_facts(said=False, rewritten=NOTHING)

    assert missed(list(fact_rows(good))) == []
    assert [row.name for row in missed(list(fact_rows(bad)))] == [
        "demo: the answer holds the fact",
        "demo: 30 follow-ups, recall@5 over the stand-alone form's",
        "demo: those that the rule was not tuned on, recall@5 over the stand-alone form's",
    ]


def test_the_demo_is_told_for_all_and_for_the_half_to_report_on() -> None:
    found = some_facts(said=True, rewritten=ALL)
    told = facts_markdown(found)

    assert "| all | 1 | rewritten | 1.0000 | 1.0000 |" in told
    assert "9 of 10 questions that stand alone" in told
    assert facts_shape(found)["all"] != facts_shape(found)["reporting_half"]


def test_groundedness_is_held_where_it_was_promised_and_told_elsewhere() -> None:
    pair = Pair(NUMBER, ALIEN, "Four. [1]", "Five. [1]")
    good, bad = Groundedness((Weighed(pair, 0.9, 0.2),)), Groundedness((Weighed(pair, 0.2, 0.9),))

    verdicts = {
        (name, one.auroc): rows_of(findings(name, one))[-1].verdict
        for name in ("scifact", "notes")
        for one in (good, bad)
    }

    assert verdicts == {
        ("scifact", 1.0): "held",
        ("scifact", 0.0): "missed",
        ("notes", 1.0): "told",
        ("notes", 0.0): "told",
    }
    assert not any("groundedness" in row.name for row in rows_of(findings("scifact", None)))
    assert "number from a foreign text" in markdown([findings("notes", good)])
    assert shape(findings("notes", good))["grounding"] is not None
