"""The master keys as files, read again whenever they change, so that a rotation needs no restart.

`master_key` is the current one. `master_key.new` is there while a rotation goes on: it can be read with already.
`master_key.former.<id>` were current once.
"""

import os
import secrets
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from carrel.domain.errors import Refusal
from carrel.domain.secret import MasterKeys, master_id

_KEY_BYTES: Final = 32
_CURRENT: Final = "master_key"
_NEW: Final = "master_key.new"
_FORMER: Final = "master_key.former."
_SETTLED: Final = 1_000_000_000  # nanoseconds: a folder that changed less than this ago may change in the same tick


class SettingsError(Refusal):
    """A setting is wrong; the sentence names the variable."""

    default_code = "settings"


class MasterKeyFiles:
    """`further` are keys from the settings, which are read with as well."""

    def __init__(self, folder: Path, *, further: tuple[bytes, ...] = ()) -> None:
        self._folder = folder
        self._further = further
        self._seen = -1
        self._keys: MasterKeys | None = None

    def first(self) -> bytes:
        """The current key, made on the first run. A new one beside keys of rotations would hide that it was lost.

        Raises SettingsError.
        """
        current = self._folder / _CURRENT
        if not current.exists() and (self._former() or (self._folder / _NEW).exists()):
            raise _missing(current)
        write_once(current)
        return read_secret(current)

    def present(self) -> MasterKeys:
        """As the files are now; only the folder's time is looked at when nothing changed. Raises SettingsError.

        While the folder is out of reach the keys are those that were seen last.
        """
        try:
            changed_at = self._folder.stat().st_mtime_ns
        except OSError:
            changed_at = self._seen
        if self._keys is None or changed_at != self._seen:
            self._keys = self._read()
            self._seen = changed_at if time.time_ns() - changed_at > _SETTLED else -1
        return self._keys

    def begin(self) -> MasterKeys:
        """A rotation begins, or one that was interrupted goes on: the keys with the new one as the current."""
        write_once(self._folder / _NEW)
        return self.ahead()

    def ahead(self) -> MasterKeys:
        """The keys as they will be after `switch`. Raises SettingsError."""
        keys, new = self._read(), read_secret(self._folder / _NEW)
        return MasterKeys(new, (keys.current, *(key for key in keys.others if key != new)))

    def switch(self) -> None:
        """The new key becomes the current one, in one step; the one before stays beside it."""
        current = self._folder / _CURRENT
        with suppress(FileExistsError):  # an interrupted rotation came so far
            os.link(current, self._folder / f"{_FORMER}{master_id(read_secret(current))}")
        (self._folder / _NEW).replace(current)
        _settle(self._folder)

    def retire(self) -> int:
        """Former keys are destroyed; how many these were."""
        former = self._former()
        for path in former:
            path.unlink()
        _settle(self._folder)
        return len(former)

    def _former(self) -> list[Path]:
        return sorted(self._folder.glob(f"{_FORMER}*"))

    def _read(self) -> MasterKeys:
        """The new one first: while this is read it may become the current one."""
        others = [key for path in (self._folder / _NEW, *self._former()) if (key := _read_if_there(path))]
        current = _read_if_there(self._folder / _CURRENT)
        if current is None:
            raise _missing(self._folder / _CURRENT)
        return MasterKeys(current, tuple(key for key in (*others, *self._further) if key != current))


def _missing(path: Path) -> SettingsError:
    return SettingsError(f"CARREL_HOME: {path} is missing: bring it back from a backup.")


def _read_if_there(path: Path) -> bytes | None:
    with suppress(FileNotFoundError):
        return read_secret(path)
    return None


def read_secret(path: Path) -> bytes:
    """Raises SettingsError for a file that others can read, or that holds no key: it would encrypt all the same."""
    if path.stat().st_mode & 0o077:
        raise SettingsError(f"CARREL_HOME: others can read {path}: run `chmod 600` on it.")
    content = path.read_bytes()
    if len(content) < _KEY_BYTES:
        raise SettingsError(f"CARREL_HOME: {path} is too short to be a key: bring it back from a backup.")
    return content


def write_once(path: Path) -> None:
    """A new secret, unless there is one. Two at once end with one: the link of the second one fails."""
    if path.exists():
        return
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(secrets.token_bytes(_KEY_BYTES))
        file.flush()
        os.fsync(file.fileno())
    with suppress(FileExistsError):
        os.link(draft, path)
    draft.unlink()
    _settle(path.parent)


def _settle(folder: Path) -> None:
    """What was made or renamed in the folder outlives a loss of power: rows will rely on it."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
