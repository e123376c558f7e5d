"""What every row is given: where the data lies, where the results go, and a place for homes of its own."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Bench:
    """`quick` asks for a run of a minute or so that exercises the same code; its numbers are only told, never held."""

    results: Path
    data: Path
    scratch: Path
    quick: bool = False

    def home(self, name: str) -> Path:
        """A CARREL_HOME that nobody has used, gone with the row."""
        home = self.scratch / name
        home.mkdir(mode=0o700, parents=True)
        return home

    def pick(self, full: T, quick: T) -> T:
        """The one of two sizes that this run asks for."""
        return quick if self.quick else full


@contextmanager
def a_bench(results: Path, data: Path, *, quick: bool = False) -> Iterator[Bench]:
    """For one row. Raises OSError when the results cannot be written."""
    results.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix="carrel-bench-", ignore_cleanup_errors=True) as scratch:
        yield Bench(results, data, Path(scratch), quick)
