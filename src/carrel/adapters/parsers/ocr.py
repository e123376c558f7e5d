"""Text recognition, the extra `ocr`: whether this installation has it, and for which languages."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final

OFF: Final = "none"
_DEBIAN: Final = Path("/usr/share/tesseract-ocr")
_OTHERS: Final = (Path(sys.prefix) / "share" / "tessdata", Path("/usr/share/tessdata"))


@dataclass(frozen=True, slots=True)
class Ocr:
    """`folder` holds the `.traineddata` of each of the `languages`, which Tesseract writes with a plus between them."""

    folder: str
    languages: str


def found(folder: Path | None, languages: str) -> Ocr | None:
    """None when it is turned off, without the extra or, where no folder is named, without the data of all languages.

    Raises ValueError with the reason for a named folder that cannot serve.
    """
    has_engine = find_spec("tesserocr") is not None
    if languages == OFF:
        return None
    if folder is None:
        usual = next((one for one in _usual() if not _missing(one, languages)), None) if has_engine else None
        return Ocr(str(usual), languages) if usual else None
    if not has_engine:
        raise ValueError("it is of no use without the extra carrel[ocr], which is not installed")
    if missing := _missing(folder, languages):
        raise ValueError(f"{folder} holds no {missing}.traineddata")
    return Ocr(str(folder), languages)


def _usual() -> Iterator[Path]:
    """Where Debian's packages and those of PyPI put it."""
    yield from sorted(_DEBIAN.glob("*/tessdata"), reverse=True)
    yield from _OTHERS


def _missing(folder: Path, languages: str) -> str | None:
    names = languages.split("+")
    return next((name for name in names if not (folder / f"{name}.traineddata").is_file()), None)
