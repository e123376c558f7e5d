"""What an office document says is found, and the citation names the slide, the sheet or the heading."""

import pytest

from carrel.ask.pipeline import SearchWish
from carrel.domain.library import DocumentStatus
from conftest import TenantMaker
from support import offices
from support.stand import Stand

ROWS = [("City", "People"), *((f"City {number}", f"{number} people") for number in range(100))]


@pytest.mark.parametrize(
    ("name", "content", "question", "page", "path"),
    [
        ("talk.pptx", offices.a_pptx(), "No title here", 3, ("Slide 3",)),
        ("talk.odp", offices.an_odp(), "Days of the year 2024", 3, ("Days",)),
        ("sales.xlsx", offices.an_xlsx(rows=200), "Amount in Köln on 2024-03-01", 1, ("Sales",)),
        ("sales.ods", offices.an_ods(), "Amount in Köln", 1, ("Sales",)),
        ("staff handbook", offices.a_docx(rows=ROWS), "People in City 57", None, ("Leave", "Carry-over")),
        ("handbook.txt", offices.AN_RTF, "Dreißig Tage", None, ("Leave",)),
    ],
)
async def test_a_passage_of_an_office_document_says_where_it_stands(  # noqa: PLR0917 - a row of the table
    carrel: Stand,
    tenant: TenantMaker,
    name: str,
    content: bytes,
    question: str,
    page: int | None,
    path: tuple[str, ...],
) -> None:
    acme = await tenant("Acme")
    source = await acme.source()
    document = await acme.put(source.id, name, content)
    assert (document.status, document.error) == (DocumentStatus.READY, None)

    found = await carrel.app.asking.search(acme.console, SearchWish(question))

    assert any((one.page, one.heading_path) == (page, path) for one in found.hits[:3]), found.hits
