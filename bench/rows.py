"""What a bench finds out: rows with the number that is to hold, and whether it held."""

from dataclasses import dataclass
from typing import Literal

Verdict = Literal["held", "missed", "told"]


@dataclass(frozen=True, slots=True)
class Row:
    """`hold` is the promise in words, empty where the number is only told; `note` is what a reader must know of it."""

    name: str
    measured: str
    hold: str = ""
    held: bool | None = None
    note: str = ""

    @property
    def verdict(self) -> Verdict:
        if self.held is None:
            return "told"
        return "held" if self.held else "missed"
