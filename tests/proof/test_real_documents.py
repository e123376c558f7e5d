"""Real documents of others: all of them are read, and each passage stands where its citation says.

The witnesses are other readers of the same bytes: pypdf for the pages of the filings, and the lines of the runbooks
themselves. The documents are those of EVAL_DATA, which are not in this repository.
"""

import asyncio
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pypdf
import pytest

from carrel.ask.pipeline import SearchWish
from carrel.domain.access import for_job
from carrel.store.transaction import Statement
from conftest import TenantMaker
from support.stand import Stand
from support.tenants import SomeTenant

DATA: Final = Path(os.environ.get("EVAL_DATA", "../shared/data"))

pytestmark = [
    pytest.mark.proof,
    pytest.mark.long,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not DATA.is_dir(), reason="EVAL_DATA names no folder: the documents are not in this repository"),
]

_CHUNKS: Final = Statement("""
    select d.key, c.text, c.page, c.heading_path, c.line from chunks c
    join documents d on d.tenant_id = c.tenant_id and d.id = c.document_id
    where c.tenant_id = :tenant order by d.key, c.ordinal
""")
_START: Final = 40  # letters and digits of a passage by which a page is known
_EXACT: Final = 0.99  # PDFium takes the second of two letters that overlap for the shadow of the first
_EVERY: Final = 20  # one passage of so many is searched for
_ASKED: Final = 300  # characters of it
_LINK: Final = re.compile(r"\]\([^)]*\)|\]\[[^\]]*\]")
_NOTHING: Final = re.compile(rb"---\n(\w+: .*\n)*---\s*")  # a head for the web site's generator, and no text
_FENCE: Final = re.compile(r" *(```|~~~)(.*)")
_HEADING: Final = re.compile(r"(#{1,6}) +(.*?)#*$")


@dataclass(frozen=True)
class Passage:
    key: str
    text: str
    page: int | None
    path: tuple[str, ...]
    line: int | None

    @property
    def begins(self) -> str:
        """Without the number of a list's item, which Markdown counts by itself."""
        return next(filter(None, map(_letters, re.sub(r"^\d+\. ", "", self.text).split("\n"))))[:_START]


async def test_each_passage_of_the_filings_stands_on_the_page_that_it_cites(carrel: Stand, tenant: TenantMaker) -> None:
    acme = await tenant("Acme")
    passages = await _brought(carrel, acme, sorted((DATA / "filings").glob("*.pdf")))

    pages = {path: [_letters(page) for page in _pages(DATA / path)] for path in {one.key for one in passages}}
    wrong = [one for one in passages if one.page is None or one.begins not in pages[one.key][one.page - 1]]
    unread = [
        (key, number)
        for key, letters in pages.items()
        for number, page in enumerate(letters, 1)
        if len(page) > _START
        and not any(one.page == number or page[:_START] in _letters(one.text) for one in passages if one.key == key)
    ]

    assert len(wrong) <= (1 - _EXACT) * len(passages), wrong
    assert unread == []
    await _are_found(carrel, acme, passages)


async def test_each_passage_of_the_runbooks_stands_in_the_line_and_under_the_heading_that_it_cites(
    carrel: Stand, tenant: TenantMaker
) -> None:
    acme = await tenant("Acme")
    passages = await _brought(carrel, acme, sorted((DATA / "runbooks").rglob("*.md")))

    lines = {path: (DATA / path).read_text().split("\n") for path in {one.key for one in passages}}
    astray = [one for one in passages if not _is_in_line(one, lines[one.key])]
    under = [one for one in passages if not _is_under_its_heading(one, lines[one.key])]

    assert astray == []
    assert under == []
    await _are_found(carrel, acme, passages)


async def _brought(carrel: Stand, acme: SomeTenant, paths: Sequence[Path]) -> list[Passage]:
    """The passages of all of them; whatever says anything is ready."""
    source = (await acme.source()).id
    places = asyncio.Semaphore(8)

    async def bring(path: Path) -> Any:
        async with places:
            content = await asyncio.to_thread(path.read_bytes)
            return await acme.put(source, str(path.relative_to(DATA)), content, seconds=600)

    documents = await asyncio.gather(*map(bring, paths))
    assert {one.key: one.error.code for one in documents if one.error} == {
        str(path.relative_to(DATA)): "no_text" for path in paths if _NOTHING.fullmatch(path.read_bytes())
    }
    async with carrel.database.transaction(for_job(acme.id, None)) as tx:
        rows = await tx.rows(_CHUNKS)
    return [Passage(row["key"], row["text"], row["page"], tuple(row["heading_path"]), row["line"]) for row in rows]


async def _are_found(carrel: Stand, acme: SomeTenant, passages: Sequence[Passage]) -> None:
    """Asked for by their own words, they come, and cite the same place; where others say the same, one of them does."""
    for one in passages[::_EVERY]:
        found = (await carrel.app.asking.search(acme.console, SearchWish(one.text[:_ASKED]))).hits
        alike = [other for other in passages if other.text[:_ASKED] == one.text[:_ASKED]]
        places = [(hit.key, hit.page, hit.heading_path, hit.line) for hit in found]
        assert any((other.key, other.page, other.path, other.line) in places for other in alike), one


def _pages(path: Path) -> Iterator[str]:
    with path.open("rb") as file:
        for page in pypdf.PdfReader(file).pages:
            yield page.extract_text()


def _is_in_line(one: Passage, lines: Sequence[str]) -> bool:
    """It begins there, or further in a line that is longer than a passage."""
    here = " ".join(lines[(one.line or 0) - 1 :][:4])
    return one.line is not None and one.begins[:20] in _letters(_LINK.sub("", here))


def _is_under_its_heading(one: Passage, lines: Sequence[str]) -> bool:
    """The path is that of the first line that is no heading, as far as the passage's other sections have it too."""
    stack: list[tuple[int, str]] = []
    fenced = False
    for number, line in enumerate(lines, 1):
        if fence := _FENCE.match(line):
            fenced = not fenced or fence[2].strip() != ""  # what says a language begins, and ends nothing
        elif not fenced and (heading := _HEADING.match(line)):
            level = len(heading[1])
            stack = [
                *((above, name) for above, name in stack if above < level),
                (level, _letters(_LINK.sub("", heading[2]))),
            ]
        elif line.strip() and number >= (one.line or 0):
            break
    names = [name for _, name in stack]
    spans_several = sum(bool(_HEADING.match(line)) for line in one.text.split("\n")) > 1
    return [_letters(part) for part in one.path] == names[: len(one.path)] and (
        bool(one.path) or not names or spans_several
    )


def _letters(text: str) -> str:
    return re.sub(r"[\W_]+", "", text).casefold()
