"""A tenant moves: exported as at one moment, imported with new ids, and exported again it is the same."""

import asyncio
import gzip
import hashlib
import io
import json
import tarfile
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from carrel.adapters.postgres import Endpoint
from carrel.ask.pipeline import SearchWish
from carrel.domain.access import Principal, console, for_job
from carrel.domain.errors import Conflict, Denied, Invalid, NotFound
from carrel.domain.ids import TenantId
from carrel.domain.library import DocumentStatus, Duplicates, SourceKind
from carrel.domain.origins import Site
from carrel.domain.webhooks import Occasion, bare_target, judged_target
from carrel.store import sources
from carrel.store.bots import BotChange, NewBot
from carrel.store.sources import NewSource
from carrel.store.transaction import Statement
from carrel.tenancy.archive import FILES, MessageLine
from carrel.tenancy.imports import Imported
from carrel.tenancy.webhooks import WebhookChange, WebhookWish
from support.furnished import ask
from support.people import a_person
from support.places import a_watched
from support.quiet import a_quiet_stand
from support.raw import Raw, connected
from support.stand import Stand, a_worker
from support.tally import files_of as blobs
from support.tenants import SomeTenant, a_tenant, pieces

QUESTION = "On which port do boats float?"
TEXTS = {
    "boats.md": "# Boats\n\nBoats float on port 7777.\n",
    "twin/boats.md": "# Boats\n\nBoats float on port 7777.\n",
    "cranes.html": "<html><title>Cranes</title><body><h1>Cranes</h1><p>Cranes lift boats.</p></body></html>",
    "long.txt": "\n\n".join(
        f"Paragraph {number} tells of ropes, anchors and harbour {number}." for number in range(200)
    ),
}
OPERATOR = console(None)


@pytest.fixture(scope="module")
async def quiet(endpoint: Endpoint, models: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stand]:
    async with a_quiet_stand(endpoint, "moving", tmp_path_factory.mktemp("moving"), models=models) as standing:
        yield standing


@pytest.fixture
async def superuser(quiet: Stand) -> AsyncIterator[Raw]:
    async with connected(quiet.endpoint.superuser_url) as connection:
        yield connection


async def exported(stand: Stand, who: Principal, tenant: TenantId) -> bytes:
    found = await stand.app.exports.begin(who, tenant)
    return b"".join([piece async for piece in found.content])


def files_of(archive: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:") as tar:
        return {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]


def lines_of(files: dict[str, bytes], name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in files[name].splitlines()]


@dataclass(frozen=True)
class Mover:
    """A tenant with everything that can move: an owner and an editor with private things, a key with chats."""

    stand: Stand
    tenant: SomeTenant
    owner: Principal
    editor: Principal
    whole: bytes
    own: bytes

    async def search(self, tenant: TenantId, query: str) -> list[tuple[str, str]]:
        """Which of two twins is shown is their ids' business."""
        found = await self.stand.app.asking.search(console(tenant), SearchWish(query))
        return [(hit.key.removeprefix("twin/"), hit.text) for hit in found.hits]


@pytest.fixture(scope="module")
async def mover(quiet: Stand) -> AsyncIterator[Mover]:
    async with a_worker(quiet):
        tenant = await a_tenant(quiet.app, "Mover")
        owner = await (await a_person(quiet, owner=tenant.id)).principal(tenant.id)
        editor = await (await a_person(quiet, editor=tenant.id)).principal(tenant.id)
        books = await quiet.app.sources.create(owner, NewSource("books"))
        await quiet.app.sources.create(owner, NewSource("empty", duplicates=Duplicates.REJECT))
        site = Site(("https://pages.example/",), depth=1)
        await quiet.app.sources.create(owner, NewSource("site", SourceKind.URL, place=site, schedule=86_400))
        bot = await quiet.app.bots.create(owner, NewBot("helper", frozenset({books.id}), instructions="Be kind."))
        for name, text in TEXTS.items():
            made = await tenant.put(books.id, name, text)
            await quiet.app.documents.describe(owner, made.id, {"team": "red", "level": 3})
        await tenant.put(books.id, "cranes.html", TEXTS["cranes.html"].replace("lift", "once lifted"))
        await tenant.put(books.id, "cranes.html", TEXTS["cranes.html"])
        assert (await tenant.put(books.id, "bad.pdf", b"%PDF-1.7\nNo PDF.")).status is DocumentStatus.FAILED
        for who in (owner, editor):
            await put_privately(quiet, who, f"The secret of {who.user} is a purple boat.")
            await ask(quiet, who, QUESTION)
        await ask(quiet, await tenant.principal(), QUESTION)
        hook = WebhookWish(
            "https://hooks.example/in?token=SECRET",
            frozenset({Occasion.DOCUMENT_READY}),
            frozenset({books.id}),
            "Ours.",
        )
        issued = await quiet.app.webhooks.create(owner, hook)
        await quiet.app.webhooks.change(owner, issued.webhook.id, WebhookChange(enabled=False))
        await quiet.app.bots.change(owner, bot.id, BotChange(sources=frozenset({books.id})))
        whole = await exported(quiet, tenant.console, tenant.id)
        yield Mover(quiet, tenant, owner, editor, whole, await exported(quiet, owner, tenant.id))


async def put_privately(stand: Stand, who: Principal, text: str) -> None:
    source = await stand.app.sources.create(who, NewSource("diary", owner=who.user))
    dock = await stand.app.uploads.dock(who, source.id)
    delivery = await stand.app.uploads.deliver(dock, "secret.txt", pieces(text.encode()), declared=None)
    assert (await stand.app.uploads.settled(dock, delivery, seconds=30)).status is DocumentStatus.READY


def without_ids_and_times(files: dict[str, bytes]) -> dict[str, list[Any]]:
    """What must be the same in an archive of the same tenant under other ids. Names stand for ids, where there are."""
    names: dict[str, str] = {}
    for file, field in (("members", "email"), ("bots", "name"), ("sources", "name"), ("documents", "key")):
        names.update({line["id"]: f"{file} {line[field]}" for line in lines_of(files, f"{file}.jsonl")})

    def plain(value: Any) -> Any:
        match value:
            case dict():
                return {key: plain(inner) for key, inner in value.items() if not key.endswith("_at")}
            case list():
                return [plain(inner) for inner in value]
            case str() if len(value) == 36 and value.count("-") == 4:
                return names.get(value, "id")
            case _:
                return value

    kept = [name for name in FILES if name not in {"tenant.json", "audit.jsonl"}]
    return {
        name: sorted((plain(line) for line in lines_of(files, name)), key=lambda line: json.dumps(line, sort_keys=True))
        for name in kept
    }


def blobs_of_archive(files: dict[str, bytes]) -> list[bytes]:
    return sorted(content for name, content in files.items() if name.startswith("blobs/"))


async def imported(mover: Mover, path: Path, archive: bytes) -> Imported:
    await asyncio.to_thread(path.write_bytes, archive)
    found = await mover.stand.app.imports.judge(path)
    return await mover.stand.app.imports.run(OPERATOR, found, slug=f"moved-{uuid.uuid4().hex[:8]}")


async def test_a_tenant_that_moved_answers_as_before_and_exports_the_same(mover: Mover, tmp_path: Path) -> None:
    done = await imported(mover, tmp_path / "whole.tar", mover.whole)

    assert done.tenant.id != mover.tenant.id
    assert (done.documents, done.rejected) == ({"ready": len(TEXTS) + 2, "failed": 1}, [])
    assert (done.sources, done.bots, done.chats, done.messages, done.webhooks) == (5, 1, 3, 3, 1)
    site = await mover.stand.app.sources.named(console(done.tenant.id), "site")
    assert site is not None
    assert (site.paused, site.schedule, site.next_run_at) == (True, 86_400, None), "till somebody has looked"
    assert (done.citations_lost, len(done.joined), done.absent) == (0, 2, [])
    assert done.citations >= 3
    for query in ("On which port do boats float?", "cranes", "purple boat"):
        assert await mover.search(done.tenant.id, query) == await mover.search(mover.tenant.id, query)
    first = files_of(mover.whole)
    second = files_of(await exported(mover.stand, console(done.tenant.id), done.tenant.id))
    assert without_ids_and_times(second) == without_ids_and_times(first)
    assert blobs_of_archive(second) == blobs_of_archive(first)
    (cranes,) = (line for line in lines_of(second, "documents.jsonl") if line["key"] == "cranes.html")
    (before,) = (line for line in lines_of(first, "documents.jsonl") if line["key"] == "cranes.html")
    assert [one["number"] for one in cranes["history"]] == [1, 2, 3]
    assert times_of(cranes) == times_of(before)


async def test_twins_of_a_source_that_rejects_any_move_too(mover: Mover, tmp_path: Path) -> None:
    tenant = await a_tenant(mover.stand.app, "Twins")
    source = (await tenant.source()).id
    for number, key in enumerate(("a.md", "b.md")):
        made = await tenant.put(source, key, TEXTS["boats.md"])
        await tenant.app.documents.describe(tenant.console, made.id, {"number": number})
    await tenant.app.sources.change(tenant.console, source, duplicates=Duplicates.REJECT)
    archive = await exported(mover.stand, tenant.console, tenant.id)

    done = await imported(mover, tmp_path / "twins.tar", archive)

    assert (done.documents, done.rejected) == ({"ready": 2}, [])
    second = files_of(await exported(mover.stand, console(done.tenant.id), done.tenant.id))
    assert without_ids_and_times(second) == without_ids_and_times(files_of(archive))
    assert [line["duplicates"] for line in lines_of(second, "sources.jsonl")] == ["reject"]


async def test_keys_of_a_place_move_to_the_letter(mover: Mover, tmp_path: Path) -> None:
    folder = tmp_path / "place"
    folder.mkdir()
    place = await a_watched(mover.stand, folder)
    names = {"caf\u00e9.md": "One name.", "cafe\u0301.md": "Another name that looks the same."}
    for name, text in names.items():
        place.write(name, text)
    source = await place.source()
    await place.next_run(source.id)
    archive = await exported(place.stand, place.tenant.console, place.tenant.id)

    done = await imported(mover, tmp_path / "names.tar", archive)

    second = files_of(await exported(mover.stand, console(done.tenant.id), done.tenant.id))
    assert {line["key"] for line in lines_of(second, "documents.jsonl")} == set(names)
    assert done.documents == {"ready": 2}


def times_of(document: dict[str, Any]) -> list[tuple[str | None, ...]]:
    return [(one["created_at"], one["live_from"], one["live_until"]) for one in document["history"]]


async def test_what_may_be_a_secret_in_the_address_of_a_webhook_stays_behind(mover: Mover, tmp_path: Path) -> None:
    for archive in (mover.whole, mover.own):
        assert b"SECRET" not in archive
        (settings,) = lines_of(files_of(archive), "settings.json")
        assert [hook["url"] for hook in settings["webhooks"]] == ["https://hooks.example/in"]
    done = await imported(mover, tmp_path / "whole.tar", mover.whole)
    (hook,) = (await mover.stand.app.webhooks.listed(console(done.tenant.id))).items
    assert (hook.url, hook.enabled) == ("https://hooks.example/in", False)


def test_an_address_without_its_secrets_is_an_address() -> None:
    bare = [bare_target(url) for url in ("https://a:b@h.example:8443/x?y=z", "http://[::1]/", "https://h.example?t")]
    assert bare == ["https://h.example:8443/x", "http://[::1]/", "https://h.example"]
    assert [judged_target(url) for url in bare] == bare


async def test_members_find_their_own_private_things_again_and_nobody_elses(mover: Mover, tmp_path: Path) -> None:
    done = await imported(mover, tmp_path / "whole.tar", mover.whole)
    for who in (mover.owner, mover.editor):
        assert who.user is not None
        grant = for_job(done.tenant.id, who.user)
        async with mover.stand.database.transaction(grant) as tx:
            private = [
                source for source in (await sources.listed(tx, bot=None, limit=9, cursor=None)).items if source.owner
            ]
            chats = await tx.value(Statement("select count(*) from chats where tenant_id = :tenant"))
        assert [source.owner for source in private] == [who.user]
        assert chats == 1


async def test_an_owners_archive_holds_nobody_elses_private_things(mover: Mover) -> None:
    files = files_of(mover.own)
    assert json.loads(files["manifest.json"])["private"] == "own"
    owners = {line["owner_id"] for name in ("sources.jsonl", "chats.jsonl") for line in lines_of(files, name)}
    assert owners == {None, str(mover.owner.user)}
    assert str(mover.owner.user).encode() in mover.own
    assert f"The secret of {mover.owner.user}".encode() in mover.own
    assert f"The secret of {mover.editor.user}".encode() not in mover.own
    assert f"The secret of {mover.editor.user}".encode() in mover.whole
    sources_there = {line["id"] for line in lines_of(files, "sources.jsonl")}
    assert {line["source_id"] for line in lines_of(files, "documents.jsonl")} <= sources_there
    documents = {line["id"] for line in lines_of(files, "documents.jsonl")}
    assert {line["document_id"] for line in lines_of(files, "chunks.jsonl")} <= documents


async def test_an_owners_archive_can_be_imported(mover: Mover, tmp_path: Path) -> None:
    done = await imported(mover, tmp_path / "own.tar", mover.own)
    assert (done.sources, done.chats, done.documents["ready"]) == (4, 1, len(TEXTS) + 1)


async def test_no_secret_leaves_with_a_tenant(mover: Mover, superuser: Raw) -> None:
    rows = await superuser.fetch("select mac, id from api_keys where tenant_id = $1", mover.tenant.id)
    assert rows
    for row in rows:
        assert row["mac"].hex().encode() not in mover.whole
        assert row["mac"] not in mover.whole
    said = b" ".join(files_of(mover.whole)[name] for name in FILES)
    for word in (b"ck_", b'hash":"$', b"ciphertext", b"wrapped", b'mac"'):
        assert word not in said


async def test_an_export_is_seen_as_at_one_moment(mover: Mover) -> None:
    """What is deleted while the archive is on its way is in its rows; its bytes are named as missing."""
    stand, acme = mover.stand, await a_tenant(mover.stand.app, "Moment")
    source = (await acme.source()).id
    kept = await acme.put(source, "kept.md", "# Kept\n\nBoats.")
    gone = await acme.put(source, "gone.md", "# Gone\n\nCranes.")
    found = await stand.app.exports.begin(acme.console, acme.id)
    content = aiter(found.content)
    first = await anext(content)
    await stand.app.forgetting.document(acme.console, gone.id)
    await one_blob(stand, acme.id)
    files = files_of(first + b"".join([piece async for piece in content]))
    assert {line["id"] for line in lines_of(files, "documents.jsonl")} == {str(kept.id), str(gone.id)}
    assert json.loads(files["manifest.json"])["blobs"]["missing"] == [str(gone.version)]


async def one_blob(stand: Stand, tenant: TenantId) -> None:
    """Until the worker has purged the other."""
    async with asyncio.timeout(120):
        while True:
            if len(blobs(stand, tenant)) == 1:
                return
            await asyncio.sleep(0.02)


async def test_who_may_not_export_is_refused(mover: Mover) -> None:
    exports, tenant = mover.stand.app.exports, mover.tenant
    for who in (mover.editor, await tenant.principal(), OPERATOR):
        with pytest.raises(Denied):
            await exports.begin(who, tenant.id)
    with pytest.raises(NotFound):
        await exports.begin(mover.owner, TenantId(uuid.uuid4()))


async def test_an_export_leaves_no_file_behind(mover: Mover, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    found = await mover.stand.app.exports.begin(mover.owner, mover.tenant.id)
    content = found.content
    assert isinstance(content, AsyncGenerator)
    await anext(content)
    assert names_in(tmp_path)
    await content.aclose()
    assert names_in(tmp_path) == []


def names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


# Evil archives


@dataclass(frozen=True)
class Part:
    """One file of an archive, with whatever its header may say."""

    name: str
    content: bytes
    kind: bytes = tarfile.REGTYPE
    link: str = ""
    size: int | None = None


def packed(parts: list[Part]) -> bytes:
    out = bytearray()
    for part in parts:
        info = tarfile.TarInfo(part.name)
        info.type, info.linkname = part.kind, part.link
        info.size = len(part.content) if part.size is None else part.size
        out += info.tobuf(tarfile.GNU_FORMAT) + part.content + bytes(-len(part.content) % 512)
    return bytes(out) + bytes(1024)


def parts_of(archive: bytes, *, fixed: bool = True, **changed: bytes) -> list[Part]:
    """The parts in their order, some with other content, the manifest made to fit unless `fixed` is False."""
    files = {**files_of(archive), **{name.replace("__", "."): content for name, content in changed.items()}}
    if fixed and "manifest__json" not in changed:
        manifest = json.loads(files["manifest.json"])
        for name in FILES:
            manifest["files"][name] = {
                "bytes": len(files[name]),
                "sha256": hashlib.sha256(files[name]).hexdigest(),
                "lines": files[name].count(b"\n"),
            }
        files["manifest.json"] = json.dumps(manifest, separators=(",", ":")).encode()
    return [Part(name, content) for name, content in files.items()]


def edited(archive: bytes, file: str, number: int = 0, /, **fields: Any) -> bytes:
    """A file of lines, one of them with other fields."""
    lines = lines_of(files_of(archive), file)
    lines[number] = {**lines[number], **fields}
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def edited_webhook(archive: bytes, **fields: Any) -> bytes:
    settings = json.loads(files_of(archive)["settings.json"])
    return edited(archive, "settings.json", webhooks=[{**settings["webhooks"][0], **fields}])


def a_manifest(archive: bytes, **fields: Any) -> bytes:
    return json.dumps({**json.loads(files_of(archive)["manifest.json"]), **fields}, separators=(",", ":")).encode()


def one_line_less(archive: bytes, file: str) -> bytes:
    files = json.loads(files_of(archive)["manifest.json"])["files"]
    files[file]["lines"] -= 1
    return a_manifest(archive, files=files)


EVIL: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "empty": ("archive_damaged", lambda _: b""),
    "noise": ("archive_damaged", lambda _: b"\x00\xff noise" * 1000),
    "a gzip": ("archive_damaged", gzip.compress),
    "cut short": ("archive_damaged", lambda whole: whole[: len(whole) // 2]),
    "cut at a block": ("archive_damaged", lambda whole: whole[: len(whole) // 1024 * 512]),
    "without its end": ("archive_damaged", lambda whole: whole[:-1024]),
    "without a manifest": ("archive_damaged", lambda whole: packed(parts_of(whole)[:-1])),
    "without a file": ("archive_damaged", lambda whole: packed([p for p in parts_of(whole) if p.name != "bots.jsonl"])),
    "without some bytes": (
        "archive_damaged",
        lambda whole: packed([p for n, p in enumerate(parts_of(whole)) if n != len(FILES)]),
    ),
    "a path that climbs": ("archive_damaged", lambda whole: packed([*parts_of(whole), Part("../evil", b"x")])),
    "an absolute path": ("archive_damaged", lambda whole: packed([*parts_of(whole), Part("/etc/passwd", b"x")])),
    "a blob that climbs": ("archive_damaged", lambda whole: packed([*parts_of(whole), Part("blobs/../../x", b"x")])),
    "a foreign blob": (
        "archive_damaged",
        lambda whole: packed([*parts_of(whole), Part(f"blobs/{uuid.UUID(int=7)}", b"x")]),
    ),
    "a symbolic link": (
        "archive_damaged",
        lambda whole: packed([Part("tenant.json", b"", tarfile.SYMTYPE, "/etc/passwd"), *parts_of(whole)[1:]]),
    ),
    "a hard link": (
        "archive_damaged",
        lambda whole: packed([Part("tenant.json", b"", tarfile.LNKTYPE, "x"), *parts_of(whole)[1:]]),
    ),
    "a device": (
        "archive_damaged",
        lambda whole: packed([Part("tenant.json", b"", tarfile.CHRTYPE), *parts_of(whole)[1:]]),
    ),
    "a folder": ("archive_damaged", lambda whole: packed([Part("blobs", b"", tarfile.DIRTYPE), *parts_of(whole)])),
    "a sparse file": (
        "archive_damaged",
        lambda whole: packed([Part("tenant.json", b"", tarfile.GNUTYPE_SPARSE), *parts_of(whole)[1:]]),
    ),
    "a name in a header of its own": (
        "archive_damaged",
        lambda whole: packed([Part("././@LongLink", b"x", tarfile.GNUTYPE_LONGNAME), *parts_of(whole)]),
    ),
    "a size beyond its end": (
        "archive_damaged",
        lambda whole: packed([*parts_of(whole)[:-1], Part("manifest.json", b"{}", size=1 << 40)]),
    ),
    "a negative size": (
        "archive_damaged",
        lambda whole: packed([Part("tenant.json", b"", size=-512), *parts_of(whole)[1:]]),
    ),
    "a file twice": ("archive_damaged", lambda whole: packed([parts_of(whole)[0], *parts_of(whole)])),
    "a sum that is wrong": (
        "archive_damaged",
        lambda whole: packed(parts_of(whole, fixed=False, bots__jsonl=edited(whole, "bots.jsonl", name="Other"))),
    ),
    "bytes that are not those": (
        "archive_damaged",
        lambda whole: packed(
            [Part(p.name, b"!" * len(p.content)) if p.name.startswith("blobs/") else p for p in parts_of(whole)]
        ),
    ),
    "another version": (
        "archive_version",
        lambda whole: packed(parts_of(whole, manifest__json=a_manifest(whole, version=4))),
    ),
    "another format": (
        "archive_damaged",
        lambda whole: packed(parts_of(whole, manifest__json=a_manifest(whole, format="else"))),
    ),
    "a manifest of nonsense": ("archive_damaged", lambda whole: packed(parts_of(whole, manifest__json=b"[" * 100_000))),
    "a deep manifest": (
        "archive_invalid",
        lambda whole: packed(
            parts_of(whole, manifest__json=a_manifest(whole)[:-1] + b',"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}")
        ),
    ),
    "more lines than noted": (
        "archive_invalid",
        lambda whole: packed(parts_of(whole, manifest__json=one_line_less(whole, "chunks.jsonl"))),
    ),
    "a huge line": (
        "archive_invalid",
        lambda whole: packed(parts_of(whole, bots__jsonl=edited(whole, "bots.jsonl", instructions="x" * (5 << 20)))),
    ),
    "a line without an end": ("archive_invalid", lambda whole: packed(parts_of(whole, chats__jsonl=b'{"id": 1}'))),
    "a line that is no JSON": ("archive_invalid", lambda whole: packed(parts_of(whole, chats__jsonl=b"nonsense\n"))),
    "a line that is deep": (
        "archive_invalid",
        lambda whole: packed(parts_of(whole, chats__jsonl=b"[" * 100_000 + b"]" * 100_000 + b"\n")),
    ),
    "a tenant without a name": (
        "archive_invalid",
        lambda whole: packed(parts_of(whole, tenant__json=edited(whole, "tenant.json", name=" "))),
    ),
    "an unknown field": (
        "archive_invalid",
        lambda whole: packed(parts_of(whole, bots__jsonl=edited(whole, "bots.jsonl", admin=True))),
    ),
    "a webhook at no address": (
        "archive_invalid",
        lambda whole: packed(parts_of(whole, settings__json=edited_webhook(whole, url="ftp://hooks.example/"))),
    ),
    "a webhook of nothing": (
        "archive_invalid",
        lambda whole: packed(parts_of(whole, settings__json=edited_webhook(whole, events=["webhook.test"]))),
    ),
    "a webhook of a source that is not there": (
        "archive_invalid",
        lambda whole: packed(parts_of(whole, settings__json=edited_webhook(whole, source_ids=[str(uuid.uuid4())]))),
    ),
    "a line twice": (
        "archive_invalid",
        lambda whole: packed(parts_of(whole, bots__jsonl=files_of(whole)["bots.jsonl"] * 2)),
    ),
    "two documents of one key": (
        "archive_invalid",
        lambda whole: packed(parts_of(whole, documents__jsonl=edited(whole, "documents.jsonl", 1, key="boats.md"))),
    ),
    "a key that climbs": (
        "archive_invalid",
        lambda whole: packed(parts_of(whole, documents__jsonl=edited(whole, "documents.jsonl", key="../x"))),
    ),
    "a document of no source": (
        "archive_invalid",
        lambda whole: packed(
            parts_of(whole, documents__jsonl=edited(whole, "documents.jsonl", source_id=str(uuid.uuid4())))
        ),
    ),
    "a message of no chat": (
        "archive_invalid",
        lambda whole: packed(
            parts_of(whole, messages__jsonl=edited(whole, "messages.jsonl", chat_id=str(uuid.uuid4())))
        ),
    ),
    "a bot's source of no bot": (
        "archive_invalid",
        lambda whole: packed(parts_of(whole, sources__jsonl=edited(whole, "sources.jsonl", bots=[str(uuid.uuid4())]))),
    ),
    "a private source of nobody": (
        "archive_invalid",
        lambda whole: packed(parts_of(whole, sources__jsonl=edited(whole, "sources.jsonl", visibility="private"))),
    ),
    "a character that cannot be kept": (
        "archive_invalid",
        lambda whole: packed(parts_of(whole, messages__jsonl=edited(whole, "messages.jsonl", answer="a\0b"))),
    ),
    "a number that is none": (
        "archive_invalid",
        lambda whole: packed(
            parts_of(whole, documents__jsonl=edited(whole, "documents.jsonl", attributes={"a": float("nan")}))
        ),
    ),
}


@pytest.mark.parametrize("evil", EVIL)
async def test_an_evil_archive_is_refused_and_leaves_nothing(mover: Mover, tmp_path: Path, evil: str) -> None:
    code, make = EVIL[evil]
    (tmp_path / "evil.tar").write_bytes(make(mover.whole))
    before = len((await mover.stand.app.tenants.listed(OPERATOR, limit=200)).items)
    with pytest.raises(Invalid) as caught:
        await mover.stand.app.imports.judge(tmp_path / "evil.tar")
    assert caught.value.code == code, caught.value.detail
    assert len((await mover.stand.app.tenants.listed(OPERATOR, limit=200)).items) == before


async def test_a_text_that_only_spells_a_character_that_cannot_be_kept_is_kept(mover: Mover, tmp_path: Path) -> None:
    """A backslash and `u0000`, as programs write about it: an archive of ours must be one that we read."""
    texts = {"question": r"What is \u0000?", "answer": r"\\u0000 and \u0000."}
    told = packed(parts_of(mover.whole, messages__jsonl=edited(mover.whole, "messages.jsonl", **texts)))
    (tmp_path / "told.tar").write_bytes(told)
    archive = await mover.stand.app.imports.judge(tmp_path / "told.tar")
    found = next(archive.lines("messages.jsonl", MessageLine))
    assert (found.question, found.answer) == (texts["question"], texts["answer"])


async def test_few_exports_are_collected_at_once(mover: Mover) -> None:
    """Each holds two connections meanwhile: a dozen would leave none to anybody."""
    archives = await asyncio.gather(
        *(exported(mover.stand, mover.tenant.console, mover.tenant.id) for _ in range(12)),
        *(mover.stand.app.tenants.listed(OPERATOR) for _ in range(12)),
    )
    assert len(archives) == 24


async def test_an_import_that_breaks_gives_its_tenant_up(mover: Mover, tmp_path: Path) -> None:
    (tmp_path / "whole.tar").write_bytes(mover.whole)
    archive = await mover.stand.app.imports.judge(tmp_path / "whole.tar")
    slug = f"broken-{uuid.uuid4().hex[:8]}"
    (tmp_path / "whole.tar").unlink()
    with pytest.raises(FileNotFoundError):
        await mover.stand.app.imports.run(OPERATOR, archive, slug=slug)
    with pytest.raises(NotFound):
        await mover.stand.app.tenants.find(OPERATOR, slug)


async def test_only_operators_import(mover: Mover, tmp_path: Path) -> None:
    (tmp_path / "own.tar").write_bytes(mover.own)
    archive = await mover.stand.app.imports.judge(tmp_path / "own.tar")
    with pytest.raises(Denied):
        await mover.stand.app.imports.run(mover.owner, archive)
    with pytest.raises(Conflict, match="exists already"):
        await mover.stand.app.imports.run(OPERATOR, archive)
