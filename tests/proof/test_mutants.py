"""Each mistake of `mutants.py` is made in a copy of the tree, and there the test that it names must fail."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from proof.mutants import MUTANTS, Mutant
from support.rounds import rounds

pytestmark = pytest.mark.proof

ROOT = Path(__file__).parents[2]
PATIENCE = 300
FEW = {
    "an index searches outside of the grant",
    "statistics are cached without their tenant",
    "no policy for what is private",
}
CHOSEN = [mutant for mutant in MUTANTS if mutant.name in FEW] if rounds(1, 0) else list(MUTANTS)


@dataclass(frozen=True)
class Verdict:
    code: int
    said: str

    @property
    def counted(self) -> dict[str, int]:
        """How many passed, failed and broke, as the last line says; what the garbage collector says may follow it."""
        line = re.findall(r"^\d+ \w+.* in [\d.]+s", self.said, re.MULTILINE)[-1:]
        return {word: int(number) for number, word in re.findall(r"(\d+) (passed|failed|error)", "".join(line))}


@dataclass(frozen=True)
class Tree:
    """A copy of the code and its tests, with a database of its own."""

    root: Path

    @contextmanager
    def mutated(self, mutant: Mutant) -> Iterator[None]:
        path = self.root / "src" / "carrel" / mutant.file
        whole = path.read_text()
        path.write_text(whole.replace(mutant.old, mutant.new))
        try:
            yield
        finally:
            path.write_text(whole)

    def verdict(self, *tests: str) -> Verdict:
        """No bytecode is written: a mistake may have the length and the second of what stood there before."""
        others = ("COV", "CARREL_", "PYTEST_", "FULL_ROUNDS")  # one mistake is caught in a few rounds, or never
        mine = {name: value for name, value in os.environ.items() if not name.startswith(others)}
        environment = {**mine, "PYTHONPATH": str(self.root / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:randomly"]
        done = subprocess.run(
            [*command, "--basetemp", str(self.root / "temporary"), *tests],
            cwd=self.root,
            env=environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        return Verdict(done.returncode, done.stdout + done.stderr)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory, models: Path) -> Tree:
    root = tmp_path_factory.mktemp("tree")
    models.mkdir(exist_ok=True)
    (root / "models").symlink_to(models)  # built once for all, which no mistake here concerns
    for name in ("src", "tests"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    shutil.copy(ROOT / "pyproject.toml", root)
    return Tree(root)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_the_text_that_a_mutant_changes_stands_there_once(mutant: Mutant) -> None:
    """Else the mutant proves nothing: give it the text of today."""
    found = (ROOT / "src" / "carrel" / mutant.file).read_text().count(mutant.old)
    assert found == 1, f"{mutant.file} has this {found} times: {mutant.old}"


def test_there_are_enough_of_them_and_each_has_a_name_of_its_own() -> None:
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS) >= 20
    assert {mutant.name for mutant in MUTANTS} >= FEW


def test_without_a_mistake_the_named_tests_pass(tree: Tree) -> None:
    verdict = tree.verdict(*sorted({mutant.test for mutant in CHOSEN}))
    assert (verdict.code, set(verdict.counted)) == (0, {"passed"}), verdict.said


@pytest.mark.parametrize("mutant", CHOSEN, ids=lambda mutant: mutant.name)
def test_a_mistake_is_seen_by_the_test_that_it_names(tree: Tree, mutant: Mutant) -> None:
    """Failed, and neither broken before it began nor not found: then nobody would have looked."""
    with tree.mutated(mutant):
        verdict = tree.verdict("-x", mutant.test)
    assert verdict.code == 1, f"It survived: {verdict.said}"
    assert "failed" in verdict.counted, f"It broke the test instead of failing it: {verdict.said}"
    assert "error" not in verdict.counted, f"It broke the test instead of failing it: {verdict.said}"
