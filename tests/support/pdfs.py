"""Small PDFs: written by hand where pypdf would hide what matters, with pypdf where it saves pages of code."""

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO

from pypdf import PdfReader, PdfWriter
from pypdf.generic import Fit


@dataclass(frozen=True)
class Line:
    text: str
    y: int
    size: int = 12
    x: int = 72


def a_pdf(pages: Sequence[Sequence[Line]], *, title: str | None = None) -> bytes:
    """One page per sequence of lines, each line at its height above the foot of a US letter page."""
    count = len(pages)
    kids = b" ".join(b"%d 0 R" % (4 + 2 * index) for index in range(count))
    info = b"<</Title(%s)>>" % title.encode("latin-1") if title else b"<<>>"
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[%s]/Count %d>>" % (kids, count),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica/Encoding/WinAnsiEncoding>>",
    ]
    for index, lines in enumerate(pages):
        objects += [_page(5 + 2 * index), _content(lines)]
    return of_objects([*objects, info])


def _page(content: int) -> bytes:
    fonts = b"<</Font<</F1 3 0 R>>>>"
    return b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Contents %d 0 R/Resources%s>>" % (content, fonts)


def _content(lines: Sequence[Line]) -> bytes:
    shown = b"\n".join(
        b"BT /F1 %d Tf %d %d Td (%s) Tj ET" % (line.size, line.x, line.y, _escaped(line.text)) for line in lines
    )
    return b"<</Length %d>>stream\n%s\nendstream" % (len(shown), shown)


def _escaped(text: str) -> bytes:
    return text.encode("cp1252").replace(b"\\", b"\\\\").replace(b"(", b"\\(").replace(b")", b"\\)")


def of_objects(objects: Sequence[bytes]) -> bytes:
    """A file of these, numbered from 1: the first is the catalogue, the last the document's information."""
    out = b"%PDF-1.4\n"
    offsets = []
    for number, content in enumerate(objects, start=1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    trailer = b"trailer<</Root 1 0 R/Info %d 0 R/Size %d>>" % (len(objects), len(objects) + 1)
    start = len(out)
    return out + b"xref\n0 %d\n0000000000 65535 f \n%s%s\nstartxref\n%d\n%%%%EOF" % (
        len(objects) + 1, table, trailer, start,
    )  # fmt: skip


HANDBOOK = (
    (
        Line("Leave", 720, size=18),
        Line("Every person has thirty days of leave a year, and the man-", 690),
        Line("ager confirms them within a week.", 676),
        Line("Leave that is not taken expires in March.", 640),
    ),
    (
        Line("Carry-over", 720, size=18),
        Line("Ten days may be carried over.", 690),
        Line("Sickness", 640, size=18),
        Line("Call before nine (or write).", 610),
    ),
)


def a_handbook() -> bytes:
    """Two pages with a title and the outline Leave > Carry-over, Sickness."""
    writer = _writer(a_pdf(HANDBOOK, title="Staff handbook"))
    leave = writer.add_outline_item("Leave", 0)
    writer.add_outline_item("Carry-over", 1, parent=leave)
    writer.add_outline_item("Sickness", 1, fit=Fit.xyz(left=72, top=660))
    return _written(writer)


def an_encrypted_pdf(*, user: str, owner: str = "owner") -> bytes:
    writer = _writer(a_pdf(HANDBOOK))
    writer.encrypt(user, owner, algorithm="RC4-128")
    return _written(writer)


def a_scan() -> bytes:
    """A page that shows an image and no letter."""
    page = b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Contents 5 0 R/Resources<</XObject<</I 3 0 R>>>>>>"
    image = (
        b"<</Type/XObject/Subtype/Image/Width 1/Height 1/ColorSpace/DeviceGray/BitsPerComponent 8/Length 1>>"
        b"stream\n\x80\nendstream"
    )
    shown = b"q 612 0 0 792 0 0 cm /I Do Q"
    content = b"<</Length %d>>stream\n%s\nendstream" % (len(shown), shown)
    pages = b"<</Type/Pages/Kids[4 0 R]/Count 1>>"
    return of_objects([b"<</Type/Catalog/Pages 2 0 R>>", pages, image, page, content, b"<<>>"])


def a_pdf_without_pages() -> bytes:
    return of_objects([b"<</Type/Catalog/Pages 2 0 R>>", b"<</Type/Pages/Kids[]/Count 0>>", b"<<>>"])


def _writer(pdf: bytes) -> PdfWriter:
    return PdfWriter(clone_from=PdfReader(BytesIO(pdf)))


def _written(writer: PdfWriter) -> bytes:
    out = BytesIO()
    writer.write(out)
    return out.getvalue()
