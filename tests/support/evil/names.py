"""Files whose names or first bytes are not the truth: the name under which each is sent, and its bytes."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from support import pdfs

_PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + b"\0" * 100
_ZIP = b"PK\x03\x04" + b"\0" * 100
_TEXT = b"A plain sentence stands beside the evil.\n"

EVIL: Mapping[str, tuple[str, Callable[[], bytes]]] = MappingProxyType({
    "a PDF named Markdown": ("names/handbook.md", pdfs.a_handbook),
    "a PDF named HTML": ("names/handbook.html", pdfs.a_handbook),
    "a PDF without an ending": ("names/handbook", pdfs.a_handbook),
    "a text named PDF": ("names/text.pdf", lambda: _TEXT),
    "a picture named text": ("names/picture.txt", lambda: _PNG),
    "an archive named PDF": ("names/archive.pdf", lambda: _ZIP),
    "a program named Markdown": ("names/program.md", lambda: b"\x7fELF" + bytes(200)),
    "an archive that is a PDF too": ("names/both.pdf", lambda: _ZIP + pdfs.a_handbook()),
    "a PDF behind a page": ("names/behind.pdf", lambda: b"<html>" + b" " * 900 + pdfs.a_handbook()),
    "a page named text": ("names/page.txt", lambda: b"<script>x</script><p>" + _TEXT),
    "wide letters named HTML": ("names/wide.html", lambda: _TEXT.decode().encode("utf-16")),
    "two endings": ("names/handbook.pdf.md", lambda: _TEXT),
    "a name that runs to the left": ("names/\u202efdp.txt", lambda: _TEXT),
    "a name of 1,000 letters": ("names/" + "x" * 1_000 + ".md", lambda: _TEXT),
    "a name that climbs": ("../../etc/passwd", lambda: _TEXT),
    "a name from the root": ("/etc/passwd", lambda: _TEXT),
    "a name with a null character": ("names/a\0.md", lambda: _TEXT),
    "a name of dots": ("names/....md", lambda: _TEXT),
    "a name that says it is code": ("names/'; drop table documents; --.md", lambda: _TEXT),
    "nothing at all": ("names/nothing.md", lambda: b""),
})  # fmt: skip
