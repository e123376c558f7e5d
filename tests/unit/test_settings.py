"""Settings: what is misspelt is named, what belongs to others is left alone."""

from pathlib import Path

import pytest

from carrel.settings import Settings, misspelt


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("CARREL_DATABASE_URL", "CARREL_DATABASE__URL"),
        ("CARREL_PEPER", "CARREL_PEPPER"),
        ("CARREL_WORKER__LEESE", "CARREL_WORKER__LEASE"),
    ],
)
def test_a_misspelt_setting_is_named_with_the_nearest_one(
    name: str, near: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "secret")
    assert misspelt() == f"{name}: there is no such setting; did you mean {near}?"


def test_a_name_that_is_near_to_nothing_is_named_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CARREL_QQQQQQQQQQQQQQQQQQQQ", "1")
    assert misspelt() == "CARREL_QQQQQQQQQQQQQQQQQQQQ: there is no such setting."


def test_a_file_is_looked_at_too_and_other_programs_entries_are_not(nowhere: Path) -> None:
    (nowhere / ".env").write_text("DATABASE_URL=x\nCARREL_HOME=/tmp\ncarrel_worker__lease=5\n")
    assert misspelt() is None
    (nowhere / ".env").write_text("CARREL_HOMES=/tmp\n")
    assert misspelt() == "CARREL_HOMES: there is no such setting; did you mean CARREL_HOME?"


def test_a_whole_group_may_be_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CARREL_WORKER", '{"lease": 5}')
    assert misspelt() is None


@pytest.mark.parametrize("name", ["CARREL_HOME", "CARREL_DATABASE__URL", "CARREL_LOG_LEVEL"])
def test_an_empty_value_is_none_given(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As `docker compose` and shell scripts write a setting that they leave open."""
    unset = Settings()
    monkeypatch.setenv(name, "")
    assert Settings() == unset
