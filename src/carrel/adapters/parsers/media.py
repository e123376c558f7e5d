"""Which documents we take, and what a document really is."""

import codecs
import re
from pathlib import PurePosixPath
from types import MappingProxyType

from carrel.domain.errors import Unsupported

MARKDOWN = "text/markdown"
PLAIN = "text/plain"
HTML = "text/html"
PDF = "application/pdf"

SUPPORTED = MappingProxyType({
    ".md": MARKDOWN, ".markdown": MARKDOWN, ".mdx": MARKDOWN, ".mkd": MARKDOWN,
    ".html": HTML, ".htm": HTML, ".xhtml": HTML,
    ".pdf": PDF,
    ".txt": PLAIN, ".text": PLAIN, ".log": PLAIN, ".rst": PLAIN, ".adoc": PLAIN, ".org": PLAIN,
    ".csv": PLAIN, ".tsv": PLAIN,
})  # fmt: skip

_SPOKEN = {
    MARKDOWN: MARKDOWN, "text/x-markdown": MARKDOWN,
    HTML: HTML, "application/xhtml+xml": HTML,
    PDF: PDF, "application/x-pdf": PDF,
    PLAIN: PLAIN,
}  # fmt: skip
_FORM = "multipart/form-data"  # how a form was sent says nothing about the file in it
_FOREIGN_FAMILIES = ("image/", "audio/", "video/", "font/", "model/", "application/vnd.", "message/", "multipart/")
_FOREIGN_TYPES = frozenset({
    "application/epub+zip", "application/gzip", "application/msword", "application/rtf", "application/x-7z-compressed",
    "application/x-executable", "application/x-gzip", "application/x-msdownload", "application/x-tar",
    "application/zip", "text/rtf",
})  # fmt: skip
_FOREIGN_ENDINGS = frozenset({
    ".7z", ".avi", ".bmp", ".bz2", ".class", ".dll", ".doc", ".docx", ".dot", ".eml", ".epub", ".exe", ".gif", ".gz",
    ".ico", ".jar", ".jpeg", ".jpg", ".m4a", ".mkv", ".mov", ".mp3", ".mp4", ".msg", ".odp", ".ods", ".odt", ".ogg",
    ".otf", ".png", ".ppt", ".pptx", ".pyc", ".rar", ".rtf", ".so", ".svg", ".tar", ".tgz", ".tif", ".tiff", ".ttf",
    ".wasm", ".wav", ".webm", ".webp", ".woff", ".woff2", ".xls", ".xlsb", ".xlsm", ".xlsx", ".xz", ".zip", ".zst",
})  # fmt: skip
_PDF_MARK = b"%PDF-"
_PDF_REACH = 1024  # PDF readers look for the mark this far
_BINARY_MARKS = (
    _PDF_MARK, b"\x89PNG", b"PK\x03\x04", b"PK\x05\x06", b"\x7fELF", b"\x1f\x8b", b"GIF87a", b"GIF89a", b"\xff\xd8\xff",
    b"BZh91AY", b"\xfd7zXZ", b"7z\xbc\xaf", b"\xd0\xcf\x11\xe0", b"Rar!\x1a", b"\x28\xb5\x2f\xfd",
)  # fmt: skip
_WIDE_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)


def media_type_of(key: str, declared: str | None, head: bytes) -> str:
    """The type by which to parse; `head` is the document's first few kilobytes.

    Between texts the file's ending decides, since senders call most of them `text/plain`; without a known ending the
    declared type does. Raises Unsupported with code `unsupported_type` for what we do not take, and `type_mismatch`
    when ending or declaration and the bytes contradict each other.
    """
    spoken = (declared or "").split(";")[0].strip().lower()
    ending = _ending(key)
    if ending in _FOREIGN_ENDINGS or _is_foreign(spoken):
        raise Unsupported(f"Carrel does not read {ending if ending in _FOREIGN_ENDINGS else spoken} documents.")
    claimed = SUPPORTED.get(ending) or _SPOKEN.get(spoken)
    return _confirmed(claimed, spoken, head) if claimed else _by_content(head)


def _ending(key: str) -> str:
    """In lower case, with its dot. A URL's query and fragment are not part of its name."""
    name = re.split("[?#]", key, maxsplit=1)[0] if "://" in key else key
    return PurePosixPath(name).suffix.lower()


def _is_foreign(spoken: str) -> bool:
    return spoken in _FOREIGN_TYPES or (spoken.startswith(_FOREIGN_FAMILIES) and spoken != _FORM)


def _by_content(head: bytes) -> str:
    if head.startswith(_PDF_MARK):
        return PDF
    if _is_binary(head):
        raise Unsupported("These bytes are neither text nor PDF.")
    return PLAIN


def _confirmed(claimed: str, spoken: str, head: bytes) -> str:
    pdf = _PDF_MARK in head[: _PDF_REACH + len(_PDF_MARK) - 1]
    if claimed == PDF and not pdf:
        raise Unsupported("This is named a PDF, but its bytes are not.", code="type_mismatch")
    if claimed != PDF and (_is_binary(head) or _SPOKEN.get(spoken) == PDF):
        raise Unsupported("This is named a text, but its bytes or its declared type are not.", code="type_mismatch")
    return claimed


def _is_binary(head: bytes) -> bool:
    return head.startswith(_BINARY_MARKS) or (b"\0" in head and not head.startswith(_WIDE_MARKS))
