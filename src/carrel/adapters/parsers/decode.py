"""Bytes that should be text, as text."""

import codecs
import re

import chardet

from carrel.adapters.parsers.characters import clean
from carrel.domain.errors import Unreadable

# UTF-32 stands before UTF-16, whose little-endian mark it begins with.
_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_ASIAN = (
    "cp932",
    "shift_jis",
    "shift_jis_2004",
    "euc_jp",
    "euc_jis_2004",
    "gb18030",
    "big5",
    "big5hkscs",
    "cp949",
    "euc_kr",
)
_WINDOWS = tuple(f"cp125{digit}" for digit in range(9))
_OTHERS = ("iso8859-2", "iso8859-5", "iso8859-7", "iso8859-9", "iso8859-15", "koi8-r", "koi8-u", "tis-620", "cp874")
_KNOWN = frozenset((*_ASIAN, *_WINDOWS, *_OTHERS))
_WESTERN = "cp1252"
_NO_LINE_ENDS = re.compile("[\x0b\x0c\x85\u2028\u2029]")  # such as the feed between two printed pages
_CONTROLS = bytes(code for code in range(32) if code not in b"\b\t\n\f\r\x1b") + b"\x7f"
_FEW_CONTROLS = 8
_BINARY_SHARE = 0.03  # compressed or random bytes hold 10 % of them
_SAMPLE = 200_000
_TRUST = 0.05  # below it chardet guesses; its answers for Western text lie between 0.05 and 0.2
_WARM_UP = (
    ("Die Rückerstattung beträgt 20 € und erfolgt über die Geschäftsstelle.", "cp1252"),
    ("Příliš žluťoučký kůň úpěl ďábelské ódy.", "cp1250"),
    ("Съешь же ещё этих мягких французских булок.", "cp1251"),
    ("日本語のテキストです。", "cp932"),
    ("这是一个中文文本。", "gb18030"),
)


def prepare() -> None:
    """Loads every codec and chardet's models: a fork of the zygote can open no file."""
    for name in (*_KNOWN, "iso8859-1", "ascii", *(name for _, name in _BOMS)):
        codecs.lookup(name)
    for text, encoding in _WARM_UP:
        _guess(text.encode(encoding))


def text_of(content: bytes, *, declared: str | None = None) -> str:
    """Clean text, with the lines that an editor counts.

    `declared` is the encoding that the document names; it is believed when UTF-8 does not fit. Raises Unreadable
    `damaged_document` for bytes that are no text.
    """
    for mark, encoding in _BOMS:
        if content.startswith(mark):
            return _clean(content[len(mark) :].decode(encoding, "replace"))
    if _is_binary(content):
        raise Unreadable("These bytes are not text.")
    try:
        return _clean(content.decode())
    except UnicodeDecodeError:
        return _clean(_decoded(content, declared))


def _clean(text: str) -> str:
    return clean(_NO_LINE_ENDS.sub(" ", text))


def _is_binary(content: bytes) -> bool:
    controls = len(content) - len(content.translate(None, _CONTROLS))
    return controls > max(_FEW_CONTROLS, _BINARY_SHARE * len(content))


def _decoded(content: bytes, declared: str | None) -> str:
    if declared and (encoding := _known(declared)):
        return content.decode(encoding, "replace")
    text = content.decode("utf-8", "replace")
    return text if _mostly_utf8(text) else content.decode(_guess(content[:_SAMPLE]), "replace")


def _known(encoding: str) -> str | None:
    try:
        name = codecs.lookup(encoding).name
    except (LookupError, ValueError, OSError):  # OSError: an odd codec that would have to be loaded from a file
        return None
    # Browsers read Latin-1 and ASCII as Windows-1252, and pages rely on it.
    return _WESTERN if name in {"iso8859-1", "ascii"} else name if name in _KNOWN else None


def _mostly_utf8(text: str) -> bool:
    """A few broken sequences among many good ones: a damaged UTF-8 file rather than another encoding."""
    foreign = len(text) - len(text.encode("ascii", "ignore"))
    broken = text.count("\ufffd")
    return foreign - broken > 4 * broken


def _guess(sample: bytes) -> str:
    found = chardet.detect(sample, encoding_era=chardet.EncodingEra.MODERN_WEB)
    name = _known(found["encoding"]) if found["encoding"] else None
    return name if name and found["confidence"] >= _TRUST else _WESTERN
