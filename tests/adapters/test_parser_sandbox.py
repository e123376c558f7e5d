"""What a parser may do, and what becomes of one that does more."""

import asyncio
import gc
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from carrel.adapters.parsers import wire
from carrel.adapters.parsers.sandbox import FORMATS, SandboxedParser
from carrel.adapters.parsers.wire import REFUSALS, Transcript, lines_of
from carrel.domain.errors import Unavailable, Unreadable, Unsupported
from carrel.domain.text import Block, ParsedDocument
from support import pdfs, unruly
from support.writings import SENTENCE, WRITINGS

UNRULY = {
    name: f"unruly:{name}" for name, value in vars(unruly).items() if "key" in getattr(value, "__annotations__", ())
}
HERE = [Path(unruly.__file__).parent]

Given = Callable[[bytes], Path]


@pytest.fixture
def given(tmp_path: Path) -> Given:
    def _given(content: bytes) -> Path:
        path = tmp_path / "content"
        path.write_bytes(content)
        return path

    return _given


def a_parser(**limits: Any) -> SandboxedParser:
    return SandboxedParser(formats={**FORMATS, **UNRULY}, paths=HERE, **limits)


@pytest.fixture(scope="module")
async def parser() -> AsyncIterator[SandboxedParser]:
    parser = a_parser(memory=256 << 20, seconds=1, wall=5)
    yield parser
    await parser.close()


@pytest.fixture
async def impatient() -> AsyncIterator[SandboxedParser]:
    parser = a_parser(wall=0.3)
    yield parser
    await parser.close()


def zygote_of(parser: SandboxedParser, *, family: int = 0) -> int | None:
    zygote = parser._families[family].zygote
    return zygote.pid if zygote else None


def forks_of(parser: SandboxedParser) -> list[int]:
    zygote = zygote_of(parser)
    assert zygote
    return _children(zygote)


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


async def until(true: Callable[[], bool], *, seconds: float = 5) -> None:
    async with asyncio.timeout(seconds):
        while not true():  # noqa: ASYNC110 - what is awaited happens in another process
            await asyncio.sleep(0.01)


async def code_of(parser: SandboxedParser, path: Path, name: str) -> str:
    with pytest.raises(Unreadable) as refused:
        await parser.parse(path, media_type=name, key="x")
    assert refused.value.detail == REFUSALS[refused.value.code]
    assert not refused.value.retryable
    return refused.value.code


@pytest.mark.parametrize(
    ("media_type", "content"),
    [
        ("text/markdown", b"# Leave\n\nThirty days."),
        ("text/plain", b"Leave\n\nThirty days."),
        ("text/html", b"<title>Leave</title><h1>Leave</h1><p>Thirty days."),
        ("application/pdf", pdfs.a_handbook()),
    ],
)
async def test_every_format_is_read_inside_the_walls(
    parser: SandboxedParser, given: Given, media_type: str, content: bytes
) -> None:
    document = await parser.parse(given(content), media_type=media_type, key="leave")

    assert "hirty days" in document.text
    assert document.blocks[0].start == 0


@pytest.mark.parametrize("name", WRITINGS)
async def test_every_writing_is_read_inside_the_walls_with_its_place(
    parser: SandboxedParser, given: Given, name: str
) -> None:
    writing = WRITINGS[name]
    document = await parser.parse(given(writing.content), media_type=writing.media_type, key=writing.key)

    [found] = [block for block in document.blocks if SENTENCE in document.text[block.start : block.end]]
    assert (found.heading_path, found.line) == (writing.path, writing.line)
    assert "root:" not in document.text


@pytest.mark.parametrize("encoding", ["cp1252", "cp1250", "cp1251", "cp932", "gb18030", "utf-16", "euc_jp", "koi8-r"])
async def test_other_encodings_need_no_file_that_a_fork_cannot_open(
    parser: SandboxedParser, given: Given, encoding: str
) -> None:
    text = "Straße, žluťoučký, булок, 日本語のテキスト: plain words around them."
    content = text.encode(encoding, "ignore" if encoding != "utf-16" else "strict")

    document = await parser.parse(given(content), media_type="text/plain", key="x")

    assert "plain words around them" in document.text


@pytest.mark.parametrize("charset", ["iso-8859-1", "nonsense", "utf-7", "punycode", "idna", "zlib", "uu"])
async def test_a_page_may_name_any_charset(parser: SandboxedParser, given: Given, charset: str) -> None:
    content = f"<meta charset={charset}><p>Stra".encode() + b"\xdfe"

    document = await parser.parse(given(content), media_type="text/html", key="x")

    assert document.text == "Straße"


async def test_a_documents_own_faults_keep_their_code(parser: SandboxedParser, given: Given) -> None:
    assert await code_of(parser, given(pdfs.an_encrypted_pdf(user="secret")), "application/pdf") == "encrypted_document"
    assert await code_of(parser, given(b"%PDF-1.4 and no more"), "application/pdf") == "damaged_document"
    assert await code_of(parser, given(pdfs.a_scan()), "application/pdf") == "no_text"
    assert await code_of(parser, given(b" \n \n"), "text/plain") == "no_text"


async def test_a_type_without_a_format_is_unsupported(parser: SandboxedParser, given: Given) -> None:
    with pytest.raises(Unsupported):
        await parser.parse(given(b"x"), media_type="image/png", key="x.png")


async def test_bytes_that_are_not_there_are_unavailable(parser: SandboxedParser, tmp_path: Path) -> None:
    with pytest.raises(Unavailable):
        await parser.parse(tmp_path / "nothing", media_type="text/plain", key="x")


async def test_a_key_of_any_characters_and_length_arrives_with_its_end(parser: SandboxedParser, given: Given) -> None:
    document = await parser.parse(given(b"x"), media_type="gives_its_key", key="ä/" * 100_000 + "end.md")

    assert document.text == ("ä/" * 500)[-994:] + "end.md"


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("eats_memory", "parser_memory"),
        ("aborts_when_memory_ends", "parser_memory"),
        ("computes_for_ever", "parser_timeout"),
        ("crashes", "parser_crashed"),
        ("raises", "parser_crashed"),
        ("recurses", "parser_crashed"),
        ("never_ends_a_line", "parser_output"),
        ("never_ends_its_text", "parser_output"),
        ("gives_too_much_text", "parser_output"),
    ],
)
async def test_a_parser_that_goes_too_far_has_a_code(
    parser: SandboxedParser, given: Given, name: str, code: str
) -> None:
    assert await code_of(parser, given(b"secret"), name) == code
    await until(lambda: not forks_of(parser))


async def test_memory_stays_within_its_limit_even_if_the_parser_hides_it(parser: SandboxedParser, given: Given) -> None:
    document = await parser.parse(given(b""), media_type="eats_memory_and_hides_it", key="x")

    assert document.text == "I am fine."


@pytest.mark.parametrize(("exit_code", "code"), [(0, "parser_output"), (1, "parser_crashed"), (71, "parser_memory")])
async def test_an_exit_without_a_document_is_no_document(
    parser: SandboxedParser, given: Given, exit_code: int, code: str
) -> None:
    assert await code_of(parser, given(b"%d" % exit_code), "exits") == code


async def test_the_refusal_says_our_sentence_and_not_the_parsers(parser: SandboxedParser, given: Given) -> None:
    assert await code_of(parser, given(b"no_text"), "refuses") == "no_text"
    assert await code_of(parser, given(b"invented"), "refuses") == "parser_output"


async def test_a_fork_can_do_nothing_but_compute(parser: SandboxedParser, given: Given) -> None:
    if not any("seccomp" in wall.sentence and wall.stands for wall in await parser.sandbox_report()):
        pytest.skip(
            "This host allows no seccomp filter, and a fork may look at paths and signal its own user's processes."
        )
    victim = given(b"")
    victim.write_bytes(os.fsencode(victim))

    document = await parser.parse(victim, media_type="tries_everything", key="x")

    assert [line for line in document.text.splitlines() if line.endswith("DONE")] == []
    assert victim.exists()


async def test_a_fork_sees_no_environment(parser: SandboxedParser, given: Given) -> None:
    document = await parser.parse(given(b""), media_type="gives_its_environment", key="x")

    # Python itself sets LC_CTYPE when it finds no locale.
    assert document.text in {"{}", "{'LC_CTYPE': 'C.UTF-8'}"}


async def test_a_fork_has_no_rights_and_nothing_open_but_its_document(given: Given) -> None:
    parser = a_parser()
    task = asyncio.create_task(parser.parse(given(b"60"), media_type="sleeps", key="x"))
    await until(lambda: zygote_of(parser) is not None and bool(forks_of(parser)))
    fork = Path(f"/proc/{forks_of(parser)[0]}")
    await until(lambda: _status(fork)["NoNewPrivs"] == "1")
    await asyncio.sleep(0.05)

    status = _status(fork)
    assert int(status["CapEff"], 16) == int(status["CapPrm"], 16) == 0
    assert (status["Uid"].split()[1], status["Groups"]) == ("65534", "") or os.getuid() != 0
    if os.getuid() == 0:  # others may not look
        links = [os.fspath(link.readlink()) for link in sorted((fork / "fd").iterdir())]
        assert (links[0], links[1][:5], links[2:]) == (os.fspath(given(b"60")), "pipe:", ["/dev/null"])
    await _cancelled(task)
    await parser.close()


def _status(process: Path) -> dict[str, str]:
    lines = (process / "status").read_text().splitlines()
    return {name: value.strip() for name, value in (line.split(":", 1) for line in lines)}


async def _cancelled(task: "asyncio.Task[ParsedDocument]") -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_the_zygote_has_no_environment_and_no_descriptor_of_the_server(
    parser: SandboxedParser, given: Given
) -> None:
    await parser.sandbox_report()
    process = Path(f"/proc/{zygote_of(parser)}")

    assert (process / "environ").read_bytes() == b""
    kinds = sorted(os.fspath(link.readlink()).split(":")[0] for link in (process / "fd").iterdir())
    assert kinds == ["/dev/null", "/dev/null", "/dev/null", "pipe", "pipe", "socket"]


async def test_the_walls_are_reported_in_sentences(parser: SandboxedParser) -> None:
    report = await parser.sandbox_report()

    assert report[0].stands
    assert all(wall.sentence.endswith(".") for wall in report)


async def test_the_first_document_tells_the_walls_to_the_log_and_no_other_does(given: Given) -> None:
    parser = a_parser()
    with capture_logs() as logs:
        report = await parser.sandbox_report()
        assert logs == []
        for kind in ("sleeps", "text/plain"):
            await parser.parse(given(b"0"), media_type=kind, key="x")
    await parser.close()

    (told,) = logs
    assert (told["event"], told["log_level"]) == ("parser.walls", "info")
    assert told["standing"] == [wall.sentence for wall in report if wall.stands]
    assert told["missing"] == [wall.sentence for wall in report if not wall.stands]


async def test_the_wall_clock_ends_what_needs_no_processor(impatient: SandboxedParser, given: Given) -> None:
    assert await code_of(impatient, given(b"60"), "sleeps") == "parser_timeout"
    await until(lambda: not forks_of(impatient))


async def test_a_cancelled_parse_kills_its_fork_and_frees_its_place(given: Given) -> None:
    parser = a_parser(at_once=1)
    task = asyncio.create_task(parser.parse(given(b"60"), media_type="sleeps", key="x"))
    await until(lambda: zygote_of(parser) is not None and bool(forks_of(parser)))

    await _cancelled(task)

    await until(lambda: not forks_of(parser))
    assert (await parser.parse(given(b"0"), media_type="sleeps", key="x")).text == "Good morning."
    await parser.close()


async def test_documents_are_read_side_by_side_up_to_the_limit(given: Given) -> None:
    parser = a_parser(at_once=2)
    await parser.sandbox_report()
    path = given(b"0.4")

    async with asyncio.TaskGroup() as group:
        for _ in range(3):
            group.create_task(parser.parse(path, media_type="sleeps", key="x"))
        await until(lambda: len(forks_of(parser)) == 2)
        await asyncio.sleep(0.1)
        assert len(forks_of(parser)) == 2

    await parser.close()


async def test_a_dead_zygote_is_replaced_and_its_documents_can_be_tried_again(given: Given) -> None:
    parser = a_parser()
    task = asyncio.create_task(parser.parse(given(b"60"), media_type="sleeps", key="x"))
    await until(lambda: zygote_of(parser) is not None and bool(forks_of(parser)))
    zygote = zygote_of(parser)
    assert zygote
    orphans = forks_of(parser)

    os.kill(zygote, signal.SIGKILL)

    with pytest.raises(Unavailable):
        await task
    await until(lambda: not any(Path(f"/proc/{orphan}").exists() for orphan in orphans))
    with capture_logs() as told:
        assert (await parser.parse(given(b"0"), media_type="sleeps", key="x")).text == "Good morning."
    assert [(one["event"], one["pid"]) for one in told if one["log_level"] == "error"] == [
        ("parser.process_died", zygote)
    ]
    await parser.close()


async def test_close_ends_everything_and_a_later_parse_starts_again(given: Given) -> None:
    parser = a_parser()
    task = asyncio.create_task(parser.parse(given(b"60"), media_type="sleeps", key="x"))
    await until(lambda: zygote_of(parser) is not None and bool(forks_of(parser)))
    zygote = zygote_of(parser)
    assert zygote
    processes = [zygote, *forks_of(parser)]

    await parser.close()
    await parser.close()

    with pytest.raises(Unavailable):
        await task
    assert not any(_runs(process) for process in processes)
    assert (await parser.parse(given(b"0"), media_type="sleeps", key="x")).text == "Good morning."
    await parser.close()


async def test_a_zygote_whose_server_dies_leaves_with_its_forks(given: Given) -> None:
    script = (
        "import asyncio, sys; from pathlib import Path; from carrel.adapters.parsers.sandbox import SandboxedParser\n"
        "async def main():\n"
        "    parser = SandboxedParser(formats={'s': 'unruly:sleeps'}, paths=[Path(sys.argv[1])])\n"
        "    await parser.sandbox_report(); print(parser._families[0].zygote.pid, flush=True)\n"
        "    await parser.parse(Path(sys.argv[2]), media_type='s', key='x')\n"
        "asyncio.run(main())"
    )
    server = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, str(HERE[0]), str(given(b"60")),
        env={"PYTHONPATH": os.pathsep.join(sys.path)}, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert server.stdout
    zygote = int(await server.stdout.readline())
    await until(lambda: bool(_children(zygote)))
    fork = _children(zygote)[0]

    server.kill()
    await server.communicate()

    await until(lambda: not _runs(zygote) and not _runs(fork))


def _runs(pid: int) -> bool:
    """A zombie has ended, though nobody has asked for its exit code."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    return False


async def test_formats_that_cannot_be_loaded_make_the_parser_unavailable(given: Given) -> None:
    parser = SandboxedParser(formats={"x": "no_such_module:parse"})

    with pytest.raises(Unavailable, match="no_such_module"):
        await parser.parse(given(b""), media_type="x", key="x")
    await parser.close()


async def test_many_documents_leave_no_zombie_and_no_descriptor(parser: SandboxedParser, given: Given) -> None:
    path = given(b"1")
    await parser.parse(path, media_type="text/plain", key="x")
    before = _descriptors()

    for _ in range(20):
        await parser.parse(path, media_type="text/plain", key="x")
        await code_of(parser, path, "exits")
    await asyncio.sleep(0.05)

    assert _descriptors() == before
    assert forks_of(parser) == []


def _descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208


async def test_the_loop_goes_on_while_a_large_document_arrives(parser: SandboxedParser, given: Given) -> None:
    content = b"a line of words that somebody wrote\n\n" * 200_000
    await parser.sandbox_report()
    pauses = []

    async def breathe() -> None:
        while True:
            before = time.thread_time()  # the loop's own work: other processes may take the processor meanwhile
            await asyncio.sleep(0)
            pauses.append(time.thread_time() - before)

    gc.freeze()  # what a session of tests has gathered takes the collector a second
    task = asyncio.create_task(breathe())
    patient = a_parser()
    document = await patient.parse(given(content), media_type="text/plain", key="x")
    task.cancel()
    await patient.close()
    gc.unfreeze()

    assert len(document.blocks) == 200_000
    assert sum(pause > 0.1 for pause in pauses) <= 2
    assert max(pauses) < 1  # a blocked loop has one of seconds


async def test_hostile_nesting_ends_with_the_processor_time(parser: SandboxedParser, given: Given) -> None:
    assert await code_of(parser, given(b"<div>" * 100_000 + b"x"), "text/html") == "parser_timeout"


def rewritten(changes: Callable[[list[Any]], None]) -> list[bytes]:
    document = ParsedDocument(
        "One.\n\nTwo.", (Block(0, 4, "paragraph", ("A",), 1), Block(6, 10, "list", ("B",))), "Title"
    )
    records = [json.loads(line) for line in lines_of(document)]
    changes(records)
    return [json.dumps(record).encode() + b"\n" for record in records]


def _set(record: int, key: str, value: Any) -> Callable[[list[Any]], None]:
    return lambda records: records[record].__setitem__(key, value)


def _block(*fields: Any, line: Any = None) -> Callable[[list[Any]], None]:
    return lambda records: records[3].__setitem__("blocks", [(*fields, line)])


def _turns(*turns: Any, line: Any = 1) -> Callable[[list[Any]], None]:
    def change(records: list[Any]) -> None:
        records[2]["blocks"] = [(0, 4, "paragraph", 1, 1)]
        _block(6, 10, "list", None, line=line)(records)
        records.insert(4, {"turns": turns})

    return change


MALFORMED = {
    "a control character": _set(1, "text", "One.\x00\n\nTwo."),
    "a lone surrogate": _set(1, "text", "One.\ud800\n\nTwo."),
    "a bidi control": _set(1, "text", "One.\u202e\nTwo."),
    "text that is no text": _set(1, "text", 7),
    "a hidden character in the title": _set(0, "title", "a\u200bb"),
    "a title without end": _set(0, "title", "x" * 2_000),
    "a title that is a list": _set(0, "title", ["x"]),
    "a second key": _set(0, "text", "x"),
    "an end beyond the text": _block(6, 11, "list", None),
    "a start before the last end": _block(3, 10, "list", None),
    "a negative start": _block(-1, 10, "list", None),
    "an empty span": _block(7, 7, "list", None),
    "a span of white space": _block(4, 6, "list", None),
    "a true for a number": _block(6, "10", "list", None),
    "an unknown kind": _block(6, 10, "script", None),
    "a page zero": _block(6, 10, "list", 0),
    "a page beyond all": _block(6, 10, "list", 5_001),
    "a line zero": _block(6, 10, "list", None, line=0),
    "a line that is a text": _block(6, 10, "list", None, line="1"),
    "a line that is true": _block(6, 10, "list", None, line=True),
    "a line beyond all": _block(6, 10, "list", None, line=1 << 40),
    "a turn of no block": _turns([3, 1, 5]),
    "a turn of the block to come": _turns([0, 1, 5]),
    "a turn behind the block": _turns([1, 4, 5]),
    "a turn before the block": _turns([1, -1, 5]),
    "a turn back": _turns([1, 2, 5], [1, 1, 6]),
    "a turn of a block before the last one that turned": _turns([1, 2, 5], [2, 1, 5]),
    "turns that alternate between blocks": _turns([2, 1, 5], [1, 1, 5], [2, 2, 6]),
    "two turns at one place": _turns([1, 2, 5], [1, 2, 6]),
    "a turn to no line": _turns([1, 2, 0]),
    "a turn in a block without a line": _turns([1, 2, 5], line=None),
    "a turn that says too little": _turns([1, 2]),
    "turns that are none": _turns("abc"),
    "more turns than text": _turns(*([1, 2, 5],) * 500_001),
    "too few fields": _block(6, 10, "list"),
    "a heading that is a number": _set(3, "path", [1]),
    "headings without end": _set(3, "path", ["x"] * 17),
    "blocks that are none": _set(3, "blocks", {"a": 1}),
    "a wrong count": _set(4, "end", 3),
    "scans that are none": _set(4, "scans", "1"),
    "a scanned page zero": _set(4, "scans", [0]),
    "scanned pages twice": _set(4, "scans", [1, 1]),
    "no end": lambda records: records.pop(),
    "no title": lambda records: records.pop(0),
    "text after blocks": lambda records: records.insert(4, {"text": "x"}),
    "a refusal after text": lambda records: records.insert(2, {"refused": "no_text"}),
    "blocks after the end": lambda records: records.append(records[3]),
    "a record that is a list": lambda records: records.insert(0, [1]),
    "an empty record": lambda records: records.insert(0, {}),
    "an unknown record": lambda records: records.insert(0, {"run": "x"}),
}


@pytest.mark.parametrize("changes", MALFORMED.values(), ids=MALFORMED)
def test_no_rule_of_the_wire_may_be_broken(changes: Callable[[list[Any]], None]) -> None:
    with pytest.raises(Unreadable) as refused:
        _taken(rewritten(changes))

    assert refused.value.code == "parser_output"


@pytest.mark.parametrize(
    "line", [b"", b"not json\n", b"\xff\n", b"[" * 100_000, b'{"end": 1' + b"0" * 5_000 + b"}", b"null"]
)
def test_what_is_no_record_is_malformed(line: bytes) -> None:
    with pytest.raises(Unreadable) as refused:
        Transcript().take(line)

    assert refused.value.code == "parser_output"


async def test_a_parser_that_was_taken_over_cannot_send_a_broken_document(
    parser: SandboxedParser, given: Given
) -> None:
    broken = b"".join(rewritten(_block(3, 10, "list", None)))
    whole = b"".join(rewritten(lambda _: None))

    assert await code_of(parser, given(broken), "writes_its_content") == "parser_output"
    assert await code_of(parser, given(whole[:-1]), "writes_its_content") == "parser_output"
    assert (await parser.parse(given(whole), media_type="writes_its_content", key="x")).title == "Title"


def test_a_document_crosses_the_wire_unchanged() -> None:
    text = "\n\n".join(f"Paragraph {number}: naïve 😀 “quotes” \\ \t end." for number in range(5_000))
    spans: Iterator[tuple[int, int]] = _spans(text)
    blocks = tuple(
        Block(start, end, "paragraph", (f"Part {index // 700}",), index // 50 + 1, 2 * index + 1, ((index % 7, 9),))
        for index, (start, end) in enumerate(spans)
    )
    document = ParsedDocument(text, blocks, None)
    assert _taken(lines_of(document)) == document


def test_turns_are_copied_once_however_many_lines_they_come_in(monkeypatch: pytest.MonkeyPatch) -> None:
    copied = []

    def counted(block: Block, *, turns: tuple[tuple[int, int], ...]) -> Block:
        copied.append(len(turns))
        return replace(block, turns=turns)

    monkeypatch.setattr(wire, "replace", counted)
    told = tuple((behind, behind + 1) for behind in range(1_000))
    records = [
        {"title": None},
        {"text": "x" * 2_000},
        {"path": [], "blocks": [(0, 1_000, "paragraph", None, 1), (1_000, 2_000, "paragraph", None, 1)]},
        *({"turns": [(back, *turn)]} for back in (2, 1) for turn in told),
        {"end": 2, "scans": []},
    ]
    document = _taken(json.dumps(record).encode() for record in records)
    assert [block.turns for block in document.blocks] == [told, told]
    assert copied == [1_000, 1_000]


def _taken(lines: Iterable[bytes]) -> ParsedDocument:
    transcript = Transcript()
    for line in lines:
        transcript.take(line)
    return transcript.document()


def _spans(text: str) -> Iterator[tuple[int, int]]:
    start = 0
    for paragraph in text.split("\n\n"):
        yield start, start + len(paragraph)
        start += len(paragraph) + 2
