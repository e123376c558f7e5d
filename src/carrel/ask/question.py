"""A question, made ready for both legs of retrieval."""

import re
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Final

from carrel.domain.errors import Invalid, Unavailable
from carrel.domain.filters import AllOf, AnyOf, Clause, Comparing, Filter, Filters, demand_bounded
from carrel.domain.library import Generation
from carrel.domain.text import Term
from carrel.ports.embedder import Embedder, Vector
from carrel.ports.lexical import Analyzer

LONGEST: Final = 8_000
MOST_HITS: Final = 100
# KubePodCrashLooping, payment_service, config.yaml, Mutex::lock: what somebody copied from a system, not wrote himself.
# Of each only the joint: what is as long as it likes would be sought anew from every letter of a long word.
_IDENTIFIER: Final = re.compile(r"[a-z][A-Z]|[^\W_]_\w|[^\W_]::\w|[^\W_]{2}\.[a-z]{1,4}\b")


@dataclass(frozen=True, slots=True)
class Question:
    text: str
    terms: tuple[Term, ...]
    vector: Vector = field(repr=False, compare=False)

    @property
    def names_something(self) -> bool:
        """Whether it holds an identifier: then words tell more than meaning does."""
        return _IDENTIFIER.search(self.text) is not None


class Asker:
    """Turns text into a `Question`: the same embedder and analyzer that made the index."""

    def __init__(self, embedder: Embedder, analyzer: Analyzer) -> None:
        self._embedder = embedder
        self._analyzer = analyzer

    async def understand(self, text: str, *, flow: Hashable = None) -> Question:
        """Raises Unavailable when the embedder does not answer."""
        ids = self._embedder.tokenize(text).ids
        (vector,) = await self._embedder.embed([ids], flow=flow)
        return Question(text, tuple(self._analyzer.words(text)), vector)

    def demand_same(self, generation: Generation) -> None:
        """Raises Unavailable `generation_mismatch`: scores of two embedders or analyzers must not be compared."""
        mine = (self._embedder.profile.name, self._analyzer.name)
        if (generation.embedder, generation.analyzer) != mine:
            raise Unavailable(
                f"This index was made by {generation.embedder} and {generation.analyzer}; this server has"
                f" {mine[0]} and {mine[1]}. Set CARREL_EMBEDDER__… as it was, or move the tenant: export it, import it"
                " as a new one.",
                code="generation_mismatch",
            )


def judged(text: str, *, field_name: str) -> str:
    """The text without outer spaces. Raises Invalid `too_short`, `too_long`, `invalid_text`."""
    plain = text.strip()
    if not plain:
        raise Invalid("Ask something.", code="too_short", field=field_name)
    if len(plain) > LONGEST:
        raise Invalid(f"At most {LONGEST:,} characters.", code="too_long", field=field_name)
    if "\x00" in plain or any("\ud800" <= character <= "\udfff" for character in plain):
        raise Invalid("The text holds a character that cannot be read.", code="invalid_text", field=field_name)
    return plain


def judged_filters(filters: Mapping[str, object] | Filter) -> Filters:
    """A tree as it is; attributes with the values that each may have as the tree that says so. Raises Invalid."""
    if isinstance(filters, (Clause, AllOf, AnyOf)):
        demand_bounded(filters)
        return filters
    parts = tuple(Clause(name, Comparing.IN, _values(name, wanted)) for name, wanted in filters.items())
    return AllOf(parts) if parts else None


def _values(name: str, wanted: object) -> tuple[str | int | float | bool, ...]:
    values = wanted if isinstance(wanted, (list, tuple)) else [wanted]
    if not values or not all(isinstance(value, (str, int, float, bool)) for value in values):
        raise Invalid("A filter is a value or a list of values.", code="invalid_filter", field=f"filters.{name}")
    return tuple(values)
