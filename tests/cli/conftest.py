"""Fixtures: a shell with a database of its own on the session's server, and one with an embedded database."""

from dataclasses import replace
from pathlib import Path

import pytest

from carrel.adapters.postgres import Endpoint, bootstrap
from cli.shell import Shell

NAME = "terminal"


@pytest.fixture(scope="session")
def shell(endpoint: Endpoint, models: Path, tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """Quick: no command has to start a server. No worker lives here but those that a command hires."""
    own = replace(endpoint, database=NAME, owner=f"{NAME}_owner", app=f"{NAME}_app")
    bootstrap(own)
    environment = {"CARREL_DATABASE__URL": own.app_url, "CARREL_DATABASE__OWNER_URL": own.owner_url}
    return Shell(a_home(tmp_path_factory, models), environment)


@pytest.fixture(scope="module")
def alone(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """As on a fresh machine: nothing is configured, so the database is the embedded one."""
    return Shell(a_home(tmp_path_factory, models), {})


def a_home(tmp_path_factory: pytest.TempPathFactory, models: Path) -> Path:
    """The built embedder is shared: building it is the adapter's test."""
    home = tmp_path_factory.mktemp("home")
    shared = models / "models"
    shared.mkdir(parents=True, exist_ok=True)
    (home / "models").symlink_to(shared)
    return home
