"""Which files a path names: those that Carrel reads, each with its key, and those that it leaves out."""

import os
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class File:
    """`key` is the name under which it lives in its source."""

    path: Path
    key: str


@dataclass(slots=True)
class Pile:
    """`skipped` are files of a kind that Carrel does not read; hidden ones are not even counted."""

    files: list[File] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)


def gather(paths: Iterable[Path], endings: Container[str]) -> Pile:
    """A file by its name; a folder with all below it, by the path within the folder, in a stable order."""
    pile = Pile()
    for path in paths:
        if not path.is_dir():
            pile.files.append(File(path, path.name))
            continue
        for found in sorted(_walk(path)):
            key = found.relative_to(path).as_posix()
            if found.suffix.lower() in endings:
                pile.files.append(File(found, key))
            else:
                pile.skipped.append(key)
    return pile


def _walk(root: Path) -> Iterator[Path]:
    """Regular files that are not hidden. A link is followed to a file inside the folder, and never to a folder."""
    within = root.resolve()
    for parent, folders, names in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            path = Path(parent) / name
            if name.startswith(".") or not path.is_file():
                continue
            if path.is_symlink() and not path.resolve().is_relative_to(within):
                continue
            yield path
