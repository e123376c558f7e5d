"""Which documents we take, and what a document really is."""

import codecs
import re
import zlib
from collections.abc import Iterator
from pathlib import PurePosixPath
from types import MappingProxyType

from carrel.adapters.parsers import texts
from carrel.domain.errors import Unsupported

MARKDOWN = texts.MARKDOWN
PLAIN = texts.PLAIN
HTML = texts.HTML
PDF = "application/pdf"
PNG, JPEG, TIFF, WEBP = "image/png", "image/jpeg", "image/tiff", "image/webp"
PICTURES = MappingProxyType({".png": PNG, ".jpg": JPEG, ".jpeg": JPEG, ".tif": TIFF, ".tiff": TIFF, ".webp": WEBP})
"""What is read where text recognition is installed."""

_OPEN_XML = "application/vnd.openxmlformats-officedocument."
DOCX = f"{_OPEN_XML}wordprocessingml.document"
PPTX = f"{_OPEN_XML}presentationml.presentation"
XLSX = f"{_OPEN_XML}spreadsheetml.sheet"
XLSB = "application/vnd.ms-excel.sheet.binary.macroenabled.12"
XLS = "application/vnd.ms-excel"
ODT = "application/vnd.oasis.opendocument.text"
ODP = "application/vnd.oasis.opendocument.presentation"
ODS = "application/vnd.oasis.opendocument.spreadsheet"
EPUB = "application/epub+zip"
RTF = "application/rtf"

SUPPORTED = MappingProxyType({
    ".md": MARKDOWN, ".markdown": MARKDOWN, ".mdx": MARKDOWN, ".mkd": MARKDOWN,
    ".html": HTML, ".htm": HTML, ".xhtml": HTML,
    ".pdf": PDF,
    ".txt": PLAIN, ".text": PLAIN, ".log": PLAIN, ".adoc": PLAIN, ".org": PLAIN,
    **texts.ENDINGS,
    ".docx": DOCX, ".docm": DOCX, ".dotx": DOCX, ".dotm": DOCX,
    ".pptx": PPTX, ".pptm": PPTX, ".ppsx": PPTX, ".ppsm": PPTX, ".potx": PPTX,
    ".xlsx": XLSX, ".xlsm": XLSX, ".xltx": XLSX, ".xlsb": XLSB, ".xls": XLS,
    ".odt": ODT, ".ott": ODT, ".odp": ODP, ".otp": ODP, ".ods": ODS, ".ots": ODS,
    ".epub": EPUB, ".rtf": RTF,
})  # fmt: skip

_SPOKEN = {
    MARKDOWN: MARKDOWN, "text/x-markdown": MARKDOWN,
    HTML: HTML, "application/xhtml+xml": HTML,
    PDF: PDF, "application/x-pdf": PDF,
    PLAIN: PLAIN,
    **texts.SPOKEN,
    DOCX: DOCX, PPTX: PPTX, XLSX: XLSX, XLSB: XLSB, XLS: XLS, ODT: ODT, ODP: ODP, ODS: ODS, EPUB: EPUB,
    "application/vnd.ms-word.document.macroenabled.12": DOCX,
    "application/vnd.ms-powerpoint.presentation.macroenabled.12": PPTX,
    "application/vnd.ms-excel.sheet.macroenabled.12": XLSX,
    RTF: RTF, "text/rtf": RTF, "application/x-rtf": RTF,
}  # fmt: skip
_ZIPPED = frozenset({DOCX, PPTX, XLSX, XLSB, ODT, ODP, ODS, EPUB})
_LEGACY_ENDINGS = frozenset({".doc", ".dot", ".ppt", ".pps", ".pot"})
_LEGACY_TYPES = frozenset({"application/msword", "application/vnd.ms-powerpoint"})
_FORM = "multipart/form-data"  # how a form was sent says nothing about the file in it
_FOREIGN_FAMILIES = ("image/", "audio/", "video/", "font/", "model/", "application/vnd.", "message/", "multipart/")
_FOREIGN_TYPES = frozenset({
    "application/gzip", "application/msword", "application/x-7z-compressed", "application/x-executable",
    "application/x-gzip", "application/x-msdownload", "application/x-tar", "application/zip",
})  # fmt: skip
_FOREIGN_ENDINGS = frozenset({
    ".7z", ".avi", ".bmp", ".bz2", ".class", ".dll", ".doc", ".dot", ".exe", ".gif", ".gz",
    ".ico", ".jar", ".jpeg", ".jpg", ".m4a", ".mkv", ".mov", ".mp3", ".mp4", ".msg", ".ogg",
    ".otf", ".png", ".ppt", ".pyc", ".rar", ".so", ".svg", ".tar", ".tgz", ".tif", ".tiff", ".ttf",
    ".wasm", ".wav", ".webm", ".webp", ".woff", ".woff2", ".xz", ".zip", ".zst",
})  # fmt: skip
_PDF_MARK = b"%PDF-"
_PDF_REACH = 1024  # PDF readers look for the mark this far
_BINARY_MARKS = (
    _PDF_MARK, b"\x89PNG", b"PK\x03\x04", b"PK\x05\x06", b"\x7fELF", b"\x1f\x8b", b"GIF87a", b"GIF89a", b"\xff\xd8\xff",
    b"BZh91AY", b"\xfd7zXZ", b"7z\xbc\xaf", b"\xd0\xcf\x11\xe0", b"Rar!\x1a", b"\x28\xb5\x2f\xfd",
)  # fmt: skip
_PICTURE_MARKS = ((b"\x89PNG\r\n\x1a\n", PNG), (b"\xff\xd8\xff", JPEG), (b"II*\0", TIFF), (b"MM\0*", TIFF))
_ZIP_MARK, _OLE_MARK, _RTF_MARK = b"PK\x03\x04", b"\xd0\xcf\x11\xe0", b"{\\rtf"
_ZIP_HEADER = 30
_UNPACKED = 1 << 16  # of the list of parts: it says in its first lines what the document is
_MAIN = re.compile(
    rb"(wordprocessingml|ms-word|presentationml|ms-powerpoint|spreadsheetml|ms-excel)\.([\w.]*)main(?:\+xml)?"
)
_FAMILIES = {
    b"wordprocessingml": DOCX, b"ms-word": DOCX, b"presentationml": PPTX, b"ms-powerpoint": PPTX,
    b"spreadsheetml": XLSX, b"ms-excel": XLSX,
}  # fmt: skip
_FOLDERS = (("word/", DOCX), ("ppt/", PPTX), ("xl/", XLSX), ("META-INF/container.xml", EPUB))
_WIDE_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)


NO_PICTURES = "Pictures are read where text recognition is installed (the extra `ocr`), and here it is not."


def media_type_of(key: str, declared: str | None, head: bytes, *, pictures: bool = False) -> str:
    """The type by which to parse; `head` is the document's first few kilobytes.

    What the bytes say clearly (PDF, RTF, office documents, most texts with a form) counts, whatever the name is. Where
    an office document's first bytes do not show its kind, the name is believed, and its parser judges again. Between
    texts that look alike the file's ending decides, since senders call most of them `text/plain`; without a known
    ending the declared type does. `pictures` says that text can be recognised. Raises Unsupported with code
    `unsupported_type` for what we do not take, and `type_mismatch` when ending or declaration and the bytes contradict
    each other.
    """
    spoken = (declared or "").split(";")[0].strip().lower()
    if _is_address(key) and _SPOKEN.get(spoken) == HTML:
        return _confirmed(HTML, spoken, head)  # pages are called `Film.mp4` or `README.md` and are pages
    ending = _ending(key)
    claimed = SUPPORTED.get(ending) or _SPOKEN.get(spoken)
    if found := _clear(head, claimed) or (_picture(head) if pictures else None):
        return found
    if not pictures and (ending in PICTURES or spoken in PICTURES.values()):
        raise Unsupported(NO_PICTURES)
    if ending in _LEGACY_ENDINGS or spoken in _LEGACY_TYPES:
        raise Unsupported("Carrel does not read old Word and PowerPoint files: save it as .docx or .pptx.")
    if head.startswith(_OLE_MARK) and ending not in _FOREIGN_ENDINGS:
        return claimed if claimed in _ZIPPED else XLS  # an office document with a password is such a file too
    if ending in _FOREIGN_ENDINGS or _is_foreign(spoken):
        raise Unsupported(f"Carrel does not read {ending if ending in _FOREIGN_ENDINGS else spoken} documents.")
    found = _confirmed(claimed, spoken, head) if claimed else _by_content(head)
    return found if found == PDF else texts.judged(claimed, head)


def _ending(key: str) -> str:
    """In lower case, with its dot. A URL's host, query and fragment are not part of its name."""
    name = re.split("[?#]", key.partition("://")[2].partition("/")[2], maxsplit=1)[0] if _is_address(key) else key
    return PurePosixPath(name).suffix.lower()


def _is_address(key: str) -> bool:
    return key.startswith(("https://", "http://"))


def _is_foreign(spoken: str) -> bool:
    return spoken in _FOREIGN_TYPES or (
        spoken.startswith(_FOREIGN_FAMILIES) and spoken != _FORM and spoken not in _SPOKEN
    )


def _clear(head: bytes, claimed: str | None) -> str | None:
    """What the bytes are, if they say so by themselves."""
    if head.startswith(_PDF_MARK):
        return PDF
    if head.lstrip().startswith(_RTF_MARK):
        return RTF
    if head.startswith(_ZIP_MARK):
        return next(_zip_types(head), claimed if claimed in _ZIPPED else None)
    return None


def _zip_types(head: bytes) -> Iterator[str]:
    """What each member whose beginning can be seen says about the whole."""
    place = 0
    while (place := head.find(_ZIP_MARK, place)) >= 0:
        header = head[place : place + _ZIP_HEADER]
        begin = place + _ZIP_HEADER + int.from_bytes(header[26:28], "little")
        name = head[place + _ZIP_HEADER : begin].decode("utf-8", "replace")
        content = head[begin + int.from_bytes(header[28:30], "little") :]
        if name == "mimetype":
            yield from (kind for kind in (ODT, ODP, ODS, EPUB) if content.startswith(kind.encode()))
        elif name == "[Content_Types].xml":
            listed = _inflated(content) if header[8:9] == b"\x08" else content
            main = _MAIN.search(listed)
            if main and main[1] in _FAMILIES:
                yield XLSB if b"binary" in main[2] else _FAMILIES[main[1]]
        yield from (kind for folder, kind in _FOLDERS if name.startswith(folder))
        place += len(_ZIP_MARK)


def _inflated(content: bytes) -> bytes:
    try:
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(content, _UNPACKED)
    except zlib.error:
        return b""


def _by_content(head: bytes) -> str:
    if _is_binary(head):
        raise Unsupported("These bytes are of no kind that Carrel reads.")
    return PLAIN


def _confirmed(claimed: str, spoken: str, head: bytes) -> str:
    pdf = _PDF_MARK in head[: _PDF_REACH + len(_PDF_MARK) - 1]
    if claimed == PDF and not pdf:
        raise Unsupported("This is named a PDF, but its bytes are not.", code="type_mismatch")
    if claimed in _ZIPPED or claimed in (XLS, RTF):
        raise Unsupported("This is named an office document, but its bytes are not.", code="type_mismatch")
    if claimed != PDF and (_is_binary(head) or _SPOKEN.get(spoken) == PDF):
        raise Unsupported("This is named a text, but its bytes or its declared type are not.", code="type_mismatch")
    return claimed


def _picture(head: bytes) -> str | None:
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return WEBP
    return next((kind for mark, kind in _PICTURE_MARKS if head.startswith(mark)), None)


def _is_binary(head: bytes) -> bool:
    return head.startswith(_BINARY_MARKS) or (b"\0" in head and not head.startswith(_WIDE_MARKS))
