"""Small office documents of which every part can be replaced: made by hand, so that they can be made wrong."""

import re
from collections.abc import Mapping
from typing import Final

from support import offices

SAID: Final = "A plain sentence stands beside the evil."
W: Final = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
A: Final = "http://schemas.openxmlformats.org/drawingml/2006/main"
P: Final = "http://schemas.openxmlformats.org/presentationml/2006/main"
S: Final = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
R: Final = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_TYPES: Final = "http://schemas.openxmlformats.org/package/2006/content-types"
_RELATIONS: Final = "http://schemas.openxmlformats.org/package/2006/relationships"
_OPEN: Final = "application/vnd.openxmlformats-officedocument."

_ENDING: Final = re.compile("_(xml|rels|png|bin|zip)$")

Members = Mapping[str, bytes | str]


def relations(*listed: tuple[str, str, str]) -> str:
    """Of each its id, the last word of its kind and its target."""
    lines = "".join(f'<Relationship Id="{id}" Type="{R}/{kind}" Target="{target}"/>' for id, kind, target in listed)  # noqa: A001
    return f'<Relationships xmlns="{_RELATIONS}">{lines}</Relationships>'


def a_package(main: str, kind: str, members: Members) -> dict[str, bytes | str]:
    types = f'<Override PartName="/{main}" ContentType="{_OPEN}{kind}.main+xml"/>'
    return {
        "[Content_Types].xml": f'<Types xmlns="{_TYPES}">{types}</Types>',
        "_rels/.rels": relations(("rId1", "officeDocument", main)),
        **members,
    }


def said_in_word(more: str = "") -> str:
    return f'<w:document xmlns:w="{W}"><w:body><w:p><w:r><w:t>{SAID}</w:t></w:r></w:p>{more}</w:body></w:document>'


def word(document: bytes | str | None = None, **members: bytes | str) -> dict[str, bytes | str]:
    """The members of a Word document. `__` in a name stands for `/`, and the last `_` for a dot."""
    main = said_in_word() if document is None else document
    return a_package("word/document.xml", "wordprocessingml.document", {"word/document.xml": main, **_named(members)})


def slides(*shapes: str, **members: bytes | str) -> dict[str, bytes | str]:
    """The members of a presentation: of each slide its shapes."""
    made = {
        f"ppt/slides/slide{number}.xml": f'<p:sld xmlns:p="{P}" xmlns:a="{A}" xmlns:r="{R}"><p:cSld><p:spTree>{one}'
        "</p:spTree></p:cSld></p:sld>"
        for number, one in enumerate(shapes, start=1)
    }
    listed = "".join(f'<p:sldId id="{255 + number}" r:id="rId{number}"/>' for number in range(1, len(shapes) + 1))
    related = [(f"rId{number}", "slide", f"slides/slide{number}.xml") for number in range(1, len(shapes) + 1)]
    return a_package(
        "ppt/presentation.xml",
        "presentationml.presentation",
        {
            "ppt/presentation.xml": f'<p:presentation xmlns:p="{P}" xmlns:r="{R}"><p:sldIdLst>{listed}</p:sldIdLst>'
            "</p:presentation>",
            "ppt/_rels/presentation.xml.rels": relations(*related),
            **made,
            **_named(members),
        },
    )


def a_shape(text: str = SAID) -> str:
    properties = "<p:nvSpPr><p:cNvPr id='2' name='x'/><p:nvPr/></p:nvSpPr>"
    return f"<p:sp>{properties}<p:txBody><a:p><a:r><a:t>{text}</a:t></a:r></a:p></p:txBody></p:sp>"


def sheet(rows: str, *, strings: str = SAID, **members: bytes | str) -> dict[str, bytes | str]:
    """The members of a workbook of one sheet. The first of its shared strings is `strings`."""
    book = (
        f'<workbook xmlns="{S}" xmlns:r="{R}"><sheets><sheet name="Leave" sheetId="1" r:id="rId1"/></sheets></workbook>'
    )
    return a_package(
        "xl/workbook.xml",
        "spreadsheetml.sheet",
        {
            "xl/workbook.xml": book,
            "xl/_rels/workbook.xml.rels": relations(
                ("rId1", "worksheet", "worksheets/sheet1.xml"), ("rId2", "sharedStrings", "sharedStrings.xml")
            ),
            "xl/worksheets/sheet1.xml": f'<worksheet xmlns="{S}"><sheetData>{rows}</sheetData></worksheet>',
            "xl/sharedStrings.xml": f'<sst xmlns="{S}"><si><t>{strings}</t></si></sst>',
            **_named(members),
        },
    )


def a_cell(place: str, value: str = "0", kind: str = "s") -> str:
    return f'<c r="{place}" t="{kind}"><v>{value}</v></c>'


def zipped(members: Members) -> bytes:
    return offices.zipped(members)


def _named(members: Members) -> dict[str, bytes | str]:
    return {
        _ENDING.sub(r".\1", name.replace("__", "/").replace("_xml_", ".xml_")): one for name, one in members.items()
    }
