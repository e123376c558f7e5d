"""What a command says: answers on stdout, everything else on stderr, with `--json` one value and nothing more."""

import json
import sys
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from carrel.domain.errors import NotFound, Refusal

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

WIDTH: Final = 100
REFUSED: Final = 1
USAGE: Final = 2
INTERRUPTED: Final = 130

_IDS: Final = frozenset({"id", "bot", "member"})  # columns: an id that is cut in two cannot be copied


class Absent(NotFound):
    """At the machine's own terminal nothing needs to be hidden, so the sentence says what is not there."""

    def __init__(self, detail: str) -> None:
        Refusal.__init__(self, detail)


def out() -> "Console":
    return _console(stderr=False)


def err() -> "Console":
    return _console(stderr=True)


def note(sentence: str) -> None:
    """For the person, never for a program that reads stdout."""
    sys.stderr.write(f"{sentence}\n")
    sys.stderr.flush()


def say(value: object, readable: "RenderableType", *, as_json: bool) -> None:
    """A command's answer: `value` for programs or `readable` for people."""
    if as_json:
        say_json(value)
    else:
        out().print(readable, soft_wrap=isinstance(readable, str))  # a key that is broken over two lines is dead


def say_piece(text: str) -> None:
    """A piece of a text that is being written, for people."""
    sys.stdout.write(plain(text))
    sys.stdout.flush()


def say_json(value: object) -> None:
    text = json.dumps(value, ensure_ascii=False, indent=2, default=_plain_value)
    sys.stdout.write(text.encode("utf-8", "replace").decode() + "\n")  # a file name need not be UTF-8; JSON must be
    sys.stdout.flush()


def say_refusal(refusal: Refusal, *, as_json: bool) -> None:
    note(f"error: {plain(refusal.detail)} ({refusal.code})")
    if as_json:
        say_json({"error": {"code": refusal.code, "detail": refusal.detail}})


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, title: str | None = None) -> "RenderableType":
    """Rows as people read them; an empty table says so."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    grid = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    whole = next((column for column in columns if column in _IDS), None)
    for column in columns:
        grid.add_column(column, no_wrap=column == whole)
    for row in rows:
        grid.add_row(*(Text(_cell(value), overflow="fold") for value in row))
    return grid if grid.row_count else Text("Nothing is there yet.")


def plain(text: str) -> str:
    """Without control characters: a document must not be able to steer the reader's terminal."""
    kept = (character if _is_printable(character) else " " for character in text)
    return "".join(kept)


def _is_printable(character: str) -> bool:
    return character in "\n\t" or unicodedata.category(character) not in {"Cc", "Cf", "Cs"}


def _cell(value: object) -> str:
    match value:
        case None:
            return "-"
        case datetime():
            return value.astimezone().strftime("%Y-%m-%d %H:%M")
        case _:
            return plain(str(value))


def _plain_value(value: object) -> Any:
    match value:
        case datetime():
            return value.isoformat()
        case Mapping():
            return dict(value)
        case frozenset() | set():
            return sorted(value)
        case _:
            return str(value)


def _console(*, stderr: bool) -> "Console":
    from rich.console import Console

    console = Console(stderr=stderr, highlight=False, markup=False, emoji=False)
    console.width = min(console.width, WIDTH) if console.is_terminal else WIDTH
    return console
