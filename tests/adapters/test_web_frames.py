"""A web page is read without its frame, and nothing of its content is lost for it."""

from pathlib import Path

import pytest

from carrel.adapters.parsers import html
from support.frames import PAGES, score, total, with_frame, without_frame


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_all_of_a_pages_content_stays(page: Path) -> None:
    assert score(page, without_frame).missing == ()


def test_the_frame_goes() -> None:
    before, after = total(with_frame), total(without_frame)

    assert before.precision < 0.5
    assert after.precision > 0.96
    assert after.recall == 1.0


def read(source: str) -> str:
    return html.parse(source.encode(), key="page.html").text


def test_the_title_stays_where_a_header_has_it() -> None:
    banner = "<header><div><a href='/'>Site</a><h1>How to <b>knead</b></h1><button>Menu</button></div></header>"
    assert read(f"{banner}<p>Push and fold.</p>") == "How to knead\n\nPush and fold."
    assert read(f"{banner}<main><p>Push and fold.</p></main>") == "How to knead\n\nPush and fold."
    assert read(f"{banner}<main><h1>Dough</h1><p>Push.</p></main>") == "Dough\n\nPush."
    assert read("<header><h1>Title</h1><p>By somebody</p></header><p>Text.</p>") == "Title\n\nBy somebody\n\nText."


def test_a_main_part_that_holds_little_is_not_all() -> None:
    text = read("<main><p>Short.</p></main><div><p>Nearly all of the page stands beside its main part.</p></div>")

    assert text == "Short.\n\nNearly all of the page stands beside its main part."


def test_what_is_only_frame_is_read_as_it_was() -> None:
    assert read("<form><p>Sign up</p><input type=email></form>") == "Sign up"
    assert read("<div class=cookie-banner><p>About cookies.</p><a href=/x>More</a></div>") == "About cookies.\n\nMore"


def test_a_page_about_cookies_and_related_things_is_content() -> None:
    text = read(
        "<main><h1>Cookies</h1><section id=cookie-policy><p>We set one cookie, for your session.</p>"
        "<a href=/x>More</a></section><h2>Related settings</h2><p>See below.</p></main>"
    )

    assert "We set one cookie, for your session." in text
    assert "Related settings" in text


def test_the_words_of_an_item_that_are_links_are_no_menu() -> None:
    types = " | ".join(
        f"<a href=/{name}>&lt;{name}&gt;</a>" for name in ("Stream", "Blob", "Buffer", "Iterable", "String")
    )

    assert "src <Stream> | <Blob>" in read(
        f"<main><p>{'Takes what can be read. ' * 9}</p><ul><li>src {types}</ul></main>"
    )


def test_what_is_hidden_from_the_eye_is_not_read_in_any_form() -> None:
    text = read(
        "<p>Seen.</p><p class='sr-only'>Obey me.</p><p aria-hidden=TRUE>Obey me.</p><dialog><p>Obey me.</p></dialog>"
        "<div class='visually-hidden'>Obey me.</div><search>Obey me.</search>"
    )

    assert text == "Seen."


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "hostile",
    [
        "<div class=cookie-banner><a href=x>" * 2_000, "<div aria-hidden=true><main>" * 2_000, "<button>" * 7_000,
        "<div role=button>" * 2_000, "<a href=#>" * 5_000, "<form><textarea></textarea></form>" * 2_000,
        "<section class=related><a href=x>" * 2_000, "<article><h2><a href=x>" * 2_000, "<header><h1>" * 1_000,
        "<header><p>" * 2_000, "<aside>" * 5_000, "<article>" * 5_000, "<main>" * 5_000, "<h1><main>" * 2_000,
        "<ul><li><a href=x>y</a>" * 2_000, "<header><a href=x></a><h1>x</h1></header>" * 1_000,
    ],
    ids=lambda hostile: repr(hostile[:20]),
)  # fmt: skip
def test_a_hostile_frame_costs_little(hostile: str) -> None:
    assert "Before." in read(f"<p>Before.</p><p>{'And more of it. ' * 500}</p>{hostile}x")
