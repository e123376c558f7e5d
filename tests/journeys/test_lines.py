"""A line goes all the way: from the file to the hit, the citation, the kept answer and the archive."""

import io
import json
import tarfile

from carrel.ask.pipeline import ChatWish, Done, SearchWish
from carrel.domain.access import for_job
from carrel.store.transaction import Statement
from conftest import TenantMaker
from support.stand import Stand
from support.writings import SENTENCE, WRITINGS

_LINES = Statement("""
    select d.key, c.line from chunks c join documents d on d.tenant_id = c.tenant_id and d.id = c.document_id
    where c.tenant_id = :tenant order by d.key, c.ordinal
""")


async def test_a_line_is_told_wherever_a_place_is(carrel: Stand, tenant: TenantMaker) -> None:
    acme = await tenant("Acme")
    source = (await acme.source()).id
    program = WRITINGS["py"]
    document = await acme.put(source, "handbook.py", program.content)
    assert document.media_type == "text/x-source"

    [hit, *_] = (await carrel.app.asking.search(acme.console, SearchWish("How long is leave?", limit=1))).hits
    assert SENTENCE in hit.text
    line = hit.line
    assert line is not None
    assert program.content.decode().split("\n")[line - 1].strip() in hit.text.split("\n")[0]

    reader = await acme.principal()
    allowed = await carrel.app.asking.allow(reader, ChatWish("How many days a year is leave?"))
    done = [event async for event in carrel.app.asking.chat(allowed)][-1]
    assert isinstance(done, Done)
    [citation, *_] = done.remembered.answer.citations
    assert citation.passage.line == line
    page = await carrel.app.chats.messages(reader, done.remembered.chat, end_user=None, limit=1, cursor=None)
    assert page.items[0].quotations[0].line == line

    archive = b"".join([piece async for piece in (await carrel.app.exports.begin(acme.console, acme.id)).content])
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        packed = tar.extractfile("chunks.jsonl")
        assert packed is not None
        assert line in {json.loads(row)["line"] for row in packed.read().splitlines()}


async def test_equal_bytes_under_another_key_keep_their_lines(carrel: Stand, tenant: TenantMaker) -> None:
    acme = await tenant("Acme")
    source = (await acme.source()).id
    content = WRITINGS["csv"].content
    await acme.put(source, "rules.csv", content)
    again = await acme.put(source, "again.csv", content)
    assert again.same_as is not None

    async with carrel.database.transaction(for_job(acme.id, None)) as tx:
        rows = await tx.rows(_LINES)
    lines = [[row["line"] for row in rows if row["key"] == key] for key in ("rules.csv", "again.csv")]
    assert lines[0] == lines[1]
    assert lines[0][0] == 2
