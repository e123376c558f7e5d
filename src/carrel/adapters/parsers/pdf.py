"""PDF: the text of each page in PDFium's reading order, cut into paragraphs by the gaps between lines."""

import math

from carrel.adapters.parsers import decode, pdfium, recognise
from carrel.adapters.parsers.draft import Draft
from carrel.adapters.parsers.pdf_lines import Line, lines_of, paragraphs_of
from carrel.adapters.parsers.pdf_outline import Outline
from carrel.adapters.parsers.pdfium import PdfiumError
from carrel.adapters.parsers.titles import sensible
from carrel.adapters.parsers.wire import PAGES
from carrel.domain.errors import Unreadable
from carrel.domain.text import ParsedDocument

_POINTS = 72  # of an inch
_SCALE = 200 / _POINTS
_ENCRYPTED = (pdfium.raw.FPDF_ERR_PASSWORD, pdfium.raw.FPDF_ERR_SECURITY)

prepare = decode.prepare  # PDFium's texts are UTF-16


def parse(content: bytes, *, key: str) -> ParsedDocument:  # noqa: ARG001 - all formats have one signature
    """Blocks carry their 1-based page; headings come from the outline, where the author gave one.

    A document that opens without a password is read. Pages that PDFium cannot load are left out.
    """
    pdf = _opened(content)
    if len(pdf) > PAGES:
        raise Unreadable(f"The document has more than {PAGES} pages.", code="parser_output")
    outline = Outline(pdf)
    draft = Draft()
    if not sum(_write(draft, pdf, outline, index) for index in range(len(pdf))):
        raise Unreadable("No page of this PDF can be loaded.")
    return draft.finish(_title(pdf))


def _opened(content: bytes) -> pdfium.Document:
    try:
        return pdfium.helpers.PdfDocument(content)
    except PdfiumError as error:
        if error.err_code in _ENCRYPTED:
            raise Unreadable("The PDF asks for a password.", code="encrypted_document") from error
        raise Unreadable("The PDF is damaged.") from error


def _write(draft: Draft, pdf: pdfium.Document, outline: Outline, index: int) -> bool:
    """Whether the page could be loaded."""
    try:
        lines, shows = _page_lines(pdf, index)
        if shows and not any(line.text.strip() for line in lines):
            if recognise.is_loaded():
                recognise.write(draft, _recognised(pdf, index), page=index + 1, path=outline.path(index, None))
            else:
                draft.scans.append(index + 1)
    except PdfiumError:
        return False
    for paragraph in paragraphs_of(lines, apart=lambda line: outline.names(index, line.text)):
        first = paragraph[0]
        kind = "heading" if outline.names(index, first.text) else "paragraph"
        text = "\n".join(line.text for line in paragraph)
        draft.block(kind, text, path=outline.path(index, first.bottom), page=index + 1)
    return True


def _page_lines(pdf: pdfium.Document, index: int) -> tuple[list[Line], bool]:
    """And whether the page shows anything at all."""
    page = pdf[index]
    text_page = page.get_textpage()
    try:
        shows = pdfium.raw.FPDFPage_CountObjects(page) + pdfium.raw.FPDFPage_GetAnnotCount(page) > 0
        return lines_of(text_page), shows
    finally:
        text_page.close()
        page.close()


def _recognised(pdf: pdfium.Document, index: int) -> str:
    """What is written on a page that holds no text: a scan."""
    page = pdf[index]
    try:
        width, height = page.get_size()
        scale = min(_SCALE, math.sqrt(recognise.MOST_PIXELS / max(width * height, 1)) * 0.99)
        bitmap = page.render(scale=scale, grayscale=True)
        sizes = {"width": bitmap.width, "height": bitmap.height, "stride": bitmap.stride}
        return recognise.text_of(bytes(bitmap.buffer), **sizes, dpi=round(scale * _POINTS))
    finally:
        page.close()


def _title(pdf: pdfium.Document) -> str | None:
    try:
        return sensible(pdf.get_metadata_value("Title"))
    except UnicodeDecodeError:
        return None
