"""Files that were made to do harm. They are built when they are needed: some are large, and none is stored."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from support.evil import archives, books, data, documents, html, markdown, markups, names, pdf, text, workbooks


@dataclass(frozen=True)
class EvilFile:
    """`name` says what is evil about it, `key` is the file name under which it is sent."""

    name: str
    key: str
    make: Callable[[], bytes]


OFFICE: Final = (
    ("archive", "docx", archives.EVIL),
    ("xml", "docx", markups.EVIL),
    ("docx", "docx", documents.DOCX),
    ("pptx", "pptx", documents.PPTX),
    ("xlsx", "xlsx", workbooks.XLSX),
    ("xls", "xls", workbooks.XLS),
    ("ods", "ods", workbooks.ODS),
    ("odt", "odt", workbooks.ODT),
    ("epub", "epub", books.EPUB),
    ("rtf", "rtf", books.RTF),
)


def every_evil_file() -> Iterator[EvilFile]:
    for ending, files in {"pdf": pdf.EVIL, "html": html.EVIL, "md": markdown.EVIL, "txt": text.EVIL}.items():
        for name, make in files.items():
            yield EvilFile(f"{ending}: {name}", f"{ending}/{name}.{ending}", make)
    for ending, files in {
        "csv": data.CSV,
        "json": data.JSON,
        "yaml": data.YAML,
        "xml": data.XML,
        "eml": data.MAIL,
        "rst": data.RST,
        "ipynb": data.NOTEBOOK,
        "py": data.CODE,
    }.items():
        for name, make in files.items():
            yield EvilFile(f"{ending}: {name}", f"{ending}/{name}.{ending}", make)
    for folder, ending, office in OFFICE:
        for name, make in office.items():
            yield EvilFile(f"{folder}: {name}", f"{folder}/{name}.{ending}", make)
    for name, (key, make) in {**names.EVIL, **data.LYING}.items():
        yield EvilFile(f"name: {name}", key, make)
