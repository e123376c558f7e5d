"""The home folder and the settings: what Carrel keeps for itself, and what it was told."""

from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr, ValidationError

from carrel.domain.secret import MasterKeys
from carrel.settings import Settings, explained, misspelt
from carrel.wiring.master_keys import MasterKeyFiles, SettingsError, read_secret, write_once

__all__ = ["Secrets", "SettingsError", "load", "make_home", "secrets_of"]


@dataclass(frozen=True, slots=True)
class Secrets:
    """What the deployment must never lose and never show: outside the database, from the settings or in files.

    Where `files` is there, the master keys are files, and may change while the process runs.
    """

    pepper: bytes
    master_key: bytes
    former_master_keys: tuple[bytes, ...] = ()
    files: MasterKeyFiles | None = None

    def __repr__(self) -> str:
        return "Secrets(…)"

    def master_keys(self) -> MasterKeys:
        """As they are now."""
        return self.files.present() if self.files else MasterKeys(self.master_key, self.former_master_keys)


def load() -> Settings:
    """From the environment and `.env`. Raises SettingsError, also for a name that looks like a setting and is none."""
    sentence = misspelt()
    if sentence is not None:
        raise SettingsError(sentence)
    try:
        return Settings()
    except ValidationError as error:
        raise SettingsError(explained(error)) from error


def secrets_of(settings: Settings) -> Secrets:
    """From the settings, or files that are made on the first run. Raises SettingsError for one that others can read."""
    folder = settings.folder / "secrets"
    pepper = _secret(settings.pepper, folder / "pepper")
    former = tuple(key.encode() for key in settings.former_keys)
    if settings.master_key is not None:
        return Secrets(pepper, settings.master_key.get_secret_value().encode(), former)
    files = MasterKeyFiles(folder, further=former)
    return Secrets(pepper, files.first(), former, files)


def _secret(given: SecretStr | None, path: Path) -> bytes:
    if given is not None:
        return given.get_secret_value().encode()
    write_once(path)
    return read_secret(path)


def make_home(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(f"CARREL_HOME: the folder {folder} cannot be made: {error.strerror}.") from error
