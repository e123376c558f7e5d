"""Texts and questions: the labelled sets where they are there, else words drawn by chance, and then rows say so."""

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Final

_SETS: Final = {"scifact": ".md", "clapnq": ".md", "codebase": ".txt"}
_SYLLABLES: Final = "ba ce di fo gu la me ni po ru sa te vi wo xu ka le mi no pu ra se ti vo zu".split()  # noqa: SIM905
_WORDS, _DOCUMENTS, _QUESTIONS = 20_000, 6_000, 1_000


@dataclass(frozen=True, slots=True)
class Text:
    """A file as somebody would upload it."""

    key: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Library:
    """`origin` says in a sentence where texts and questions come from."""

    texts: tuple[Text, ...]
    questions: tuple[str, ...]
    origin: str


def library(data: Path) -> Library:
    """Of all sets that are there, shuffled in a fixed order."""
    present = [name for name in _SETS if (data / name / "corpus.jsonl").exists()]
    if not present:
        return generated()
    texts = [text for name in present for text in _texts(data / name, ending=_SETS[name])]
    questions = [str(row["text"]) for name in present for row in _rows(data / name / "queries.jsonl")]
    order = random.Random(1)  # noqa: S311 - the same for every run, not secret
    order.shuffle(texts)
    order.shuffle(questions)
    return Library(tuple(texts), tuple(questions), f"texts and questions of {', '.join(present)}")


def generated(documents: int = _DOCUMENTS, questions: int = _QUESTIONS) -> Library:
    """Made-up words, the n-th as frequent as 1/n (Zipf), in made-up sentences."""
    chance = random.Random(2)  # noqa: S311 - the same for every run, not secret
    words = ["".join(chance.choices(_SYLLABLES, k=chance.randint(2, 4))) for _ in range(_WORDS)]
    weights = list(accumulate(1 / rank for rank in range(1, _WORDS + 1)))

    def sentence(length: int) -> str:
        return " ".join(chance.choices(words, cum_weights=weights, k=length)).capitalize()

    texts = (
        Text(f"generated/{number}.md", _markdown(sentence(5), ". ".join(sentence(14) for _ in range(4)) + "."))
        for number in range(documents)
    )
    asked = (sentence(9) + "?" for _ in range(questions))
    return Library(tuple(texts), tuple(asked), "texts and questions of words drawn by chance, since no set is there")


def _texts(folder: Path, *, ending: str) -> Iterator[Text]:
    for row in _rows(folder / "corpus.jsonl"):
        title, text = str(row["title"]), str(row["text"])
        content = _markdown(title, text) if ending == ".md" else text.encode()
        if text.strip():
            yield Text(f"{folder.name}/{row['id']}{ending}", content)


def _markdown(title: str, text: str) -> bytes:
    return f"# {title}\n\n{text}\n".encode()


def _rows(file: Path) -> Iterator[dict[str, object]]:
    with file.open("rb") as lines:
        for line in lines:
            yield json.loads(line)
