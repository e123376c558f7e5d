"""What an installation reads: each format with its endings, and what a citation of it can say about the place."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from carrel.adapters.parsers import media, texts

_OPEN_XML: Final = "application/vnd.openxmlformats-officedocument."
_OPEN_DOCUMENT: Final = "application/vnd.oasis.opendocument."
_PLACES: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType({
    media.PDF: ("page", "heading"),
    media.HTML: ("heading",),
    media.MARKDOWN: ("heading", "line"),
    media.PLAIN: ("line",),
    texts.RST: ("heading", "line"),
    texts.CSV: ("line",),
    texts.TSV: ("line",),
    texts.JSON: ("heading", "line"),
    texts.JSON_LINES: ("heading", "line"),
    texts.YAML: ("heading", "line"),
    texts.XML: ("heading", "line"),
    texts.SOURCE: ("heading", "line"),
    texts.NOTEBOOK: ("heading",),
    texts.MAIL: (),
    f"{_OPEN_XML}presentationml.presentation": ("slide", "heading"),
    f"{_OPEN_XML}spreadsheetml.sheet": ("sheet",),
    "application/vnd.ms-excel": ("sheet",),
    "application/vnd.ms-excel.sheet.binary.macroenabled.12": ("sheet",),
    f"{_OPEN_DOCUMENT}presentation": ("slide", "heading"),
    f"{_OPEN_DOCUMENT}spreadsheet": ("sheet",),
    "application/rtf": (),
    **dict.fromkeys(media.PICTURES.values(), ("page",)),
})  # fmt: skip
_HEADINGS: Final = ("heading",)
HOW_TO_RECOGNISE: Final = "pip install 'carrel[ocr]'; other languages: docs/formats.md"


@dataclass(frozen=True, slots=True)
class Format:
    """`places` are what a citation tells beside title and key; `missing` says how to get what would read it."""

    media_type: str
    endings: tuple[str, ...]
    places: tuple[str, ...]
    missing: str | None = None


def endings(*, pictures: bool) -> dict[str, str]:
    """Each file ending that is read, with its media type."""
    return {**media.SUPPORTED, **(media.PICTURES if pictures else {})}


def formats(*, pictures: bool) -> list[Format]:
    """`pictures` says that text recognition is installed. What is read comes first."""
    known: dict[str, list[str]] = {}
    for ending, media_type in endings(pictures=True).items():
        known.setdefault(media_type, []).append(ending)
    return [
        Format(
            media_type,
            tuple(found),
            _PLACES.get(media_type, _HEADINGS),
            HOW_TO_RECOGNISE if media_type in media.PICTURES.values() and not pictures else None,
        )
        for media_type, found in known.items()
    ]
