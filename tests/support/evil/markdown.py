"""Evil Markdown: depths, and what makes naive readers take quadratic or exponential time."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

_SAID = "A plain sentence stands beside the evil.\n\n"


def _beside(evil: str) -> Callable[[], bytes]:
    return (_SAID + evil).encode


def _table(rows: int, columns: int) -> bytes:
    lines = ["|a" * columns, "|-" * columns, *["|x" * columns] * rows]
    return (_SAID + "\n".join(lines)).encode()


EVIL: Mapping[str, Callable[[], bytes]] = MappingProxyType({
    "100,000 nested quotes": _beside("> " * 100_000 + "x"),
    "a quote that grows line by line": _beside("\n".join(">" * depth + " x" for depth in range(2_000))),
    "50,000 nested lists": _beside("- " * 50_000 + "x"),
    "a list that grows line by line": _beside("\n".join("  " * depth + "- x" for depth in range(2_000))),
    "100,000 list items": _beside("- x\n" * 100_000),
    "emphasis that never closes": _beside("*a **a " * 100_000),
    "emphasis of every kind": _beside("*_~~" * 100_000 + "x" + "~~_*" * 100_000),
    "links that never close": _beside("[a](" * 200_000),
    "images within links": _beside("![[" * 6_000 + "x" + "](u)" * 6_000),
    "open brackets": _beside("[" * 500_000),
    "brackets in brackets": _beside("[x" * 9_000 + "]" * 9_000),
    "100,000 definitions": _beside("".join(f"[a{number}]: u\n" for number in range(100_000)) + "\n[a5] " * 5_000),
    "a reference that is long and often used": _beside(f"[a]: {'u' * 100_000} 'title'\n\n" + "[x][a] " * 2_500),
    "a table of a million cells": lambda: _table(1_000, 1_000),
    "a table of one row and 300,000 columns": lambda: _table(1, 300_000),
    "a code block of 5 MB that never ends": _beside("```\n" + "x = 1\n" * 800_000),
    "100,000 code blocks": _beside("```\nx\n```\n" * 100_000),
    "backticks of every length": _beside("".join("`" * number + "e" for number in range(1_000))),
    "a heading of 2 MB": _beside("# " + "x" * 2_000_000),
    "100,000 headings": _beside("".join(f"{'#' * (1 + number % 6)} Heading {number}\n" for number in range(100_000))),
    "100,000 underlines": _beside("x\n---\n" * 100_000),
    "front matter of 5 MB": lambda: b"---\n" + b"title: x\n" * 500_000 + b"...\n" + _SAID.encode(),
    "front matter that never ends": lambda: b"---\n" + b"title: x\n" * 500_000 + _SAID.encode(),
    "HTML that is opened and never closed": _beside("<div><table><!-- <?x <![CDATA[ <a href='\n" * 20_000),
    "half of HTML in every line": _beside("<p>x</p>\n\n*x* <b>\n\n" * 30_000),
    "entities": _beside("&amp;&#x41;&nope;" * 200_000),
    "backslashes": _beside("\\" * 2_000_000 + "x"),
    "tabs": _beside("\t" * 500_000 + "x\n" * 1_000),
    "addresses in angles": _beside("<https://" * 100_000),
    "trailing spaces and hard breaks": _beside(("x" + " " * 1_000 + "\n") * 2_000),
})  # fmt: skip
