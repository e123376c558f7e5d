"""What was deleted is nowhere: not in search, chat, export, kept answers, blobs, nor in a dump of the whole database.

Every document has a word that nothing else has, in its title, text and attributes. It is looked for as it is written,
as its stem, in hexadecimal (as bytes are dumped), and as the number that stands for it in the lexical index. All of
that is there before, and of documents that stay it is there afterwards.
"""

import asyncio
import os
import re
import uuid
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest

from carrel.adapters.lexical.analyzer import EnglishAnalyzer
from carrel.adapters.lexical.postgres import term_id
from carrel.adapters.postgres import Endpoint
from carrel.adapters.postgres.endpoint import SUPERUSER
from carrel.adapters.postgres.programs import wheel_programs
from carrel.ask.pipeline import ChatWish, Done, SearchWish
from carrel.domain.access import Principal, console
from carrel.domain.answers import Remembered
from carrel.domain.chats import KeptStatus
from carrel.domain.ids import ChatId, DocumentId, SourceId
from carrel.domain.layout import Isolation, Thresholds
from carrel.store.idempotency import Memo, StoredAnswer
from support.quiet import a_quiet_stand, blobs_of, delivered, drained
from support.raw import connected
from support.rounds import rounds
from support.stand import Stand
from support.tenants import SomeTenant

pytestmark = pytest.mark.proof

DELETED: Final = rounds(24, 500)  # in each of two layouts
KEPT: Final = rounds(6, 25)
REPLACED: Final = 5  # each so-many-eth has a version before the last one
QUOTED: Final = rounds(4, 20)  # each so-many-eth is quoted by an answer
AT_ONCE: Final = 4
PATIENCE: Final = rounds(60, 900)
ONLY_WHEN_ASKED: Final = Thresholds(promote_at=10**9, demote_below=1)
ANALYZER: Final = EnglishAnalyzer()


@dataclass
class Page:
    """A document, and the words that only it has had, one in each version."""

    number: int
    source: SourceId
    words: list[str] = field(default_factory=list)
    document: DocumentId = field(default_factory=lambda: DocumentId(uuid.UUID(int=0)))

    def written(self) -> str:
        self.words.append(a_word(f"{self.number} {len(self.words)}"))
        word = self.words[-1]
        return f"# The {word} pump\n\nThe pump of hall {self.number} is tended by the guild {word}.\n"


def a_word(seed: str) -> str:
    number = int.from_bytes(sha256(seed.encode()).digest())
    return "q" + "".join(chr(ord("a") + number // 26**place % 26) for place in range(13)) + "k"


@dataclass(frozen=True)
class Written:
    """All that the database holds: as a backup writes it, in small letters, and the numbers of its lexical entries."""

    text: str
    numbers: frozenset[int]

    def holds(self, word: str) -> set[str]:
        """The forms in which it has the word."""
        (stem,) = set(ANALYZER.stems(word))
        found = {form for form in (word, stem, word.encode().hex()) if form in self.text}
        return found | ({"number"} if term_id(stem) in self.numbers else set())


@pytest.fixture(scope="module")
async def quiet(endpoint: Endpoint, models: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stand]:
    folder = tmp_path_factory.mktemp("deletions")
    async with a_quiet_stand(endpoint, "deletions", folder, models=models) as standing:
        yield replace(standing, parts=replace(standing.parts, thresholds=ONLY_WHEN_ASKED))


@pytest.mark.timeout(rounds(180, 3_600))
@pytest.mark.parametrize("isolation", [Isolation.POOLED, Isolation.DEDICATED])
async def test_what_was_deleted_is_nowhere(quiet: Stand, isolation: Isolation) -> None:
    slug = f"deletions-{isolation}"
    tenant = SomeTenant(
        quiet.app, await quiet.app.tenants.create(console(None), "Acme", slug=slug, isolation=isolation)
    )
    shared, doomed = (await tenant.source()).id, (await tenant.source()).id
    kept = [Page(number, shared) for number in range(KEPT)]
    gone = [Page(KEPT + number, doomed if number % 3 == 0 else shared) for number in range(DELETED)]
    single, many = gone[1::3], gone[2::3]
    pages = kept + gone
    for chosen in (pages, pages[::REPLACED]):
        await bring(tenant, chosen)
        await drained(quiet, seconds=PATIENCE)
    assert (await quiet.app.tenants.find(console(None), slug)).isolation == isolation
    who = await tenant.principal()
    chats = [await asked(tenant, who, page) for page in pages[::QUOTED]]
    before = await counted(quiet, gone)
    assert before["answers"] >= len(gone[::QUOTED]) // 2
    written = await written_down(quiet)
    assert {form for page in pages for form in written.holds(page.words[-1])} > {"number"}
    assert all("number" in written.holds(page.words[-1]) for page in pages)

    for page in single:
        await tenant.app.forgetting.document(tenant.console, page.document)
    assert await tenant.app.forgetting.many(tenant.console, [page.document for page in many]) == len(many)
    await tenant.app.forgetting.source(tenant.console, doomed)

    words = [word for page in gone for word in page.words]
    assert await shown(tenant, who, gone, chats) == []
    await drained(quiet, seconds=PATIENCE)
    assert await shown(tenant, who, gone, chats) == []
    archive = b"".join([piece async for piece in (await quiet.app.exports.begin(tenant.console, tenant.id)).content])
    written = await written_down(quiet)
    kept_bytes = b"".join(path.read_bytes() for path in (blobs_of(quiet) / str(tenant.id)).iterdir())
    assert [word for word in words if written.holds(word)] == []
    assert [word for word in words if word.encode() in archive or word.encode() in kept_bytes] == []
    for page in kept:
        assert "number" in written.holds(page.words[-1])
        assert page.words[-1].encode() in archive
        assert page.words[-1].encode() in kept_bytes
        assert await found(tenant, page.words[-1]) == {f"{page.number}.md"}
    assert await told_by_receipts(quiet, gone) == before


async def bring(tenant: SomeTenant, pages: Iterable[Page]) -> None:
    waiting = iter(pages)

    async def carry() -> None:
        for page in waiting:
            delivery = await delivered(tenant, page.source, f"{page.number}.md", page.written())
            assert delivery.document is not None
            page.document = delivery.document
            await tenant.app.documents.describe(tenant.console, page.document, {"guild": page.words[-1]})

    await asyncio.gather(*(carry() for _ in range(AT_ONCE)))


async def asked(tenant: SomeTenant, who: Principal, page: Page) -> ChatId:
    """An answer that quotes the page, kept for a repetition of its request too."""
    question = f"Which guild tends the pump of hall {page.number}?"
    allowed = await tenant.app.asking.allow(who, ChatWish(question, sources=frozenset({page.source})))
    memo = Memo(uuid.uuid4(), f"once {page.number}", b"hash", _rendered)
    events = [event async for event in tenant.app.asking.chat(allowed, memo=memo)]
    assert isinstance(events[-1], Done)
    return events[-1].remembered.chat


def _rendered(remembered: Remembered) -> StoredAnswer:
    texts = [passage.text for passage in remembered.answer.evidence]
    return StoredAnswer(200, {"answer": remembered.answer.text, "evidence": texts})


async def found(tenant: SomeTenant, word: str) -> set[str]:
    hits = (await tenant.app.asking.search(tenant.console, SearchWish(f"the {word} pump", limit=5))).hits
    return {hit.key for hit in hits if word in hit.text or word in hit.title}


async def shown(tenant: SomeTenant, who: Principal, gone: list[Page], chats: list[ChatId]) -> list[str]:
    """The words that somebody is still shown: by a search, an old answer or a new one."""
    words = [word for page in gone for word in page.words]
    seen = [word for word in words if await found(tenant, word)]
    told = [message for chat in chats for message in (await tenant.app.chats.messages(who, chat)).items]
    for page in (page for page in gone[1::QUOTED] if page not in gone[::3]):  # their source is there still
        again = await asked(tenant, who, page)
        told += (await tenant.app.chats.messages(who, again)).items
    said = " ".join(f"{one.answer} {one.guidance} {one.unsupported} {one.quotations}" for one in told)
    assert any(one.status is KeptStatus.REMOVED for one in told)
    return seen + [word for word in words if word in said]


async def written_down(stand: Stand) -> Written:
    here = stand.endpoint
    process = await asyncio.create_subprocess_exec(
        str(wheel_programs() / "pg_dump"), f"--host={here.host}", f"--port={here.port}", f"--username={SUPERUSER}",
        here.database, env={**os.environ, "PGPASSWORD": here.superuser_password}, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    dump = (await process.communicate())[0].decode().lower()
    assert process.returncode == 0
    numbers = {int(number) for number in re.findall(r"[{,](\d+):", dump)}
    async with connected(here.superuser_url) as connection:
        packed = await connection.fetch("select terms from lexical_profiles union all select terms from lexical_stats")
    for row in packed:
        numbers.update(np.frombuffer(row["terms"], np.uint32).tolist())
    return Written(dump, frozenset(numbers))


async def counted(stand: Stand, gone: list[Page]) -> dict[str, int]:
    """What a deletion of these must take away, and so must tell."""
    return await _one(
        stand,
        gone,
        """
        select (select count(*) from documents where id = any ($1)) as documents,
               (select count(*) from chunks where document_id = any ($1)) as chunks,
               (select count(*) from version_records where document_id = any ($1)) as records,
               (select count(*) from document_versions where document_id = any ($1)) as blobs,
               (select count(distinct message_id) from citations where document_id = any ($1) and n > 0) as answers
        """,
    )


async def told_by_receipts(stand: Stand, gone: list[Page]) -> dict[str, int]:
    """By those that are complete; what a replaced version left behind has a receipt without records."""
    return await _one(
        stand,
        gone,
        """
        select count(distinct document_id) as documents, sum(chunks) as chunks, sum(records) as records,
               sum(cardinality(blob_keys)) as blobs, sum(answers) as answers
        from erasure_receipts where document_id = any ($1) and records > 0 and completed_at is not null
        """,
    )


async def _one(stand: Stand, gone: list[Page], query: str) -> dict[str, Any]:
    async with connected(stand.endpoint.superuser_url) as connection:
        row = await connection.fetchrow(query, [page.document for page in gone])
    assert row is not None
    return {name: int(value) for name, value in row.items()}
