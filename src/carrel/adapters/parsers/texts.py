"""Which kind of text a document is: by what its first bytes say clearly, else by its name."""

import codecs
import re
from typing import Final

import orjson

from carrel.adapters.parsers import definitions, delimited
from carrel.domain.errors import Unreadable

MARKDOWN: Final = "text/markdown"
PLAIN: Final = "text/plain"
HTML: Final = "text/html"
RST: Final = "text/x-rst"
CSV: Final = "text/csv"
TSV: Final = "text/tab-separated-values"
JSON: Final = "application/json"
JSON_LINES: Final = "application/x-ndjson"
YAML: Final = "application/yaml"
XML: Final = "application/xml"
MAIL: Final = "message/rfc822"
NOTEBOOK: Final = "application/x-ipynb+json"
SOURCE: Final = "text/x-source"

ENDINGS: Final = {
    ".rst": RST, ".rest": RST,
    ".csv": CSV, ".tsv": TSV, ".tab": TSV,
    ".json": JSON, ".json5": JSON, ".jsonc": JSON, ".geojson": JSON, ".jsonld": JSON, ".webmanifest": JSON,
    ".jsonl": JSON_LINES, ".ndjson": JSON_LINES,
    ".yaml": YAML, ".yml": YAML,
    ".xml": XML, ".xsd": XML, ".xsl": XML, ".xslt": XML, ".rss": XML, ".atom": XML, ".wsdl": XML, ".plist": XML,
    ".dita": XML, ".docbook": XML, ".opml": XML, ".xliff": XML, ".xlf": XML, ".csproj": XML, ".pom": XML,
    ".eml": MAIL, ".mht": MAIL, ".mhtml": MAIL,
    ".ipynb": NOTEBOOK,
    **dict.fromkeys(definitions.ENDINGS, SOURCE),
}  # fmt: skip
SPOKEN: Final = {
    **{kind: kind for kind in (RST, CSV, TSV, JSON, JSON_LINES, YAML, XML, MAIL, NOTEBOOK, SOURCE)},
    "application/csv": CSV, "text/json": JSON, "application/ld+json": JSON, "application/geo+json": JSON,
    "application/jsonl": JSON_LINES, "text/yaml": YAML, "text/x-yaml": YAML, "application/x-yaml": YAML,
    "text/xml": XML, "application/rss+xml": XML, "application/atom+xml": XML, "text/prs.fallenstein.rst": RST,
    "text/x-python": SOURCE, "text/x-script.python": SOURCE, "text/javascript": SOURCE, "text/css": SOURCE,
    "application/javascript": SOURCE, "application/toml": SOURCE, "application/sql": SOURCE, "text/x-sql": SOURCE,
    "text/x-c": SOURCE, "text/x-java": SOURCE, "text/x-go": SOURCE, "text/x-shellscript": SOURCE,
    "application/x-sh": SOURCE,
}  # fmt: skip

_WIDE: Final = (
    (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"), (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"), (codecs.BOM_UTF8, "utf-8-sig"),
)  # fmt: skip
_HEAD: Final = 4_096  # what is shorter is the whole document
# Possessive: a server judges these bytes before any sandbox does, so nothing may be tried twice.
_PROLOG: Final = r"(?:<\?xml[^>]{0,200}>|<!--(?:(?!-->).){0,2000}+-->|\s){0,50}+"
_HTML: Final = re.compile(rf"{_PROLOG}(?:<!doctype\s+html\b|<html[\s>])", re.IGNORECASE | re.DOTALL)
_XML: Final = re.compile(r"<\?xml\s")
_OBJECT: Final = re.compile(r'\{\s*(?:"(?:[^"\\\n]|\\.)*"\s*:|\})')
_ARRAY: Final = re.compile(r'\[\s*(?:\{\s*"|\[\s*[\["{\d-]|"(?:[^"\\\n]|\\.)*"\s*[,\]])')
_NOTEBOOK: Final = re.compile(r'"nbformat"\s*:|"cell_type"\s*:')
_FIELD: Final = re.compile(r"([A-Za-z][A-Za-z-]{1,40}):[ \t]?")
_MAIL_FIELDS: Final = frozenset({
    "from", "to", "cc", "subject", "date", "received", "message-id", "mime-version", "return-path", "delivered-to",
    "content-type", "reply-to", "dkim-signature", "x-mailer",
})  # fmt: skip
_POSTMARKS: Final = frozenset({"date", "received", "message-id", "mime-version", "return-path", "delivered-to"})
_LEAST_FIELDS: Final = 3
_LEAST_ROWS: Final = 4
_LEAST_COLUMNS: Final = 3
_LONGEST_CELL: Final = 60  # on average: sentences with commas are longer
_SETTINGS: Final = re.compile(
    r"(?:%YAML\b|---[ \t]*(?:#[^\n]*)?\n(?:#[^\n]*+\n|\s)*+[\w.-]{1,60}:(?:[ \t]|\n)(?!(?:.*\n)*?---[ \t]*\n))"
)
_SAME: Final = {(JSON_LINES, JSON), (NOTEBOOK, JSON)}  # claimed, found: the same bytes


def judged(claimed: str | None, head: bytes) -> str:
    """`claimed` by ending or declaration, None for nothing that we know."""
    text = _text(head)
    found = _clear(text, whole=len(head) < _HEAD)
    if found and (claimed, found) not in _SAME:
        return found
    if claimed in {None, PLAIN} and _is_table(text, whole=len(head) < _HEAD):
        return CSV
    return claimed or _guessed(text)


def _text(head: bytes) -> str:
    encoding = next((name for mark, name in _WIDE if head.startswith(mark)), "utf-8")
    return head.decode(encoding, "replace").lstrip("\ufeff \t\r\n").replace("\r\n", "\n")


def _clear(text: str, *, whole: bool) -> str | None:
    if _HTML.match(text):
        return HTML
    if _XML.match(text):
        return XML
    if text.startswith(("{", "[")):
        return _json(text, whole=whole)
    return MAIL if _is_mail(text) else None


def _json(text: str, *, whole: bool) -> str | None:
    first, _, second = text.partition("\n")
    if _is_json(first) and _OBJECT.match(first) and _OBJECT.match(second):
        return JSON_LINES
    if whole and not _is_json(text):
        return None
    if not (_OBJECT.match(text) or _ARRAY.match(text)):
        return None
    return NOTEBOOK if text.startswith("{") and _NOTEBOOK.search(text) else JSON


def _is_json(text: str) -> bool:
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return True


def _is_mail(text: str) -> bool:
    """Several fields that letters have, one of them made on its way."""
    seen = set()
    for line in text.split("\n"):
        field = _FIELD.match(line)
        if field:
            seen.add(field[1].lower())
        elif not line.startswith((" ", "\t")):
            break
    return len(seen & _MAIL_FIELDS) >= _LEAST_FIELDS and bool(seen & _POSTMARKS) and bool(seen & {"from", "received"})


def _is_table(text: str, *, whole: bool) -> bool:
    lines = text.split("\n") if whole else text.split("\n")[:-1]
    filled = [line for line in lines if line.strip()]
    if len(filled) < _LEAST_ROWS or text.startswith("|"):
        return False
    try:
        most = max(
            (delimited.columns_of("\n".join(filled), delimiter) for delimiter in delimited.DELIMITERS), default=0
        )
    except Unreadable:  # as a log whose progress bar goes back to the line's beginning
        return False
    return most >= _LEAST_COLUMNS and sum(map(len, filled)) / len(filled) / most < _LONGEST_CELL


def _guessed(text: str) -> str:
    if text.startswith(("#!", "<?php")):
        return SOURCE
    return YAML if _SETTINGS.match(text) else PLAIN
