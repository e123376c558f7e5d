"""Which sets are measured, and whose questions each of them cannot answer. An absent set is named and left out."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

from carrel.evaluate.sets import LabelledSet, load_set

SCIFACT, CLAPNQ, CODEBASE = "scifact", "clapnq", "codebase"
RUNBOOKS: Final = ("runbooks/openshift", "runbooks/prometheus")
SETS: Final = (SCIFACT, CLAPNQ, CODEBASE, *RUNBOOKS)
FOREIGN: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {SCIFACT: RUNBOOKS, **dict.fromkeys(RUNBOOKS, (SCIFACT,))},
)


@dataclass(frozen=True, slots=True)
class Shelves:
    """By the name of the set's folder within the data."""

    present: Mapping[str, LabelledSet]
    absent: tuple[str, ...]

    def foreign_to(self, name: str) -> list[LabelledSet]:
        return [self.present[other] for other in FOREIGN.get(name, ()) if other in self.present]


def open_shelves(data: Path, *, limit: int | None) -> Shelves:
    """With no more than `limit` questions of each set. Raises BadSet for a set that is there and cannot be used."""
    present = {}
    for name in SETS:
        if (data / name).is_dir():
            labelled = load_set(data / name)
            present[name] = labelled.sampled(limit) if limit else labelled
    return Shelves(MappingProxyType(present), tuple(name for name in SETS if name not in present))
