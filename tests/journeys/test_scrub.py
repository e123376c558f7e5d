"""Scrubbing, and what follows: bytes that were lost or damaged are told, the text stays, the same bytes mend it."""

from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from carrel.adapters.postgres import Endpoint
from carrel.ask.pipeline import SearchWish
from carrel.domain.errors import Unavailable
from carrel.domain.ids import DocumentId, SourceId
from carrel.domain.library import ContentFault, Document, Duplicates, Outcome
from carrel.ingest.scrub import Scrub
from carrel.ingest.sweep import Sweep
from carrel.library.files import NewFile
from carrel.operate.doctor import Mark, _faults
from carrel.ports.blobs import Blobs
from carrel.store.documents import Shelf
from carrel.store.sources import NewSource
from carrel.wiring import assemble
from support.lying_place import LyingPlace
from support.places import Make, a_watched
from support.quiet import a_quiet_stand, blobs_of, delivered, document_of, drained
from support.raw import connected
from support.s3_server import S3Server, names_in, s3_blobs
from support.stand import Stand
from support.tenants import SomeTenant, a_tenant, pieces

PAGE = "# Payments\n\nThe payment service listens on port 7443, and nowhere else.\n"


@pytest.fixture(scope="module")
async def quiet(endpoint: Endpoint, models: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stand]:
    async with a_quiet_stand(endpoint, "scrub", tmp_path_factory.mktemp("scrub"), models=models) as standing:
        yield standing


@dataclass(frozen=True)
class Shop:
    """A stand, and how to spoil what its blob store keeps."""

    stand: Stand
    spoil: Callable[[str, bytes | None], None]

    @property
    def blobs(self) -> Blobs:
        return self.stand.parts.base.blobs

    async def scrub(self, tenant: SomeTenant, *, days: int = 30) -> list[dict[str, object]]:
        """What is told of the tenant."""
        with capture_logs() as logs:
            await Scrub(self.stand.database, self.blobs, days=days).run()
        return [dict(entry) for entry in logs if entry.get("tenant") == str(tenant.id)]

    async def age(self, tenant: SomeTenant, days: int = 40) -> dict[str, str]:
        """All that the tenant keeps is so many days old by now; its blobs by the keys of the documents."""
        async with connected(self.stand.endpoint.superuser_url) as connection:
            await connection.execute(
                "update document_versions set created_at = created_at - make_interval(days => $2),"
                " checked_at = checked_at - make_interval(days => $2) where tenant_id = $1",
                tenant.id,
                days,
            )
            rows = await connection.fetch(
                "select d.key, v.blob_key from document_versions v join documents d on d.id = v.document_id"
                " where v.tenant_id = $1",
                tenant.id,
            )
        return {row["key"]: row["blob_key"] for row in rows}

    async def checked(self, tenant: SomeTenant) -> int:
        async with connected(self.stand.endpoint.superuser_url) as connection:
            found = await connection.fetchval(
                "select count(*) from document_versions where tenant_id = $1 and checked_at is not null", tenant.id
            )
        return int(found)


@pytest.fixture
async def local(quiet: Stand) -> Shop:
    def spoil(blob: str, content: bytes | None) -> None:
        path = blobs_of(quiet) / blob
        path.unlink() if content is None else path.write_bytes(content)

    return Shop(quiet, spoil)


@pytest.fixture
async def in_bucket(quiet: Stand, s3: S3Server) -> tuple[Shop, str]:
    """The same stand with its bytes in a bucket."""
    bucket, client = s3.bucket(), s3.client("s3")

    def spoil(blob: str, content: bytes | None) -> None:
        if content is None:
            client.delete_object(Bucket=bucket, Key=blob)
        else:
            client.put_object(Bucket=bucket, Key=blob, Body=content)

    parts = replace(quiet.parts, base=replace(quiet.parts.base, blobs=s3_blobs(s3, bucket)))
    return Shop(Stand(assemble(parts), parts, quiet.parser, quiet.endpoint), spoil), bucket


@pytest.fixture(params=["local", "s3"])
async def shop(request: pytest.FixtureRequest, local: Shop, in_bucket: tuple[Shop, str]) -> Shop:
    return local if request.param == "local" else in_bucket[0]


@pytest.fixture
async def acme(shop: Shop) -> SomeTenant:
    return await a_tenant(shop.stand.app, "Acme")


async def kept(shop: Shop, tenant: SomeTenant, source: SourceId, **pages: str) -> dict[str, DocumentId]:
    found = {}
    for key, page in pages.items():
        delivery = await delivered(tenant, source, key, page)
        assert delivery.document is not None
        found[key] = delivery.document
    await drained(shop.stand)
    return found


async def document(tenant: SomeTenant, identifier: DocumentId) -> Document:
    return await tenant.app.documents.get(tenant.console, identifier)


async def test_what_is_lost_or_damaged_is_told_and_the_same_bytes_mend_it(shop: Shop, acme: SomeTenant) -> None:
    source = (await acme.source()).id
    pages = {name: f"{PAGE}\nThis is page {name}.\n" for name in ("good", "gone", "cut", "changed")}
    ids = await kept(shop, acme, source, **{f"{name}.md": page for name, page in pages.items()})
    blobs = await shop.age(acme)
    shop.spoil(blobs["gone.md"], None)
    shop.spoil(blobs["cut.md"], pages["cut"].encode()[:-1])
    shop.spoil(blobs["changed.md"], pages["changed"].replace("7443", "7444").encode())

    logs = await shop.scrub(acme, days=1)

    faults = {key: (await document(acme, one)).content.fault for key, one in ids.items()}
    missing, damaged = ContentFault.MISSING, ContentFault.DAMAGED
    assert faults == {"good.md": None, "gone.md": missing, "cut.md": damaged, "changed.md": damaged}
    assert (await document(acme, ids["good.md"])).content.checked_at is not None
    assert sorted(str(entry["event"]) for entry in logs if entry["event"] != "contents.scrubbed") == [
        "content.damaged", "content.damaged", "content.missing",
    ]  # fmt: skip
    (counted,) = [entry for entry in logs if entry["event"] == "contents.scrubbed"]
    assert (counted["read"], counted["missing"], counted["damaged"]) == (1, 1, 2)
    assert len((await acme.app.asking.search(acme.console, SearchWish("payment service port"))).hits) == 4

    for name in ("gone", "cut", "changed"):
        again = await delivered(acme, source, f"{name}.md", pages[name])
        assert again.outcome is Outcome.REPLACED
    await drained(shop.stand)
    assert {(await document(acme, one)).content.fault for one in ids.values()} == {None}
    download = await acme.app.documents.download(acme.console, ids["gone.md"])
    assert b"".join([piece async for piece in download.content]) == pages["gone"].encode()


@pytest.mark.parametrize("page", [f"<p>{PAGE}", f"<p>{PAGE}<!--{'x' * 1_500_000}-->"], ids=["small", "large"])
async def test_bytes_that_nobody_knew_to_be_lost_are_taken_again(shop: Shop, acme: SomeTenant, page: str) -> None:
    source = (await acme.source()).id
    delivery = await delivered(acme, source, "a.html", page)
    await drained(shop.stand)
    assert (await delivered(acme, source, "a.html", page)).outcome is Outcome.UNCHANGED
    shop.spoil((await shop.age(acme))["a.html"], None)

    assert (await delivered(acme, source, "a.html", page)).outcome is Outcome.REPLACED
    await drained(shop.stand)
    assert (await delivered(acme, source, "a.html", page)).outcome is Outcome.UNCHANGED
    mended = await document_of(acme, delivery)
    assert (mended.content.fault, mended.error) == (None, None)


async def test_of_many_files_only_those_that_were_lost_are_taken_again(shop: Shop, acme: SomeTenant) -> None:
    source = (await acme.source()).id
    pages = {f"{number}.md": f"{PAGE}{number}" for number in range(4)}
    await kept(shop, acme, source, **pages)
    shop.spoil((await shop.age(acme))["2.md"], None)

    dock = await acme.app.uploads.dock(acme.console, source)
    held = [
        await acme.app.uploads.take(dock, key, pieces(page.encode()), declared=None, room=10_000)
        for key, page in pages.items()
    ]
    outcomes = [delivery.outcome for delivery in await acme.app.uploads.commit_all(dock, held)]

    unchanged = Outcome.UNCHANGED
    assert outcomes == [unchanged, unchanged, Outcome.REPLACED, unchanged]


async def without_twins(shop: Shop, acme: SomeTenant, **pages: str) -> tuple[SourceId, dict[str, DocumentId]]:
    """A source that rejects twins since its pages were brought, twins or not."""
    source = (await acme.source()).id
    ids = await kept(shop, acme, source, **pages)
    await acme.app.sources.change(acme.console, source, duplicates=Duplicates.REJECT)
    return source, ids


@pytest.mark.parametrize("known", [False, True], ids=["unknown", "known"])
async def test_bytes_that_a_source_rejects_mend_the_document_that_has_lost_them(local: Shop, *, known: bool) -> None:
    acme = await a_tenant(local.stand.app, "Acme")
    source, ids = await without_twins(local, acme, **{"a.md": PAGE})
    local.spoil((await local.age(acme))["a.md"], None)
    if known:
        await local.scrub(acme, days=1)

    rejected = await delivered(acme, source, "b.md", PAGE)

    assert (rejected.outcome, rejected.same_as) == (Outcome.DUPLICATE, ids["a.md"])
    await drained(local.stand)
    download = await acme.app.documents.download(acme.console, ids["a.md"])
    assert (download.key, b"".join([piece async for piece in download.content])) == ("a.md", PAGE.encode())
    assert (await document(acme, ids["a.md"])).content.fault is None
    assert (await delivered(acme, source, "b.md", PAGE)).outcome is Outcome.DUPLICATE
    assert len(list(blobs_of(local.stand).glob(f"{acme.id}/*"))) == 1, "what was rejected is not kept"


async def test_a_document_whose_bytes_were_lost_gets_them_back_though_it_has_a_twin(local: Shop) -> None:
    acme = await a_tenant(local.stand.app, "Acme")
    source, ids = await without_twins(local, acme, **{"a.md": PAGE, "b.md": PAGE})
    local.spoil((await local.age(acme))["b.md"], None)

    assert (await delivered(acme, source, "b.md", PAGE)).outcome is Outcome.REPLACED
    await drained(local.stand)

    download = await acme.app.documents.download(acme.console, ids["b.md"])
    assert b"".join([piece async for piece in download.content]) == PAGE.encode()


async def test_bytes_of_a_walk_that_are_rejected_mend_the_document_that_has_lost_them(
    local: Shop, tmp_path: Path
) -> None:
    lying = LyingPlace({"a.md": PAGE.encode()})
    place = await a_watched(local.stand, tmp_path, origins=lying)
    source = await place.source(duplicates=Duplicates.REJECT)
    await place.next_run(source.id)
    await drained(local.stand)
    local.spoil((await local.age(place.tenant))["a.md"], None)
    await local.scrub(place.tenant, days=1)
    lying.things = {"0.md": PAGE.encode(), **lying.things}  # its twin comes first, and is rejected

    await place.walked(source.id)

    assert lying.read == ["a.md", "0.md", "a.md"]
    (page,) = (await place.documents(source.id)).values()
    await drained(local.stand)
    download = await place.tenant.app.documents.download(place.tenant.console, page.id)
    assert (page.key, b"".join([piece async for piece in download.content])) == ("a.md", PAGE.encode())


async def test_a_days_share_is_read_once_and_all_within_the_days(local: Shop) -> None:
    acme = await a_tenant(local.stand.app, "Acme")
    source = (await acme.source()).id
    await kept(local, acme, source, **{f"{number}.md": f"{PAGE}{number}" for number in range(10)})
    await local.scrub(acme, days=4)
    assert await local.checked(acme) == 0, "they are young"
    await local.age(acme, 4)

    seen = []
    for _ in range(4):
        await local.scrub(acme, days=4)
        await local.scrub(acme, days=4)
        seen.append(await local.checked(acme))
        await local.age(acme, 1)

    assert seen == [3, 6, 9, 10]


async def test_what_was_found_wrong_is_looked_at_again_every_day(local: Shop) -> None:
    acme = await a_tenant(local.stand.app, "Acme")
    ids = await kept(local, acme, (await acme.source()).id, **{"a.md": PAGE})
    blob = (await local.age(acme))["a.md"]
    local.spoil(blob, b"other bytes")
    await local.scrub(acme)
    assert (await document(acme, ids["a.md"])).content.fault is ContentFault.DAMAGED
    local.spoil(blob, PAGE.encode())
    assert await local.scrub(acme) == []
    await local.age(acme, 2)
    await local.scrub(acme)
    assert (await document(acme, ids["a.md"])).content.fault is None


async def test_private_bytes_are_read_as_well_and_told_to_their_owner_alone(local: Shop) -> None:
    acme = await a_tenant(local.stand.app, "Acme")
    owner = await acme.principal()
    private = await acme.app.sources.create(owner, NewSource("diary", owner=owner.user))
    dock = await acme.app.uploads.dock(owner, private.id)
    delivery = await acme.app.uploads.deliver(dock, "diary.md", pieces(PAGE.encode()), declared=None)
    await drained(local.stand)
    local.spoil((await local.age(acme))["diary.md"], None)

    (told, _) = await local.scrub(acme)

    assert (told["event"], told["document"]) == ("content.missing", str(delivery.document))
    assert "diary" not in str(told)
    assert delivery.document is not None
    assert (await acme.app.documents.get(owner, delivery.document)).content.fault is ContentFault.MISSING
    assert (await acme.app.documents.listed(acme.console, Shelf())).items == []


async def test_while_the_store_is_away_nothing_is_called_missing(local: Shop) -> None:
    acme = await a_tenant(local.stand.app, "Acme")
    await kept(local, acme, (await acme.source()).id, **{f"{number}.md": f"{PAGE}{number}" for number in range(5)})
    await local.age(acme)
    root = blobs_of(local.stand)
    away = root.rename(root.with_name("away"))
    try:
        with pytest.raises(Unavailable):
            await local.scrub(acme, days=1)
        with pytest.raises(Unavailable):
            await delivered(acme, (await acme.app.sources.listed(acme.console)).items[0].id, "1.md", f"{PAGE}1")
    finally:
        away.rename(root)
    assert await local.checked(acme) == 0
    await local.scrub(acme, days=1)
    assert await local.checked(acme) == 5


@dataclass(frozen=True)
class Scratched:
    """A disk with sectors that are lost; how many tries there were."""

    blobs: Blobs
    bad: frozenset[str]
    tries: list[str]

    async def read(self, key: str) -> AsyncIterator[bytes]:
        self.tries.append(key)
        if key in self.bad:
            raise Unavailable("The blob store cannot be read: Input/output error.", code="blobs_unavailable")
        async for piece in self.blobs.read(key):
            yield piece

    async def missing(self, keys: Collection[str]) -> set[str]:
        return await self.blobs.missing(keys)


async def test_files_that_cannot_be_read_stop_no_other_and_hold_nobody_up(local: Shop) -> None:
    """The oldest five, of which two fit into one look, and on the next day no more of the share than any other."""
    acme = await a_tenant(local.stand.app, "Acme")
    pages = {f"{number}.md": f"{PAGE}{number}" for number in range(8)}
    ids = await kept(local, acme, (await acme.source()).id, **pages)
    blobs = await local.age(acme)
    async with connected(local.stand.endpoint.superuser_url) as connection:
        for number in range(5):
            await connection.execute(
                "update document_versions set created_at = created_at - make_interval(days => 10) where blob_key = $1",
                blobs[f"{number}.md"],
            )
    scratched = Scratched(local.blobs, frozenset(blobs[f"{number}.md"] for number in range(5)), [])
    scrub = Scrub(local.stand.database, scratched, days=1, batch=2)  # type: ignore[arg-type]

    with capture_logs() as logs:
        await scrub.run()
        await scrub.run()

    told = [entry for entry in logs if entry.get("tenant") == str(acme.id)]
    assert [(one["read"], one["unreadable"]) for one in told if one["event"] == "contents.scrubbed"] == [(3, 5)]
    assert [one["event"] for one in told].count("content.unreadable") == 5
    tries = Counter(key for key in scratched.tries if key in blobs.values())
    assert tries == {key: 2 if key in scratched.bad else 1 for key in blobs.values()}, "each was judged once"
    faults = [(await document(acme, one)).content.fault for one in ids.values()]
    assert faults == [ContentFault.UNREADABLE] * 5 + [None] * 3
    assert (await delivered(acme, (await document(acme, ids["0.md"])).source, "0.md", pages["0.md"])).outcome is (
        Outcome.REPLACED
    )


async def test_a_store_that_falters_once_has_damaged_nothing(local: Shop) -> None:
    acme = await a_tenant(local.stand.app, "Acme")
    ids = await kept(local, acme, (await acme.source()).id, **{"a.md": f"{PAGE}a"})
    blobs = await local.age(acme)

    class Faltering(Scratched):
        async def read(self, key: str) -> AsyncIterator[bytes]:
            async for piece in Scratched.read(self, key):
                yield piece
                if self.tries.count(blobs["a.md"]) == 1:
                    raise Unavailable("The bucket does not answer.", code="blobs_unavailable")

    faltering = Faltering(local.blobs, frozenset(), [])
    with capture_logs() as logs:
        await Scrub(local.stand.database, faltering, days=1).run()  # type: ignore[arg-type]
    told = [entry for entry in logs if entry.get("tenant") == str(acme.id)]
    assert [(one["event"], one.get("read")) for one in told] == [("contents.scrubbed", 1)]
    assert (await document(acme, ids["a.md"])).content.fault is None
    assert await local.checked(acme) == 1


async def test_a_store_that_goes_away_in_the_middle_says_how_far_it_came(local: Shop) -> None:
    acme = await a_tenant(local.stand.app, "Acme")
    await kept(local, acme, (await acme.source()).id, **{f"{number}.md": f"{PAGE}{number}" for number in range(3)})
    await local.age(acme)

    class Leaving(Scratched):
        async def read(self, key: str) -> AsyncIterator[bytes]:
            async for piece in Scratched.read(self, key):
                yield piece
            if len(self.tries) == 2:
                raise Unavailable("The bucket does not answer.", code="blobs_unavailable")

        async def missing(self, keys: Collection[str]) -> set[str]:
            raise Unavailable(f"The bucket does not answer about {len(keys)}.", code="blobs_unavailable")

    with capture_logs() as logs, pytest.raises(Unavailable):
        await Scrub(local.stand.database, Leaving(local.blobs, frozenset(), []), days=1).run()  # type: ignore[arg-type]
    assert [entry["read"] for entry in logs if entry.get("tenant") == str(acme.id)] == [1]
    assert await local.checked(acme) == 1


async def test_files_that_were_brought_without_a_place_are_read_again_as_well(shop: Shop, acme: SomeTenant) -> None:
    person = await acme.principal()
    await kept(shop, acme, (await acme.source()).id, **{"a.md": PAGE})
    files = shop.stand.app.files
    brought = {}
    for name in ("good", "gone", "changed"):
        async with files.counter(person, expects=None) as counter:
            blob = await files.stage(counter, pieces(name.encode()))
            brought[name] = await files.keep(counter, NewFile(f"{name}.md", "assistants", "text/markdown", blob))
    assert await shop.scrub(acme, days=1) == [], "they are young"
    async with connected(shop.stand.endpoint.superuser_url) as connection:
        await connection.execute(
            "update brought_files set created_at = created_at - interval '9 days' where tenant_id = $1", acme.id
        )
    await shop.age(acme)
    shop.spoil(brought["gone"].blob_key, None)
    shop.spoil(brought["changed"].blob_key, b"other!!")

    logs = await shop.scrub(acme, days=1)

    faults = [(await files.get(person, one.id)).fault for one in brought.values()]
    assert faults == [None, ContentFault.MISSING, ContentFault.DAMAGED]
    assert {str(one["file"]) for one in logs if "file" in one} == {
        str(brought[name].id) for name in ("gone", "changed")
    }
    (counted,) = [one for one in logs if one["event"] == "contents.scrubbed"]
    assert (counted["read"], counted["missing"], counted["damaged"]) == (2, 1, 1), "and those of documents with them"
    (bad,) = await _faults(shop.stand.database, [acme.tenant])
    assert (bad.mark, "1 are missing" in bad.sentence, "1 damaged" in bad.sentence) == (Mark.WRONG, True, True)


@pytest.mark.parametrize("spoilt", [None, b"other bytes"], ids=["gone", "damaged"])
async def test_what_came_from_a_place_is_fetched_again_though_nothing_changed_there(
    quiet: Stand, local: Shop, watched: Make, spoilt: bytes | None
) -> None:
    place = await watched()
    shop = replace(local, stand=replace(quiet, app=place.tenant.app))
    source = (await place.source()).id
    for name in ("good.md", "bad.md"):
        place.write(name, f"{PAGE}{name}")
    await place.next_run(source)
    await drained(quiet)
    assert (await place.walked(source)).counts.unchanged == 2
    shop.spoil((await shop.age(place.tenant))["bad.md"], spoilt)
    await shop.scrub(place.tenant, days=1)

    counts = (await place.walked(source)).counts

    assert (counts.unchanged, counts.replaced, counts.failed) == (1, 1, 0)
    await drained(quiet)
    mended = (await place.documents(source))["bad.md"]
    assert mended.content.fault is None
    download = await place.tenant.app.documents.download(place.tenant.console, mended.id)
    assert b"".join([piece async for piece in download.content]) == f"{PAGE}bad.md".encode()
    assert (await place.walked(source)).counts.unchanged == 2


# A whole life in a bucket


async def test_a_document_lives_and_ends_in_a_bucket(in_bucket: tuple[Shop, str], s3: S3Server) -> None:
    shop, bucket = in_bucket
    acme = await a_tenant(shop.stand.app, "Acme")
    ids = await kept(shop, acme, (await acme.source()).id, **{"a.md": PAGE})
    assert [name.split("/")[0] for name in names_in(s3, bucket)] == [str(acme.id)]
    assert (await acme.app.asking.search(acme.console, SearchWish("payment service port"))).hits

    await acme.app.forgetting.document(acme.console, ids["a.md"])
    await drained(shop.stand)
    assert names_in(s3, bucket) == []


async def test_bytes_in_a_bucket_that_no_version_names_are_swept(in_bucket: tuple[Shop, str], s3: S3Server) -> None:
    """As a process leaves them that is killed between the last byte and the commit."""
    shop, bucket = in_bucket
    acme = await a_tenant(shop.stand.app, "Acme")
    await kept(shop, acme, (await acme.source()).id, **{"a.md": PAGE})
    (named,) = names_in(s3, bucket)
    orphan = await shop.blobs.put(acme.id, pieces(b"stray"), limit=10)
    await Sweep(shop.stand.database, shop.blobs).run()
    assert sorted(names_in(s3, bucket)) == sorted([named, orphan.key]), "they are young"

    await Sweep(shop.stand.database, shop.blobs, grace=-2).run()

    assert names_in(s3, bucket) == [named]


async def test_the_doctor_counts_what_was_found(local: Shop) -> None:
    acme = await a_tenant(local.stand.app, "Acme")
    await kept(local, acme, (await acme.source()).id, **{"a.md": PAGE})
    (good,) = await _faults(local.stand.database, [acme.tenant])
    local.spoil((await local.age(acme))["a.md"], None)
    await local.scrub(acme)
    (bad,) = await _faults(local.stand.database, [acme.tenant])
    assert (good.mark, bad.mark, bad.about) == (Mark.GOOD, Mark.WRONG, "contents")
    assert acme.slug in bad.sentence
