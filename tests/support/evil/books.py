"""Evil EPUB books and RTF texts: spines in circles, chapters from outside, braces without end, lengths that lie."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from support import offices
from support.evil.packages import SAID


def _book(old: str, new: str) -> Callable[[], bytes]:
    """A sound book whose list of parts says something else."""

    def make() -> bytes:
        members = offices.members_of(offices.an_epub())
        listed = members["OEBPS/book.opf"]
        assert old.encode() in listed
        return offices.zipped({**members, "OEBPS/book.opf": listed.replace(old.encode(), new.encode())})

    return make


def _chapter(text: str) -> Callable[[], bytes]:
    return lambda: offices.an_epub({"one.xhtml": f"<html><body><p>{SAID}</p>{text}"})


def _with(name: str, content: str) -> Callable[[], bytes]:
    return lambda: offices.an_epub(members={name: content})


def _rtf(evil: bytes) -> Callable[[], bytes]:
    return lambda: b"{\\rtf1\\ansi\\pard " + SAID.encode() + b"\\par " + evil + b"\\par}"


EPUB: Mapping[str, Callable[[], bytes]] = MappingProxyType({
    "one chapter 100,000 times": _book("<spine>", "<spine>" + '<itemref idref="one.xhtml"/>' * 100_000),
    "a chapter from a file": _book("text/one.xhtml", "file:///etc/passwd"),
    "a chapter from above": _book("text/one.xhtml", "../../../../etc/passwd"),
    "a chapter from outside": _book("text/one.xhtml", "http://169.254.169.254/latest/"),
    "a chapter that is the list of parts": _book("text/one.xhtml", "book.opf"),
    "a chapter that is a picture": _with("OEBPS/text/one.xhtml", "\0" * 1_000),
    "a list of parts with entities": _book("<package ", "<!DOCTYPE package [<!ENTITY e 'evil'>]><package "),
    "a container that leads nowhere": _with(
        "META-INF/container.xml", '<container><rootfile full-path="../../etc/passwd"/></container>'
    ),
    "a container with entities": _with(
        "META-INF/container.xml", "<!DOCTYPE x [<!ENTITY e SYSTEM 'x'>]><container/>"
    ),
    "chapters with a lock": _with(
        "META-INF/encryption.xml", '<encryption><CipherReference URI="OEBPS/text/one.xhtml"/></encryption>'
    ),
    "a table of contents of a million lines": lambda: offices.an_epub(
        members={"OEBPS/nav.xhtml": f"<nav>{'<a href=text/two.xhtml>x</a>' * 300_000}</nav>"}
    ),
    "a table of contents with entities": _with(
        "OEBPS/nav.xhtml",
        "<!DOCTYPE nav [<!ENTITY e SYSTEM 'file:///etc/passwd'>]><nav><a href='text/two.xhtml'>&e;</a></nav>",
    ),
    "100,000 nested elements": _chapter("<div>" * 100_000),
    "a million closed elements": _chapter("<a/>" * 300_000),
    "an open element of 5 MB": _chapter("<a" + " x" * 2_500_000),
    "scripts": _chapter("<script>while(1){}</script><iframe src='http://127.0.0.1:1/'></iframe>"),
    "no chapters": _book("itemref", "nothing"),
})  # fmt: skip
RTF: Mapping[str, Callable[[], bytes]] = MappingProxyType({
    "a million braces": _rtf(b"{" * 1_000_000),
    "a million closing braces": _rtf(b"}" * 1_000_000),
    "9,000 groups in each other": _rtf(b"{\\b " * 9_000 + b"x" + b"}" * 9_000),
    "a million groups": _rtf(b"{\\b x}" * 500_000),
    "bytes without end": _rtf(b"\\bin999999999 x"),
    "bytes below nothing": _rtf(b"\\bin-999999999 x" * 1_000),
    "a number of a thousand digits": _rtf(b"\\fs" + b"9" * 1_000 + b" x"),
    "a word of a million letters": _rtf(b"\\" + b"x" * 1_000_000),
    "characters to skip without end": _rtf(b"\\uc999999999\\u26085 x" * 1_000),
    "halves of characters": _rtf(b"\\u-10179?" * 10_000),
    "characters that do not exist": _rtf(b"\\u99999?\\u-99999?\\'zz\\'0\\'00" * 1_000),
    "a picture of 20 MB": _rtf(b"{\\pict\\pngblip " + (b"89504e47" * 16 + b"\n") * 150_000 + b"}"),
    "a picture of absurd size": _rtf(b"{\\pict\\picw2147483647\\pich2147483647\\picscalex99999 00}"),
    "an object that runs": _rtf(b"{\\object\\objocx{\\*\\objdata 0105000002000000}{\\result x}}"),
    "a field that asks the network": _rtf(b'{\\field{\\*\\fldinst INCLUDETEXT "http://127.0.0.1:1/"}{\\fldrslt x}}'),
    "100,000 cells without a row": _rtf(b"\\intbl x\\cell " * 100_000),
    "300,000 rows without a cell": _rtf(b"\\row " * 300_000),
    "100,000 paragraphs": _rtf(b"x\\par " * 100_000),
    "100,000 fonts": _rtf(b"{\\fonttbl" + b"{\\f1\\fcharset204 x;}" * 100_000 + b"}"),
    "100,000 notes": _rtf(b"{\\footnote x}" * 100_000),
    "alphabets that do not exist": _rtf(b"\\ansicpg99999\\f77 \\'e4" * 1_000),
    "10 MB without a word": _rtf(b"evil " * 2_000_000),
    "levels beyond all": _rtf(b"{\\listtext 1.\\tab}\\ilvl99999 x\\par\\outlinelevel-5 y\\par" * 100),
    "only its mark": lambda: b"{\\rtf",
    "an end that is missing": lambda: offices.AN_RTF[:-200],
    "two in one": lambda: offices.AN_RTF * 2,
})  # fmt: skip
