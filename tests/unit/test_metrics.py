"""The numbers of an evaluation are those of their definitions."""

import math
import sys

import pytest

from carrel.evaluate.metrics import (
    Decision,
    Halved,
    MetricsMissing,
    Ranking,
    Refusals,
    auroc,
    demand_metrics,
    halved,
    ranking,
)


def decisions(*confidences: float) -> tuple[Decision, ...]:
    return tuple(Decision(confidence, confidence >= 0.5) for confidence in confidences)


def test_rankings_are_means_over_all_questions_also_those_that_found_nothing() -> None:
    qrels = {"1": {"a": 1, "b": 1}, "2": {"c": 1, "x": 0}, "3": {"d": 1}}
    found = {"1": ["a", "x", "b"], "2": ["x", "y", "z", "v", "w", "c"], "3": []}

    both = (1 + 1 / math.log2(4)) / (1 + 1 / math.log2(3))
    measured = ranking(found, qrels)
    assert measured.ndcg_10 == pytest.approx((both + 1 / math.log2(7)) / 3)
    assert measured.mrr_10 == pytest.approx((1 + 1 / 6) / 3)
    assert (measured.recall_5, measured.recall_10, measured.pass_10) == pytest.approx((1 / 3, 2 / 3, 2 / 3))


def test_when_nothing_at_all_was_found_every_number_is_zero() -> None:
    assert ranking({"1": []}, {"1": {"a": 1}}) == Ranking(0.0, 0.0, 0.0, 0.0, 0.0)


def test_the_auroc_is_the_share_of_pairs_in_the_right_order_and_a_tie_is_half() -> None:
    higher, lower = [0.9, 0.5, 0.5, 0.2], [0.5, 0.1, 0.2]
    pairs = [1.0 if one > other else 0.5 if one == other else 0.0 for one in higher for other in lower]

    assert auroc(higher, lower) == pytest.approx(sum(pairs) / len(pairs))
    assert auroc([0.9], [0.1]) == 1.0
    assert auroc([0.1], [0.9]) == 0.0
    assert auroc([0.3, 0.3], [0.3]) == 0.5


def test_refusals_are_counted_at_the_products_threshold_and_at_five_percent() -> None:
    answerable = decisions(0.1, 0.4, *([0.9] * 38))
    found = Refusals("another", answerable, decisions(0.2, 0.3, 0.6, 0.95))

    assert found.false_refusals == pytest.approx(2 / 40)
    assert found.true_refusals == pytest.approx(2 / 4)
    assert found.threshold == 0.9, "two of forty lie below, which is five percent"
    assert found.refusable == pytest.approx(3 / 4)


def test_with_few_questions_none_may_be_refused_wrongly() -> None:
    found = Refusals("another", decisions(0.6, 0.9), decisions(0.5, 0.6))

    assert (found.threshold, found.refusable) == (0.6, 0.5)


def test_a_threshold_is_learned_on_one_half_and_told_of_the_other() -> None:
    learned = [(0.8, True, False), (0.6, True, False), (0.4, False, False), (0.1, False, False)]
    reported = [(0.9, True, True), (0.45, True, True), (0.55, False, True), (0.2, False, True), (0.3, False, True)]

    found = halved([*learned, *reported])

    assert found.threshold == pytest.approx(0.5), "in the middle of the gap"
    assert (found.answered_rightly, found.refused_rightly) == pytest.approx((1 / 2, 2 / 3))
    assert found.right == pytest.approx(7 / 12)
    assert halved([]) == Halved(0.0, 1.0, 1.0)


def test_refusals_are_halved_by_every_other_question() -> None:
    found = Refusals("another", decisions(0.9, 0.1, 0.8, 0.7), decisions(0.2, 0.3, 0.4, 0.05))
    assert (found.halved.answered_rightly, found.halved.refused_rightly) == (0.5, 1.0)


def test_without_the_library_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    demand_metrics()
    monkeypatch.setitem(sys.modules, "ir_measures", None)

    with pytest.raises(MetricsMissing, match=r"pip install carrel\[evaluation\]") as refused:
        demand_metrics()

    assert refused.value.code == "metrics_missing"
