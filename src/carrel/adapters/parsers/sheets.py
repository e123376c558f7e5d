"""Excel workbooks, old and new: each sheet a page and a heading, its rows under the names of their columns."""

import datetime as dt
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from itertools import takewhile
from typing import Final, TypeAlias

import python_calamine as calamine

from carrel.adapters.parsers import records, tables
from carrel.adapters.parsers.draft import Draft
from carrel.adapters.parsers.extents import demand_room
from carrel.adapters.parsers.opc import Package
from carrel.adapters.parsers.wire import PAGES
from carrel.domain.errors import Unreadable
from carrel.domain.text import ParsedDocument

Cell: TypeAlias = int | float | str | bool | dt.time | dt.date | dt.datetime | dt.timedelta
Row: TypeAlias = Sequence[Cell]

_ASIDE: Final = (
    "xl/media/", "xl/embeddings/", "xl/drawings/", "xl/charts/", "xl/pivot", "xl/activex/", "xl/ctrlprops/",
    "xl/vbaproject", "xl/externallinks/", "xl/printersettings/", "customxml/", "docprops/",
)  # fmt: skip
_READ: Final = (".xml", ".rels", ".bin")


def read(package: Package) -> ParsedDocument:
    """Macros, pictures, charts and links to other workbooks are not even handed to the library."""
    return read_workbook(package.archive.copied(_is_wanted, _judge), title=package.title())


def read_workbook(content: bytes, *, title: str | None = None) -> ParsedDocument:
    """Hidden sheets are left out; a sheet keeps its number all the same. Raises Unreadable."""
    draft = Draft()
    with _translated(), calamine.CalamineWorkbook.from_filelike(BytesIO(content)) as book:
        for number, sheet in enumerate(book.sheets_metadata, start=1):
            if number > PAGES:
                raise Unreadable(f"The workbook has more than {PAGES} sheets.", code="parser_output")
            if sheet.visible is calamine.SheetVisibleEnum.Visible and sheet.typ is calamine.SheetTypeEnum.WorkSheet:
                draft.turn_to(number, "", otherwise=sheet.name)
                write_rows(draft, book.get_sheet_by_index(number - 1).iter_rows)
    return draft.finish(title)


def write_rows(draft: Draft, rows: Callable[[], Iterable[Row]]) -> None:
    """Rows that an empty one separates are tables of their own; a single cell above a table is its caption.

    `rows` is asked twice: a sheet can have more cells than there is room for.
    """
    used = _used(rows())
    header: Sequence[str] | None = None
    for region in _regions([text_of(row[place]) for place in used if place < len(row)] for row in rows()):
        begin = _captions(region) if len(used) > 1 else 0
        for caption in region[:begin]:
            draft.block("paragraph", "".join(caption))
        if begin < len(region) and tables.looks_like_header(region[begin]):
            header = region[begin]
            begin += 1
        elif begin == len(region):
            continue
        tables.write(draft, region[begin:], header=header)


def _captions(region: list[list[str]]) -> int:
    return len(list(takewhile(lambda row: sum(map(bool, row)) == 1, region)))


def text_of(cell: Cell) -> str:
    match cell:
        case bool():
            return "TRUE" if cell else "FALSE"
        case float():
            return f"{cell:.15g}"
        case dt.datetime() if cell.time() == dt.time():
            return cell.date().isoformat()
        case dt.datetime():
            return cell.isoformat(" ", "seconds")
        case dt.date() | dt.time():
            return cell.isoformat()
        case _:
            return str(cell).strip()


def _is_wanted(name: str) -> bool:
    return name.lower().endswith(_READ) and not name.lower().startswith(_ASIDE)


def _judge(name: str, part: bytes) -> None:
    """No other part of an .xlsb has records of the kinds that cells are."""
    if name.lower().endswith(".bin"):
        records.demand_room_for_binary(part)
    else:
        demand_room(part)


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except calamine.PasswordError as error:
        raise Unreadable("The workbook asks for a password.", code="encrypted_document") from error
    except calamine.CalamineError as error:
        raise Unreadable("The workbook is damaged.") from error
    except BaseException as error:
        if type(error).__name__ == "PanicException":  # a class that the library does not give away
            raise Unreadable("The workbook is damaged.") from error
        raise


def _used(rows: Iterable[Row]) -> list[int]:
    """The columns in which anything stands: a sheet may have thousands between two."""
    used: set[int] = set()
    for row in rows:
        used.update(place for place, cell in enumerate(row) if cell != "")
    return sorted(used)


def _regions(rows: Iterable[list[str]]) -> Iterator[list[list[str]]]:
    region: list[list[str]] = []
    for row in rows:
        if any(row):
            region.append(row)
        elif region:
            yield region
            region = []
    if region:
        yield region
