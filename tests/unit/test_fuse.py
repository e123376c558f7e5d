"""Fusion: two scales made one, and which leg has how much say."""

from uuid import UUID

import numpy as np
import pytest

from carrel.ask.fuse import fuse
from carrel.ask.question import Question
from carrel.domain.answers import Hit
from carrel.domain.ids import ChunkId

A, B, C = (ChunkId(UUID(int=number)) for number in (1, 2, 3))


def order(dense: list[Hit], lexical: list[Hit], share: float = 0.5) -> list[ChunkId]:
    return [found.chunk for found in fuse(dense, lexical, dense_share=share)]


def test_the_best_of_both_legs_is_worth_one() -> None:
    (best, *_) = fuse([Hit(A, 0.8), Hit(B, 0.4)], [Hit(A, 12.0), Hit(C, 3.0)])

    assert best.chunk == A
    assert best.score == pytest.approx(1.0)
    assert (best.dense, best.lexical) == (0.8, 12.0)


def test_the_share_decides_between_two_legs_that_disagree() -> None:
    dense, lexical = [Hit(A, 0.9), Hit(B, 0.1)], [Hit(B, 9.0), Hit(A, 1.0)]

    assert order(dense, lexical, 0.7) == [A, B]
    assert order(dense, lexical, 0.3) == [B, A]


def test_a_leg_that_returned_nothing_has_no_say() -> None:
    assert order([Hit(A, 0.9), Hit(B, 0.1)], []) == [A, B]
    assert order([], [Hit(B, 2.0), Hit(A, 1.0)]) == [B, A]
    assert order([], []) == []


def test_what_the_dense_leg_left_out_is_as_near_as_its_farthest_at_most() -> None:
    found = {one.chunk: one for one in fuse([Hit(A, 0.8), Hit(B, 0.4)], [Hit(C, 5.0)], dense_share=0.5)}

    assert found[C].score == pytest.approx(0.5 * 0.4 / 0.8 + 0.5)
    assert (found[C].dense, found[B].lexical) == (None, None)


def test_opposites_count_as_unrelated_and_equals_go_by_id() -> None:
    assert order([Hit(A, 0.5), Hit(C, -0.9), Hit(B, -0.1)], [Hit(A, 1.0)]) == [A, B, C]


@pytest.mark.parametrize(
    "text",
    [
        "What does KubePodCrashLooping mean?",
        "restart payment_service",
        "where is config.yaml read",
        "Mutex::lock blocks",
    ],
)
def test_an_identifier_is_seen(text: str) -> None:
    assert a_question(text).names_something


@pytest.mark.parametrize(
    "text", ["How do I restart the gateway?", "What is TCP/IP?", "0.5 mg of IL-6, e.g. in mice.", "Is it J. Doe's? Yes"]
)
def test_plain_words_are_no_identifiers(text: str) -> None:
    assert not a_question(text).names_something


def a_question(text: str) -> Question:
    return Question(text, (), np.zeros(1, np.float32))
