"""A document that takes down whatever reads it is left alone after the second time; everything else has a way out."""

from collections.abc import AsyncIterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from pypdf import PdfWriter
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs

from carrel.adapters.parsers.sandbox import SandboxedParser
from carrel.adapters.parsers.scans import ScanningParser
from carrel.adapters.postgres import Endpoint
from carrel.domain.access import for_job
from carrel.domain.errors import Conflict, NotFound, Unavailable, Unreadable
from carrel.domain.failures import way_out
from carrel.domain.ids import DocumentId, SourceId, new_id
from carrel.domain.jobs import JobKind
from carrel.domain.library import DocumentStatus, Outcome
from carrel.ingest.desk import Desk, SourcePaused
from carrel.ingest.pipeline import Work
from carrel.ingest.retry import Redrive
from carrel.library.documents import Shelf
from carrel.wiring import tasks
from support import pdfs
from support.quiet import a_quiet_stand, a_worker_of, delivered, document_of, drained
from support.raw import connected
from support.recording import recorded
from support.stand import Stand
from support.tally import assert_whole, tally
from support.tenants import SomeTenant, a_tenant


@pytest.fixture(scope="module")
async def quiet(endpoint: Endpoint, models: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stand]:
    folder = tmp_path_factory.mktemp("quarantine")
    async with a_quiet_stand(endpoint, "quarantine", folder, models=models) as standing:
        yield standing


def failing(*codes: str) -> Any:
    """A reader that refuses each document, in turn with these codes."""
    turns = iter(codes)

    async def refuse(_: str) -> None:
        code = next(turns, "")
        if code:
            raise Unreadable("It crashed.", code=code)

    return refuse


async def test_a_document_keeps_its_text_where_its_scans_take_down_whatever_reads_them(
    quiet: Stand, acme: SomeTenant, source: SourceId
) -> None:
    """A second crash would put it into quarantine, text and all."""
    texts = SandboxedParser()
    crashing = SandboxedParser(formats={"application/pdf": "unruly:crashes"}, paths=[Path(pdfs.__file__).parent])
    scanner = ScanningParser(texts, crashing)
    content = PdfWriter()
    for one in (pdfs.a_handbook(), pdfs.a_scan()):
        content.append(BytesIO(one))
    written = BytesIO()
    content.write(written)
    half = await delivered(acme, source, "half.pdf", written.getvalue())
    try:
        with capture_logs(processors=[merge_contextvars]) as logs:
            await drained(quiet, a_worker_of(quiet, doing=tasks(quiet.parts, scanner)))
    finally:
        await scanner.close()

    assert (await document_of(acme, half)).status is DocumentStatus.READY
    told = [(one["document"], one["code"], one["pages"]) for one in logs if one["event"] == "scans.unread"]
    assert told == [(str(half.document), "parser_crashed", 1)]


async def end_of(stand: Stand, tenant: SomeTenant, document: DocumentId, *codes: str) -> tuple[str, str | None]:
    """The status and the code of a document once a worker has had it, and what read it ended so."""
    await drained(stand, recorded(stand, failing(*codes)).worker)
    found = await tenant.app.documents.get(tenant.console, document)
    return found.status.value, None if found.error is None else found.error.code


@pytest.mark.parametrize("code", ["parser_crashed", "parser_memory", "parser_timeout"])
async def test_the_second_crash_is_the_quarantine_and_only_force_or_new_bytes_lead_out(
    quiet: Stand, acme: SomeTenant, source: SourceId, code: str
) -> None:
    many, one = acme.app.retries.many, acme.app.retries.one
    bad = await delivered(acme, source, "bad.md", "# Bad")
    assert bad.document is not None
    assert await end_of(quiet, acme, bad.document, code) == ("failed", code)
    assert await many(acme.console, Redrive()) == 1
    assert await end_of(quiet, acme, bad.document, code) == ("failed", "quarantined")

    for wish in (Redrive(), Redrive(source=source), Redrive(code="quarantined"), Redrive(documents=[bad.document])):
        assert await many(acme.console, wish) == 0
    with pytest.raises(Conflict) as refused:
        await one(acme.console, bad.document)
    assert refused.value.code == "quarantined"
    again = await delivered(acme, source, "bad.md", "# Bad")
    assert again.outcome is Outcome.UNCHANGED

    await one(acme.console, bad.document, force=True)
    assert await end_of(quiet, acme, bad.document, code) == ("failed", "quarantined"), "one more try, and no more"
    assert (await delivered(acme, source, "bad.md", "# Better")).outcome is Outcome.REPLACED
    assert await end_of(quiet, acme, bad.document, code) == ("failed", code), "new bytes begin anew"
    await one(acme.console, bad.document)
    await drained(quiet)
    assert_whole(await tally(quiet, acme.id), documents=1)


async def test_what_a_reader_refuses_in_good_order_is_no_crash(
    quiet: Stand, acme: SomeTenant, source: SourceId
) -> None:
    bad = await delivered(acme, source, "bad.md", "# Bad")
    assert bad.document is not None
    for _ in range(3):
        assert await end_of(quiet, acme, bad.document, "damaged_document") == ("failed", "damaged_document")
        assert await acme.app.retries.many(acme.console, Redrive()) == 1
    await drained(quiet)


async def orphaned(stand: Stand, *, attempts: int) -> None:
    """Every worker that has a job is as dead, at its attempt of that number."""
    async with connected(stand.endpoint.superuser_url) as connection:
        await connection.execute(
            "update jobs set attempts = $1, leased_until = now() - interval '1 second', due_at = now()", attempts
        )


async def crashes_of(stand: Stand, version: object) -> int:
    async with connected(stand.endpoint.superuser_url) as connection:
        return int(await connection.fetchval("select crashes from document_versions where id = $1", version))


async def test_an_attempt_after_a_death_that_ends_in_good_order_counts_for_no_crash(
    quiet: Stand, acme: SomeTenant, source: SourceId
) -> None:
    suspect = await delivered(acme, source, "a.md", "# A page")
    desk = Desk(quiet.database)
    for _ in range(3):
        await orphaned(quiet, attempts=1)
        (claim,) = await desk.claim([JobKind.INGEST], lease=60, most=1)
        work = Work(claim, for_job(acme.id, None))
        await desk.begin(work)
        assert await crashes_of(quiet, suspect.version) == 1, "counted before it can happen"
        await desk.settle(work, Unavailable("Something is away."))
        assert await crashes_of(quiet, suspect.version) == 0
    await drained(quiet)
    assert_whole(await tally(quiet, acme.id), documents=1)


async def test_a_suspect_whose_source_was_paused_meanwhile_waits_and_says_so(
    quiet: Stand, acme: SomeTenant, source: SourceId
) -> None:
    suspect, desk = await delivered(acme, source, "a.md", "# A page"), Desk(quiet.database)
    (claim,) = await desk.claim([JobKind.INGEST], lease=60, most=1)
    await desk.begin(Work(claim, for_job(acme.id, None)))
    assert (await document_of(acme, suspect)).status is DocumentStatus.PROCESSING
    await acme.app.refreshes.pause(acme.console, source)
    await orphaned(quiet, attempts=1)

    (claim,) = await desk.claim([JobKind.INGEST], lease=60, most=1)
    assert claim.is_suspect
    work = Work(claim, for_job(acme.id, None))
    with pytest.raises(SourcePaused) as paused:
        await desk.begin(work)
    await desk.settle(work, paused.value)

    waiting = await document_of(acme, suspect)
    assert (waiting.status, waiting.stage, waiting.attempts) == (DocumentStatus.PENDING, "queued", 1)
    assert await crashes_of(quiet, suspect.version) == 0
    await acme.app.refreshes.resume(acme.console, source)
    await drained(quiet)
    assert_whole(await tally(quiet, acme.id), documents=1)


async def test_dead_letters_say_where_why_how_often_and_the_way_out(
    quiet: Stand, acme: SomeTenant, source: SourceId
) -> None:
    for number, code in enumerate(("encrypted_document", "parser_crashed")):
        await delivered(acme, source, f"{number}.md", f"# Page {number}")
        await drained(quiet, recorded(quiet, failing(code)).worker)
    shelf = Shelf(source=source, status=DocumentStatus.FAILED, code="encrypted_document")

    (dead,) = (await acme.app.documents.listed(acme.console, shelf)).items

    assert dead.error is not None
    assert (dead.key, dead.attempts, dead.error.stage) == ("0.md", 1, "parse")
    assert way_out(dead.error) == "Take its password off and bring it again."


async def test_named_documents_are_tried_again_or_none_of_them(
    quiet: Stand, acme: SomeTenant, source: SourceId
) -> None:
    rival = await a_tenant(quiet.app, "Rival")
    foreign = await delivered(rival, (await rival.source()).id, "a.md", "# Foreign")
    some = [await delivered(acme, source, f"{number}.md", f"# Page {number}") for number in range(3)]
    await drained(quiet, recorded(quiet, failing(*["damaged_document"] * 4)).worker)
    ids = [(await document_of(acme, one)).id for one in some]
    assert foreign.document is not None

    for stranger in (foreign.document, DocumentId(new_id())):
        with pytest.raises(NotFound):
            await acme.app.retries.many(acme.console, Redrive(documents=[*ids, stranger]))
    assert await acme.app.retries.many(acme.console, Redrive(documents=[ids[0], ids[2], ids[0]])) == 2
    assert (await document_of(acme, some[1])).status is DocumentStatus.FAILED
    assert await acme.app.retries.many(acme.console, Redrive(documents=[])) == 0
    await drained(quiet)
