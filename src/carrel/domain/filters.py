"""Filters on attributes as a tree: comparisons, joined by all-of and any-of, within bounds."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeAlias, assert_never

from carrel.domain.errors import Invalid
from carrel.domain.library import AttributeValue

DEEPEST: Final = 5
MOST_CLAUSES: Final = 50
MOST_VALUES: Final = 50
LONGEST_KEY: Final = 200


class Comparing(StrEnum):
    """How an attribute is compared. Without the attribute only `ne` and `nin` are true.

    A number is above or below a number, a text above or below a text (by code points); nothing else is.
    """

    EQ = "eq"
    NE = "ne"
    GT = "gt"
    GTE = "gte"
    LT = "lt"
    LTE = "lte"
    IN = "in"
    NIN = "nin"


ORDERING: Final = frozenset({Comparing.GT, Comparing.GTE, Comparing.LT, Comparing.LTE})
OF_A_SET: Final = frozenset({Comparing.IN, Comparing.NIN})


@dataclass(frozen=True, slots=True)
class Clause:
    """One comparison. `values` is one value, or for `in` and `nin` those of the set."""

    key: str
    how: Comparing
    values: tuple[AttributeValue, ...]


@dataclass(frozen=True, slots=True)
class AllOf:
    parts: tuple["Filter", ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    parts: tuple["Filter", ...]


Filter: TypeAlias = Clause | AllOf | AnyOf
Filters: TypeAlias = Filter | None
"""None lets everything through."""


def demand_bounded(wanted: Filter) -> None:
    """Raises Invalid `invalid_filter`: too deep, too many clauses, an empty list, a key or a value that cannot be."""
    if _depth(wanted) > DEEPEST:
        raise _invalid(f"Filters nest at most {DEEPEST} deep.")
    found = list(clauses(wanted))
    if len(found) > MOST_CLAUSES:
        raise _invalid(f"At most {MOST_CLAUSES} comparisons in one filter.")
    for clause in found:
        _judge(clause)


def clauses(wanted: Filter) -> Iterator[Clause]:
    """In the order in which they stand."""
    match wanted:
        case Clause():
            yield wanted
        case AllOf(parts) | AnyOf(parts):
            for part in parts:
                yield from clauses(part)
        case _:
            assert_never(wanted)


def _depth(wanted: Filter) -> int:
    match wanted:
        case Clause():
            return 1
        case AllOf(parts) | AnyOf(parts):
            if not parts:
                raise _invalid("An `and` or `or` has at least one filter in it.")
            return 1 + max(_depth(part) for part in parts)
        case _:
            assert_never(wanted)


def _judge(clause: Clause) -> None:
    if not 0 < len(clause.key) <= LONGEST_KEY or "\x00" in clause.key:
        raise _invalid(f"A key has 1 to {LONGEST_KEY} characters.")
    most = MOST_VALUES if clause.how in OF_A_SET else 1
    if not 0 < len(clause.values) <= most:
        raise _invalid(f"Compare with one value, or a set of 1 to {MOST_VALUES}.")
    for value in clause.values:
        if isinstance(value, str) and "\x00" in value:
            raise _invalid("The text holds a character that cannot be read.")
        if clause.how in ORDERING and isinstance(value, bool):
            raise _invalid("True and false are neither above nor below each other.")


def _invalid(detail: str) -> Invalid:
    return Invalid(detail, code="invalid_filter", field="filters")
