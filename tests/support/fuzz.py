"""Valid files of each format, and what chance makes of them. The same number always gives the same bytes."""

import random
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from support import offices, pdfs
from support.evil.packages import a_cell, a_shape, said_in_word, sheet, slides, word
from support.writings import WRITINGS

_MARKDOWN = (
    "---\ntitle: The handbook\n---\n# Leave\n\nThirty *days* a **year**, see [rules](rules.md 'Rules') and `code`.\n"
    "\n1. Ask\n   - the manager\n2. Wait\n\n> A quote\n> of lines\n\n| Year | Days |\n|-----|----:|\n| 2024 | 30 |\n"
    "\n```python\nprint('leave')\n```\n\n<div class=\"note\">HTML <b>in</b></div>\n\n[ref]: https://a.example 'x'\n"
)
_HTML = (
    "<!doctype html><html><head><meta charset=utf-8><title>The handbook</title><style>p{color:red}</style></head><body>"
    "<nav>Home</nav><h1>Leave</h1><p>Thirty&nbsp;days <b>a</b> year.<br>Ask &#x66;irst.</p><ol start=3><li>Ask<ul><li>"
    "now</ul></ol><table><tr><th>Year<th>Days</tr><tr><td>2024<td>30</table><pre>\n  a\n    b</pre><p hidden>no</p>"
    "<script>x()</script><svg><text>x</text></svg><template><p>t</p></template>&copy; 2024</body></html>"
)
_TEXT = (
    "Leave\n\nJede Person hat dreißig Tage Urlaub im Jahr.\n\tEingerückt: 日本語のテキスト, булок, שלום.\r\n\r\nEnd.\n"
)
_WORD_TABLE = (
    "<w:tbl><w:tr><w:tc><w:p><w:r><w:t>Year</w:t></w:r></w:p></w:tc><w:tc><w:tcPr><w:gridSpan w:val='2'/></w:tcPr>"
    "<w:p><w:r><w:tab/><w:t>Days</w:t></w:r></w:p></w:tc></w:tr></w:tbl><w:p><w:pPr><w:numPr><w:numId w:val='1'/>"
    "</w:numPr><w:outlineLvl w:val='0'/></w:pPr><w:ins><w:r><w:t>Leave</w:t></w:r></w:ins></w:p>"
)

SEEDS: Final[Mapping[str, Sequence[bytes]]] = MappingProxyType({
    "md": (_MARKDOWN.encode(), (_MARKDOWN * 20).encode()),
    "html": (_HTML.encode(), (_HTML * 10).encode(), _HTML.encode("utf-16")),
    "txt": (_TEXT.encode(), _TEXT.encode("utf-16"), _TEXT.encode("utf-32"), _TEXT.encode("cp1252", "ignore")),
    "pdf": (pdfs.a_handbook(), pdfs.a_pdf(pdfs.HANDBOOK, title="Staff handbook"), pdfs.a_scan()),
    **{name: (WRITINGS[name].content,) for name in ("csv", "json", "yaml", "xml", "eml", "rst", "ipynb", "py")},
    "docx": (offices.zipped(word(said_in_word(_WORD_TABLE))), offices.a_docx()),
    "pptx": (offices.zipped(slides(a_shape(), a_shape())), offices.a_pptx()),
    "xlsx": (offices.zipped(sheet(f"<row>{a_cell('A1')}</row>")), offices.an_xlsx()),
    "xls": (offices.an_xls(),),
    "odt": (offices.an_odt(),),
    "ods": (offices.an_ods(),),
    "odp": (offices.an_odp(),),
    "epub": (offices.an_epub(),),
    "rtf": (offices.AN_RTF, offices.AN_RTF[:-1] * 5),
})  # fmt: skip
_XML = (
    b"<", b">", b"</", b"/>", b"&", b"&#x", b"<![CDATA[", b"]]>", b"<!DOCTYPE x [", b"='", b"<?", b":", b"-1",
    b"9" * 12,
)  # fmt: skip
_WORDS: Final[Mapping[str, Sequence[bytes]]] = MappingProxyType({
    **dict.fromkeys(("docx", "pptx", "xlsx", "odt", "ods", "odp", "epub"), _XML),
    "xls": (b"\0", b"\xff\xff", b"\x09\x08", b"\x0a\0\0\0", b"\x85\0", b"\x04\x02", b"\xfe\xff\xff\xff", b"\xfd\0"),
    "rtf": (b"{", b"}", b"\\", b"\\par ", b"\\cell ", b"\\row ", b"\\u-10179?", b"\\'e4", b"\\bin", b"{\\*\\x "),
    "md": (b"# ", b"> ", b"- ", b"1. ", b"```", b"|", b"[", b"](", b"**", b"<div>", b"\n\n", b"&#x", b"\\", b"\t"),
    "html": (b"<", b">", b"</", b"<table>", b"<td>", b"<ol>", b"<pre>", b"&", b"&#x", b"<!--", b"]]>", b"='", b"<p>"),
    "txt": (b"\n\n", b"\xef\xbb\xbf", b"\xff\xfe", b"\xed\xa0\x80", b"\xc0\x80", b"\0", b"\x1b", "\u202e".encode()),
    "pdf": (
        b"<<", b">>", b"[", b"]", b" 0 R", b"endobj", b"stream", b"endstream", b"/Kids", b"/Length ", b"-1", b"9" * 20,
        b"/Filter/FlateDecode", b"xref", b"trailer", b"/Prev 0", b"/Parent 2 0 R", b"(", b"\0",
    ),
    "csv": (b",", b";", b"\t", b'"', b'""', b"\n", b"\r", b"sep=;\n", b"\xff\xfe"),
    "json": (b"{", b"}", b"[", b"]", b'"', b":", b",", b"\\", b"\\ud800", b"/*", b"//", b"1e9", b"null"),
    "yaml": (b"- ", b": ", b"&a ", b"*a ", b"!!x ", b"<<: ", b"---\n", b"|\n", b"{", b"[", b"\t", b"#", b"? "),
    "xml": (b"<", b"</", b"/>", b"&", b"&a;", b"<!DOCTYPE ", b"<!ENTITY ", b"<![CDATA[", b"<?", b"xmlns:", b"<!--"),
    "eml": (b"\n\n", b"--part\n", b"--inner--\n", b"=?utf-8?q?", b"?=", b"Content-Type: ", b"boundary=", b"=\n", b";"),
    "rst": (b".. ", b"::", b"\n===\n", b"`", b"`_", b"|", b"* ", b"\n   ", b":a:", b"+--+", b"__", b"..include::"),
    "ipynb": (b'"cells": ', b'"source": ', b"[", b"{", b'"', b"\\n", b"null", b'"outputs"', b",", b"}"),
    "py": (b"def f(", b"class A", b"\n    ", b"#", b'"""', b"@", b"\t", b"{", b"}", b"function f() {\n"),
})  # fmt: skip
_ZIP: Final = b"PK\x03\x04"
_INSIDE: Final = 0.8  # of the archives are whole ones of which one member is changed, or no change would get further


class Mutator:
    """Changes bytes by `chance`, with words that the format `ending` knows."""

    def __init__(self, ending: str, chance: random.Random) -> None:
        self._ending = ending
        self._chance = chance

    def mutated(self) -> bytes:
        seed = self._chance.choice(SEEDS[self._ending])
        if seed.startswith(_ZIP) and self._chance.random() < _INSIDE:
            members = offices.members_of(seed)
            name = self._chance.choice(sorted(members))
            return offices.zipped({**members, name: self._changed(members[name])}, packed=False)
        return self._changed(seed)

    def _changed(self, seed: bytes) -> bytes:
        content = bytearray(seed)
        for _ in range(self._chance.choice((1, 1, 2, 4, 16))):
            self._chance.choice(self._changes())(content)
        return bytes(content)

    def _changes(self) -> tuple[Callable[[bytearray], None], ...]:
        return (self._flip, self._scatter, self._splice, self._cut_short, self._repeat, self._remove, self._insert)

    def _place(self, content: bytearray) -> int:
        return self._chance.randrange(len(content) + 1)

    def _stretch(self, content: bytes | bytearray) -> slice:
        start = self._chance.randrange(len(content) + 1)
        return slice(start, start + self._chance.choice((1, 4, 16, 64, 256)))

    def _flip(self, content: bytearray) -> None:
        for _ in range(self._chance.choice((1, 8, 64))):
            if content:
                content[self._chance.randrange(len(content))] ^= 1 << self._chance.randrange(8)

    def _scatter(self, content: bytearray) -> None:
        content[self._stretch(content)] = self._chance.randbytes(self._chance.randrange(64))

    def _splice(self, content: bytearray) -> None:
        other = self._chance.choice(SEEDS[self._ending])
        content[self._stretch(content)] = other[self._stretch(other)]

    def _cut_short(self, content: bytearray) -> None:
        del content[self._place(content) :]

    def _repeat(self, content: bytearray) -> None:
        place = self._place(content)
        content[place:place] = content[self._stretch(content)] * self._chance.choice((2, 10, 100, 1_000))

    def _remove(self, content: bytearray) -> None:
        del content[self._stretch(content)]

    def _insert(self, content: bytearray) -> None:
        place = self._place(content)
        content[place:place] = self._chance.choice(_WORDS[self._ending]) * self._chance.choice((1, 1, 10, 1_000))


def fuzzed(ending: str, number: int) -> bytes:
    """The `number`th mutation of a file with this ending."""
    return Mutator(ending, random.Random(f"{ending} {number}")).mutated()
