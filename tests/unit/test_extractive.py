"""The extractive model: whole sentences of the evidence, each cited, and never an empty answer."""

from carrel.adapters.lexical.analyzer import EnglishAnalyzer
from carrel.adapters.models.extractive import Extractive
from carrel.ask.answer import Answerer, Finished
from carrel.ask.judge import Verdict
from carrel.ask.prompt import Brief
from carrel.domain.answers import Answer, Passage
from support.passages import a_passage


async def the_answer(question: str, *texts: Passage | str) -> Answer:
    evidence = tuple(text if isinstance(text, Passage) else a_passage(text) for text in texts)
    model, brief = Extractive(EnglishAnalyzer()), Brief(question, question)
    steps = [step async for step in Answerer().answer(model, brief, Verdict(evidence, evidence, ()))]
    assert isinstance(steps[-1], Finished)
    return steps[-1].answer


async def test_short_facts_and_list_items_are_sentences_too() -> None:
    for question, text in (("On which port?", "Port: 8080"), ("Who is primary on call?", "- Primary Dana Reyes")):
        answer = await the_answer(question, text)
        assert text.removeprefix("- ") in answer.text
        assert [citation.n for citation in answer.citations] == [1]


async def test_a_passage_without_any_sentence_is_quoted_itself() -> None:
    answer = await the_answer("alpha", "# Alpha\nalpha words")
    assert "alpha words" in answer.text
    assert len(answer.citations) == 1


async def test_a_number_in_brackets_of_the_document_is_no_citation() -> None:
    answer = await the_answer(
        "How are the hosts configured?",
        "The hosts are configured as config.hosts[0] and config.hosts[2] in the file.",
        "Nothing else is said here.",
    )
    assert r"config.hosts\[0\] and config.hosts\[2\]" in answer.text
    assert [citation.n for citation in answer.citations] == [1]


async def test_the_section_that_the_question_names_comes_first() -> None:
    meaning = a_passage(
        "The ledger alert is triggered when the ledger lags behind.", headings=("Meaning",), title="Ledger alert"
    )
    impact = a_passage(
        "Refunds are paid out a day later than promised to customers.", headings=("Impact",), title="Ledger alert"
    )
    answer = await the_answer("What is the impact of the ledger alert?", impact, meaning)
    assert "Refunds are paid out a day later" in answer.text
