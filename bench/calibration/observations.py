"""What is seen when a question with a known answer is asked of a tenant: features and labels, and nothing else.

A question is asked of its own set's documents and of every other set's, where nothing answers it.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from carrel.domain.keys import document_key
from carrel.evaluate.sets import LabelledSet, SetQuery

Kind = Literal["answerable", "near", "far"]
"""Whether the documents answer it; if not, whether they are about the same things."""


@dataclass(frozen=True, slots=True)
class Observation:
    """`features` of the passages in their order, `right` where a passage is of a document that answers.

    `tenant` is the family of sets whose documents were asked, `asked` the one that the question is from.
    """

    tenant: str
    asked: str
    question: str
    kind: Kind
    features: tuple[tuple[float, ...], ...]
    right: tuple[bool, ...]


@dataclass(frozen=True, slots=True)
class Shelf:
    """A set with the family that it belongs to: sets of one family are about the same things."""

    labelled: LabelledSet
    family: str

    def answering(self, query: SetQuery) -> frozenset[str]:
        """The keys of the documents that answer it; for another set's question, if it is word for word one of these."""
        if query.answerable is False or query not in self.labelled.queries:
            return frozenset()
        relevant = self.labelled.relevant(query.id)
        return frozenset(document_key(one.key) for one in self.labelled.corpus if one.id in relevant)


def kind_of(shelf: Shelf, asked: Shelf, query: SetQuery) -> Kind:
    if shelf.answering(query):
        return "answerable"
    return "near" if shelf.family == asked.family else "far"


def spread(queries: Sequence[SetQuery], most: int) -> list[SetQuery]:
    """At most so many, evenly from all."""
    return [queries[place * len(queries) // most] for place in range(most)] if len(queries) > most else list(queries)


def keep(observations: Iterable[Observation], path: Path) -> None:
    path.write_text("".join(json.dumps(asdict(one)) + "\n" for one in observations), "utf-8")


def kept(path: Path) -> list[Observation]:
    """Raises OSError, and ValueError or TypeError for a file of another form."""
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    return [
        Observation(**{**row, "features": tuple(map(tuple, row["features"])), "right": tuple(row["right"])})
        for row in rows
    ]
