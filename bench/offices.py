"""Office files and web pages, each of several real texts, written by the libraries that others write them with."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from io import BytesIO
from types import MappingProxyType
from typing import Any, Final

import docx
import openpyxl
import pptx

from bench.texts import Text
from support.offices import an_odt

_CHAPTERS: Final = 5  # texts of a file
_UNSEEN: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")  # what XML does not take
_SENTENCE: Final = re.compile(r"(?<=[.!?])\s+")


@dataclass(frozen=True, slots=True)
class _Chapter:
    title: str
    text: str


def office_files(texts: Sequence[Text], *, most: int) -> list[Text]:
    """So many files, of every format in turn, no text in two of them; fewer if there are too few texts in Markdown."""
    chapters = [_chapter(text) for text in texts if text.key.endswith(".md")]
    files = [chapters[first : first + _CHAPTERS] for first in range(0, len(chapters), _CHAPTERS)][:most]
    endings = list(_WRITERS)
    return [_file(number, endings[number % len(endings)], own) for number, own in enumerate(files)]


def _chapter(text: Text) -> _Chapter:
    title, _, body = _UNSEEN.sub(" ", text.content.decode()).partition("\n")
    return _Chapter(title.lstrip("# ").strip() or "Untitled", body.strip())


def _file(number: int, ending: str, chapters: Sequence[_Chapter]) -> Text:
    return Text(f"office/{number}.{ending}", _WRITERS[ending](chapters))


def _docx(chapters: Sequence[_Chapter]) -> bytes:
    document = docx.Document()
    for chapter in chapters:
        document.add_heading(chapter.title, 1)
        document.add_paragraph(chapter.text)
    return _saved(document)


def _pptx(chapters: Sequence[_Chapter]) -> bytes:
    show: Any = pptx.Presentation()
    for chapter in chapters:
        slide = show.slides.add_slide(show.slide_layouts[1])
        slide.shapes.title.text = chapter.title
        slide.placeholders[1].text_frame.text = chapter.text
    return _saved(show)


def _xlsx(chapters: Sequence[_Chapter]) -> bytes:
    """A row for each sentence."""
    book: Any = openpyxl.Workbook()  # type: ignore[attr-defined, no-untyped-call]
    book.active.append(["Subject", "Finding"])
    for chapter in chapters:
        for sentence in _SENTENCE.split(chapter.text):
            book.active.append([chapter.title, sentence])
    return _saved(book)


def _odt(chapters: Sequence[_Chapter]) -> bytes:
    return an_odt(
        "".join(
            f'<text:h text:outline-level="1">{escape(chapter.title)}</text:h><text:p>{escape(chapter.text)}</text:p>'
            for chapter in chapters
        ),
        title=escape(chapters[0].title),
    )


def _html(chapters: Sequence[_Chapter]) -> bytes:
    body = "".join(f"<h1>{escape(chapter.title)}</h1><p>{escape(chapter.text)}</p>" for chapter in chapters)
    return f"<!DOCTYPE html><html><head><meta charset='utf-8'></head><body><main>{body}</main></body></html>".encode()


_WRITERS: Final[Mapping[str, Callable[[Sequence[_Chapter]], bytes]]] = MappingProxyType(
    {
        "docx": _docx,
        "pptx": _pptx,
        "xlsx": _xlsx,
        "odt": _odt,
        "html": _html,
    }
)


def _saved(document: Any) -> bytes:
    target = BytesIO()
    document.save(target)
    return target.getvalue()
