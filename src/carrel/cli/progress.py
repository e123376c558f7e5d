"""A calm progress bar on stderr: how far, how fast, how many failed."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn
from rich.text import Text

from carrel.cli.deliveries import Landing
from carrel.cli.terminal import err


class Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        rate = task.completed / task.elapsed if task.elapsed else 0.0
        return Text(f"{rate:5.1f}/s", style="dim")


@contextmanager
def following(total: int, title: str = "Ingesting") -> Iterator[Callable[[Landing], None]]:
    """Call what it gives once for each document that has landed."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        Rate(),
        TextColumn("{task.fields[failed]} failed"),
    )
    with Progress(*columns, console=err()) as progress:
        task = progress.add_task(title, total=total, failed=0)
        failed = 0

        def landed(landing: Landing) -> None:
            nonlocal failed
            failed += not landing.is_good
            progress.update(task, advance=1, failed=failed)

        yield landed


@contextmanager
def counting(total: int, title: str) -> Iterator[Callable[[], None]]:
    """Call what it gives once for each thing that is done."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Rate())
    with Progress(*columns, console=err()) as progress:
        task = progress.add_task(title, total=total)
        yield lambda: progress.update(task, advance=1)
