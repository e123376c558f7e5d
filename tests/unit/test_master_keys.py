"""Master keys as files: read while they change, and a rotation that may stop anywhere."""

import os
import stat
from pathlib import Path
from uuid import uuid4

import pytest

from carrel.domain.errors import Unauthenticated
from carrel.domain.ids import SessionId, UserId
from carrel.domain.secret import MasterKeys
from carrel.tenancy.tokens import AccessTokens
from carrel.wiring import SettingsError
from carrel.wiring.master_keys import MasterKeyFiles, write_once


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_once(tmp_path / "secrets" / "master_key")
    return tmp_path / "secrets"


def test_who_reads_sees_a_rotation_at_once(folder: Path) -> None:
    running = MasterKeyFiles(folder)
    before = running.present()
    rotating = MasterKeyFiles(folder)

    ahead = rotating.begin()
    assert running.present() == MasterKeys(before.current, (ahead.current,))
    assert ahead == MasterKeys(ahead.current, (before.current,))

    rotating.switch()
    assert running.present() == MasterKeys(ahead.current, (before.current,))

    assert rotating.retire() == 1
    assert running.present() == MasterKeys(ahead.current, ())


def test_nothing_is_read_again_while_nothing_changes(folder: Path) -> None:
    os.utime(folder, (0, 0))
    files = MasterKeyFiles(folder)
    assert files.present() is files.present()


def test_a_folder_that_goes_away_takes_no_key_from_who_runs(folder: Path) -> None:
    os.utime(folder, (0, 0))
    files = MasterKeyFiles(folder)
    before = files.present()
    folder.rename(folder.with_name("elsewhere"))
    assert files.present() == before


def test_an_interrupted_rotation_goes_on_with_the_same_key(folder: Path) -> None:
    begun = MasterKeyFiles(folder).begin()
    assert MasterKeyFiles(folder).begin() == begun


def test_a_switch_that_was_interrupted_half_way_goes_on(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = MasterKeyFiles(folder)
    before, ahead = files.present(), files.begin()
    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", _power_cut)
        with pytest.raises(KeyboardInterrupt):
            files.switch()
    assert files.present().current == before.current
    assert set(files.present().every()) == set(ahead.every())
    MasterKeyFiles(folder).begin()
    files.switch()
    assert files.present() == ahead


def _power_cut(*_: object) -> None:
    raise KeyboardInterrupt


def test_every_rotation_keeps_the_keys_before_it(folder: Path) -> None:
    files, seen = MasterKeyFiles(folder), []
    for _ in range(3):
        seen.append(files.present().current)
        files.begin()
        files.switch()
    assert set(files.present().others) == set(seen)
    assert files.retire() == 3


def test_keys_of_the_settings_are_read_with_as_well(folder: Path) -> None:
    files = MasterKeyFiles(folder, further=(b"a key of the settings, of 32 bytes",))
    assert files.present().others == (b"a key of the settings, of 32 bytes",)


@pytest.mark.parametrize("name", ["master_key", "master_key.new", "master_key.former.0"])
def test_a_file_that_others_can_read_is_refused(folder: Path, name: str) -> None:
    write_once(folder / name)
    (folder / name).chmod(0o644)
    with pytest.raises(SettingsError, match="others can read"):
        MasterKeyFiles(folder).present()


@pytest.mark.parametrize("left", ["master_key.new", "master_key.former.0"])
def test_a_current_key_that_was_lost_is_not_made_anew(tmp_path: Path, left: str) -> None:
    write_once(tmp_path / left)
    with pytest.raises(SettingsError, match="is missing"):
        MasterKeyFiles(tmp_path).first()
    assert [path.name for path in tmp_path.iterdir()] == [left]


def test_all_files_are_for_their_owner_only(folder: Path) -> None:
    files = MasterKeyFiles(folder)
    files.begin()
    files.switch()
    files.begin()
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    assert len(list(folder.iterdir())) == 3


def a_token(tokens: AccessTokens) -> str:
    return tokens.mint(UserId(uuid4()), SessionId(uuid4()), None)


def test_tokens_of_a_former_key_are_good_until_it_is_retired(folder: Path) -> None:
    files = MasterKeyFiles(folder)
    running, restarted = AccessTokens(files.present), AccessTokens(MasterKeyFiles(folder).present)
    early = a_token(running)
    files.begin()
    files.switch()
    late = a_token(running)
    for tokens in (running, restarted, AccessTokens(files.present)):
        tokens.read(early)
        tokens.read(late)
    files.retire()
    for tokens in (running, restarted, AccessTokens(files.present)):
        tokens.read(late)
        assert refuses(tokens, early)


def refuses(tokens: AccessTokens, token: str) -> bool:
    with pytest.raises(Unauthenticated) as refusal:
        tokens.read(token)
    return refusal.value.code == "invalid_token"


def test_with_settings_two_keys_are_read_and_one_signs() -> None:
    old, new = b"the old master key, of 32 letters", b"the new master key, of 32 letters"
    before, after = AccessTokens(lambda: MasterKeys(old, (new,))), AccessTokens(lambda: MasterKeys(new, (old,)))
    after.read(a_token(before))
    before.read(a_token(after))
    assert refuses(AccessTokens(new), a_token(before))


@pytest.mark.parametrize("content", [b"", b"short"])
def test_a_file_that_holds_no_key_is_refused(folder: Path, content: bytes) -> None:
    """What a full disk or a restored backup left: an empty key would encrypt, and for anybody to read."""
    (folder / "master_key").write_bytes(content)
    with pytest.raises(SettingsError, match="too short"):
        MasterKeyFiles(folder).present()


def test_a_folder_without_the_current_key_says_so(folder: Path) -> None:
    files = MasterKeyFiles(folder)
    (folder / "master_key").unlink()
    with pytest.raises(SettingsError, match="missing"):
        files.present()
