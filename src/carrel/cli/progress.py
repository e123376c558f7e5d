"""A calm progress bar on stderr: how far, how fast, how many failed."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
)
from rich.text import Text

from carrel.cli.deliveries import Landing
from carrel.cli.terminal import err
from carrel.domain.library import Document, DocumentStatus, Source

_LONGEST: Final = 40


class Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        rate = task.completed / task.elapsed if task.elapsed else 0.0
        return Text(f"{rate:5.1f}/s", style="dim")


class Following:
    """The bar, and beside it how far the document is that was looked at last."""

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress = progress
        self._task = task
        self._failed = 0

    def landed(self, landing: Landing) -> None:
        """Once for each document."""
        self._failed += not landing.is_good
        self._progress.update(self._task, advance=1, failed=self._failed, now="")

    def show(self, document: Document) -> None:
        if document.status is DocumentStatus.PROCESSING:
            name = document.key if len(document.key) <= _LONGEST else f"…{document.key[-_LONGEST:]}"
            self._progress.update(self._task, now=f"{name}: {document.stage} {document.percent} %")


@contextmanager
def following(total: int, title: str = "Ingesting") -> Iterator[Following]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        Rate(),
        TextColumn("{task.fields[failed]} failed"),
        TextColumn("{task.fields[now]}", style="dim", markup=False),
    )
    with Progress(*columns, console=err()) as progress:
        yield Following(progress, progress.add_task(title, total=total, failed=0, now=""))


@contextmanager
def walking(name: str) -> Iterator[Callable[[Source], None]]:
    """Call what it gives with the source now and then."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TextColumn("{task.fields[told]}"))
    with Progress(*columns, console=err()) as progress:
        task = progress.add_task(f"Refreshing {name}", total=None, told="")

        def tell(source: Source) -> None:
            run = source.last_run
            found = f"{run.counts.found} found, {run.counts.failed} failed" if run else "waiting for a worker"
            waiting = source.documents[DocumentStatus.PENDING] + source.documents[DocumentStatus.PROCESSING]
            progress.update(task, told=f"{found}, {waiting} documents waiting")

        yield tell


@contextmanager
def counting(total: int, title: str) -> Iterator[Callable[[], None]]:
    """Call what it gives once for each thing that is done."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Rate())
    with Progress(*columns, console=err()) as progress:
        task = progress.add_task(title, total=total)
        yield lambda: progress.update(task, advance=1)
