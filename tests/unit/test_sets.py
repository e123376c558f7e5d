"""Labelled sets are read in all their spellings, and each mistake is named with its file and line."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from carrel.evaluate.sets import BadSet, LabelledSet, SetDocument, SetQuery, load_set

DOCUMENTS = ('{"id": "a", "title": "Ports", "text": "It is 7443."}', '{"id": "b/2", "text": "Three copies."}')
QUERIES = ('{"id": "1", "text": " Which port? "}', '{"id": "2", "text": "Who?", "answerable": false}')
QRELS = ("1\ta\t1", "1\tb/2\t0")


def a_set(
    folder: Path,
    corpus: Sequence[str] = DOCUMENTS,
    queries: Sequence[str] = QUERIES,
    qrels: Sequence[str] = QRELS,
) -> Path:
    folder.mkdir(exist_ok=True)
    for name, lines in (("corpus.jsonl", corpus), ("queries.jsonl", queries), ("qrels.tsv", qrels)):
        (folder / name).write_bytes("".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape"))
    return folder


def test_a_set_has_documents_questions_and_labels(tmp_path: Path) -> None:
    read = load_set(a_set(tmp_path / "ports"))

    assert read == LabelledSet(
        name="ports",
        corpus=(
            SetDocument("a", "Ports", "It is 7443.", "a.md", "# Ports\n\nIt is 7443."),
            SetDocument("b/2", "", "Three copies.", "b%2F2.txt", "Three copies."),
        ),
        queries=(SetQuery("1", "Which port?"), SetQuery("2", "Who?", answerable=False)),
        qrels={"1": {"a": 1, "b/2": 0}},
    )
    assert read.tells_answerable
    assert [query.id for query in read.ranked] == ["1"]
    assert read.relevant("1") == {"a"}


def test_headings_empty_lines_windows_lines_and_a_mark_of_byte_order_are_no_matter(tmp_path: Path) -> None:
    plain = load_set(a_set(tmp_path / "ports"))
    folder = a_set(tmp_path / "ports", qrels=("query_id\tdoc_id\trelevance", *QRELS, ""))
    for path in folder.iterdir():
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))

    assert load_set(folder) == plain


def test_the_spelling_of_beir_is_read(tmp_path: Path) -> None:
    plain = load_set(a_set(tmp_path / "ports"))
    spelt = [line.replace('"id"', '"_id"') for line in DOCUMENTS]
    folder = a_set(tmp_path / "ports", corpus=spelt)
    (folder / "qrels").mkdir()
    (folder / "qrels.tsv").rename(folder / "qrels" / "test.tsv")

    assert load_set(folder) == plain


@pytest.mark.parametrize(
    ("broken", "code", "named"),
    [
        ({"corpus": (DOCUMENTS[0], "{")}, "invalid_set", "corpus.jsonl, line 2: This is not JSON."),
        ({"corpus": ("[]",)}, "invalid_set", "corpus.jsonl, line 1: This is no JSON object."),
        ({"corpus": ('{"id": "a"}',)}, "invalid_set", "corpus.jsonl, line 1: 'text' is missing or no text."),
        ({"corpus": ('{"id": 3, "text": "x"}',)}, "invalid_set", "line 1: 'id' is missing or no text."),
        ({"corpus": ('{"id": " ", "text": "x"}',)}, "invalid_set", "line 1: The id is empty."),
        ({"corpus": (DOCUMENTS[0], "", DOCUMENTS[0])}, "invalid_set", "line 3: The id 'a' stands there twice."),
        ({"corpus": (json.dumps({"id": "a", "text": "\ud800"}),)}, "invalid_set", "line 1: 'text' holds half"),
        ({"corpus": (DOCUMENTS[0], "\udcff")}, "invalid_set", "corpus.jsonl, line 2: This is not UTF-8."),
        ({"corpus": ("", " ")}, "empty_set", "corpus.jsonl is empty."),
        ({"queries": ('{"id": "1", "text": " "}',)}, "invalid_set", "queries.jsonl, line 1: This is no question"),
        ({"queries": ('{"id": "1", "text": "x", "answerable": 1}',)}, "invalid_set", "neither true nor false"),
        ({"qrels": ("1\ta",)}, "invalid_set", "qrels.tsv, line 1: This is not a query, a document and"),
        ({"qrels": (QRELS[0], "1\ta\tyes")}, "invalid_set", "qrels.tsv, line 2: The relevance 'yes'"),
        ({"qrels": (QRELS[0], "7\ta\t1")}, "unknown_in_set", "line 2: queries.jsonl has no query '7'."),
        ({"qrels": (QRELS[0], "1\tz\t1")}, "unknown_in_set", "line 2: corpus.jsonl has no document 'z'."),
        ({"qrels": ("query\tdocument\trelevance",)}, "empty_set", "qrels.tsv labels nothing."),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_named(tmp_path: Path, broken: dict[str, Sequence[str]], code: str, named: str) -> None:
    with pytest.raises(BadSet) as refused:
        load_set(a_set(tmp_path / "set", **broken))

    assert refused.value.code == code
    assert named in refused.value.detail


@pytest.mark.parametrize("name", ["corpus.jsonl", "queries.jsonl", "qrels.tsv"])
def test_a_file_that_is_not_there_is_named(tmp_path: Path, name: str) -> None:
    (a_set(tmp_path / "set") / name).unlink()

    with pytest.raises(BadSet, match=name) as refused:
        load_set(tmp_path / "set")

    assert refused.value.code == "set_missing"


def test_a_folder_that_is_not_there_or_holds_no_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadSet) as missing:
        load_set(tmp_path / "nothing")
    with pytest.raises(BadSet) as empty:
        load_set(tmp_path)

    assert (missing.value.code, empty.value.code) == ("set_missing", "empty_set")


def test_a_folder_of_markdown_files_is_asked_for_its_first_headings(tmp_path: Path) -> None:
    folder = tmp_path / "runbooks"
    (folder / "etcd").mkdir(parents=True)
    (folder / "NoLeader.md").write_text("# NoLeader\n\nThere is none.\n\n# Another\n")
    (folder / "etcd" / "NoLeader.md").write_text("```sh\n# a comment\n```\n\n# NoLeader\n\nElect one.")
    (folder / "disk.md").write_text("---\ntitle: x\n---\n# How to free a disk #\n\nDelete.")
    (folder / ".hidden").mkdir()
    (folder / ".hidden" / "secret.md").write_text("# Secret")
    (folder / "bare.md").write_text("No heading at all.")

    read = load_set(folder)

    assert [document.key for document in read.corpus] == ["NoLeader.md", "bare.md", "disk.md", "etcd/NoLeader.md"]
    assert {query.id: query.text for query in read.queries} == {
        "NoLeader": "What does NoLeader mean, and how is it mitigated?",
        "How to free a disk": "What is to be known about this: How to free a disk?",
    }
    assert read.relevant("NoLeader") == {"NoLeader.md", "etcd/NoLeader.md"}
    assert not read.tells_answerable


def test_a_sample_is_taken_evenly_and_keeps_the_documents(tmp_path: Path) -> None:
    queries = [f'{{"id": "{number}", "text": "Which port?"}}' for number in range(10)]
    read = load_set(a_set(tmp_path / "set", queries=queries))

    assert [query.id for query in read.sampled(4).queries] == ["0", "2", "5", "7"]
    assert read.sampled(4).corpus == read.corpus
    assert read.sampled(10) is read
