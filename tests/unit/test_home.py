"""The secrets of an installation: made on the first run, different everywhere, readable by their owner alone."""

import stat
from pathlib import Path

import pytest

from carrel.settings import Settings
from carrel.tenancy.tokens import AccessTokens
from carrel.wiring import SettingsError, secrets_of
from carrel.wiring.home import make_home


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def fresh(home: Path) -> Settings:
    settings = Settings(home=home)
    make_home(settings.folder)
    return settings


def test_fresh_installations_differ_in_every_secret(tmp_path: Path) -> None:
    made = [secrets_of(fresh(tmp_path / name)) for name in ("one", "other", "third")]
    every = [secret for secrets in made for secret in (secrets.pepper, secrets.master_key)]
    assert len(set(every)) == len(every) == 6
    assert {len(secret) for secret in every} == {32}
    kids = {AccessTokens(secrets.master_key)._present().kid for secrets in made}
    assert len(kids) == 3


def test_an_installation_keeps_its_secrets(tmp_path: Path) -> None:
    settings = fresh(tmp_path / "home")
    first, second = secrets_of(settings), secrets_of(settings)
    assert (first.pepper, first.master_key) == (second.pepper, second.master_key)


def test_secrets_are_for_their_owner_alone(tmp_path: Path) -> None:
    settings = fresh(tmp_path / "home")
    secrets_of(settings)
    files = [path for path in settings.folder.rglob("*") if path.is_file()]
    assert len(files) == 2
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert stat.S_IMODE((settings.folder / "secrets").stat().st_mode) == 0o700


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660, 0o622])
@pytest.mark.parametrize("name", ["pepper", "master_key"])
def test_a_secret_that_others_can_read_stops_the_start(tmp_path: Path, name: str, mode: int) -> None:
    settings = fresh(tmp_path / "home")
    secrets_of(settings)
    path = settings.folder / "secrets" / name
    path.chmod(mode)
    with pytest.raises(SettingsError, match=r"others can (read|reach|change)"):
        secrets_of(settings)


def test_a_secret_is_never_shown(tmp_path: Path) -> None:
    secrets = secrets_of(fresh(tmp_path / "home"))
    assert repr(secrets) == "Secrets(…)"
    assert "x" * 32 not in repr(Settings(pepper="x" * 32, master_key="x" * 32))  # type: ignore[arg-type]
