"""Rules of the house that no linter knows: who touches connections and the environment, and how large things grow."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCES = Path(__file__).parents[2] / "src" / "carrel"
ATTIC = {"utils", "util", "helpers", "helper", "common", "base", "misc", "manager", "managers", "core", "shared", "lib"}

# Each exception with its reason.
LONG_FUNCTIONS: dict[str, str] = {}
LONG_MODULES = {
    "store/migrations/versions/0001_first.py": "the whole first schema, to be read in one go; migrations never change",
}
READ_THE_ENVIRONMENT = {
    "cli/children.py": "a child process gets this one's environment and a little more",
    "cli/demonstrate.py": "the demo asks for fewer log lines before anything reads the settings",
}
CONNECT = {
    "store/transaction.py": "the one door: the pool, and a connection of its own to listen on",
    "store/schema.py": "migrations run as the owner, before anything is served",
    "store/catalogue.py": "looks at the catalogue before the pool is opened",
}
COMPILED = {
    "store/filters.py": "a filter's shape becomes text, as tests/unit/test_filters.py proves, and its values do not",
}
BROAD = {
    "worker/loop.py": "no exception of a job reaches the loop",
    "ingest/listen.py": "whatever the place of one source does, the others are heard",
    "worker/post.py": "no letter ends the worker, whose documents have nothing to do with it",
    "tenancy/dispatch.py": "the same for what is told to webhooks, each beside the others",
    "adapters/models/failures.py": "four libraries raise errors of their own and of others; all become ours",
    "api/envelope.py": "the ASGI handler: an unexpected error becomes an answer without a word of it",
    "api/streaming.py": "the same, once a stream has begun: the error becomes its last event",
    "ask/turns.py": "an answer is a task of its own: its reader raises what it ended with, or the log tells it",
    "api/mcp/server.py": "the same, inside of the SDK, which would tell the client what went wrong",
    "adapters/embedders/minilm/pool.py": "what a call raises in a thread is told to whoever waits for it",
    "api/mcp/door.py": "whatever ends the SDK's engine ends no other door: it begins anew, and the log tells",
}


def modules() -> Iterator[tuple[str, str, ast.Module]]:
    for path in sorted(SOURCES.rglob("*.py")):
        text = path.read_text()
        yield path.relative_to(SOURCES).as_posix(), text, ast.parse(text)


MODULES = tuple(modules())


def using(*names: str) -> set[str]:
    """Modules with an attribute, a name or an import of one of these names."""
    return {
        module
        for module, _, tree in MODULES
        if any(
            (isinstance(node, ast.Attribute) and node.attr in names)
            or (isinstance(node, ast.Name) and node.id in names)
            or (isinstance(node, ast.alias) and node.name in names)
            for node in ast.walk(tree)
        )
    }


def importing(*names: str) -> set[str]:
    """Modules that import one of these packages, anywhere in them."""
    found = set()
    for module, _, tree in MODULES:
        for node in ast.walk(tree):
            imported = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            imported += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if {name.split(".", 1)[0] for name in imported} & set(names):
                found.add(module)
    return found


def test_there_is_something_to_look_at() -> None:
    assert len(MODULES) > 80


# Connections


def test_connections_are_opened_in_few_places() -> None:
    assert using("create_pool") == {"store/transaction.py"}
    connecting = {module for module, text, _ in MODULES if re.search(r"asyncpg\.connect\b|create_async_engine", text)}
    assert connecting == set(CONNECT)


def test_only_the_transaction_takes_a_connection_from_the_pool() -> None:
    assert using("acquire") == {"store/transaction.py"}
    assert {module for module in using("_pool") if module.startswith("store/")} == {"store/transaction.py"}
    assert using("_connection") - {"store/transaction.py"} == set()


def test_nobody_else_commits_or_sends_sql_of_its_own() -> None:
    """Drivers are known to the store only; a commit stands in the transaction, and in the migrations' own engine."""
    assert {module.split("/", 1)[0] for module in importing("asyncpg", "sqlalchemy", "alembic")} == {"store"}
    assert {module for module in using("commit", "rollback") if module.startswith("store/")} <= {"store/schema.py"}
    sending = {
        module
        for module, _, tree in MODULES
        if any(isinstance(node, ast.Call) and _is_sending(node.func) for node in ast.walk(tree))
    }
    migrations = {module for module in sending if module.startswith("store/migrations/versions/")}
    assert sending - migrations <= set(CONNECT)


def _is_sending(function: ast.expr) -> bool:
    sends = {"fetch", "fetchrow", "fetchval", "execute", "executemany", "exec_driver_sql", "copy_records_to_table"}
    return isinstance(function, ast.Attribute) and function.attr in sends


def test_sql_stands_in_the_store_and_in_the_two_index_adapters() -> None:
    allowed = {"adapters/vectors/pgvector.py", "adapters/lexical/postgres.py"}
    assert {module for module in using("Statement") if not module.startswith("store/")} == allowed


def test_every_statement_is_a_constant() -> None:
    """Built once at the top of its module, from constants alone: no value can find its way into the text."""
    for module, _, tree in MODULES:
        if module in COMPILED:
            continue
        constants = {
            node.value
            for statement in tree.body
            if isinstance(statement, ast.Assign | ast.AnnAssign)
            for node in [statement]
            if isinstance(node.value, ast.Call)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Statement":
                assert node in constants, f"{module}:{node.lineno}"
                names = {inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name)} - {"Statement"}
                assert all(name.isupper() for name in names), f"{module}:{node.lineno}"


# The environment


def test_the_environment_is_read_in_the_settings_only() -> None:
    assert using("environ", "getenv", "getenvb", "environb") == set(READ_THE_ENVIRONMENT)


# Names and sizes


def test_there_is_no_attic() -> None:
    parts = {part.removesuffix(".py") for module, _, _ in MODULES for part in module.split("/")}
    assert parts & ATTIC == set()


@pytest.mark.parametrize(("most", "exceptions"), [(40, LONG_FUNCTIONS)])
def test_functions_can_be_seen_whole(most: int, exceptions: dict[str, str]) -> None:
    long = {
        f"{module}:{node.name}"
        for module, _, tree in MODULES
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and (node.end_lineno or 0) - node.lineno + 1 > most
    }
    assert long == set(exceptions)


def test_modules_can_be_read_in_one_go() -> None:
    assert {module for module, text, _ in MODULES if text.count("\n") > 400} == set(LONG_MODULES)


def test_every_module_says_what_it_is() -> None:
    assert [module for module, _, tree in MODULES if not ast.get_docstring(tree)] == []


# Exceptions


def test_broad_excepts_stand_where_the_process_must_go_on() -> None:
    broad = {
        module
        for module, _, tree in MODULES
        for node in ast.walk(tree)
        if isinstance(node, ast.ExceptHandler) and _is_broad(node)
    }
    assert broad == set(BROAD)


def _is_broad(handler: ast.ExceptHandler) -> bool:
    """`except Exception`, or `except BaseException` that does not end by raising it on."""
    kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    names = {kind.id for kind in kinds if isinstance(kind, ast.Name)}
    raises = bool(handler.body) and isinstance(handler.body[-1], ast.Raise) and handler.body[-1].exc is None
    return handler.type is None or "Exception" in names or ("BaseException" in names and not raises)


def test_nothing_is_suppressed_wholesale() -> None:
    for module, text, _ in MODULES:
        assert not re.search(r"suppress\([^)]*\b(Base)?Exception\b", text), module
