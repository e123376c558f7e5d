"""Learning the curve: known coefficients come back, questions stay in their half, and the report can be written."""

from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from bench.calibration.__main__ import conclude
from bench.calibration.learn import auroc, best, fit, halves, learn, predictions, quality, sample, threshold
from bench.calibration.observations import Kind, Observation, Shelf, keep, kept, kind_of, spread
from carrel.ask.confidence import FEATURES, Curve, read
from carrel.evaluate.sets import LabelledSet, SetDocument, SetQuery

TRUE = (-3.0, 5.0, 2.0, -1.0, -2.0)


def made_up(count: int, *, seed: int = 1) -> list[Observation]:
    """Observations whose labels follow a known curve."""
    numbers = np.random.default_rng(seed)
    observations = []
    for number in range(count):
        features = (*numbers.random(3), float(numbers.random() < 0.3))
        odds = TRUE[0] + sum(weight * value for weight, value in zip(TRUE[1:], features, strict=True))
        right = bool(numbers.random() < 1 / (1 + np.exp(-odds)))
        tenant, asked = ("one", "two") if number % 2 else ("two", "one")
        kind: Kind = "answerable" if right or number % 3 == 0 else "far"
        mine = tenant if kind == "answerable" else asked
        observations.append(Observation(tenant, mine, f"q{number}", kind, (features,), (right,)))
    return observations


def test_known_coefficients_come_back() -> None:
    data = sample(made_up(20_000))
    data = replace(data, weights=np.full(len(data.right), 1 / len(data.right)))
    assert fit(data) == pytest.approx(TRUE, abs=0.35)


def test_its_predictions_are_calibrated_on_what_it_has_not_seen() -> None:
    data, others = (
        replace(one, weights=np.full(len(one.right), 1 / len(one.right)))
        for one in (sample(made_up(8_000)), sample(made_up(8_000, seed=2)))
    )
    found = fit(data)
    measured = quality(predictions(Curve(float(found[0]), tuple(found[1:]), 0.5, 0.4), others), others)
    assert measured.ece < 0.03
    assert measured.auroc > 0.8


def test_every_set_weighs_the_same_however_large() -> None:
    data = sample([*made_up(50), *(replace(one, tenant="large", asked="large") for one in made_up(500))])
    assert data.weights.sum() == pytest.approx(1)
    large = data.weights[50:].sum()
    assert 0.25 < large < 0.6


def test_the_threshold_refuses_at_most_one_answerable_question_in_ten() -> None:
    observations = made_up(2_000)
    curve = learn(observations)
    refused = {
        tenant: np.mean([best(curve, one) < curve.enough for one in observations if _answerable(one, tenant)])
        for tenant in ("one", "two")
    }
    assert 0.08 < sum(refused.values()) / 2 <= 0.101
    assert curve.beside < curve.enough == threshold(curve, observations)


def _answerable(one: Observation, tenant: str) -> bool:
    return one.kind == "answerable" and one.tenant == tenant


def test_a_question_stands_in_one_half_whatever_documents_it_was_asked_of() -> None:
    observations = made_up(200)
    both = [*observations, *(replace(one, tenant="elsewhere", kind="far") for one in observations)]
    first, second = ({(one.asked, one.question) for one in half} for half in halves(both))
    assert not first & second
    assert abs(len(first) - len(second)) < 60


def test_where_nothing_was_found_the_confidence_is_nought() -> None:
    nothing = Observation("one", "two", "q", "far", (), ())
    assert best(Curve(0.0, (0.0,) * len(FEATURES), 0.5, 0.4), nothing) == 0
    assert len(sample([nothing, *made_up(3)]).right) == 3


@pytest.mark.parametrize(("higher", "lower", "expected"), [([2, 3], [0, 1], 1), ([0], [1], 0), ([1, 1], [1], 0.5)])
def test_auroc_counts_pairs(higher: list[float], lower: list[float], expected: float) -> None:
    assert auroc(np.array(higher, float), np.array(lower, float)) == expected


def test_observations_are_kept_as_they_are(tmp_path: Path) -> None:
    observations = made_up(20)
    keep(observations, tmp_path / "seen.jsonl")
    assert kept(tmp_path / "seen.jsonl") == observations


def test_a_run_writes_a_curve_that_the_product_can_read_a_report_and_a_plot(tmp_path: Path) -> None:
    told = conclude(made_up(1_500), {"learned": "2026-01-01"}, tmp_path)
    curve = read((tmp_path / "confidence.json").read_text("utf-8"))
    assert curve.weights[0] > 0
    assert "held-out halves" in told
    assert (tmp_path / "report.md").read_text("utf-8") == told
    assert (tmp_path / "reliability.png").read_bytes().startswith(b"\x89PNG")


def a_shelf(name: str, family: str, *queries: SetQuery) -> Shelf:
    document = SetDocument("d", "A title", "Text.", "d.md", "# A title\n\nText.")
    return Shelf(LabelledSet(name, (document,), queries, {query.id: {"d": 1} for query in queries}), family)


def test_a_question_of_a_neighbour_is_answerable_where_it_is_word_for_word_ones_own() -> None:
    same, other, unanswerable = SetQuery("s", "What?"), SetQuery("o", "Who?"), SetQuery("u", "Why?", answerable=False)
    mine, neighbour, foreign = (
        a_shelf("a", "books", same, unanswerable),
        a_shelf("b", "books", same, other),
        a_shelf("c", "c", SetQuery("f", "How?")),
    )
    assert mine.answering(same) == {"d.md"}
    kinds = [
        kind_of(mine, asked, query)
        for asked, query in (
            (mine, same),
            (neighbour, same),
            (neighbour, other),
            (mine, unanswerable),
            (foreign, foreign.labelled.queries[0]),
        )
    ]
    assert kinds == ["answerable", "answerable", "near", "near", "far"]


@pytest.mark.parametrize(("count", "most"), list(product([0, 1, 7, 100], [1, 5, 100])))
def test_a_sample_of_questions_is_spread_over_all(count: int, most: int) -> None:
    queries = [SetQuery(str(number), "?") for number in range(count)]
    chosen = spread(queries, most)
    assert len(chosen) == min(count, most)
    assert len(set(chosen)) == len(chosen)
    assert chosen[:1] == queries[:1]
