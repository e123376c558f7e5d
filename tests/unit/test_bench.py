"""The instruments' own arithmetic."""

import asyncio
import math
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise

import pytest

from bench.__main__ import ROWS, in_turn
from bench.load import interleaved, shares
from bench.machine import Spent, cpu_of, family, memory_of, parent_of, this_machine
from bench.offices import office_files
from bench.openloop import Call, Closed, Open, drive
from bench.percentiles import percentile
from bench.report import markdown
from bench.rows import Row
from bench.search import rotation
from bench.texts import Text, generated
from carrel.adapters.parsers.media import DOCX, HTML, ODT, PPTX, XLSX, media_type_of
from support.furnished_bench import a_document, a_room

_ANSWER = b"HTTP/1.1 %d OK\r\ncontent-length: 2\r\n\r\n{}"
_CALL = Call("/v1/search", "a key", {"query": "anything"})


def test_a_percentile_is_a_value_that_was_measured() -> None:
    values = [float(number) for number in range(100, 0, -1)]

    assert [percentile(values, percent) for percent in (0, 50, 95, 99, 100)] == [1, 50, 95, 99, 100]
    assert percentile([7.0], 99) == 7
    with pytest.raises(ValueError, match="nothing"):
        percentile([], 50)


def test_a_family_is_a_process_with_all_its_descendants() -> None:
    with subprocess.Popen(["sh", "-c", "sleep 30 & wait"]) as child:
        try:
            while len(family([child.pid])) < 2:
                pass
            grandchild = max(family([child.pid]))

            assert {child.pid, grandchild} <= set(family([os.getpid()]))
            assert parent_of(grandchild) == child.pid
            assert 0 < memory_of([child.pid]).pss <= memory_of([child.pid]).rss
        finally:
            for pid in family([child.pid]):
                os.kill(pid, 9)
    assert family([child.pid]) == []
    assert parent_of(child.pid) is None


def test_the_time_of_a_child_that_has_ended_still_counts() -> None:
    before = cpu_of([os.getpid()])
    burn = "import time\nwhile time.process_time() < 0.3: pass"
    subprocess.run([sys.executable, "-c", burn], check=True)

    assert cpu_of([os.getpid()]) - before >= 0.28


def test_time_spent_is_the_difference_of_two_looks() -> None:
    spent = Spent(3.0, 2.0) - Spent(1.0, 0.5)

    assert (spent.carrel, spent.postgres, spent.whole) == (2.0, 1.5, 3.5)


def test_each_share_has_exactly_its_chunks_and_shares_differ() -> None:
    documents = [a_document(f"{number}.md", chunks=1 + number % 3) for number in range(60)]

    found = shares(documents, tenants=3, chunks=50)

    assert [sum(len(document.chunks) for document in share) for share in found] == [50, 50, 50]
    assert len({tuple(document.text.key for document in share) for share in found}) == 3
    assert found == shares(documents, tenants=3, chunks=50)
    with pytest.raises(ValueError, match="missing"):
        shares(documents, tenants=1, chunks=500)


def test_tenants_take_turns_while_loading_and_while_asking() -> None:
    one, two = a_document("1.md"), a_document("2.md")
    rooms = [a_room(), a_room()]

    assert list(interleaved(rooms, [[one, two], [two]])) == [(rooms[0], one), (rooms[1], two), (rooms[0], two)]
    assert [room for room, _ in rotation(rooms, ["a", "b", "c"])] == [rooms[0], rooms[1], rooms[0]]


def test_growth_runs_beside_the_crowd_where_both_are_wanted_and_nothing_else_beside_anything() -> None:
    *alone, last = in_turn(ROWS)

    assert last == ("crowd", "growth")
    assert sorted(name for names in alone for name in names) == sorted({*ROWS} - {*last})
    assert all(len(names) == 1 for names in alone)
    assert in_turn(["growth", "search"]) == [("growth",), ("search",)]


def test_office_files_are_of_every_format_and_share_no_text() -> None:
    files = office_files(generated(documents=30, questions=1).texts, most=6)

    assert [file.key.rpartition(".")[2] for file in files] == ["docx", "pptx", "xlsx", "odt", "html", "docx"]
    assert {media_type_of(file.key, None, file.content[:4096]) for file in files} == {DOCX, PPTX, XLSX, ODT, HTML}
    assert len({file.content for file in files}) == 6
    assert office_files([Text("one.md", b"# One\n\nOnly this.")], most=6)[0].key == "office/0.docx"


async def test_a_stall_shows_in_the_latency_of_every_request_that_was_due_meanwhile() -> None:
    stall = 0.5

    async with _a_server(stall_at=5, seconds=stall) as url:
        outcome = await drive(url, [_CALL], Open(rate=50, seconds=1.0))

    late = [latency for latency in outcome.latencies if latency > 100]
    assert len(outcome.latencies) == 50
    assert outcome.at(100) >= stall * 1000
    assert len(late) >= 10
    assert outcome.failed == 0


def test_requests_are_due_evenly_or_at_random_times_that_a_seed_repeats() -> None:
    assert Open(rate=4, seconds=1.0).arrivals() == [0.0, 0.25, 0.5, 0.75]
    drawn = Open(rate=10, seconds=20.0, seed=1).arrivals()
    gaps = [late - early for early, late in pairwise(drawn)]
    assert drawn == Open(rate=10, seconds=20.0, seed=1).arrivals() != Open(rate=10, seconds=20.0, seed=2).arrivals()
    assert (len(drawn), min(drawn) >= 0, max(drawn) <= 20) == (200, True, True)
    assert sum(gap > 0.1 for gap in gaps) / len(gaps) == pytest.approx(math.exp(-1), abs=0.1)  # as in a Poisson process


async def test_clients_that_wait_send_no_more_than_they_are_answered() -> None:
    async with _a_server(status=503) as url:
        refused = await drive(url, [_CALL], Closed(clients=2, seconds=0.2))
    async with _a_server() as url:
        outcome = await drive(url, [_CALL], Closed(clients=2, seconds=0.2))

    assert (refused.latencies, set(refused.errors)) == ((), {"503"})
    assert outcome.failed == 0
    assert outcome.rate == pytest.approx(len(outcome.latencies) / outcome.seconds)


async def test_a_server_that_is_not_there_is_counted_not_raised() -> None:
    async with _a_server() as url:
        pass

    outcome = await drive(url, [_CALL], Open(rate=20, seconds=0.2))

    assert outcome.errors == {"ConnectionRefusedError": 4}


def test_generated_texts_are_the_same_for_every_run() -> None:
    library = generated(documents=3, questions=2)

    assert library == generated(documents=3, questions=2)
    assert len({text.content for text in library.texts}) == 3
    assert "chance" in library.origin


def test_the_report_names_the_machine_the_verdicts_and_the_notes() -> None:
    rows = [Row("a", "1 ms", "≤ 2 ms", held=True), Row("b", "3 ms", "≤ 2 ms", held=False, note="why"), Row("c", "4")]

    report = markdown(this_machine(), rows, minutes=1.0, quick=False)

    assert "PostgreSQL 18" in report
    assert "| a | 1 ms | ≤ 2 ms | held |" in report
    assert "| b | 3 ms | ≤ 2 ms | missed |" in report
    assert "| c | 4 |  | told |" in report
    assert "- b: why." in report
    assert "none of its numbers count" in markdown(this_machine(), rows, minutes=1.0, quick=True)


@asynccontextmanager
async def _a_server(*, status: int = 200, stall_at: int = -1, seconds: float = 0.0) -> AsyncIterator[str]:
    """Answers one request after the other; before one of them it stalls, and all others with it."""
    turn, count = asyncio.Lock(), 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal count
        while True:
            try:
                head = await reader.readuntil(b"\r\n\r\n")
            except asyncio.IncompleteReadError:
                break
            await reader.readexactly(int(head.rpartition(b"Content-Length: ")[2]))
            async with turn:
                await asyncio.sleep(seconds if count == stall_at else 0)
                count += 1
            writer.write(_ANSWER % status)
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
