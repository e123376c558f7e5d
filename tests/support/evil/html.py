"""Evil HTML: depths, widths, storms of entities, and texts that are not what they say."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

_SAID = b"<p>A plain sentence stands beside the evil.</p>"


def _beside(evil: bytes) -> Callable[[], bytes]:
    return lambda: _SAID + evil


def _every_tag_in_every_other() -> bytes:
    tags = ("table", "select", "svg", "math", "p", "a", "b", "li", "td", "template", "foreignObject", "pre", "button")
    return _SAID + b"".join(f"<{outer}><{inner}>x".encode() for outer in tags for inner in tags) * 20


def _attributes() -> bytes:
    return _SAID + b"<p " + b" ".join(b"a%d=%d" % (number, number) for number in range(100_000)) + b">x"


EVIL: Mapping[str, Callable[[], bytes]] = MappingProxyType({
    "100,000 nested tags": _beside(b"<div>" * 100_000 + b"x"),
    "100,000 tags that are closed": _beside(b"<span>" * 100_000 + b"x" + b"</span>" * 100_000),
    "20,000 nested lists": _beside(b"<ul><li>x" * 20_000),
    "20,000 nested tables": _beside(b"<table><tr><td>x" * 20_000),
    "20,000 nested templates": _beside(b"<template>" * 20_000 + b"x"),
    "50,000 tags that are adopted": _beside(b"<a><b><p>x" * 50_000),
    "a table that pushes everything out": _beside(b"<table>" + b"<b>x<i>y" * 20_000),
    "every tag in every other": _every_tag_in_every_other,
    "a million siblings": _beside(b"<b>x</b>" * 1_000_000),
    "half a million paragraphs": _beside(b"<p>x" * 600_000),
    "a table of a million cells": _beside(b"<table>" + (b"<tr>" + b"<td>x" * 1_000) * 1_000),
    "a cell that spans everything": _beside(b"<table><td colspan=2147483647 rowspan=-1>x<td colspan=9e99>y</table>"),
    "an attribute of 5 MB": _beside(b"<p title='" + b"x" * 5_000_000 + b"'>x"),
    "a tag with a name of 5 MB": _beside(b"<" + b"x" * 5_000_000 + b">x"),
    "100,000 attributes": _attributes,
    "a million entities": _beside(b"&amp;" * 1_000_000),
    "a million numbers of characters": _beside(b"&#x41;" * 1_000_000),
    "entities that do not exist": _beside(b"&" + b"a" * 1_000_000 + b"; &#99999999999999; &#xD800; &#0; &#x110000;"),
    "declared entities that laugh": lambda: (
        b"<!DOCTYPE lolz [<!ENTITY a 'lol'><!ENTITY b '&a;&a;&a;&a;&a;&a;&a;&a;'><!ENTITY c '&b;&b;&b;&b;&b;'>]>"
        + _SAID + b"<p>&c;</p><!ENTITY xxe SYSTEM 'file:///etc/passwd'>&xxe;"
    ),
    "null bytes between the letters": _beside(b"<p>n\0u\0l\0l</p>" * 20),
    "two encodings in one page": lambda: _SAID + "<p>Straße</p>".encode("utf-16") + "<p>Größe</p>".encode("cp1252"),
    "a charset that lies": lambda: b"<meta charset=utf-16>" + _SAID + "<p>Größe</p>".encode("cp1252"),
    "broken surrogates": _beside(b"<p>\xed\xa0\x80 \xed\xb0\x80 \xf4\x90\x80\x80 \xc0\x80 &#xDC00;</p>" * 1_000),
    "scripts without end": _beside(b"<script>" + b"while(1){document.write('<p>x</p>')}\n" * 50_000),
    "a data address of 5 MB": _beside(b"<img src='data:image/png;base64," + b"QUJD" * 1_250_000 + b"'>x"),
    "a comment that never ends": _beside(b"<!-- " + b"<p>x</p>" * 100_000),
    "a title of 5 MB": lambda: b"<title>" + b"x " * 2_500_000 + b"</title>" + _SAID,
    "a heading of 2 MB": _beside(b"<h1>" + b"x" * 2_000_000 + b"</h1>x"),
    "100,000 hidden things": _beside(b"<p hidden><i style='display:none'>x</i></p>" * 100_000),
    "frames within frames": _beside(b"<frameset><iframe src=javascript:x><noframes>" * 10_000),
})  # fmt: skip
