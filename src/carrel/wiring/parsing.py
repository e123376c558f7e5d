"""Which parsers read the documents, and whether text in pictures is recognised."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

from carrel.adapters.parsers import formats as catalogue
from carrel.adapters.parsers import ocr
from carrel.adapters.parsers.formats import Format
from carrel.adapters.parsers.media import media_type_of
from carrel.adapters.parsers.ocr import Ocr
from carrel.ingest.upload import JudgeType
from carrel.settings import Settings
from carrel.wiring.home import SettingsError

if TYPE_CHECKING:
    from carrel.adapters.parsers.sandbox import SandboxedParser
    from carrel.adapters.parsers.scans import ScanningParser


def recognition(settings: Settings) -> Ocr | None:
    """Text recognition, where the extra is installed and has its languages. Raises SettingsError."""
    try:
        return ocr.found(settings.ocr.data, settings.ocr.languages)
    except ValueError as error:
        raise SettingsError(f"CARREL_OCR__DATA: {error}.") from error


def judge_type(settings: Settings) -> JudgeType:
    """How a document's kind is found out. Raises SettingsError."""
    return partial(media_type_of, pictures=recognition(settings) is not None)


def formats(settings: Settings) -> list[Format]:
    """What this installation reads, and what it would read with an extra. Raises SettingsError."""
    return catalogue.formats(pictures=recognition(settings) is not None)


def endings(settings: Settings) -> Mapping[str, str]:
    """Which file endings Carrel reads, each with its media type. Raises SettingsError."""
    return catalogue.endings(pictures=recognition(settings) is not None)


@asynccontextmanager
async def parsing(settings: Settings) -> AsyncIterator["SandboxedParser | ScanningParser"]:
    from carrel.adapters.parsers.sandbox import SCANS, SandboxedParser
    from carrel.adapters.parsers.scans import ScanningParser

    memory, seconds = settings.parser.memory_mb << 20, settings.parser.seconds
    in_hand = settings.worker.concurrency + 1  # with the newcomer's place
    texts = SandboxedParser(memory=memory, seconds=seconds, wall=seconds * 1.5, at_once=in_hand)
    parser: SandboxedParser | ScanningParser = texts
    if found := recognition(settings):
        patience = settings.ocr.seconds
        scans = SandboxedParser(
            memory=memory,
            seconds=patience,
            wall=patience * 1.5,
            at_once=settings.ocr.at_once,
            formats=SCANS,
            ocr=found,
        )
        parser = ScanningParser(texts, scans)
    try:
        yield parser
    finally:
        await parser.close()
