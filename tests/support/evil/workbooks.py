"""Evil workbooks, old and new, and OpenDocument: gigantic cells, repetitions without end, chains in circles."""

import random
import struct
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from support import offices
from support.evil.packages import S, a_cell, relations, sheet, zipped

_SHEET: Final = "xl/worksheets/sheet1.xml"


def _rows(*cells: str) -> Callable[[], bytes]:
    return lambda: zipped(sheet(f"<row>{''.join(cells)}</row>"))


def _many_sheets() -> bytes:
    made = sheet(f"<row>{a_cell('A1')}</row>")
    listed = "".join(f'<sheet name="{n}" sheetId="{n + 1}" r:id="rId1"/>' for n in range(6_000))
    book = str(made["xl/workbook.xml"])
    begin, end = book.index("<sheet "), book.index("</sheets>")
    return zipped({**made, "xl/workbook.xml": book[:begin] + listed + book[end:]})


def _damaged_xls(place: int, value: bytes) -> Callable[[], bytes]:
    def make() -> bytes:
        whole = bytearray(offices.an_xls())
        whole[place : place + len(value)] = value
        return bytes(whole)

    return make


def _noisy_xls() -> bytes:
    chance, whole = random.Random(3), bytearray(offices.an_xls())
    for _ in range(200):
        whole[chance.randrange(1_024, 2_048)] = chance.randrange(256)
    return bytes(whole)


def _far_away() -> bytes:
    """Two cells at opposite ends of the largest sheet that the old format can name."""
    whole = offices.an_xls()
    cell = struct.pack("<HH", 1, 1)
    place = whole.rindex(cell + struct.pack("<HH", 0, 2)) if cell + struct.pack("<HH", 0, 2) in whole else 0
    return whole[:place] + struct.pack("<HH", 0xFFFF, 0xFFFF) + whole[place + 4 :]


def _table(rows: str) -> Callable[[], bytes]:
    return lambda: offices.an_ods(f'<table:table table:name="Leave">{rows}</table:table>')


def _a_row(cells: str, repeated: str = "1") -> str:
    return f'<table:table-row table:number-rows-repeated="{repeated}">{cells}</table:table-row>'


def _an_odf_cell(text: str = "x", repeated: str = "1") -> str:
    return f'<table:table-cell table:number-columns-repeated="{repeated}"><text:p>{text}</text:p></table:table-cell>'


XLSX: Mapping[str, Callable[[], bytes]] = MappingProxyType({
    "two cells at the ends of the sheet": _rows(a_cell("A1"), a_cell("XFD1048576")),
    "a cell far below": _rows(a_cell("A1"), a_cell("Z1048576")),
    "a cell beyond the sheet": _rows(a_cell("A1"), a_cell("ZZZZZZ99999999")),
    "a cell of row zero": _rows(a_cell("A0"), a_cell("0"), a_cell("")),
    "cells that go backwards": _rows(a_cell("Z9"), a_cell("A1"), a_cell("A1")),
    "one string of 1 MB, 20,000 times": lambda: zipped(sheet(
        "".join(f"<row>{a_cell(f'A{n}')}</row>" for n in range(1, 20_000)), strings="evil " * 200_000
    )),
    "a string that is not there": _rows(a_cell("A1", "99999999")),
    "a string of a negative number": _rows(a_cell("A1", "-1")),
    "a number beyond all": _rows(a_cell("A1", "1e999999", "n"), a_cell("B1", "-1e308", "n"), a_cell("C1", "nan", "n")),
    "half a million cells": lambda: zipped(sheet(
        "".join(f"<row>{''.join(a_cell(f'{c}{n}') for c in 'ABCDEFGHIJ')}</row>" for n in range(1, 50_000))
    )),
    "a cell of 20 MB": lambda: zipped(sheet(f"<row>{a_cell('A1')}</row>", strings="x" * 20_000_000)),
    "6,000 sheets": _many_sheets,
    "a formula that names itself": _rows('<c r="A1"><f>A1+1</f><v>1</v></c>'),
    "a formula that asks the network": _rows('<c r="A1" t="str"><f>WEBSERVICE("http://127.0.0.1:1")</f><v>x</v></c>'),
    "a formula that runs a program": _rows("<c r='A1' t='str'><f>cmd|'/c calc'!A0</f><v>x</v></c>"),
    "a sheet from outside": lambda: zipped({
        **sheet(""), "xl/_rels/workbook.xml.rels": relations(("rId1", "worksheet", "file:///etc/passwd")),
    }),
    "a sheet that is the workbook": lambda: zipped({
        **sheet(""), "xl/_rels/workbook.xml.rels": relations(("rId1", "worksheet", "workbook.xml")),
    }),
    "a document type in the strings": lambda: zipped({
        **sheet(f"<row>{a_cell('A1')}</row>"),
        "xl/sharedStrings.xml": f'<!DOCTYPE x [<!ENTITY e "evil">]><sst xmlns="{S}"><si><t>&e;</t></si></sst>',
    }),
    "a binary workbook of noise": lambda: zipped({
        **sheet(""), "xl/workbook.bin": random.Random(4).randbytes(5_000), "xl/styles.bin": b"\xff" * 100,
    }),
    "100,000 nested elements": lambda: zipped(sheet("<row>" * 100_000)),
    "an end that is missing": lambda: zipped({
        **sheet(""), "xl/worksheets/sheet1.xml": f'<worksheet xmlns="{S}"><sheetData><row><c r="A1"><v>1',
    }),
    "the real one, cut short in its middle": lambda: offices.changed(
        offices.an_xlsx(), {_SHEET: offices.members_of(offices.an_xlsx())[_SHEET][:300]}
    ),
})  # fmt: skip
XLS: Mapping[str, Callable[[], bytes]] = MappingProxyType({
    "sectors in a circle": _damaged_xls(512, struct.pack("<4I", 1, 1, 1, 1)),
    "a directory in a circle": _damaged_xls(48, struct.pack("<I", 1)),
    "a directory beyond the end": _damaged_xls(48, struct.pack("<I", 0xFFFFFF)),
    "a table beyond the end": _damaged_xls(76, struct.pack("<I", 0xFFFFFF)),
    "sectors of 2 to the 65,535th": _damaged_xls(30, b"\xff\xff"),
    "sectors of one byte": _damaged_xls(30, b"\0\0"),
    "records of noise": _noisy_xls,
    "two cells at the ends of the sheet": _far_away,
    "only the mark": lambda: b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
    "only the header": lambda: offices.an_xls()[:512],
    "half of it": lambda: (whole := offices.an_xls())[: len(whole) // 2],
    "a document with a password": lambda: offices.a_compound({"EncryptionInfo": b"x", "EncryptedPackage": b"x"}),
    "an old Word document": lambda: offices.a_compound({"WordDocument": b"x", "1Table": b"x"}),
    "a mail": lambda: offices.a_compound({"__properties_version1.0": b"x"}),
    "an empty stream": lambda: offices.a_compound({"Workbook": b""}),
})  # fmt: skip
ODS: Mapping[str, Callable[[], bytes]] = MappingProxyType({
    "a cell for all cells": _table(_a_row(_an_odf_cell(repeated="2147483647"), "2147483647")),
    "a cell for 10 to the 40th": _table(_a_row(_an_odf_cell(repeated="1" + "0" * 40), "1" + "0" * 40)),
    "a cell for minus one": _table(_a_row(_an_odf_cell(repeated="-1"), "-1") + _a_row(_an_odf_cell())),
    "1,000 rows for a million each": _table(_a_row(_an_odf_cell("evil"), "1000000") * 1_000),
    "a cell of 1 MB for 1,000 in 100 rows": _table(_a_row(_an_odf_cell("x" * 1_000_000, "1000"), "100")),
    "200,000 rows": lambda: offices.an_ods(f"<table:table>{_a_row(_an_odf_cell('1') * 5) * 200_000}</table:table>"),
    "50 tables in each other": _table(
        "<table:table-row><table:table-cell><table:table>" * 50
        + _a_row(_an_odf_cell()) + "</table:table></table:table-cell></table:table-row>" * 50
    ),
    "6,000 sheets": lambda: offices.an_ods(f"<table:table>{_a_row(_an_odf_cell())}</table:table>" * 6_000),
    "a document type": lambda: offices.changed(
        offices.an_ods(), {"content.xml": '<!DOCTYPE x [<!ENTITY e "evil">]><office:document-content/>'}
    ),
    "an end that is missing": lambda: offices.changed(
        offices.an_ods(), {"content.xml": offices.members_of(offices.an_ods())["content.xml"][:1_500]}
    ),
})  # fmt: skip
ODT: Mapping[str, Callable[[], bytes]] = MappingProxyType({
    "999,999,999 spaces": lambda: offices.an_odt('<text:p>x<text:s text:c="999999999"/>y</text:p>' * 100),
    "100 lists in each other": lambda: offices.an_odt(
        "<text:list><text:list-item>" * 100 + "<text:p>x</text:p>" + "</text:list-item></text:list>" * 100
    ),
    "5,000 lists in each other": lambda: offices.an_odt(
        "<text:list><text:list-item>" * 5_000 + "</text:list-item></text:list>" * 5_000
    ),
    "60 frames in each other": lambda: offices.an_odt(
        "<text:p><draw:frame><draw:text-box>" * 60 + "x" + "</draw:text-box></draw:frame></text:p>" * 60
    ),
    "styles that rest on each other": lambda: offices.an_odt(
        '<text:p text:style-name="a">x</text:p>',
        styles='<style:style style:name="a" style:parent-style-name="b"/>'
        '<style:style style:name="b" style:parent-style-name="a"/>',
    ),
    "a heading of level 99,999,999,999": lambda: offices.an_odt('<text:h text:outline-level="99999999999">x</text:h>'),
    "an encrypted one": lambda: offices.changed(
        offices.an_odt(), {"META-INF/manifest.xml": "<manifest><encryption-data/></manifest>"}
    ),
    "only what is hidden": lambda: offices.an_odt('<text:p text:style-name="P1">x</text:p>'),
    "scripts and forms": lambda: offices.an_odt(
        "<office:scripts>evil</office:scripts><office:forms>evil</office:forms><text:p>x</text:p>"
    ),
})  # fmt: skip
