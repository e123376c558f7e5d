"""PDF: the text of each page in PDFium's reading order, cut into paragraphs by the gaps between lines."""

import re

from carrel.adapters.parsers import pdfium
from carrel.adapters.parsers.characters import clean, squeezed
from carrel.adapters.parsers.draft import Draft
from carrel.adapters.parsers.pdf_lines import Line, lines_of, paragraphs_of
from carrel.adapters.parsers.pdf_outline import Outline
from carrel.adapters.parsers.pdfium import PdfiumError
from carrel.adapters.parsers.wire import PAGES
from carrel.domain.errors import Unreadable
from carrel.domain.text import ParsedDocument

_ENCRYPTED = (pdfium.raw.FPDF_ERR_PASSWORD, pdfium.raw.FPDF_ERR_SECURITY)
_WORD = re.compile(r"[^\W\d_]{3}")
_FILE_NAME = re.compile(r"^Microsoft \w+ - |\.(?:docx?|pdf|xlsx?|pptx?|indd|tex|rtf|odt)$|^untitled", re.IGNORECASE)


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
        lines = _page_lines(pdf, index)
    except PdfiumError:
        return False
    for paragraph in paragraphs_of(lines, apart=lambda line: outline.names(index, line.text)):
        first = paragraph[0]
        kind = "heading" if outline.names(index, first.text) else "paragraph"
        text = "\n".join(line.text for line in paragraph)
        draft.block(kind, text, path=outline.path(index, first.bottom), page=index + 1)
    return True


def _page_lines(pdf: pdfium.Document, index: int) -> list[Line]:
    page = pdf[index]
    text_page = page.get_textpage()
    try:
        return lines_of(text_page)
    finally:
        text_page.close()
        page.close()


def _title(pdf: pdfium.Document) -> str | None:
    """The title that the author gave, unless it is a file's name or a number."""
    try:
        title = squeezed(clean(pdf.get_metadata_value("Title")))
    except UnicodeDecodeError:
        return None
    return title if _WORD.search(title) and not _FILE_NAME.search(title) else None
