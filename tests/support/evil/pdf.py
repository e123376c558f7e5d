"""Evil PDFs, written object by object: bombs, loops, lies and depths."""

import zlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from io import BytesIO
from types import MappingProxyType

from pypdf import PdfReader, PdfWriter

from support import pdfs

_CATALOG = b"<</Type/Catalog/Pages 2 0 R>>"
_PAGES = b"<</Type/Pages/Kids[3 0 R]/Count 1>>"
_FONT = b"<</Font<</F1<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>>>>>"
_SHOWN = b"BT /F1 12 Tf 72 720 Td (A plain sentence stands beside the evil.) Tj ET"
_BOX = b"/MediaBox[0 0 612 792]"
_FOOT = b"<</Title(Evil)>>"


def _stream(content: bytes, entries: bytes = b"") -> bytes:
    return b"<</Length %d%s>>stream\n%s\nendstream" % (len(content), entries, content)


def _bomb(size: int, unit: bytes = b"\0") -> bytes:
    """`size` bytes of `unit` repeated, deflated piece by piece so that they never stand in memory."""
    press, piece = zlib.compressobj(9), unit * (1_000_000 // len(unit))
    return b"".join(press.compress(piece) for _ in range(size // len(piece))) + press.flush()


def _sheet(
    content: bytes = _SHOWN,
    *more: bytes,
    resources: bytes = _FONT,
    entries: bytes = b"",
    catalog: bytes = _CATALOG,
    box: bytes = _BOX,
) -> bytes:
    """A file of one page (object 3) with its content (object 4); `more` are the objects from 5 on."""
    page = b"<</Type/Page/Parent 2 0 R%s/Contents 4 0 R/Resources %s%s>>" % (box, resources, entries)
    stream = content if content.endswith(b"endstream") else _stream(content)
    return pdfs.of_objects([catalog, _PAGES, page, stream, *more, _FOOT])


def _deflated(bomb: bytes, filters: bytes = b"/Filter/FlateDecode") -> bytes:
    return _sheet(_stream(bomb, filters))


def _tree(pages: bytes, *more: bytes) -> bytes:
    """`pages` is object 2, the root of the page tree; a page that can be read is object 3."""
    page = b"<</Type/Page/Parent 2 0 R%s/Contents 4 0 R/Resources %s>>" % (_BOX, _FONT)
    return pdfs.of_objects([_CATALOG, pages, page, _stream(_SHOWN), *more, _FOOT])


def _deep_tree(depth: int) -> bytes:
    nodes = [b"<</Type/Pages/Kids[%d 0 R]/Count 1>>" % (6 + level) for level in range(depth)]
    return _tree(b"<</Type/Pages/Kids[5 0 R]/Count 1>>", *nodes, b"<</Type/Pages/Kids[3 0 R]/Count 1>>")


def _form(content: bytes, names: Mapping[bytes, int]) -> bytes:
    forms = b"".join(b"/%s %d 0 R" % (name, number) for name, number in names.items())
    resources = b"/Resources<</XObject<<%s>>>>" % forms
    return _stream(content, b"/Type/XObject/Subtype/Form/BBox[0 0 612 792]" + resources)


def _drawing(first: int) -> bytes:
    return b"<</XObject<</X %d 0 R>>/Font<</F1<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>>>>>" % first


def _laughing_forms(levels: int, times: int) -> bytes:
    """Each form draws the next one `times` times: `times` to the power of `levels`."""
    forms = [_form(b"/X Do " * times, {b"X": 6 + level}) for level in range(levels)]
    return _sheet(_SHOWN + b" /X Do", *forms, _form(_SHOWN, {}), resources=_drawing(5))


def _mutual_forms() -> bytes:
    forms = _form(b"/X Do", {b"X": 6}), _form(b"/X Do", {b"X": 5})
    return _sheet(_SHOWN + b" /X Do", *forms, resources=_drawing(5))


def _giant_image() -> bytes:
    entries = b"/Type/XObject/Subtype/Image/Width 60000/Height 60000/ColorSpace/DeviceRGB/BitsPerComponent 8"
    image = _stream(_bomb(200_000_000), entries + b"/Filter/FlateDecode")
    return _sheet(b"q 612 0 0 792 0 0 cm /X Do Q " + _SHOWN, image, resources=_drawing(5))


def _with_table(entries: int, place: int) -> bytes:
    """A file whose cross-reference table says that it has so many entries, of which a few point to `place`."""
    whole = _sheet()
    start = whole.index(b"xref\n")
    table = b"xref\n0 %d\n%strailer<</Root 1 0 R/Size %d>>" % (entries, b"%010d 00000 n \n" % place * 6, entries)
    return whole[:start] + table + b"\nstartxref\n%d\n%%%%EOF" % start


def _table_before_itself() -> bytes:
    return _sheet().replace(b"trailer<<", b"trailer<</Prev %d" % _sheet().index(b"xref\n"))


def _many_updates(count: int) -> bytes:
    out = bytearray(_sheet())
    before = out.index(b"xref\n")
    for _ in range(count):
        place = len(out)
        out += b"\nxref\n0 0\ntrailer<</Root 1 0 R/Size 6/Prev %d>>\nstartxref\n%d\n%%%%EOF" % (before, place + 1)
        before = place + 1
    return bytes(out)


def _object_streams_in_a_loop() -> bytes:
    """An object stream that says it stands in itself."""
    inner = b"5 0 6 2 << >>"
    return _sheet(_SHOWN, _stream(inner, b"/Type/ObjStm/N 2/First 8/Extends 5 0 R"))


def _scripts() -> bytes:
    script = b"<</S/JavaScript/JS(while\\(true\\){app.alert\\(1\\)})>>"
    catalog = b"<</Type/Catalog/Pages 2 0 R/OpenAction %s/AA<</WC %s>>/Names<</JavaScript<</Names[(x) %s]>>>>>>" % (
        script, script, script,
    )  # fmt: skip
    launch = b"/Annots[<</Type/Annot/Subtype/Link/Rect[0 0 9 9]/A<</S/Launch/F(/bin/sh)>>>>]"
    return _sheet(catalog=catalog, entries=launch + b"/AA<</O %s>>" % script)


def _encrypted_by(handler: bytes) -> bytes:
    whole = _sheet()
    return whole.replace(b"trailer<<", b"trailer<</ID[(x)(x)]/Encrypt " + handler)


def _attachments(count: int) -> bytes:
    writer = PdfWriter(clone_from=PdfReader(BytesIO(pdfs.a_handbook())))
    for number in range(count):
        writer.add_attachment(f"{number}.exe", b"MZ" + bytes(1_000))
        writer.add_attachment(f"{number}.pdf", pdfs.a_handbook())
    out = BytesIO()
    writer.write(out)
    return out.getvalue()


def _font(description: bytes, *more: bytes, shown: bytes = _SHOWN) -> bytes:
    """The page's font is object 5; `more` are the objects from 6 on."""
    return _sheet(shown, description, *more, resources=b"<</Font<</F1 5 0 R>>>>")


def _unicode_map(ranges: int) -> bytes:
    line = b"<0000> <FFFF> <0041>\n"
    mapping = b"/CIDInit begincmap\n" + (b"100 beginbfrange\n" + line * 100 + b"endbfrange\n") * (ranges // 100)
    font = b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica/ToUnicode 6 0 R>>"
    return _font(font, _stream(zlib.compress(mapping + b"endcmap"), b"/Filter/FlateDecode"))


def _letters_that_draw_themselves() -> bytes:
    font = (
        b"<</Type/Font/Subtype/Type3/FontBBox[0 0 9 9]/FontMatrix[1 0 0 1 0 0]/FirstChar 65/LastChar 65/Widths[9]"
        b"/Encoding<</Differences[65/A]>>/CharProcs<</A 6 0 R>>/Resources<</Font<</F1 5 0 R>>>>>>"
    )
    return _font(font, _stream(b"9 0 d0 BT /F1 9 Tf (AAAA) Tj ET"), shown=b"BT /F1 9 Tf (AAAA) Tj ET " + _SHOWN)


def _broken_letters() -> bytes:
    font = b"<</Type/Font/Subtype/TrueType/BaseFont/Evil/FontDescriptor 6 0 R/FirstChar 0/LastChar 255/Widths 7 0 R>>"
    descriptor = b"<</Type/FontDescriptor/FontName/Evil/Flags 4/FontBBox[-1e9 1e9 0 0]/FontFile2 8 0 R>>"
    program = b"\0\1\0\0\xff\xff" + b"glyf" + b"\xff" * 5_000
    return _font(font, descriptor, b"[" + b"-2147483648 " * 100_000 + b"]", _stream(program))


def _outline(count: int, following: Callable[[int], int]) -> bytes:
    """`following(n)` is the object that entry n calls its next; the entries are objects from 6 on."""
    entries = [
        b"<</Title(Entry %d)/Parent 5 0 R/Next %d 0 R/First %d 0 R/Dest[3 0 R/XYZ 0 700 0]>>"
        % (number, following(number), following(number))
        for number in range(count)
    ]
    catalog = b"<</Type/Catalog/Pages 2 0 R/Outlines 5 0 R>>"
    root = b"<</Type/Outlines/First 6 0 R/Last %d 0 R/Count %d>>" % (5 + count, count)
    return _sheet(_SHOWN, root, *entries, catalog=catalog)


def _shown_anywhere(numbers: Sequence[int]) -> bytes:
    """Text far outside any page, turned and stretched."""
    place = b"BT /F1 1e30 Tf %d -1e9 1e-30 1 1e30 1e30 Tm (far away) Tj ET "
    return _sheet(b"".join(place % number for number in numbers) + _SHOWN)


def _nested(opening: bytes, closing: bytes, depth: int) -> bytes:
    return _sheet(entries=b"/Evil " + opening * depth + closing * depth)


EVIL: Mapping[str, Callable[[], bytes]] = MappingProxyType({
    "100,000 times the same page": partial(_tree, b"<</Type/Pages/Kids[" + b"3 0 R " * 100_000 + b"]/Count 100000>>"),
    "a count that lies": partial(_tree, b"<</Type/Pages/Kids[3 0 R]/Count 2147483647>>"),
    "a negative count": partial(_tree, b"<</Type/Pages/Kids[3 0 R]/Count -5>>"),
    "a page tree that is its own branch": partial(_tree, b"<</Type/Pages/Kids[2 0 R 3 0 R 2 0 R]/Count 3>>"),
    "a page tree of 3,000 levels": partial(_deep_tree, 3_000),
    "100,000 nested arrays": partial(_nested, b"[", b"]", 100_000),
    "100,000 nested dictionaries": partial(_nested, b"<</A ", b">>", 100_000),
    "100,000 open brackets": lambda: _sheet(entries=b"/Evil " + b"[<<" * 100_000),
    "a form that draws itself": lambda: _sheet(_SHOWN + b" /X Do", _form(b"/X Do", {b"X": 5}), resources=_drawing(5)),
    "two forms that draw each other": _mutual_forms,
    "ten to the tenth forms": partial(_laughing_forms, 10, 10),
    "a giant image": _giant_image,
    "300 MB of zeros": lambda: _deflated(_bomb(300_000_000)),
    "deflated three times": lambda: _deflated(
        zlib.compress(zlib.compress(_bomb(300_000_000))), b"/Filter[/FlateDecode/FlateDecode/FlateDecode]"
    ),
    "300 MB of operators": lambda: _deflated(_bomb(300_000_000, b"BT /F1 9 Tf (x) Tj ET ")),
    "40 MB of saved states": lambda: _deflated(_bomb(40_000_000, b"q 1 0 0 1 0 0 cm ")),
    "a thousand filters": lambda: _sheet(_stream(b"41>", b"/Filter[" + b"/ASCIIHexDecode" * 1_000 + b"]")),
    "a table that points nowhere": partial(_with_table, entries=6, place=9_999_999_999),
    "a table that comes before itself": _table_before_itself,
    "a table of two billion entries": partial(_with_table, entries=2_147_483_647, place=0),
    "5,000 updates": partial(_many_updates, 5_000),
    "a length that is itself": lambda: _sheet(b"<</Length 4 0 R>>stream\n" + _SHOWN + b"\nendstream"),
    "a length of minus one": lambda: _sheet(b"<</Length -1>>stream\n" + _SHOWN + b"\nendstream"),
    "an object stream within itself": _object_streams_in_a_loop,
    "scripts and programs to start": _scripts,
    "a password": partial(pdfs.an_encrypted_pdf, user="secret"),
    "an unknown cipher": partial(_encrypted_by, b"<</Filter/Evil/V 99/R 99/Length 1073741824/O(x)/U(y)/P -1>>"),
    "embedded programs and documents": partial(_attachments, 50),
    "a map of letters with 26 million entries": partial(_unicode_map, 400),
    "letters that draw themselves": _letters_that_draw_themselves,
    "a broken font with 100,000 widths": _broken_letters,
    "a font that is its own descendant": partial(
        _font, b"<</Type/Font/Subtype/Type0/BaseFont/Evil/Encoding/Identity-H/DescendantFonts[5 0 R]/ToUnicode 5 0 R>>"
    ),
    "letters of any size anywhere": partial(_shown_anywhere, range(2_000)),
    "a huge page": partial(_sheet, box=b"/MediaBox[-1e38 -1e38 1e38 1e38]/Rotate 2147483647/UserUnit 1e38"),
    "a page of no size": partial(_sheet, box=b"/MediaBox[9 9 9 9]/CropBox[nan inf -1 (x)]"),
    "200,000 letters in one place": lambda: _sheet(b"BT /F1 9 Tf 72 720 Td " + b"0 0 Td (x) Tj " * 200_000 + b"ET"),
    "an outline that follows itself": partial(_outline, 2, lambda _: 6),
    "an outline of 20,000 levels": partial(_outline, 20_000, lambda number: 7 + number),
    "a name of 5 MB": lambda: _sheet(entries=b"/" + b"A" * 5_000_000 + b" 1"),
    "a million open parentheses": lambda: _sheet(b"BT /F1 9 Tf " + b"(" * 1_000_000),
    "cut short in the middle": lambda: pdfs.a_handbook()[: len(pdfs.a_handbook()) // 2],
    "only a head": lambda: b"%PDF-1.7\n" + b"\0" * 100_000,
})  # fmt: skip
