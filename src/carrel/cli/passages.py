"""Passages and answers as people read them at a terminal."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from carrel.cli.terminal import plain
from carrel.domain.answers import AnswerStatus, Citation, Passage, Remembered

if TYPE_CHECKING:
    from carrel.ask.across import FoundAcross
    from carrel.ask.pipeline import Found

_EXCERPT: Final = 400
_INDENT: Final = (0, 0, 0, 4)


def readable_hits(found: "Found | FoundAcross") -> RenderableType:
    """Numbered passages: where each stands, how good it is, and how it begins; and which tenants did not answer."""
    missed = [Text(f"Not searched: {one.tenant} ({one.code})", style="bold") for one in getattr(found, "partial", ())]
    if not found.hits:
        return Group(Text("Nothing was found."), *missed)
    parts = [*(_hit(number, passage) for number, passage in enumerate(found.hits, 1)), *missed]
    return Group(*parts, Text(f"{len(found.hits)} passages in {found.took_ms:.0f} ms", style="dim"))


def beside_the_text(remembered: Remembered) -> RenderableType:
    """Behind an answer that was shown already: what it cites, what to doubt, how to ask better, how to go on."""
    answer, parts = remembered.answer, list[RenderableType]([Text(), Text()])
    if answer.status is not AnswerStatus.REFUSED:
        parts.extend(_citation(citation) for citation in answer.citations)
    if answer.problem is not None:
        parts.append(Text(f"{plain(answer.problem.detail)} ({answer.problem.code})", style="bold"))
    if answer.unsupported:
        parts.append(Text("Not borne out by these documents:", style="bold"))
    goes_on = Text(f"To go on: --chat {remembered.chat}", style="dim")
    return Group(*parts, *_guidance(answer.unsupported), *_guidance(answer.guidance), goes_on)


def place_of(passage: Passage) -> Text:
    """`Title > Heading, page 3` or `Title > Heading, line 12`."""
    headings = [heading for heading in passage.heading_path if heading != passage.title]
    page = f", page {passage.page}" if passage.page is not None else ""
    line = f", line {passage.line}" if passage.line is not None else ""
    place = Text(plain(passage.title), style="bold")
    return place.append(plain("".join(f" > {heading}" for heading in headings) + page + line), style="not bold")


def shortened(text: str, most: int = _EXCERPT) -> str:
    """On one line, cut between words."""
    line = " ".join(plain(text).split())
    return line if len(line) <= most else line[:most].rsplit(" ", 1)[0] + " …"


def _hit(number: int, passage: Passage) -> RenderableType:
    head = Text(f"{number:>2}. ").append(place_of(passage))
    value = f"{plain(passage.key)}   score {passage.score:.3f}   confidence {passage.confidence:.2f}"
    body = Group(Text(value, style="dim"), Text(shortened(passage.text)), Text())
    return Group(head, Padding(body, _INDENT))


def _citation(citation: Citation) -> RenderableType:
    head = Text(f"[{citation.n}] ").append(place_of(citation.passage))
    body = Group(Text(plain(citation.passage.key), style="dim"), Text(shortened(citation.excerpt)), Text())
    return Group(head, Padding(body, _INDENT))


def _guidance(lines: Sequence[str]) -> Iterator[RenderableType]:
    for line in lines:
        yield Text(f"- {plain(line)}")
