"""Whatever anybody sends or writes is read in time that grows with its length, not with the square of it."""

import asyncio
import time
from collections.abc import Callable

import numpy as np
import pytest

from carrel.adapters.lexical.analyzer import EnglishAnalyzer
from carrel.adapters.models.extractive import Extractive
from carrel.adapters.parsers import html
from carrel.ask.ground import ground
from carrel.ask.prompt import Brief, assemble
from carrel.ask.question import Question
from carrel.ask.rewrite import by_rule
from carrel.domain.chats import Turn
from carrel.ports.model import Prompt
from support.passages import a_passage

ANALYZER = EnglishAnalyzer()


class Reader:
    context_tokens = 8_000
    follows_instructions = True
    name = "test"


def a_question(letters: str, size: int) -> None:
    assert not Question(letters * size, (), np.zeros(1, np.float32)).names_something


def a_talk(gap: str, size: int) -> None:
    said = Turn(f"What{gap * size}is it?", "")
    told: Prompt = assemble(Reader(), Brief("And?", "And?", history=(said,)), [a_passage("It is.")])  # type: ignore[arg-type]
    assert len(told.messages) == 4


def a_fence(space: str, size: int) -> None:
    assemble(Reader(), Brief("And?", "And?"), [a_passage(f"<{space * size}x")])  # type: ignore[arg-type]


def a_number(group: str, size: int) -> None:
    """Which is none, as shows at its end."""
    ground(f"It is 7{group * size}x [1].", [a_passage(f"It is 7{group * size}x.")], analyzer=ANALYZER)


def a_follow_up(word: str, size: int) -> None:
    by_rule(f"kafka if {word * size}", [Turn(word * size, "")], analyzer=ANALYZER)


def a_quotation(piece: str, size: int) -> None:
    asyncio.run(_quoted(f"Boats float {piece * size} on water."))


async def _quoted(text: str) -> None:
    async for _ in Extractive(ANALYZER).write(Prompt("Do boats float?", (a_passage(text),))):
        pass


def an_answer(fact: str, size: int) -> None:
    """As long as the table that it rests on."""
    ground(f"The table reads {fact * size}[1].", [a_passage(f"The table reads {fact * size}.")], analyzer=ANALYZER)


def a_page(piece: str, size: int) -> None:
    """Its frame stands in itself, as deep as it is long."""
    html.parse(f"{piece * size}<p>{'Words of a page. ' * size}".encode(), key="a.html")


@pytest.mark.parametrize(
    ("read", "piece", "size"),
    [
        (a_page, "<div role=banner>", 200),
        (a_page, "<article><ul><li><a href=x>y</a>", 100),
        (a_page, "<div class=cookie-banner>", 500),
        (a_page, "<div role=button>", 500),
        (a_question, "9", 2_000),
        (a_question, "a", 2_000),
        (a_talk, " ", 2_000),
        (a_talk, "\n", 2_000),
        (a_fence, " ", 500),
        (a_number, ",777", 50),
        (a_number, ".7", 500),
        (a_follow_up, "xx of ", 100),
        (a_follow_up, "it ", 200),
        (a_follow_up, "it take ", 100),
        (a_quotation, " |", 500),
        (an_answer, "7 ", 500),
        (an_answer, "A7 ", 500),
    ],
)
def test_eight_times_as_long_is_not_sixty_four_times_the_work(
    read: Callable[[str, int], None], piece: str, size: int
) -> None:
    short, long = (min(_cost(read, piece, many) for _ in range(3)) for many in (size, 8 * size))
    assert long < 24 * short


def _cost(read: Callable[[str, int], None], piece: str, size: int) -> float:
    """Seconds of this thread's own processor time, whatever else the machine does."""
    started = time.thread_time()
    read(piece, size)
    return time.thread_time() - started


def test_more_than_can_be_judged_counts_as_not_borne_out() -> None:
    passage = a_passage("Port 7443 is open.")
    few, many = ("Port 7443 is open [1]. " * count for count in (50, 1_000))
    assert ground(few, [passage], analyzer=ANALYZER).unsupported == ()
    assert ground(many, [passage], analyzer=ANALYZER).score < 0.5
