"""Evil data, mail, notebooks, markup and source code: bombs, cycles, depths, and whatever asks for something else."""

import json
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType

from support.writings import WRITINGS

_SAID = "A plain sentence stands beside the evil."
_WHOLE_MAIL = WRITINGS["eml"].content
_CYRILLIC = "булок;3\n".encode("cp1251")
_XML = '<?xml version="1.0"?>\n'


def _as(text: str) -> Callable[[], bytes]:
    return text.encode


def _laughs(levels: int) -> bytes:
    entities = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, levels))
    return f'{_XML}<!DOCTYPE a [<!ENTITY l0 "lol">{entities}]><a>{_SAID}&l{levels - 1};</a>'.encode()


def _aliases(levels: int) -> bytes:
    lines = ["a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, levels)]
    return "\n".join([f"said: {_SAID}", *lines]).encode()


def _nested_mail(depth: int) -> bytes:
    """Each part a multipart of its own."""
    opening = "".join(f"Content-Type: multipart/mixed; boundary=b{n}\n\n--b{n}\n" for n in range(depth))
    return f"From: a@b.example\nDate: x\nSubject: deep\nMIME-Version: 1.0\n{opening}\n{_SAID}\n".encode()


def _letters_in_letters(depth: int) -> bytes:
    return ("From: a@b.example\nDate: x\nMIME-Version: 1.0\nContent-Type: message/rfc822\n\n" * depth + _SAID).encode()


def _mail(headers: str, body: str) -> Callable[[], bytes]:
    return f"From: a@b.example\nDate: x\nMIME-Version: 1.0\n{headers}\n\n{body}".encode


def _many_parts() -> bytes:
    parts = "".join(f"--x\nContent-Type: text/plain\n\npart {n}\n" for n in range(5_000))
    return (
        f"From: a@b.example\nDate: x\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=x\n\n{parts}".encode()
    )


def _notebook(*cells: object) -> Callable[[], bytes]:
    return lambda: json.dumps({"nbformat": 4, "cells": list(cells)}).encode()


CSV: Mapping[str, Callable[[], bytes]] = MappingProxyType({
    "a cell of 10 MB": lambda: b"a,b\n" + b"x" * 10_000_000 + b",1\n",
    "a quoted cell that never closes": lambda: b'a,b\n"' + b"x,y\n" * 300_000,
    "300,000 columns": lambda: b"a," * 300_000 + b"\n" + b"1," * 300_000,
    "rows of every width": lambda: b"".join(b"a," * (n % 500) + b"\n" for n in range(3_000)),
    "nothing but commas": lambda: b"," * 3_000_000,
    "a million quotation marks": lambda: b'"' * 1_000_001,
    "400,000 rows": lambda: b"a;b\n" + b"1;2\n" * 400_000,
    "null characters in cells": lambda: b"a,b\n" + b"x\0y,z\n" * 5,
    "formulas": _as(f"a,b\n=cmd|'/c calc'!A1,@SUM(1)\n{_SAID},+1\n"),
    "an encoding in each row": lambda: "Größe;2\n".encode() + "Größe;2\n".encode("cp1252") + _CYRILLIC,
})  # fmt: skip
JSON: Mapping[str, Callable[[], bytes]] = MappingProxyType({
    "100,000 nested lists": lambda: b"[" * 100_000 + b"]" * 100_000,
    "100,000 nested objects that never close": lambda: b'{"a":' * 100_000,
    "nesting just within the limit": lambda: b'{"a":' * 150 + b'"x"' + b"}" * 150,
    "a number of a million digits": lambda: b'{"a": ' + b"9" * 1_000_000 + b"}",
    "a string of 10 MB": lambda: b'{"a": "' + b"x" * 10_000_000 + b'"}',
    "a key of 2 MB": lambda: b'{"' + b"k" * 2_000_000 + b'": 1}',
    "the same key 100,000 times": lambda: b"{" + b'"a": 1,' * 100_000 + b'"a": 2}',
    "lone surrogates": lambda: b'{"a": "' + b"\\ud800" * 10_000 + b'"}',
    "a million escapes": lambda: b'{"a": "' + b"\\u0041" * 1_000_000 + b'"}',
    "a text that never closes": lambda: b'{"a": "' + b"\\\\" * 500_000,
    "a million empty lists": lambda: b"[" + b"[]," * 1_000_000 + b"[]]",
    "comments without end": lambda: b'{"a": 1 /*' + b"*" * 500_000,
    "slashes": lambda: b"{" + b"/" * 500_000,
    "not a number": _as('{"a": NaN, "b": -Infinity, "c": 1e999999, "d": "' + _SAID + '"}'),
})  # fmt: skip
YAML: Mapping[str, Callable[[], bytes]] = MappingProxyType({
    "aliases that laugh": partial(_aliases, 9),
    "an anchor within itself": _as(f"a: &a [*a, {_SAID}]\nb: &b {{c: *b}}\n"),
    "objects of the reader's own": _as(f"a: !!python/object/apply:os.system ['echo evil']\nb: {_SAID}\n"),
    "a merge of itself": _as(f"a: &a\n  <<: *a\n  b: {_SAID}\n"),
    "50,000 nested lists": lambda: b"[" * 50_000,
    "5,000 nested maps": lambda: "".join(f"{' ' * n}a:\n" for n in range(3_000)).encode(),
    "200,000 keys": lambda: "".join(f"k{n}: v\n" for n in range(200_000)).encode(),
    "100,000 documents": lambda: b"---\na: 1\n" * 100_000,
    "a tag of 1 MB": lambda: b"a: !" + b"x" * 1_000_000 + b" 1\n",
    "tabs and directives": _as(f"%YAML 9.9\n%TAG ! tag:evil,2024:\n---\n\ta: {_SAID}\n"),
    "a folded text of 5 MB": lambda: b"a: >\n" + b"  word word\n" * 400_000,
})  # fmt: skip
XML: Mapping[str, Callable[[], bytes]] = MappingProxyType({
    "a billion laughs": partial(_laughs, 10),
    "one entity of 1 MB, often": _as(f'<!DOCTYPE a [<!ENTITY e "{"x" * 500_000}">]><a>{"&e;" * 10_000}</a>'),
    "a file of the machine": _as(f'<!DOCTYPE a [<!ENTITY e SYSTEM "file:///etc/passwd">]><a>{_SAID}&e;</a>'),
    "a page of the network": _as(f'<!DOCTYPE a [<!ENTITY % e SYSTEM "http://127.0.0.1/e.dtd">%e;]><a>{_SAID}</a>'),
    "a document type from elsewhere": _as(f'<!DOCTYPE a SYSTEM "http://127.0.0.1/a.dtd"><a>{_SAID}</a>'),
    "an inclusion": _as(
        f'<a xmlns:xi="http://www.w3.org/2001/XInclude"><xi:include href="/etc/passwd" parse="text"/>{_SAID}</a>'
    ),
    "a style sheet from elsewhere": _as(f'{_XML}<?xml-stylesheet href="http://127.0.0.1/s.xsl"?><a>{_SAID}</a>'),
    "100,000 nested elements": lambda: b"<a>" * 100_000 + b"x" + b"</a>" * 100_000,
    "nesting just within the limit": lambda: b"<a>" * 490 + b"x" + b"</a>" * 490,
    "300,000 siblings": lambda: b"<a>" + b"<b>x</b>" * 300_000 + b"</a>",
    "100,000 attributes": _as("<a " + " ".join(f"a{n}='1'" for n in range(100_000)) + ">x</a>"),
    "an attribute of 5 MB": lambda: b"<a b='" + b"x" * 5_000_000 + b"'>x</a>",
    "a text of 20 MB": lambda: b"<a>" + b"word " * 4_000_000 + b"</a>",
    "a comment that never ends": lambda: b"<a>x</a><!-- " + b"-" * 1_000_000,
    "a prolog of comments": lambda: b"<!---->" * 100_000 + b"<!DOCTYPE a><a>x</a>",
    "an encoding that lies": lambda: b"<?xml version='1.0' encoding='utf-16'?><a>" + _SAID.encode() + b"</a>",
    "two roots": _as(f"<a>{_SAID}</a><b>x</b>"),
})  # fmt: skip
MAIL: Mapping[str, Callable[[], bytes]] = MappingProxyType({
    "500 parts within each other": partial(_nested_mail, 500),
    "20,000 parts within each other": partial(_nested_mail, 20_000),
    "letters within letters": partial(_letters_in_letters, 500),
    "5,000 parts": _many_parts,
    "a boundary that is everywhere": lambda: (
        b'From: a@b.example\nDate: x\nContent-Type: multipart/mixed; boundary=""\n\n' + b"--\n" * 100_000
    ),
    "a header of 2 MB": _mail("Subject: " + "x " * 1_000_000, _SAID),
    "100,000 headers": _mail("\n".join(f"X-{n}: y" for n in range(100_000)), _SAID),
    "an encoded header that never ends": _mail("Subject: " + "=?utf-8?q?" * 50_000, _SAID),
    "encoded words of unknown encodings": _mail("Subject: =?utf-7?q?+AGE-?= =?idna?b?eA==?= =?zlib?b?eA==?=", _SAID),
    "a charset that does not exist": _mail('Content-Type: text/plain; charset="../../etc/passwd"', _SAID),
    "base64 that is none": _mail("Content-Type: text/plain\nContent-Transfer-Encoding: base64", "!" * 100_000),
    "uuencoded without end": _mail("Content-Transfer-Encoding: x-uuencode", "begin 644 x\n" + "M" * 100_000),
    "a name that climbs": _mail(
        "Content-Type: multipart/mixed; boundary=x",
        f"--x\n\n{_SAID}\n--x\nContent-Disposition: attachment; filename*=utf-8''..%2F..%2Fetc%2Fpasswd\n\nx\n--x--\n",
    ),
    "a parameter in 100,000 pieces": _mail(
        "Content-Type: text/plain" + "".join(f";\n name*{n}=x" for n in range(20_000)), _SAID
    ),
    "a page without an end": _mail("Content-Type: text/html", "<div>" * 100_000 + _SAID),
    "cut in the middle": lambda: _WHOLE_MAIL[: len(_WHOLE_MAIL) // 2],
})  # fmt: skip
RST: Mapping[str, Callable[[], bytes]] = MappingProxyType({
    "files of the machine": _as(
        f"{_SAID}\n\n.. include:: /etc/passwd\n\n.. literalinclude:: /etc/passwd\n\n"
        ".. csv-table::\n   :file: /etc/passwd\n\n.. raw:: html\n   :file: /etc/passwd\n\n.. raw:: html\n"
        "   :url: http://127.0.0.1/x\n\n.. code::\n   :file: /etc/passwd\n"
    ),
    "substitutions that laugh": lambda: (
        "".join(f".. |a{n}| replace:: {f'|a{n - 1}| ' * 10}\n" for n in range(1, 10)).encode()
        + b".. |a0| replace:: lol\n\n|a9|\n"
    ),
    "a substitution of itself": _as(f".. |a| replace:: |b|\n.. |b| replace:: |a|\n\n|a| {_SAID}\n"),
    "a class of the reader's own": _as(f".. role:: raw(raw)\n   :format: html\n\n:raw:`<b>` {_SAID}\n\n.. date:: %c\n"),
    "2,000 nested quotes": lambda: "".join(f"{' ' * n}x\n\n" for n in range(2_000)).encode(),
    "500 nested lists": lambda: "".join(f"{'  ' * n}- x\n\n" for n in range(500)).encode(),
    "a line of 1 MB": lambda: b"x " * 500_000,
    "50,000 sections": lambda: b"".join(b"T%d\n======\n\nx\n\n" % n for n in range(20_000)),
    "references to nothing": lambda: b"`a`_ |b|_ [c]_ " * 2_000,
    "a table of bars": lambda: (b"+" + b"-+" * 500 + b"\n" + b"|" + b" |" * 500 + b"\n") * 20 + b"+" + b"-+" * 500,
    "3 MB of text": lambda: f"{_SAID}\n\n".encode() * 75_000,
})  # fmt: skip
NOTEBOOK: Mapping[str, Callable[[], bytes]] = MappingProxyType({
    "cells that are none": _notebook(1, None, [], {"cell_type": 7}, {"cell_type": "markdown", "source": {"a": 1}}),
    "100,000 cells": _notebook(*({"cell_type": "code", "source": "x"} for _ in range(100_000))),
    "an output of 10 MB": _notebook({"cell_type": "code", "source": _SAID, "outputs": [{"text": "x" * 10_000_000}]}),
    "Markdown that is evil": _notebook({"cell_type": "markdown", "source": "> " * 50_000 + _SAID}),
    "nested without end": lambda: b'{"nbformat": 4, "cells": ' + b"[" * 100_000,
})  # fmt: skip
CODE: Mapping[str, Callable[[], bytes]] = MappingProxyType({
    "one line of 10 MB": lambda: b"x=1;" * 2_500_000,
    "2,000 nested functions": lambda: "".join(f"{' ' * n}def f{n}():\n" for n in range(2_000)).encode(),
    "100,000 functions": lambda: b"".join(b"def f%d(): pass\n" % n for n in range(100_000)),
    "300,000 comments": lambda: b"# x\n" * 300_000,
    "lines that nearly define something": lambda: (b"public static final " * 18 + b"\n") * 5_000,
    "brackets that never close": lambda: b"def f(" * 60 + b"\n" + (b"class A<" * 40 + b"\n") * 5_000,
})  # fmt: skip
LYING: Mapping[str, tuple[str, Callable[[], bytes]]] = MappingProxyType({
    "a page named JSON": ("names/page.json", lambda: b"<!doctype html><p>" + _SAID.encode()),
    "data named a page": ("names/data.html", lambda: json.dumps({"a": [_SAID] * 50}).encode()),
    "a letter named code": ("names/letter.py", lambda: _WHOLE_MAIL),
    "a notebook without an ending": ("names/notebook", lambda: WRITINGS["ipynb"].content),
    "a text named mail": ("names/text.eml", _SAID.encode),
    "a text named XML": ("names/text.xml", _SAID.encode),
    "a text named a notebook": ("names/text.ipynb", _SAID.encode),
    "a picture named CSV": ("names/picture.csv", lambda: b"\x89PNG\r\n\x1a\n" + bytes(100)),
    "a program named YAML": ("names/program.yaml", lambda: b"\x7fELF" + bytes(200)),
    "XML in wide letters": ("names/wide.xml", lambda: f"{_XML}<a>{_SAID}</a>".encode("utf-16")),
})  # fmt: skip
