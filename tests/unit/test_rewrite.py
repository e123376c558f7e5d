"""Follow-up questions made to stand alone: by the model where it may be trusted, by rule otherwise."""

import asyncio
from collections.abc import AsyncGenerator, Sequence

import pytest

from carrel.adapters.lexical.analyzer import EnglishAnalyzer
from carrel.adapters.models.extractive import Extractive
from carrel.ask.question import LONGEST
from carrel.ask.rewrite import MOST_TOKENS, By, Rewritten, by_rule, stand_alone
from carrel.domain.answers import Usage
from carrel.domain.chats import Turn
from carrel.domain.errors import ModelFailed
from carrel.ports.model import Draft, Prompt

ANALYZER = EnglishAnalyzer()
PORT = Turn("Which port does the payment service listen on?", "The payment service listens on port 8443. [1]")
OUTAGE = Turn("What caused the March outage?", "It was caused by an expired client certificate. [1]")
USED = Usage(70, 9, "scripted")


class Scripted:
    """A model that writes what it is told to, piece by piece, and fails or falls silent where the script says so."""

    name = "scripted"
    follows_instructions = True
    context_tokens = 8_000

    def __init__(self, *script: str | Exception | None) -> None:
        self._script = script
        self.prompts: list[Prompt] = []

    async def write(self, prompt: Prompt) -> AsyncGenerator[Draft]:
        self.prompts.append(prompt)
        for piece in self._script:
            if isinstance(piece, Exception):
                raise piece
            if piece is None:
                await asyncio.Event().wait()
            yield Draft(piece or "")
        yield Draft("", USED)


def ruled(question: str, *history: Turn) -> str:
    return by_rule(question, history, analyzer=ANALYZER).text


async def by_model(question: str, history: Sequence[Turn], model: Scripted, *, patience: float = 5) -> Rewritten:
    return await stand_alone(question, history, analyzer=ANALYZER, model=model, patience=patience)


# By rule


@pytest.mark.parametrize(
    ("question", "before", "whole"),
    [
        ("Which database does it use?", PORT, "Which database does the payment service use?"),
        ("And how long did that last?", OUTAGE, "And how long did the March outage last?"),
        ("Who is the technical lead?", PORT, "Who is the technical lead? (payment service)"),
        ("And the ingestion pipeline?", PORT, "Which port does the ingestion pipeline listen on?"),
        ("What about metrics?", PORT, "Which port does metrics listen on?"),
        ("And at night?", OUTAGE, "What caused the March outage at night?"),
        ("Why?", OUTAGE, "Why? (March outage)"),
        ("Is it allowed?", Turn("When is the deployment freeze?", ""), "Is the deployment freeze allowed?"),
        ("Does it retry?", Turn("What does Lanternfish do?", ""), "Does Lanternfish retry?"),
        ("Who found it?", Turn("What broke?", ""), "Who found it? (broke)"),
        (
            "Within how many days is it made?",
            Turn("Who approves a refund above 500 euros?", ""),
            "Within how many days is it made? (approves refund 500 euros)",
        ),
    ],
)
def test_what_a_follow_up_lacks_is_taken_from_the_question_before(question: str, before: Turn, whole: str) -> None:
    assert by_rule(question, [before], analyzer=ANALYZER) == Rewritten(whole, By.RULE)


def test_what_the_former_question_asked_for_is_named_as_its_answer_names_it() -> None:
    before = Turn("Which node has a memory leak?", "The rack is old. gw-lock-3 has a memory leak. [1]")
    assert ruled("How often must it be restarted?", before) == "How often must gw-lock-3 be restarted? (memory leak)"


@pytest.mark.parametrize(
    "question",
    [
        "How long are payment logs kept?",
        "What does the payment service do when it loses its database?",
        "Is it allowed to deploy on a Friday?",
        "How long does it take to merge the events of a depot?",
        "Why did we choose this queue for the ingestion pipeline?",
        "What does the `merge` function do?",
        "Who is Odalys Quench?",
        "What about catalogue-search, who owns that?",
        "Why didn't Kafka win?",
        "How many weeks of parental leave does an employee get?",
        "Thanks!",
        "?",
        "",
    ],
)
def test_a_question_that_stands_alone_is_left_letter_for_letter(question: str) -> None:
    assert by_rule(question, [PORT], analyzer=ANALYZER) == Rewritten(question, By.NOBODY)


def test_a_talk_may_go_on_from_pronoun_to_pronoun() -> None:
    talk = (PORT, Turn("Which database does it use?", ""), Turn("And who owns it?", ""))
    assert "payment service" in ruled("How often does it retry?", *talk)


def test_a_new_subject_takes_the_place_of_the_former_one() -> None:
    told = ruled("And how long did that last?", PORT, OUTAGE)
    assert "March outage" in told
    assert "payment" not in told


def test_nothing_grows_beyond_what_a_question_may_be() -> None:
    endless = Turn("What caused the " + "March " * 2_000 + "outage?", "")
    assert by_rule("How long did it last?", [endless], analyzer=ANALYZER) == Rewritten(
        "How long did it last?", By.NOBODY
    )
    assert len(ruled("How long did it last?", endless)) <= LONGEST


# By the model


async def test_a_model_that_follows_instructions_is_asked_with_the_talk_and_few_tokens() -> None:
    model = Scripted("Which database does ", "the payment service use?")

    rewritten = await by_model("Which database does it use?", [PORT], model)

    assert rewritten == Rewritten("Which database does the payment service use?", By.MODEL, USED)
    (prompt,) = model.prompts
    assert prompt.most_tokens == MOST_TOKENS
    assert PORT.question in prompt.messages[-1].text
    assert "Which database does it use?" in prompt.messages[-1].text


async def test_without_a_history_no_model_is_asked() -> None:
    model = Scripted("Something")
    assert await by_model("Which port?", [], model) == Rewritten("Which port?", By.NOBODY)
    assert model.prompts == []


async def test_a_model_that_follows_no_instructions_is_not_asked() -> None:
    rewritten = await stand_alone("Who owns it?", [PORT], analyzer=ANALYZER, model=Extractive(ANALYZER))
    assert rewritten == Rewritten("Who owns the payment service?", By.RULE)


async def test_a_question_that_the_model_leaves_alone_is_nobodys_work() -> None:
    model = Scripted('"How long are payment logs kept?"')
    rewritten = await by_model("How long are payment logs kept?", [PORT], model)
    assert rewritten == Rewritten("How long are payment logs kept?", By.NOBODY, USED)


@pytest.mark.parametrize(
    "nonsense",
    [
        "",
        "It uses PostgreSQL 16.\nIt is called ledger-db.",
        "Which database does the payment service use? See https://evil.example/?q=payment",
        "Which database does www.evil.example use?",
        "Sing a song about autumn leaves and rivers",
        "Which database " * 200,
        "Which database\x00 does the payment service use?",
        "Which database does the payment\u200b service use?",
        "Which database does the payment service <|im_start|> use?",
    ],
)
async def test_nonsense_of_the_model_is_not_taken_but_counted(nonsense: str) -> None:
    rewritten = await by_model("Which database does it use?", [PORT], Scripted(nonsense))
    assert rewritten == Rewritten("Which database does the payment service use?", By.RULE, USED)


def test_no_address_comes_of_a_name_that_a_mark_had_parted() -> None:
    before = Turn("Which node has a memory leak?", "The node www[1].evil.example/x has a memory leak. [1]")
    assert "www.evil" not in ruled("How often must it be restarted?", before)


async def test_an_address_that_only_an_answer_named_is_not_taken() -> None:
    poisoned = Turn(PORT.question, "The payment service listens on port 8443, see https://evil.example/db now.")
    model = Scripted("Which database does the payment service at https://evil.example/db use?")
    assert (await by_model("Which database does it use?", [poisoned], model)).by is By.RULE


@pytest.mark.parametrize("script", [(ModelFailed("no"),), ("Which database", ModelFailed("broke off"))])
async def test_a_model_that_fails_costs_the_question_nothing(script: tuple[str | Exception, ...]) -> None:
    rewritten = await by_model("Which database does it use?", [PORT], Scripted(*script))
    assert rewritten == Rewritten("Which database does the payment service use?", By.RULE)


async def test_a_model_that_falls_silent_is_not_waited_for() -> None:
    rewritten = await by_model("Which database does it use?", [PORT], Scripted("Which", None), patience=0.01)
    assert rewritten.by is By.RULE
