"""What the analyzer promises (ports/lexical.py): one text, one list of terms; and identifiers find each other."""

import time
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carrel.adapters.lexical.analyzer import STOP_WORDS, EnglishAnalyzer

ANALYZER = EnglishAnalyzer()


stems = ANALYZER.stems


@given(st.text(max_size=300))
@settings(max_examples=200, deadline=None)
def test_any_text_gives_the_same_terms_each_time(text: str) -> None:
    assert stems(text) == stems(text) == EnglishAnalyzer().stems(text)
    assert all(0 < len(stem) <= 64 for stem in stems(text))


@given(st.text(max_size=300))
@settings(max_examples=200, deadline=None)
def test_words_are_the_terms_each_once_in_order(text: str) -> None:
    words = ANALYZER.words(text)
    assert [word.stem for word in words] == list(dict.fromkeys(stems(text)))
    assert all(word.surface in unicodedata.normalize("NFC", text) for word in words)


@given(st.lists(st.text(max_size=60), max_size=4), st.text(max_size=40))
@settings(max_examples=300, deadline=None)
def test_held_are_the_wanted_stems_among_those_of_each_text(texts: list[str], question: str) -> None:
    wanted = frozenset(term.stem for term in ANALYZER.words(" ".join([question, *texts[:1]])))
    assert ANALYZER.held(wanted, texts) == [wanted & frozenset(stems(text)) for text in texts]


@pytest.mark.parametrize(
    "text",
    [
        "Dying skies, lying and tying; early, only, singly, news, innings.",
        "paymentService PAYMENT_SERVICE the-Service v2.10 E-1042 12:30 x İstanbul Kelvin ßtraße 9f",
        "Gently generically communicates arsenals universities; why sayings; yields yellow, Youth",
    ],
)
def test_held_knows_every_word_by_its_stem(text: str) -> None:
    for stem in stems(text):
        assert ANALYZER.held(frozenset({stem}), ["nothing of it", text])[1] == {stem}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Restarting the services", ["restart", "servic"]),
        ("What is it?", []),
        ("", []),
        ("--- ... ___", []),
        ("the payment's port", ["payment", "port"]),
        ("the payment’s port", ["payment", "port"]),  # noqa: RUF001 - the typographic apostrophe is the point
        ("port 7443", ["port", "7443"]),
        ("E-1042", ["e1042", "e", "1042"]),
        ("v2.10.3", ["v2103", "v", "2", "10", "3"]),
        ("HTTPServer", ["httpserver", "http", "server"]),
        ("Größe Straße", ["größe", "straße"]),
        ("платёжный сервис", ["платёжный", "сервис"]),
        ("支付服务", ["支付服务"]),
        ("9f" * 1_000_000, ["9f" * 32]),
        ("key-" + "9f" * 40, ["key" + "9f" * 30 + "9", "key", "9f" * 32]),
    ],
)
def test_text_becomes_these_terms(text: str, expected: list[str]) -> None:
    assert stems(text) == expected


@pytest.mark.parametrize("written", ["payment_service", "paymentService", "payment-service", "payment.service"])
@pytest.mark.parametrize("asked", ["payment_service", "PaymentService", "payment service", "PAYMENT-SERVICE"])
def test_identifiers_find_each_other_however_they_are_written(written: str, asked: str) -> None:
    assert {"payment", "servic"} <= set(stems(written))
    assert {"payment", "servic"} <= set(stems(asked))
    assert set(stems(written)) & set(stems(asked))


def test_stop_words_are_no_terms() -> None:
    assert stems(" ".join(sorted(STOP_WORDS))) == []
    assert stems(" ".join(sorted(STOP_WORDS)).upper()) == []


def test_the_surface_is_what_the_person_wrote() -> None:
    assert [term.surface for term in ANALYZER.words("Why did Restarting paymentService fail?")] == [
        "Restarting",
        "paymentService",
        "paymentService",
        "paymentService",
        "fail",
    ]


@pytest.mark.parametrize("piece", ["a", "a-", "aB", "1a", "'"])
def test_no_text_takes_long(piece: str) -> None:
    """A pattern that goes to and fro would let one document stop a worker: eight times the text, 64 times the work."""
    short, long = (min(_cost(piece * count) for _ in range(3)) for count in (20_000, 160_000))
    assert long < 24 * short


def _cost(text: str) -> float:
    """Seconds of this thread's own processor time, whatever else the machine does."""
    started = time.thread_time()
    stems(text)
    ANALYZER.words(text)
    return time.thread_time() - started


def test_composed_and_decomposed_letters_are_one_word() -> None:
    word = "Größe"
    assert stems(unicodedata.normalize("NFD", word)) == stems(unicodedata.normalize("NFC", word))
