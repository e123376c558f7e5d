"""Filters on `d.attributes` as SQL: the tree's shape and its operators become text, keys and values are bound alone.

They are bound as one JSON list, `:wanted`, of which each comparison reads its own place. So whatever a filter holds,
the text has few forms, and nothing that came from outside stands in it.
"""

from collections.abc import Iterator
from functools import lru_cache
from itertools import count
from types import MappingProxyType
from typing import Any, Final, assert_never

from carrel.domain.filters import OF_A_SET, AllOf, AnyOf, Clause, Comparing, Filter, Filters, clauses
from carrel.store.transaction import Statement

# Of JSON: true is not 1, and 1 is 1.0. Texts are in order of their code points, whatever the database's language is.
_HAS: Final = "d.attributes -> (:wanted::jsonb -> {0} ->> 0)"
_ASKED: Final = ":wanted::jsonb -> {0} -> 1"
_IS: Final = f"coalesce({_HAS} = {_ASKED}, false)"
_AMONG: Final = f"coalesce({_ASKED} @> jsonb_build_array({_HAS}), false)"
_ORDERED: Final = f"""
    case when jsonb_typeof({_HAS}) is distinct from jsonb_typeof({_ASKED}) then false
         when jsonb_typeof({_HAS}) = 'number' then ({_HAS}) {{1}} ({_ASKED})
         when jsonb_typeof({_HAS}) = 'string'
         then (({_HAS}) #>> '{{{{}}}}') collate "C" {{1}} (({_ASKED}) #>> '{{{{}}}}') collate "C"
         else false end
"""
_SQL: Final = MappingProxyType(
    {
        Comparing.EQ: _IS,
        Comparing.NE: f"not {_IS}",
        Comparing.IN: _AMONG,
        Comparing.NIN: f"not {_AMONG}",
        Comparing.GT: _ORDERED.replace("{1}", ">"),
        Comparing.GTE: _ORDERED.replace("{1}", ">="),
        Comparing.LT: _ORDERED.replace("{1}", "<"),
        Comparing.LTE: _ORDERED.replace("{1}", "<="),
    }
)
_EVERYTHING: Final = "jsonb_typeof(:wanted::jsonb) = 'array'"


def filtered(sql: str, filters: Filters) -> tuple[Statement, list[Any]]:
    """`sql` with the condition in place of `{}`, and what its parameter `:wanted` is."""
    if filters is None:
        return _statement(sql, _EVERYTHING), []
    wanted = [[clause.key, _value(clause)] for clause in clauses(filters)]
    return _statement(sql, _written(filters, count())), wanted


@lru_cache(maxsize=256)
def _statement(sql: str, condition: str) -> Statement:
    return Statement(sql.format(condition))


def _written(wanted: Filter, places: Iterator[int]) -> str:
    match wanted:
        case Clause(how=how):
            return f"({_SQL[how].format(next(places))})"
        case AllOf(parts):
            return "(" + " and ".join([_written(part, places) for part in parts]) + ")"
        case AnyOf(parts):
            return "(" + " or ".join([_written(part, places) for part in parts]) + ")"
        case _:
            assert_never(wanted)


def _value(clause: Clause) -> Any:
    return list(clause.values) if clause.how in OF_A_SET else clause.values[0]
