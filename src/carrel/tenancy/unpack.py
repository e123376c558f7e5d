"""Reading an archive with mistrust: every byte is looked at before anything is written.

Only what `archive.py` writes is read back: plain files of known names, no links, no compression, no second copy.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tarfile import HeaderError, TarInfo
from typing import Any, BinaryIO, Final, TypeVar
from uuid import UUID

from pydantic import BaseModel, ValidationError

from carrel.domain.errors import Invalid
from carrel.domain.library import Visibility
from carrel.domain.webhooks import judged_events, judged_target
from carrel.tenancy.archive import (
    BLOCK,
    FILES,
    FORMAT,
    MANIFEST,
    READABLE,
    SINCE_2,
    BotLine,
    ChatLine,
    DocumentLine,
    FileLine,
    Manifest,
    MemberLine,
    MessageLine,
    SettingsLine,
    SourceLine,
    TenantLine,
    VersionLine,
    padding,
)

_ZEROS: Final = bytes(BLOCK)
_LONGEST_LINE: Final = 4 << 20
_LONGEST_MANIFEST: Final = 64 << 20
_PIECE: Final = 1 << 20
_BLOB: Final = re.compile(r"blobs/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)
_REGULAR: Final = b"0"
_NUL: Final = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")  # and not a backslash that is followed by these letters

Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a file's bytes lie in the archive."""

    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class Archive:
    """An archive that was found whole: every name known, every sum right, every line what it must be."""

    path: Path
    entries: Mapping[str, Entry]
    manifest: Manifest
    tenant: TenantLine

    def lines(self, name: str, model: type[Model]) -> Iterator[Model]:
        """None of a file that the archive is too old for. Raises Invalid `archive_invalid`, `archive_damaged`."""
        if name in SINCE_2 - self.entries.keys():
            return
        with self.path.open("rb") as file:
            for number, line in enumerate(_lines(file, name, self.entries[name]), start=1):
                if _NUL.search(line):
                    raise _invalid(f"{name}, line {number}", "it holds a character that cannot be kept")
                yield _parsed(model, line, f"{name}, line {number}")

    def blob(self, version: UUID) -> Iterator[bytes]:
        entry = self.entries[f"blobs/{version}"]
        with self.path.open("rb") as file:
            yield from _pieces(file, entry)


def opened(path: Path) -> Archive:
    """Reads every byte once and changes nothing. Memory grows with the number of documents, some 300 bytes for each.

    Raises Invalid with code `archive_damaged` (no archive of ours, cut short, a name or a kind of file that we do not
    write, a sum that is wrong), `archive_version`, or `archive_invalid` with the file and the line.
    """
    with path.open("rb") as file:
        entries = dict(_entries(file))
        manifest = _manifest(file, entries)
        _check_files(file, entries, manifest)
        tenant = _parsed(TenantLine, _small(file, "tenant.json", entries["tenant.json"]), "tenant.json")
    archive = Archive(path, entries, manifest, tenant)
    _Judge(archive).judge()
    return archive


def _damaged(what: str) -> Invalid:
    return Invalid(f"This archive cannot be read: {what}.", code="archive_damaged")


def _invalid(where: str, what: str) -> Invalid:
    return Invalid(f"{where}: {what}.", code="archive_invalid")


def _entries(file: BinaryIO) -> Iterator[tuple[str, Entry]]:
    """Headers alone are read. Whatever a tar may hold beside plain files of our names is refused."""
    end = file.seek(0, 2)
    seen: set[str] = set()
    position = 0
    while True:
        file.seek(position)
        block = file.read(BLOCK)
        if block == _ZEROS:
            return
        name, size = _header(block)
        if name not in FILES and name != MANIFEST and not _BLOB.fullmatch(name):
            raise _damaged("it holds a file that has no place in it")
        if name in seen:
            raise _damaged(f"{name} is in it twice")
        seen.add(name)
        position += BLOCK
        yield name, Entry(position, size)
        position += size + len(padding(size))
        if position > end:
            raise _damaged("it was cut short")


def _header(block: bytes) -> tuple[str, int]:
    try:
        info = TarInfo.frombuf(block, "utf-8", "strict")
    except (HeaderError, UnicodeDecodeError) as error:
        raise _damaged("it is no tar archive, or was cut short") from error
    if block[156:157] != _REGULAR or info.linkname or info.size < 0:
        raise _damaged("it holds something else than plain files")
    return info.name, info.size


def _manifest(file: BinaryIO, entries: Mapping[str, Entry]) -> Manifest:
    missing = [name for name in (*FILES, MANIFEST) if name not in entries and name not in SINCE_2]
    if missing:
        raise _damaged(f"{missing[-1]} is missing")
    entry = entries[MANIFEST]
    if entry.size > _LONGEST_MANIFEST:
        raise _damaged("its manifest is too long")
    file.seek(entry.offset)
    text = file.read(entry.size)
    if f'"format":"{FORMAT}"'.encode() not in text[:_PIECE]:
        raise _damaged("it is no archive of an organisation")
    version = re.search(rb'"version":(\d{1,9})\b', text[:_PIECE])
    if version is None or int(version[1]) not in READABLE:
        known = " and ".join(map(str, READABLE))
        raise Invalid(f"This archive is of another format than versions {known}.", code="archive_version")
    return _parsed(Manifest, text, MANIFEST)


def _check_files(file: BinaryIO, entries: Mapping[str, Entry], manifest: Manifest) -> None:
    if manifest.files.keys() != set(FILES) & entries.keys() or (manifest.version > 1 and SINCE_2 - entries.keys()):
        raise _invalid(MANIFEST, "it names other files than there are")
    for name, noted in manifest.files.items():
        entry = entries[name]
        digest = hashlib.sha256()
        for piece in _pieces(file, entry):
            digest.update(piece)
        if (entry.size, digest.hexdigest()) != (noted.bytes, noted.sha256):
            raise _damaged(f"{name} is not what the manifest says")


def _pieces(file: BinaryIO, entry: Entry) -> Iterator[bytes]:
    left = entry.size
    file.seek(entry.offset)
    while left:
        piece = file.read(min(left, _PIECE))
        if not piece:
            raise _damaged("it was cut short")
        left -= len(piece)
        yield piece


def _small(file: BinaryIO, name: str, entry: Entry) -> bytes:
    if entry.size > _LONGEST_LINE:
        raise _invalid(name, "it is too long")
    return b"".join(_pieces(file, entry))


def _lines(file: BinaryIO, name: str, entry: Entry) -> Iterator[bytes]:
    """Each ends with a line break; none is longer than what is read of it at once."""
    file.seek(entry.offset)
    left = entry.size
    while left:
        line = file.readline(min(left, _LONGEST_LINE + 1))
        if not line.endswith(b"\n"):
            raise _invalid(name, "a line is too long, or does not end")
        left -= len(line)
        yield line


def _parsed(model: type[Model], text: bytes, where: str) -> Model:
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        place = ".".join(str(part) for part in first["loc"][:3])
        raise _invalid(where, f"{place or 'the line'}: {first['msg'].removeprefix('Value error, ')}") from error
    except Invalid as error:
        raise _invalid(where, error.detail.removesuffix(".")) from error


@dataclass(slots=True)
class _Judge:
    """What one line cannot know: that ids are there once, and that what is referred to is there at all."""

    archive: Archive
    known: dict[str, set[Any]] = field(default_factory=dict)

    def judge(self) -> None:
        for line in self._each("bots.jsonl", BotLine):
            self._new("bot name", line.name, line.id)
        for source in self._each("sources.jsonl", SourceLine):
            self._new("source name", (source.owner_id, source.name), source.id)
            self._demand("bots.jsonl", source.bots, source.id)
            if (source.visibility is Visibility.PRIVATE) != (source.owner_id is not None):
                raise _invalid("sources.jsonl", f"{source.id} is private and nobody's, or the other way round")
        self._judge_webhooks()
        self._judge_documents()
        for chat in self._each("chats.jsonl", ChatLine):
            self._demand("bots.jsonl", [chat.bot_id] if chat.bot_id else [], chat.id)
        for message in self._each("messages.jsonl", MessageLine):
            self._demand("chats.jsonl", [message.chat_id], message.id)
            numbers = [citation.n for citation in message.citations]
            if len(numbers) != len(set(numbers)):
                raise _invalid("messages.jsonl", f"{message.id} has two citations of one number")
        for member in self._each("members.jsonl", MemberLine):
            self._new("member's address", member.email.casefold(), member.id)
        self._count("chunks.jsonl")
        self._count("audit.jsonl")

    def _judge_webhooks(self) -> None:
        for settings in self.archive.lines("settings.json", SettingsLine):
            for webhook in settings.webhooks:
                self._demand("sources.jsonl", webhook.source_ids or [], webhook.id)
                try:
                    judged_target(webhook.url)
                    judged_events(webhook.events)
                except Invalid as error:
                    raise _invalid("settings.json", error.detail.removesuffix(".")) from error

    def _judge_documents(self) -> None:
        present = {name for name in self.archive.entries if name.startswith("blobs/")}
        missing = set(self.archive.manifest.blobs.missing)
        for document in self._each("documents.jsonl", DocumentLine):
            self._new("document key", (document.source_id, document.key), document.id)
            self._demand("sources.jsonl", [document.source_id], document.id)
            numbers = [record.number for record in document.history]
            if len(numbers) != len(set(numbers)):
                raise _invalid("documents.jsonl", f"{document.id} has two versions of one number")
            for version in document.versions:
                self._new("version", version.id, document.id)
                if version.id not in missing:
                    self._judge_bytes(version, present, "documents.jsonl")
        for file in self._each("files.jsonl", FileLine):
            self._new("version", file.id, file.id)
            self._demand("documents.jsonl", file.documents, file.id)
            if file.id not in missing:
                self._judge_bytes(file, present, "files.jsonl")
        if present:
            raise _damaged("it holds bytes that no document and no file names")

    def _judge_bytes(self, version: VersionLine | FileLine, present: set[str], named_in: str) -> None:
        name = f"blobs/{version.id}"
        if name not in present:
            raise _damaged(f"{name} is missing")
        present.discard(name)
        digest = hashlib.sha256()
        for piece in self.archive.blob(version.id):
            digest.update(piece)
        if (self.archive.entries[name].size, digest.hexdigest()) != (version.size, version.sha256):
            raise _damaged(f"{name} is not what {named_in} says")

    def _each(self, name: str, model: type[Model]) -> Iterator[Model]:
        count = 0
        for line in self.archive.lines(name, model):
            count += 1
            identifier = line.id  # type: ignore[attr-defined]
            self._new(name, identifier, identifier)
            yield line
        self.known.setdefault(name, set())
        noted = self.archive.manifest.files.get(name)
        if count != (noted.lines if noted else 0):
            raise _invalid(name, "it has another number of lines than the manifest says")

    def _count(self, name: str) -> None:
        """What an import does not read is known by its sum alone."""
        with self.archive.path.open("rb") as file:
            count = sum(piece.count(b"\n") for piece in _pieces(file, self.archive.entries[name]))
        if count != self.archive.manifest.files[name].lines:
            raise _invalid(name, "it has another number of lines than the manifest says")

    def _new(self, what: str, value: Any, where: UUID) -> None:
        known = self.known.setdefault(what, set())
        if value in known:
            raise _invalid(str(where), f"the {what.removesuffix('.jsonl')} is there twice")
        known.add(value)

    def _demand(self, name: str, ids: list[UUID], where: UUID) -> None:
        if not self.known[name].issuperset(ids):
            raise _invalid(str(where), f"it refers to something that is not in {name}")
