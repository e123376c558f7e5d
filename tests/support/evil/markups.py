"""Evil XML in a Word document: entities, depths, widths, and references to what is outside."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from support.evil.packages import SAID, W, said_in_word, word, zipped

_LAUGHS: Final = "".join(f"<!ENTITY e{n + 1} '{f'&e{n};' * 10}'>" for n in range(9))
_DEEP: Final = 100_000


def _document(text: str | bytes) -> Callable[[], bytes]:
    return lambda: zipped(word(text))


def _typed(declarations: str, use: str, before: str = "") -> Callable[[], bytes]:
    """A document type with these declarations, and a paragraph that uses one of them."""
    body = said_in_word(f"<w:p><w:r><w:t>{use}</w:t></w:r></w:p>")
    return _document(f"{before}<!DOCTYPE w:document [{declarations}]>{body}")


def _beside(more: str) -> Callable[[], bytes]:
    return lambda: zipped(word(said_in_word(more)))


def _text(words: str) -> str:
    return f"<w:p><w:r><w:t>{words}</w:t></w:r></w:p>"


def _attributes(form: str) -> Callable[[], bytes]:
    return lambda: zipped(word(said_in_word(f"<w:p {' '.join(form.format(n) for n in range(100_000))}/>")))


def _in_utf_16() -> bytes:
    text = f"<?xml version='1.0' encoding='UTF-16'?><!DOCTYPE x [<!ENTITY e '{SAID}'>]>{said_in_word(_text('&e;'))}"
    return zipped(word(text.encode("utf-16")))


def _in_utf_7() -> bytes:
    text = "+ADwAIQ-DOCTYPE x +AFsAPAAh-ENTITY e 'evil'+AD4AXQA+-" + said_in_word(_text("&e;"))
    return zipped(word("<?xml version='1.0' encoding='UTF-7'?>" + text))


def _in_utf_32() -> bytes:
    text = f"<?xml version='1.0' encoding='UTF-32'?><!DOCTYPE x [<!ENTITY e 'evil'>]>{said_in_word(_text('&e;'))}"
    return zipped(word(text.encode("utf-32-le")))


def _in_the_alphabet_of_mainframes() -> bytes:
    text = f"<?xml version='1.0' encoding='cp037'?><!DOCTYPE x [<!ENTITY e 'evil'>]>{said_in_word(_text('&e;'))}"
    return zipped(word(text.encode("cp037")))


EVIL: Mapping[str, Callable[[], bytes]] = MappingProxyType({
    "entities that laugh a billion times": _typed(f"<!ENTITY e0 'lol'>{_LAUGHS}", "&e9;"),
    "an entity that is large and used often": _typed(f"<!ENTITY e '{'x' * 100_000}'>", "&e;" * 10_000),
    "an entity that names itself": _typed("<!ENTITY e '&f;'><!ENTITY f '&e;'>", "&e;"),
    "an entity from a file": _typed("<!ENTITY e SYSTEM 'file:///etc/passwd'>", "&e;"),
    "an entity from the metadata service": _typed("<!ENTITY e SYSTEM 'http://169.254.169.254/latest/'>", "&e;"),
    "entities of parameters": _typed("<!ENTITY % p SYSTEM 'file:///etc/hostname'>%p;", SAID),
    "a document type from outside": _document(f"<!DOCTYPE w:document SYSTEM 'http://127.0.0.1:1/x.dtd'>{said_in_word()}"),
    "a document type in UTF-16": _in_utf_16,
    "a document type in UTF-7": _in_utf_7,
    "a document type in UTF-32": _in_utf_32,
    "a document type in EBCDIC": _in_the_alphabet_of_mainframes,
    "attributes by default": _typed(f"<!ATTLIST w:p evil CDATA '{'x' * 100_000}'>", SAID),
    "a document type in the list of parts": lambda: zipped({
        **word(), "[Content_Types].xml": "<!DOCTYPE x [<!ENTITY e 'evil'>]><Types/>",
    }),
    "something included": _beside("<xi:include xmlns:xi='http://www.w3.org/2001/XInclude' href='/etc/passwd'/>"),
    "a style sheet from outside": _document(f"<?xml-stylesheet href='http://127.0.0.1:1/x.xsl'?>{said_in_word()}"),
    "a schema from outside": _beside(
        "<w:p xmlns:xsi='http://www.w3.org/2001/XMLSchema-instance' xsi:schemaLocation='a http://127.0.0.1:1/'/>"
    ),
    "100,000 nested elements": _beside("<w:p>" * _DEEP + "</w:p>" * _DEEP),
    "60 nested tables": _beside("<w:tbl><w:tr><w:tc>" * 60 + _text("deep") + "</w:tc></w:tr></w:tbl>" * 60),
    "100 nested wrappers": _beside("<w:sdt><w:sdtContent>" * 100 + _text("deep") + "</w:sdtContent></w:sdt>" * 100),
    "50 text boxes in each other": _beside(
        "<w:p><w:r><w:pict><w:txbxContent>" * 50 + _text("deep") + "</w:txbxContent></w:pict></w:r></w:p>" * 50
    ),
    "one text of 12 MB": lambda: zipped(word(said_in_word(_text("x" * 12_000_000)))),
    "one text of 9 MB": lambda: zipped(word(said_in_word(_text("e v i l " * 1_100_000)))),
    "an attribute of 12 MB": lambda: zipped(word(said_in_word(f"<w:p evil='{'x' * 12_000_000}'/>"))),
    "100,000 attributes": _attributes("a{}='x'"),
    "100,000 namespaces": _attributes("xmlns:a{0}='urn:{0}'"),
    "two million empty paragraphs": lambda: zipped(word(said_in_word("<w:p/>" * 2_000_000))),
    "300,000 paragraphs": lambda: zipped(word(said_in_word("".join(_text(f"evil {n}") for n in range(300_000))))),
    "an end that is missing": _document(said_in_word()[:-20]),
    "elements that cross": _beside("<w:p><w:r></w:p></w:r>"),
    "an undeclared prefix": _beside("<x:p>evil</x:p>"),
    "null characters": _document(said_in_word("\0\0")),
    "characters that do not exist": _beside(_text("&#0;&#xD800;&#x110000;")),
    "an encoding that does not exist": _document(f"<?xml version='1.0' encoding='evil-8'?>{said_in_word()}"),
    "an encoding that lies": _document(f"<?xml version='1.0' encoding='UTF-16'?>{said_in_word()}"),
    "a part that is a picture": _document(b"\x89PNG\r\n\x1a\n" + b"\0" * 500),
    "another root": _document(f"<w:styles xmlns:w='{W}'/>"),
    "nothing": _document(""),
    "a document type in a text": _beside(_text("<![CDATA[<!DOCTYPE x [<!ENTITY e 'evil'>]>]]>")),
})  # fmt: skip
