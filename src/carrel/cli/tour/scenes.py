"""How the tour looks: calm tables that fit 100 columns."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from carrel.cli.progress import Rate
from carrel.cli.terminal import plain
from carrel.cli.tour.visit import Guest, Wall

Body = Mapping[str, Any]


class Stage:
    def __init__(self, console: Console) -> None:
        self._console = console

    def title(self, text: str) -> None:
        self._console.print()
        self._console.print(Rule(Text(text, style="bold"), align="left", style="dim"))

    def line(self, text: RenderableType = "") -> None:
        self._console.print(text)

    @contextmanager
    def bars(self, arrived: Sequence[Guest]) -> Iterator[Mapping[str, "Bar"]]:
        """A bar for each organisation, by slug."""
        columns = (
            TextColumn("{task.description:<20}"),
            BarColumn(bar_width=32),
            MofNCompleteColumn(),
            Rate(),
            TextColumn("{task.fields[failed]} failed"),
        )
        with Progress(*columns, console=self._console) as progress:
            yield {guest.organisation.slug: Bar(progress, guest) for guest in arrived}

    def answers(self, question: str, arrived: Sequence[Guest], answers: Mapping[str, Body]) -> None:
        grid = Table(*(guest.name for guest in arrived), box=SIMPLE_HEAD, pad_edge=False, expand=True)
        for column in grid.columns:
            column.ratio = 1
        given = [answers[guest.organisation.slug] for guest in arrived]
        grid.add_row(*(Text(plain(answer["answer"])) for answer in given))
        grid.add_row(*(_sources(answer) for answer in given))
        self._console.print()
        self._console.print(Text(f"Q  {question}", style="bold"))
        self._console.print(grid)

    def refusal(self, guest: Guest, question: str, answer: Body) -> None:
        self._console.print(Text(f"Q  {question}   ({guest.name})", style="bold"))
        self._console.print(Text(plain(answer["answer"])))
        for line in answer["guidance"]:
            self._console.print(Padding(Text(f"- {plain(line)}"), (0, 0, 0, 2)))

    def wall(self, owner: Guest, stranger: Guest, wall: Wall) -> None:
        self._console.print(f"The document {wall.key} belongs to {owner.name}.")
        grid = Table.grid(padding=(0, 2))
        grid.add_row(f"{owner.name}'s key", f"GET /v1/documents/…   {wall.owner}")
        grid.add_row(f"{stranger.name}'s key", f"GET /v1/documents/…   {wall.stranger[0]}")
        same = "the same, byte for byte" if wall.stranger == wall.absent else "something else"
        grid.add_row(f"{stranger.name}'s key", f"GET a document that never was   {wall.absent[0]}, {same}")
        self._console.print(Padding(grid, (0, 0, 0, 2)))

    def keys(self, arrived: Sequence[Guest], url: str, question: str) -> None:
        for guest in arrived:
            self._console.print(f"export {guest.organisation.slug.upper()}={guest.key}", soft_wrap=True)
        first = arrived[0].organisation.slug
        self._console.print()
        for line in _lines_to_try(url, first, question):
            self._console.print(line, soft_wrap=True)


class Bar:
    """How far one organisation's documents are. `begin` it, then call it once for each document that has landed."""

    def __init__(self, progress: Progress, guest: Guest) -> None:
        self._progress = progress
        self._failed = 0
        self._task = progress.add_task(guest.name, total=len(guest.organisation.documents), start=False, failed=0)

    def begin(self) -> None:
        self._progress.start_task(self._task)

    def __call__(self, document: Body) -> None:
        self._failed += document["status"] == "failed"
        self._progress.update(self._task, advance=1, failed=self._failed)


def _lines_to_try(url: str, slug: str, question: str) -> tuple[str, ...]:
    credential = f'-H "Authorization: Bearer ${slug.upper()}"'
    return (
        f"curl -s {url}/v1/chat {credential} \\",
        f"     -H 'Content-Type: application/json' -d '{{\"message\": \"{question}\"}}'",
        f"curl -s {url}/v1/documents {credential}",
        f'carrel ask "{question}" --tenant {slug}',
    )


def _sources(answer: Body) -> Text:
    lines = [f"[{one['n']}] {plain(' > '.join(_path(one)))}" for one in answer["citations"]]
    return Text("\n".join(lines), style="dim")


def _path(citation: Body) -> list[str]:
    headings = [heading for heading in citation["heading_path"] if heading != citation["title"]]
    return [citation["title"], *headings]
