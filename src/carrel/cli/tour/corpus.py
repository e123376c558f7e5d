"""What the demo brings: three organisations' documents, and questions with what an answer must hold."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Final

from carrel.cli.files import File, gather

if TYPE_CHECKING:
    from carrel.evaluate.facts import Organisation as LabelledOrganisation

ORGANISATIONS: Final = {
    "forgecraft": "Forgecraft Supply",
    "roadkeep": "Roadkeep Fleet",
    "northbeam": "Northbeam Creative",
}
MEDIA_TYPES: Final = {".md": "text/markdown", ".html": "text/html", ".txt": "text/plain"}
_ASKED: Final = (
    "Which port does the payment service listen on?",
    "What caused the March outage?",
    "How many times does the payment service retry a failed capture?",
)
_REFUSED: Final = "What is the office wifi password?"


@dataclass(frozen=True, slots=True)
class Organisation:
    """`slug` is its folder's name too."""

    slug: str
    name: str
    documents: tuple[File, ...]


@dataclass(frozen=True, slots=True)
class SharedQuestion:
    """`expects` holds, by slug, words that the answer must contain."""

    text: str
    expects: Mapping[str, str]


def organisations() -> list[Organisation]:
    folder = _folder()
    return [
        Organisation(slug, name, tuple(gather([folder / slug], MEDIA_TYPES).files))
        for slug, name in ORGANISATIONS.items()
    ]


def labelled() -> "list[LabelledOrganisation]":
    """With all the questions of which the answer is known, for an evaluation."""
    from carrel.evaluate.facts import load_organisations

    return load_organisations(_folder(), list(ORGANISATIONS))


def shared_questions() -> list[SharedQuestion]:
    written = json.loads((_folder() / "questions.json").read_text(encoding="utf-8"))
    known = {one["question"]: one["expects"] for one in written["shared"]}
    return [SharedQuestion(text, known[text]) for text in _ASKED]


def refused_question() -> str:
    """One that no document answers."""
    return _REFUSED


def _folder() -> Path:
    return Path(str(files("carrel.cli"))) / "demo"
