"""The home folder and the settings: what Carrel keeps for itself, and what it was told."""

import os
import secrets
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import SecretStr, ValidationError

from carrel.domain.errors import Refusal
from carrel.settings import Settings, explained, misspelt

_SECRET_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class Secrets:
    """What the deployment must never lose and never show: outside the database, from the settings or in two files."""

    pepper: bytes
    master_key: bytes

    def __repr__(self) -> str:
        return "Secrets(…)"


class SettingsError(Refusal):
    """A setting is wrong; the sentence names the variable."""

    default_code = "settings"


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
    return Secrets(
        _secret(settings.pepper, settings.folder / "secrets" / "pepper"),
        _secret(settings.master_key, settings.folder / "secrets" / "master_key"),
    )


def _secret(given: SecretStr | None, path: Path) -> bytes:
    if given is not None:
        return given.get_secret_value().encode()
    if not path.exists():
        _write_once(path, secrets.token_bytes(_SECRET_BYTES))
    if path.stat().st_mode & 0o077:
        raise SettingsError(f"CARREL_HOME: others can read {path}: run `chmod 600` on it.")
    return path.read_bytes()


def _write_once(path: Path, content: bytes) -> None:
    """Two first runs at once end with one secret: the link of the second one fails."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    with suppress(FileExistsError):
        os.link(draft, path)
    draft.unlink()


def make_home(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(f"CARREL_HOME: the folder {folder} cannot be made: {error.strerror}.") from error
