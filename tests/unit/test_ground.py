"""Groundedness: what the evidence says is borne out, what it does not say is marked, and no model is asked."""

import re
from random import Random

import pytest

from carrel.adapters.lexical.analyzer import EnglishAnalyzer
from carrel.ask.ground import Grounding, ground
from carrel.ask.sanitise import sanitised
from carrel.domain.answers import Passage
from carrel.evaluate.groundedness import weigh
from carrel.evaluate.metrics import auroc
from carrel.evaluate.swapped import ALIEN, NAME, NUMBER, OTHER_PASSAGE, SAME_PASSAGE, pairs, paraphrased
from support.passages import a_passage, demo_passages
from support.rounds import rounds

ANALYZER = EnglishAnalyzer()
PAYMENTS = a_passage(
    "The payment service listens on port 8443 for internal callers and on port 9108 for metrics. "
    "It retries a failed capture at most four times, waiting 30 seconds between attempts. "
    "The Ledger team owns the payment service, and Odalys Quench is its technical lead.",
    title="Payment service runbook",
)
STORAGE = a_passage(
    "The archive keeps 8,500 tapes in rack 17. Tobin Aske does not count them before 2 March.", title="Archive"
)


def of(text: str, *evidence: Passage) -> Grounding:
    return ground(text, evidence or (PAYMENTS, STORAGE), analyzer=ANALYZER)


@pytest.mark.parametrize(
    "text",
    [
        "The payment service listens on port 8443 for internal callers [1].",
        "Internal callers reach the payment service on port 8443. [1]",
        "A failed capture is retried four times at most, with 30 s between attempts [1].",
        "A failed capture is retried 4 times [1].",
        "Odalys Quench is the technical lead of the payment service [1].",
        "The archive keeps 8500 tapes [2].",
        "The payment service listens on port 8443 [1]. The archive keeps 8,500 tapes [2].",
        "- port 8443 for internal callers [1]\n- port 9108 for metrics [1]",
    ],
)
def test_what_stands_there_is_borne_out_in_other_words_too(text: str) -> None:
    found = of(text)
    assert found.unsupported == ()
    assert found.score > 0.6


@pytest.mark.parametrize(
    "text",
    [
        "The payment service listens on port 17 for internal callers [1].",
        "The payment service listens on port 9999 for internal callers [1].",
        "Tobin Aske is the technical lead of the payment service [1].",
        "A failed capture is retried with 30 hours between attempts [1].",
        "Tobin Aske counts the tapes before 2 March [2].",
        "The moon is made of green cheese and orbits the harbour [1].",
    ],
)
def test_another_number_name_unit_or_a_lost_not_is_marked(text: str) -> None:
    found = of(text)
    assert found.unsupported == (text.replace(" [1]", "").replace(" [2]", ""),)
    assert found.score < 0.6


def test_only_the_sentence_that_is_wrong_is_marked_and_the_whole_is_worth_less_for_it() -> None:
    right = "The Ledger team owns the payment service [1]."
    wrong = "It retries a failed capture at most nine times [1]."

    found = of(f"{right} {wrong}")

    assert found.unsupported == ("It retries a failed capture at most nine times.",)
    assert of(wrong).score < found.score < of(right).score


@pytest.mark.parametrize(
    "written",
    [
        r"See <\img src=//evil.example/x> at port 99 [1].",
        "See <[1]img src=//evil.example/x> at port 99 [1].",
        "See https:[1]//evil.example/?q=secret at port 99 [1].",
        r"See https:\\\\//evil.example/?q=secret at port 99 [1].",
        "See www[1].evil.example/x at port 99 [1].",
    ],
)
def test_what_marks_and_backslashes_kept_apart_does_not_come_together_without_them(written: str) -> None:
    shown = sanitised(written, passages=2)
    (sentence,) = of(shown).unsupported
    assert "port 99" in sentence
    assert not re.search(r"https?:|www\.|<img|\]\(", sentence), sentence


def test_a_passage_that_is_not_the_cited_one_counts_less() -> None:
    cited, elsewhere = of("The archive keeps 8,500 tapes [2]."), of("The archive keeps 8,500 tapes [1].")
    assert elsewhere.score < cited.score
    assert of("The archive keeps 8,500 tapes.").score == cited.score, "without a mark any passage may be meant"


@pytest.mark.parametrize("text", ["", "Here is what I found:", "Yes.", "[7]", "Is that so?"])
def test_what_claims_nothing_needs_no_evidence(text: str) -> None:
    assert of(text) == Grounding(1.0, ())


def test_without_evidence_nothing_is_borne_out() -> None:
    assert ground("The port is 8443.", (), analyzer=ANALYZER) == Grounding(0.0, ("The port is 8443.",))


def test_the_same_answer_is_always_worth_the_same() -> None:
    text = "The payment service listens on port 8443 [1]. Odalys Quench leads [1]."
    assert of(text) == of(text)


# Swapped answers


def test_a_pair_differs_in_one_fact_of_one_kind_from_where_it_says() -> None:
    evidence = [passage.text for passage in (PAYMENTS, STORAGE)]
    made = pairs(evidence, ["Carver Dune counted 44 boats of the harbour in Saint Malo."], Random(1))

    assert {(pair.kind, pair.origin) for pair in made} >= {
        (NUMBER, SAME_PASSAGE),
        (NUMBER, ALIEN),
        (NAME, OTHER_PASSAGE),
    }
    for pair in made:
        assert pair.faithful != pair.swapped
        own, other = set(pair.faithful.split()), set(pair.swapped.split())
        assert 1 <= len(other - own) <= 3


def test_a_paraphrase_keeps_its_facts() -> None:
    sentence = "In March 2025, more than 412 orders (all from Pell Street) were oversold, because Redis lost them."
    told = {paraphrased(sentence, Random(seed)) for seed in range(8)}
    assert len(told) > 1
    assert all("412 orders were oversold" in one and "in March 2025" in one for one in told), told


def test_swapped_facts_of_the_demos_documents_are_noticed() -> None:
    found = weigh(demo_passages(rounds(12, 24)), analyzer=ANALYZER)

    assert found is not None
    assert len(found.weighed) >= 40
    assert found.auroc >= 0.9, {name: one.auroc for name, one in found.by_swap.items()}
    assert found.wrongly_marked <= 0.1
    assert found.auroc == auroc([one.faithful for one in found.weighed], [one.swapped for one in found.weighed])


def test_where_nothing_can_be_swapped_nothing_is_measured() -> None:
    assert weigh([(a_passage("Nothing here has a name or a figure in it at all."),)], analyzer=ANALYZER) is None
    assert weigh([], analyzer=ANALYZER) is None
