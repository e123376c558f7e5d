"""One table of permissions, in the code and in the docs, and the two say the same."""

import re
from pathlib import Path

from carrel.domain.rights import RIGHTS, Right, Role, Scope, scopes_of

PAGE = Path(__file__).parents[2] / "docs" / "permissions.md"


def line(permission: str, right: Right) -> str:
    roles = ["yes" if role in right.roles else "no" for role in Role]
    scopes = ", ".join(f"`{scope}`" for scope in Scope if scope in right.scopes) or "no"
    scopes = "any" if right.scopes == frozenset(Scope) else scopes
    return f"| {' | '.join([f'`{permission}`', right.meaning, *roles, scopes, 'yes' if right.operator else 'no'])} |"


def test_the_docs_show_the_table_of_the_code() -> None:
    shown = re.findall(r"^\| `.*$", PAGE.read_text(), re.MULTILINE)
    assert shown == [line(permission, right) for permission, right in RIGHTS.items()]


def test_a_mightier_role_may_whatever_a_lesser_one_may() -> None:
    for mightier, lesser in zip(list(Role), list(Role)[1:], strict=False):
        assert all(mightier in right.roles for right in RIGHTS.values() if lesser in right.roles)


def test_a_person_gives_no_scope_that_does_more_than_the_person_may() -> None:
    assert scopes_of(Role.OWNER) == scopes_of(Role.ADMIN) == frozenset(Scope)
    assert scopes_of(Role.EDITOR) == {Scope.SEARCH, Scope.ASK, Scope.INGEST}
    assert scopes_of(Role.VIEWER) == {Scope.SEARCH, Scope.ASK}
