"""Filters as SQL: the text is made of the tree's shape and of nothing that came from outside."""

import re
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carrel.domain.errors import Invalid
from carrel.domain.filters import OF_A_SET, AllOf, AnyOf, Clause, Comparing, Filter, clauses, demand_bounded
from carrel.store.filters import filtered

WORDS: Final = re.compile(
    r"""\s+|[():,]|->>?|=|>=?|<=?|@>|\#>>|'\{\}'|'string'|'number'|'array'|"C"|\d+
        |select|not|and|or|case|when|then|else|end|is|distinct|from|coalesce|false|collate
        |jsonb_typeof|jsonb_build_array|wanted|jsonb|d\.attributes|\$1""",
    re.VERBOSE,
)
VALUES = st.text(max_size=20) | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False)


@st.composite
def comparisons(draw: st.DrawFn) -> Clause:
    how = draw(st.sampled_from(Comparing))
    values = draw(st.lists(VALUES, min_size=1, max_size=5 if how in OF_A_SET else 1))
    return Clause(draw(st.text(min_size=1, max_size=30)), how, tuple(values))


def _joined(inner: st.SearchStrategy[Filter]) -> st.SearchStrategy[Filter]:
    parts = st.lists(inner, min_size=1, max_size=4).map(tuple)
    return parts.map(AllOf) | parts.map(AnyOf)


TREES: st.SearchStrategy[Filter] = st.recursive(comparisons(), _joined, max_leaves=12)


def other_words(wanted: Filter) -> Filter:
    """The same shape about something else."""
    match wanted:
        case Clause(how=how, values=values):
            return Clause("another key", how, tuple("another value" for _ in values))
        case AllOf(parts):
            return AllOf(tuple(map(other_words, parts)))
        case AnyOf(parts):
            return AnyOf(tuple(map(other_words, parts)))


@given(TREES)
def test_the_text_knows_nothing_of_keys_and_values(wanted: Filter) -> None:
    statement, values = filtered("select {}", wanted)
    assert WORDS.sub("", statement.sql) == ""
    assert filtered("select {}", other_words(wanted))[0] is statement
    assert statement.names == ("wanted",)
    assert [key for key, _ in values] == [clause.key for clause in clauses(wanted)]


def test_no_filter_lets_everything_through() -> None:
    statement, values = filtered("select {}", None)
    assert (statement.sql, values) == ("select jsonb_typeof($1::jsonb) = 'array'", [])


def nested(depth: int) -> Filter:
    clause = Clause("team", Comparing.EQ, ("red",))
    return clause if depth == 1 else AllOf((nested(depth - 1),))


@pytest.mark.parametrize(
    "wanted",
    [
        nested(6),
        AnyOf((Clause("team", Comparing.EQ, ("red",)),) * 51),
        AnyOf(()),
        Clause("", Comparing.EQ, ("red",)),
        Clause("k" * 201, Comparing.EQ, ("red",)),
        Clause("team", Comparing.EQ, ("red", "blue")),
        Clause("team", Comparing.IN, ()),
        Clause("team", Comparing.IN, ("red",) * 51),
        Clause("team", Comparing.GT, (True,)),
        Clause("team", Comparing.EQ, ("\x00",)),
    ],
)
def test_beyond_the_bounds_it_is_refused(wanted: Filter) -> None:
    with pytest.raises(Invalid) as refused:
        demand_bounded(wanted)
    assert refused.value.code == "invalid_filter"


def test_within_the_bounds_it_is_not() -> None:
    demand_bounded(nested(5))
    demand_bounded(AnyOf((Clause("team", Comparing.IN, ("red",) * 50),) * 50))
