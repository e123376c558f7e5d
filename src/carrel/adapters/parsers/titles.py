"""Which titles in a document's properties were meant by a person."""

import re
from typing import Final

from carrel.adapters.parsers.characters import clean, squeezed

_WORD: Final = re.compile(r"[^\W\d_]{3}|[^\x00-\u2fff]{2}")
_MADE: Final = re.compile(
    r"^Microsoft \w+ - |\.(?:docx?|pdf|xlsx?|pptx?|indd|tex|rtf|od[tsp])$|^untitled|"
    r"^(?:PowerPoint|Word|Excel)[ -](?:presentation|präsentation|document|dokument|workbook)$|^(?:Slide|Folie) \d+$",
    re.IGNORECASE,
)


def sensible(title: str | None) -> str | None:
    """The title that the author gave, unless it is a file's name, a number, or what a program writes by itself."""
    name = squeezed(clean(title or ""))
    return name if _WORD.search(name) and not _MADE.search(name) else None
