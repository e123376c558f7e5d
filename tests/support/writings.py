"""One small document of each text format about the same thing, and where its sentence about leave stands."""

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

SENTENCE: Final = "Leave is thirty days a year."


class Writing(NamedTuple):
    """`path` and `line` are what a citation of the sentence has to say."""

    key: str
    media_type: str
    content: bytes
    path: tuple[str, ...]
    line: int | None


_RST = f"""\
Handbook
========

Rules
-----

{SENTENCE}

.. note:: Ask first.

==== ====
Year Days
==== ====
2024 30
==== ====

.. include:: /etc/passwd

.. raw:: html

   <b>raw</b>
"""
_JSON = {
    "title": "Handbook",
    "rules": {"pay": {"notes": ["Pay comes on the last day of each month. " * 8] * 3}, "leave": {"text": SENTENCE}},
    "others": ["Nothing else is said here. " * 10] * 3,
}
_YAML = f"""\
# The rules of the house.
rules:
  pay:
    notes: >
{"      Pay comes on the last day of each month." * 16}
  # Asked for often.
  leave:
    text: {SENTENCE}
    alias: &days [30, 31]
others: *days
"""
_XML = f"""\
<?xml version="1.0"?>
<book>
  <title>Handbook</title>
  <chapter>
    <title>Rules</title>
    <para>{"Pay comes on the last day of each month. " * 16}</para>
    <para>{SENTENCE.replace("thirty", "<b>thirty</b>")}</para>
  </chapter>
</book>
"""
_SOFTLY_BROKEN = SENTENCE.replace("thirty", "thir=\nty")
_MAIL = f"""\
From: =?utf-8?q?J=C3=BCrgen?= <juergen@acme.example>
To: all@acme.example
Subject: =?cp1252?q?Handbook?=
Date: Mon, 1 Jan 2024 10:00:00 +0000
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=part

--part
Content-Type: multipart/alternative; boundary=inner

--inner
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: quoted-printable

{_SOFTLY_BROKEN}
--inner
Content-Type: text/html

<p>The same as a page.</p>
--inner--
--part
Content-Type: application/pdf
Content-Disposition: attachment; filename="rules.pdf"

JVBERi0=
--part--
"""
_NOTEBOOK = {
    "nbformat": 4,
    "cells": [
        {"cell_type": "markdown", "source": ["# Handbook\n", "\n", "## Rules\n", "\n", SENTENCE]},
        {"cell_type": "code", "source": "print(30)", "outputs": [{"output_type": "stream", "text": ["30\n"]}]},
    ],
}
_PYTHON = f"""\
import os


class Handbook:
    def pay(self) -> str:
        return "Pay comes on the last day."

    # How long one may be away.
    def leave(self) -> str:
        return "{SENTENCE}"
"""
_CSV = "Name;Rule;Year\n" + "".join(f"Rule {n};Something else entirely;{n}\n" for n in range(40))

WRITINGS: Final[Mapping[str, Writing]] = MappingProxyType({
    "rst": Writing("a.rst", "text/x-rst", _RST.encode(), ("Handbook", "Rules"), 7),
    "csv": Writing("a.csv", "text/csv", f"{_CSV}Leave;{SENTENCE};2024\n".encode("cp1252"), (), 39),
    "tsv": Writing("a.tsv", "text/tab-separated-values", f"Name\tRule\nLeave\t{SENTENCE}\n".encode(), (), 2),
    "json": Writing("a.json", "application/json", json.dumps(_JSON, indent=1).encode(), ("rules",), 11),
    "jsonl": Writing(
        "a.jsonl", "application/x-ndjson", f'{{"id": 1}}\n{{"id": 2, "text": "{SENTENCE}"}}\n'.encode(), (), 1
    ),
    "yaml": Writing("a.yaml", "application/yaml", _YAML.encode(), ("rules",), 6),
    "xml": Writing("a.xml", "application/xml", _XML.encode(), ("Rules",), 7),
    "eml": Writing("a.eml", "message/rfc822", _MAIL.encode(), (), None),
    "ipynb": Writing(
        "a.ipynb", "application/x-ipynb+json", json.dumps(_NOTEBOOK).encode(), ("Handbook", "Rules"), None
    ),
    "py": Writing("a.py", "text/x-source", _PYTHON.encode(), ("Handbook", "leave"), 8),
})  # fmt: skip
