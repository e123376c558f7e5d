"""The documents say what the code does: names are compared in both directions, links and files are there."""

import ast
import pkgutil
import re
from collections import Counter
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any, Final, get_args

import pytest
from pydantic import BaseModel
from typer.main import get_command

from carrel.api.app import ROUTES
from carrel.api.security import GuardedRoute
from carrel.cli.__main__ import app
from carrel.settings import Settings

ROOT: Final = Path(__file__).parents[2]
SOURCE: Final = ROOT / "src" / "carrel"
DECISIONS: Final = ROOT / "docs" / "decisions"
PAGES: Final = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
OTHERS: Final = [ROOT / "LICENSE", ROOT / ".pre-commit-config.yaml", *(ROOT / ".github").rglob("*.yml")]
SECTIONS: Final = ("## Context", "## Decision", "## Consequences", "## Alternatives", "## How it is checked")
CODE: Final = re.compile(r"[a-z]+(_[a-z]+)*")
CODE_GIVERS: Final = frozenset({"problem", "Complaint", "wrong", "refusal"})
FOREIGN_TO_A_PAGE: Final = {
    "a path of somebody's machine": r"(?<![\w.~:/])/(?:work|home|Users|mnt)/\w|/root/\w",
    "a registry's address": r"py(?:pi|thonhosted)\.\w+|://[\w.-]*/simple\b",
    "a promise instead of a fact": r"\b(?:TODO|FIXME|XXX|TBD)\b",
    "a picture instead of a word": r"[\u2190-\u21ff\u2600-\u27bf\U0001f000-\U0001ffff]",
}


def the_page(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


# Settings


def variables(group: type[BaseModel], prefix: str = "CARREL_") -> Iterator[tuple[str, object]]:
    """Every variable of a group and of the groups in it, with its default."""
    for name, field in group.model_fields.items():
        annotation: Any = field.annotation
        inner = [kind for kind in (annotation, *get_args(annotation)) if _is_group(kind)]
        if inner:
            yield from chain.from_iterable(variables(kind, f"{prefix}{name.upper()}__") for kind in inner)
        else:
            yield f"{prefix}{name.upper()}", None if field.is_required() else field.default


def _is_group(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def test_every_setting_is_described_with_its_default() -> None:
    described = re.findall(r"^\| `(CARREL_\w+)` \| (\S+) \|", the_page("docs/configuration.md"), re.MULTILINE)
    there = {name: "none" if default is None else f"`{default}`" for name, default in variables(Settings)}

    assert sorted(described) == sorted(there.items())


# Commands


def commands(command: Any, name: str = "carrel") -> Iterator[tuple[str, Any]]:
    inner = getattr(command, "commands", {})
    if not inner:
        yield name, command
    for word, below in inner.items():
        yield from commands(below, f"{name} {word}")


def spellings(command: Any) -> Iterator[set[str]]:
    """Each option in the ways in which it can be written out."""
    for option in command.params:
        if words := {word for word in (*option.opts, *option.secondary_opts) if word.startswith("--")}:
            yield words


def test_every_command_is_described_and_no_other() -> None:
    described = re.findall(r"^\| `(carrel [a-z ]*[a-z])", the_page("docs/cli.md"), re.MULTILINE)

    assert sorted(described) == sorted(name for name, _ in commands(get_command(app)))


def test_every_option_is_described_with_its_command_or_with_those_of_all_and_no_other() -> None:
    root, page = get_command(app), the_page("docs/cli.md")
    of_all = options_in(page.partition("\n## ")[0])
    lines = dict(re.findall(r"^\| `(carrel [a-z ]*[a-z])(.*)$", page, re.MULTILINE))
    there = [("carrel", root), *commands(root)]
    known = {word for _, command in there for spelt in spellings(command) for word in spelt} | {"--help"}

    silent = {
        f"{name} {min(spelt)}"
        for name, command in there
        for spelt in spellings(command)
        if not spelt & (of_all | options_in(lines.get(name, "")))
    }
    assert silent == set()
    assert options_in(page) <= known


def options_in(text: str) -> set[str]:
    return set(re.findall(r"(?<![\w-])--[a-z]+(?:-[a-z]+)*", text))


def test_every_target_of_make_is_described() -> None:
    targets = re.findall(r"^([a-z]+):.*##", the_page("Makefile"), re.MULTILINE)

    assert [target for target in targets if f"| `make {target}` |" not in the_page("CONTRIBUTING.md")] == []


# Error codes


def codes(tree: ast.AST) -> Iterator[str]:
    """Where a code can stand: `code=`, a class's own code, the first words of the functions that take one."""
    for node in ast.walk(tree):
        match node:
            case ast.keyword(arg="code", value=value):
                yield from words(value)
            case ast.Assign(targets=[ast.Name(id="code" | "default_code")], value=value):
                yield from words(value)
            case ast.AnnAssign(target=ast.Name(id="default_code"), value=ast.Constant() as value):
                yield from words(value)
            case ast.Dict(keys=keys, values=values):
                pairs = zip(keys, values, strict=True)
                yield from chain.from_iterable(words(value) for key, value in pairs if _is_code(key))
            case ast.Assign(targets=[ast.Name(id="REFUSALS")], value=ast.Dict(keys=keys)):
                yield from chain.from_iterable(words(key) for key in keys if key)
            case ast.Call(func=ast.Name(id=name), args=given) if name in CODE_GIVERS:
                yield from chain.from_iterable(words(one) for one in given if isinstance(one, ast.Constant))


def words(value: ast.AST) -> Iterator[str]:
    for node in ast.walk(value):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and CODE.fullmatch(node.value):
            yield node.value


def _is_code(key: ast.expr | None) -> bool:
    return isinstance(key, ast.Constant) and key.value == "code"


def test_every_error_code_is_described_and_no_other() -> None:
    raised = {code for path in SOURCE.rglob("*.py") for code in codes(ast.parse(path.read_text(encoding="utf-8")))}

    assert set(re.findall(r"^\| `([a-z_]+)` \|", the_page("docs/errors.md"), re.MULTILINE)) == raised


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_page_has_each_heading_once_and_a_table_each_row(page: Path) -> None:
    """A section has one table of a kind, so a row is known by how it begins."""
    prose = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    sections = re.split(r"^(?=#+ )", prose, flags=re.MULTILINE)
    headings = [section.partition("\n")[0] for section in sections]
    rows = [re.findall(r"^\| (`[^|]+`) \|", section, re.MULTILINE) for section in sections]

    assert [heading for heading, times in Counter(headings).items() if times > 1] == []
    assert [row for section in rows for row, times in Counter(section).items() if times > 1] == []


# Routes


def test_every_route_is_described() -> None:
    page = re.sub(r"\{[^}]*\}", "{}", the_page("docs/http.md"))
    routes = [route for route in ROUTES if isinstance(route, GuardedRoute) and route.include_in_schema]
    calls = {f"{method} {re.sub(r'{[^}]*}', '{}', route.path)}" for route in routes for method in route.methods or ()}

    assert sorted(call for call in calls if not re.search(rf"{re.escape(call)}[`?]", page)) == []


# Words, events, decisions, files


def test_every_event_that_operators_are_told_of_is_logged() -> None:
    logged = {text for path in SOURCE.rglob("*.py") for text in strings(ast.parse(path.read_text(encoding="utf-8")))}

    assert told_events()
    assert [event for event in told_events() if event not in logged] == []


def test_operators_are_told_of_every_warning() -> None:
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in SOURCE.rglob("*.py")]
    warned = {event for tree in trees for event in warnings(tree)}

    assert warned
    assert sorted(warned.difference(told_events())) == []


def told_events() -> list[str]:
    table = the_page("docs/operating.md").partition("| event |")[2].partition("##")[0]
    return re.findall(r"`([a-z_]+\.[a-z_]+)`", table)


def warnings(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.Call(
                func=ast.Attribute(value=ast.Name(id="log"), attr="warning" | "error" | "exception" | "critical"),
                args=[ast.Constant(value=str(event)), *_],
            ):
                yield event


def strings(tree: ast.AST) -> Iterator[str]:
    return (node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str))


def test_every_type_of_the_glossary_exists() -> None:
    names = re.findall(r"`(carrel(?:\.\w+)+)`", the_page("docs/glossary.md"))

    assert names
    for name in names:
        pkgutil.resolve_name(name)


def test_the_index_of_decisions_lists_each_one_under_its_title() -> None:
    files = sorted(path for path in DECISIONS.glob("*.md") if path.name != "README.md")
    rows = re.findall(r"^\| \[(\d{4})\]\(([\w.-]+)\) \| (.+?) \|", the_page("docs/decisions/README.md"), re.MULTILINE)

    assert [number for number, _, _ in rows] == [f"{place:04}" for place in range(1, len(files) + 1)]
    assert [name for _, name, _ in rows] == [path.name for path in files]
    for path, (number, _, title) in zip(files, rows, strict=True):
        assert path.read_text(encoding="utf-8").startswith(f"# {number} {title}\n\n**Status:** ")


@pytest.mark.parametrize("decision", sorted(DECISIONS.glob("[0-9]*.md")), ids=lambda path: path.stem)
def test_a_decision_has_every_section_in_order(decision: Path) -> None:
    text = decision.read_text(encoding="utf-8")

    assert [line for line in text.splitlines() if line.startswith("## ")] == list(SECTIONS)


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_link_within_the_repository_leads_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\((?!https?:)([^)#\s]+)", page.read_text(encoding="utf-8"))

    assert [target for target in targets if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_file_of_ours_that_is_named_is_there(page: Path) -> None:
    ours = [
        f"/{path.relative_to(ROOT).as_posix()}" for folder in ("src", "tests") for path in (ROOT / folder).rglob("*")
    ]
    named = re.findall(r"`([\w./-]+\.(?:py|sql))`", page.read_text(encoding="utf-8"))
    folders = re.findall(r"`((?:src|tests)/[\w./-]+?)/?`", page.read_text(encoding="utf-8"))

    missing = [name for name in named + folders if not any(path.endswith(f"/{name}") for path in ours)]
    assert [name for name in missing if "NNNN" not in name] == []


@pytest.mark.parametrize("page", [*PAGES, *OTHERS], ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_page_holds_nothing_that_is_foreign_to_it(page: Path) -> None:
    text = page.read_text(encoding="utf-8")

    assert {what: found for what, mark in FOREIGN_TO_A_PAGE.items() if (found := re.findall(mark, text))} == {}


def test_the_workflow_runs_what_the_build_demands_with_pinned_actions() -> None:
    workflow = the_page(".github/workflows/ci.yml")

    assert re.findall(r"run: (.+)", workflow) == ["sudo --preserve-env=PATH .ci/run"]
    assert all(re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", action) for action in re.findall(r"uses: (\S+)", workflow))
