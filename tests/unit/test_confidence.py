"""The curve of confidence: the file that is delivered, what is refused of one, and what a passage's features are."""

import json
from dataclasses import FrozenInstanceError, replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from carrel.adapters.lexical.analyzer import EnglishAnalyzer
from carrel.ask.confidence import FEATURES, Curve, CurveError, logistic, read, stored, written
from carrel.ask.judge import Assessment, assess, judge, observe
from carrel.ask.question import Question
from carrel.ask.retrieve import Retrieved
from carrel.domain.answers import Passage
from support.passages import a_passage

ANALYZER = EnglishAnalyzer()
CURVE = Curve(bias=-3.0, weights=(4.0, 3.0, -1.0, -2.0), enough=0.5, beside=0.3)


def a_hit(text: str, *, dense: float | None = 0.5, confidence: float = 0.0) -> Passage:
    return replace(a_passage(text), dense=dense, confidence=confidence)


def a_question(text: str) -> Question:
    return Question(text, tuple(ANALYZER.words(text)), np.zeros(1, np.float32))


def found(*passages: Passage) -> Retrieved:
    return Retrieved(passages, (), 0.0)


def test_the_delivered_file_fits_the_features_of_the_code_and_says_where_it_is_from() -> None:
    from importlib.resources import files

    content = json.loads((files("carrel.ask") / "confidence.json").read_text("utf-8"))
    assert tuple(content["weights"]) == FEATURES
    assert {"learned", "command", "sets", "observations", "measured"} <= set(content["source"])
    assert all(len(one["sha256"]) == 64 and one["licence"] for one in content["source"]["sets"])


def test_the_stored_curve_is_read_once_and_cannot_be_changed() -> None:
    assert stored() is stored()
    with pytest.raises(FrozenInstanceError):
        stored().bias = 1.0  # type: ignore[misc]


def test_the_nearer_and_the_more_covered_the_surer_and_an_unknown_name_speaks_against_it() -> None:
    curve = stored()
    by_cosine = [curve.confidence((cosine, 0.5, 0.2, 0)) for cosine in (-1, 0, 0.3, 0.6, 1)]
    by_coverage = [curve.confidence((0.5, coverage, 0.2, 0)) for coverage in (0, 0.5, 1)]
    assert all(low < high for low, high in (*pairwise(by_cosine), *pairwise(by_coverage)))
    assert curve.confidence((0.5, 0.5, 0.2, 1)) < curve.confidence((0.5, 0.5, 0.2, 0))
    assert curve.confidence((0, 0, 1, 1)) < curve.beside <= curve.enough < curve.confidence((1, 1, 0, 0))


def test_what_is_written_is_read_again() -> None:
    assert read(written(CURVE, {"learned": "today"})) == CURVE


def _with(**changes: Any) -> str:
    return json.dumps(json.loads(written(CURVE, {})) | changes)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        _with(version=2),
        _with(bias="-3"),
        _with(bias=float("nan")),
        _with(bias=True),
        _with(weights={"cosine": 1}),
        _with(weights=dict.fromkeys(reversed(FEATURES), 1.0)),
        _with(enough=1.5),
        _with(beside=0.9),
        _with(beside=None),
    ],
)
def test_a_file_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(CurveError):
        read(text)


@pytest.mark.parametrize(("log_odds", "expected"), [(0, 0.5), (2, 0.8807970), (-1000, 0.0), (1000, 1.0)])
def test_the_logistic_function_holds_for_any_number(log_odds: float, expected: float) -> None:
    assert logistic(log_odds) == pytest.approx(expected)


def test_a_passage_has_the_features_that_the_curve_names() -> None:
    seen = observe(
        ANALYZER,
        a_question("Which port does Zephyrine use?"),
        found(a_hit("The port is 7443.", dense=0.6), a_hit("Nothing.", dense=None)),
    )
    (cosine, coverage, unseen, name), (no_cosine, no_coverage, *_) = seen.features
    assert len(seen.features[0]) == len(FEATURES)
    assert (cosine, no_cosine, no_coverage, name) == (0.6, 0.0, 0.0, 1.0)
    assert 0 < coverage < unseen < 1
    assert seen.missing == ("Zephyrine", "use")


def test_features_are_the_same_whoever_else_has_documents() -> None:
    """Nothing but the question and the passages counts: not the ids, and not the tenant's statistics."""
    question = a_question("How is the ledger restarted?")
    first = observe(ANALYZER, question, Retrieved((a_hit("Restart the ledger."),), (), 3.0))
    second = observe(ANALYZER, question, Retrieved((a_hit("Restart the ledger."),), (), 99.0, dropped=7))
    assert first == second


def test_a_question_without_words_is_judged_by_its_nearness_alone() -> None:
    (passage,) = assess(ANALYZER, a_question("What is it?"), found(a_hit("Anything.", dense=0.4))).passages
    assert passage.confidence == stored().confidence((0.4, 0.0, 0.0, 0.0))


def test_one_passage_must_be_good_enough_before_others_are_evidence() -> None:
    enough, beside = stored().enough, stored().beside
    good, near, far = (
        a_hit(text, confidence=value) for text, value in (("good", enough), ("near", beside), ("far", beside - 0.01))
    )
    assert judge(Assessment((near, good, far), ())).evidence == (near, good)
    refused = judge(Assessment((near, far), ("word",)))
    assert (refused.evidence, refused.nearest, refused.missing) == ((), (near, far), ("word",))


def test_nothing_found_is_no_evidence() -> None:
    assert judge(assess(ANALYZER, a_question("ledger"), found())).evidence == ()
