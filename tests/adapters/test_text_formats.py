"""What each text format makes of a document: places that a citation can be trusted with, and nothing from outside."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from carrel.adapters.parsers import code, json_tree, mail, markdown, notebook, plain, rows, rst, xml_tree, yaml_tree
from carrel.adapters.parsers.formats import formats
from carrel.adapters.parsers.media import PICTURES, SUPPORTED, media_type_of
from carrel.adapters.parsers.sandbox import FORMATS
from carrel.domain.errors import Unreadable, Unsupported
from carrel.domain.text import ParsedDocument
from support.writings import WRITINGS

Parse = Callable[..., ParsedDocument]
LONG = "so that it stands alone " * 40


def read(parse: Parse, content: str | bytes, key: str = "document") -> ParsedDocument:
    document = parse(content.encode() if isinstance(content, str) else content, key=key)
    end = 0
    for block in document.blocks:
        assert end <= block.start < block.end <= len(document.text)
        end = block.end
    return document


def found(document: ParsedDocument) -> list[tuple[int | None, str]]:
    return [(block.line, document.text[block.start : block.end]) for block in document.blocks]


def places(document: ParsedDocument) -> list[tuple[int | None, tuple[str, ...]]]:
    return [(block.line, block.heading_path) for block in document.blocks]


# Lines


def test_paragraphs_know_their_lines() -> None:
    assert found(read(plain.parse, "\n\none\ntwo\n \n\n  three\n\nfour")) == [
        (3, "one\ntwo"), (7, "three"), (9, "four"),
    ]  # fmt: skip


def test_markdown_knows_its_lines_below_front_matter_too() -> None:
    head = "---\ntitle: x\n---\n# A\n\ntext\nmore\n\n- a\n- b\n\n"
    document = read(markdown.parse, f"{head}| a | b |\n|--|--|\n| 1 | 2 |\n\n```sh\nls\n```\n\n> quote\n")

    assert [line for line, _ in found(document)] == [4, 6, 9, 12, 17, 20]
    assert [block.turns for block in document.blocks if block.kind == "table"] == [((6, 14),)]


# CSV


def test_rows_say_what_their_columns_mean() -> None:
    content = "Name;Price;Place\n" + "".join(f"Table {n};20,5;Cologne\n" for n in range(60))
    document = read(rows.parse, content, "prices.csv")

    texts = [text for _, text in found(document)]
    assert len(texts) > 2
    assert all(text.startswith("Name | Price | Place\nTable ") for text in texts)
    for block, text in zip(document.blocks, texts, strict=True):
        first = int(text.split("\n")[1].split()[1])
        assert (block.line, block.turns) == (first + 2, ((21, first + 2),))


def test_wide_rows_name_each_value() -> None:
    names = [f"Name of column {number}" for number in range(30)]
    content = ",".join(names) + "\n" + ",".join(str(number) for number in range(29)) + ",\n"

    [(line, text)] = found(read(rows.parse, content))
    assert line == 2
    assert text.split("\n") == [f"Name of column {number}: {number}" for number in range(29)]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_notation_is_found(delimiter: str, encoding: str) -> None:
    lines = [["Stra\u00dfe", "Gr\u00f6\u00dfe"], ["K\u00f6nigsallee", "12,5"], ["B\u00f6hmerweg", "3"]]
    content = "".join(delimiter.join(f'"{cell}"' for cell in line) + "\r\n" for line in lines)

    [(line, text)] = found(read(rows.parse, content.encode(encoding)))
    assert (line, text) == (2, "Stra\u00dfe | Gr\u00f6\u00dfe\nK\u00f6nigsallee | 12,5\nB\u00f6hmerweg | 3")


def test_a_cell_of_several_lines_moves_those_below_it() -> None:
    assert found(read(rows.parse, 'a,b\n1,"x\ny"\n3,4\n')) == [(2, "a | b\n1 | x y"), (4, "a | b\n3 | 4")]


def test_numbers_are_no_header() -> None:
    assert found(read(rows.parse, "1,2\n3,4\n")) == [(1, "1 | 2\n3 | 4")]


# JSON


def test_keys_are_headings_where_much_stands_below_them() -> None:
    content = json.dumps({"name": "Gate", "ports": {"in": {"note": LONG}, "out": {"note": LONG}}, "last": 1}, indent=1)
    document = read(json_tree.parse, content)

    assert document.title == "Gate"
    assert places(document) == [
        (2, ()), (3, ("ports",)), (4, ("ports", "in")), (5, ("ports", "in")), (7, ("ports", "out")),
        (8, ("ports", "out")), (11, ()),
    ]  # fmt: skip
    assert found(document)[-1] == (11, "last: 1")


def test_lists_and_nesting_are_readable() -> None:
    document = read(json_tree.parse, '{"a": [1, {"b": "x\\ny", "c": []}, [2]], "d": {"e": null}}')
    assert found(document) == [(1, "a:\n  - 1\n  - b: x\n      y\n    c: []\n  - - 2\nd:\n  e: null")]


def test_lines_of_json_are_items() -> None:
    assert found(read(json_tree.parse, '{"a": 1, "b": 2}\n{"a": 3}\n', "log.jsonl")) == [(1, "- a: 1\n  b: 2\n- a: 3")]


def test_settings_with_comments_are_read() -> None:
    assert found(read(json_tree.parse, '// why\n{"a": 1, /* not */ "b": [2,],}')) == [(2, "a: 1\nb:\n  - 2")]


@pytest.mark.parametrize("broken", ['{"a": 1', '{"a" 1}', "[1}", "a word", '{"a": }', "]", '{"a": "x'])
def test_what_is_no_json_is_read_as_text(broken: str) -> None:
    assert found(read(json_tree.parse, broken)) == [(1, broken)]


# YAML


def test_yaml_keeps_comments_and_lines() -> None:
    inner = f"  # the inner one\n  inner:\n    note: {LONG}\n  outer:\n    - a\n"
    source = f"# top\nfirst: 1\n\n# about gates\ngates:\n{inner}last: 2\n"
    document = read(yaml_tree.parse, source)

    assert found(document)[0] == (1, "# top\nfirst: 1")
    assert (7, ("gates", "inner")) in places(document)
    assert found(document)[-1] == (11, "last: 2")
    assert all(text in document.text for text in ("# about gates", "# the inner one", "outer:\n  - a"))
    lines = source.split("\n")
    for line, text in found(document):
        assert line is not None
        assert text.split("\n")[0].strip() in lines[line - 1]


def test_no_tag_is_obeyed_and_no_alias_followed() -> None:
    source = "a: &a !!python/object/apply:os.getcwd []\nb: [*a, *a]\n"
    assert found(read(yaml_tree.parse, source)) == [(1, source.strip())]


def test_what_is_no_yaml_is_read_as_text() -> None:
    assert found(read(yaml_tree.parse, "a: [\n\nb")) == [(1, "a: ["), (3, "b")]


# XML


def test_titles_are_headings_and_mixed_text_is_whole() -> None:
    source = (
        f'<?xml version="1.0"?>\n<!DOCTYPE book SYSTEM "book.dtd">\n<book>\n<title>Book</title>\n'
        "<chapter>\n<title>One</title>\n"
        f"<para>A <b>bold</b> word.</para>\n<para>{LONG}</para>\n</chapter>\n<port n='1'>80</port>\n</book>"
    )
    document = read(xml_tree.parse, source)

    assert document.title == "Book"
    assert (5, ("One",)) in places(document)
    assert "A bold word." in document.text
    assert found(document)[-1] == (10, "port (n=1): 80")


@pytest.mark.parametrize(
    "source",
    [
        '<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>',
        '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>',
        '<!DOCTYPE a [<!ENTITY % b SYSTEM "http://127.0.0.1/b">%b;]><a/>',
        "<a>&b;</a>",
        "<a><b></a>",
        "<a>x</a><b/>",
        "words",
        "",
        "<a>" * 600 + "</a>" * 600,
    ],
)
def test_entities_and_broken_xml_are_refused(source: str) -> None:
    with pytest.raises(Unreadable) as refused:
        read(xml_tree.parse, source)
    assert refused.value.code == "damaged_document"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "cp1251", "shift_jis", "gb18030"])
def test_xml_may_name_its_encoding(encoding: str) -> None:
    text = {"cp1251": "\u0431\u0443\u043b\u043e\u043a", "gb18030": "\u4e2d\u6587"}.get(encoding, "\u65e5\u672c\u8a9e")
    source = f'<?xml version="1.0" encoding="{encoding}"?><a><b>{text}</b></a>'
    assert found(read(xml_tree.parse, source.encode(encoding))) == [(1, f"b: {text}")]


# Mail


def test_a_letter_is_its_headers_its_text_and_the_names_of_what_is_attached() -> None:
    document = read(mail.parse, WRITINGS["eml"].content)

    sent = "Date: Mon, 1 Jan 2024 10:00:00 +0000"
    assert document.title == "Handbook"
    assert [text for _, text in found(document)] == [
        f"From: J\u00fcrgen <juergen@acme.example>\nTo: all@acme.example\n{sent}\nSubject: Handbook",
        "Leave is thirty days a year.",
        "Attachments:\n- rules.pdf",
    ]


@pytest.mark.parametrize("charset", ["cp1251", "shift_jis", "gb18030", "utf-8", "koi8-r"])
def test_a_letters_charset_is_believed(charset: str) -> None:
    text = "\u4e2d\u6587" if charset in {"shift_jis", "gb18030"} else "\u0431\u0443\u043b\u043e\u043a"
    head = f"From: a@b.example\nContent-Type: text/plain; charset={charset}\n\n"
    assert found(read(mail.parse, head.encode() + text.encode(charset)))[-1] == (None, text)


def test_a_page_is_read_where_there_is_no_plain_text() -> None:
    head = "From: a@b.example\nContent-Type: text/html\n\n"
    assert found(read(mail.parse, head + "<h1>Leave</h1><script>x</script><p>Days.</p>"))[1:] == [
        (None, "Leave"), (None, "Days."),
    ]  # fmt: skip


@pytest.mark.parametrize("depth", [50, 5_000])
def test_parts_that_stand_too_deep_are_refused(depth: int) -> None:
    deep = "".join(f"Content-Type: multipart/mixed; boundary=b{n}\n\n--b{n}\n" for n in range(depth))
    with pytest.raises(Unreadable) as refused:
        read(mail.parse, f"From: a@b.example\n{deep}\nx\n")
    assert refused.value.code == "damaged_document"


# Notebooks


def test_a_notebook_is_its_words_its_code_and_what_that_printed() -> None:
    cells = [
        {"cell_type": "markdown", "source": ["# Leave\n", "\n", "*Thirty* days."]},
        {"cell_type": "code", "source": "1 + 1", "outputs": [{"data": {"text/plain": ["2"], "image/png": "AAAA"}}]},
        {
            "cell_type": "code",
            "source": "x",
            "outputs": [{"ename": "NameError", "evalue": "x", "traceback": ["\x1b[0m"]}],
        },
    ]
    document = read(notebook.parse, json.dumps({"nbformat": 4, "cells": cells}))

    assert [text for _, text in found(document)] == ["Leave", "Thirty days.", "1 + 1", "2", "x", "NameError: x"]
    assert document.blocks[-1].heading_path == ("Leave",)


# Source code

PYTHON = '''"""Doc."""
import os

# about A
@mark
class A(B):
    """Doc."""

    def one(self) -> None:
        if os:
            pass

    async def two(
        self,
    ) -> int:
        return 1


def three():
    return 2
'''
GO = """package main

// Server serves.
type Server struct {
}

func (s *Server) Run(c Context) error {
\treturn nil
}
"""
SCRIPT = """export class Foo extends Bar {
  async load(id) {
    if (id) {
    }
  }
}
export const go = async (x) => {
};
"""
C = "int add(int a)\n{\n  return a;\n}\n\nvoid Foo::bar() const {\n}\n"
SQL = "CREATE TABLE IF NOT EXISTS t (\n id int\n);\ncreate view v as select 1;\n"


@pytest.mark.parametrize(
    ("key", "source", "expected"),
    [
        ("a.py", PYTHON, [(1, ()), (4, ("A",)), (9, ("A", "one")), (13, ("A", "two")), (19, ("three",))]),
        ("a.go", GO, [(1, ()), (3, ("Server",)), (7, ("Run",))]),
        ("a.js", SCRIPT, [(1, ("Foo",)), (2, ("Foo", "load")), (6, ("Foo",)), (7, ("go",))]),
        ("a.cpp", C, [(1, ("add",)), (6, ("Foo::bar",))]),
        ("a.sql", SQL, [(1, ("t",)), (4, ("v",))]),
        ("a.toml", "x = 1\n[a.b]\ny = 2\n", [(1, ()), (2, ("a.b",))]),
        ("a.unknown", "class A:\n  pass\n", [(1, ())]),
    ],
)
def test_definitions_are_headings(key: str, source: str, expected: list[tuple[int, tuple[str, ...]]]) -> None:
    document = read(code.parse, source, key)

    assert places(document) == expected
    lines = source.split("\n")
    for line, text in found(document):
        assert line is not None
        assert text.split("\n") == lines[line - 1 : line + text.count("\n")]


# reStructuredText


def test_rst_reads_its_parts_and_nothing_from_outside(tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("the secret")
    source = (
        "=====\nTitle\n=====\n\nIntro :ref:`here <x>`.\n\nPart\n====\n\n- one\n- two\n\n  - deep\n\n"
        ".. warning::\n\n   Take care.\n\n"
        ".. code-block:: sh\n\n   ls\n\n==== =====\nName Value\n==== =====\na    1\n==== =====\n\n"
        f".. include:: {secret}\n\n.. csv-table::\n   :file: {secret}\n\n.. raw:: html\n   :file: {secret}\n\n"
        ".. toctree::\n   :maxdepth: 2\n\n   other\n"
    )
    document = read(rst.parse, source)

    assert document.title == "Title"
    assert "the secret" not in document.text
    assert found(document)[:9] == [
        (2, "Title"), (5, "Intro here."), (7, "Part"), (10, "- one\n- two\n  - deep"), (15, "Warning:"),
        (17, "Take care."), (21, "ls"), (24, "Name | Value\na | 1"), (29, f".. include:: {secret}"),
    ]  # fmt: skip
    assert places(document)[7] == (24, ("Title", "Part"))
    assert ".. toctree::\n   :maxdepth: 2" in document.text


@pytest.mark.parametrize("source", ["x " * 20_000, "".join(f"{' ' * n}x\n\n" for n in range(600))])
def test_what_docutils_does_not_bear_is_read_as_text(source: str) -> None:
    assert "x" in read(rst.parse, source).text


# Which of them it is


@pytest.mark.parametrize(
    ("key", "declared", "head", "expected"),
    [
        ("a", None, b'{"a": 1}', "application/json"),
        ("a.txt", "text/plain", b'[{"a": 1}, {"a": 2}]', "application/json"),
        ("a.yaml", None, b'{"a": 1}', "application/json"),
        ("a", None, b'{"a": 1}\n{"a": 2}\n', "application/x-ndjson"),
        ("a.jsonl", None, b'{"a": 1}', "application/x-ndjson"),
        ("a", None, b'{"cells": [], "nbformat": 4}', "application/x-ipynb+json"),
        ("a.json", None, b'{"cells": [], "nbformat": 4}', "application/x-ipynb+json"),
        ("a.txt", None, b"{not json}", "text/plain"),
        ("a.txt", None, b"[1] A footnote", "text/plain"),
        ("a.md", None, b"[link](address)", "text/markdown"),
        ("a", None, b"\xef\xbb\xbf<!DOCTYPE html><p>", "text/html"),
        ("a.json", None, b"<html><body>Not found", "text/html"),
        ("a.csv", None, b"<!-- x --><!doctype HTML>", "text/html"),
        ("a.txt", None, '<?xml version="1.0"?><a/>'.encode("utf-16"), "application/xml"),
        ("a.xml", None, b'<?xml version="1.0"?><html xmlns="x">', "text/html"),
        ("a.html", None, b'<?xml version="1.0"?><rss>', "application/xml"),
        ("a.txt", None, b"From: a@b\r\nTo: c@d\r\nSubject: x\r\nDate: y\r\n\r\nz", "message/rfc822"),
        ("a", "message/rfc822", b"z", "message/rfc822"),
        ("a.md", None, b"From: here\n\nto there", "text/markdown"),
        ("a", None, b"a;b;c\n1;2;3\n4;5;6\n7;8;9\n", "text/csv"),
        ("a.txt", None, b"a,b,c\n1,2,3\n4,5,6\n7,8,9\n", "text/csv"),
        ("a.txt", None, b"One, two, three.\nFour.\nFive, six.\nSeven, and so on.\n", "text/plain"),
        ("a.md", None, b"a,b,c\n1,2,3\n4,5,6\n7,8,9\n", "text/markdown"),
        ("a", None, b"#!/bin/sh\nls", "text/x-source"),
        ("a", None, b"---\nkind: x\nname: y\n", "application/yaml"),
        ("a", None, b"---\ntitle: x\n---\n\nWords.", "text/plain"),
        ("a", "text/x-python", b"import os", "text/x-source"),
        ("a", "application/x-yaml", b"a: 1", "application/yaml"),
        ("a.TSV", None, b"a\tb", "text/tab-separated-values"),
    ],
)  # fmt: skip
def test_the_content_decides_where_it_is_clear(key: str, declared: str | None, head: bytes, expected: str) -> None:
    assert media_type_of(key, declared, head) == expected


@pytest.mark.parametrize("ending", PICTURES)
def test_pictures_are_read_where_text_is_recognised(ending: str) -> None:
    heads = {".png": b"\x89PNG\r\n\x1a\n", ".webp": b"RIFF\0\0\0\0WEBP", ".tif": b"II*\0", ".tiff": b"MM\0*"}
    head = heads.get(ending, b"\xff\xd8\xff\xe0")

    assert media_type_of(f"a{ending}", None, head, pictures=True) == PICTURES[ending]
    assert media_type_of("a", None, head, pictures=True) == PICTURES[ending]
    with pytest.raises(Unsupported) as refused:
        media_type_of(f"a{ending}", None, head)
    assert refused.value.code == "unsupported_type"
    assert "ocr" in refused.value.detail


def test_every_format_is_listed_with_its_endings() -> None:
    listed = {one.media_type: one for one in formats(pictures=False)}

    assert {one for one in listed if listed[one].missing is None} == set(FORMATS)
    assert {ending for one in listed.values() for ending in one.endings} == {*SUPPORTED, *PICTURES}
    assert all(one.missing is None for one in formats(pictures=True))


def test_a_progress_bar_in_a_log_is_plain_text() -> None:
    head = b"Start\n10%\r20%\r30%\ndone\na\nb\nc\n"
    for key in ("build.log", "build", "notes.txt"):
        assert media_type_of(key, None, head) == "text/plain"
