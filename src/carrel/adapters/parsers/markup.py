"""XML without what makes it dangerous: no document type, so no entities, and nothing from outside.

Elements are at most 256 deep, and one text has at most 10 MB: libxml2's own limits, which are left in place.
"""

from collections.abc import Iterator
from io import BytesIO
from typing import Any, Final, TypeAlias

from lxml import etree

from carrel.domain.errors import Unreadable

Element: TypeAlias = etree._Element  # noqa: SLF001 - the vendor's own name for it
Step: TypeAlias = tuple[str, Element]

_LIMITS: Final[dict[str, Any]] = {
    "resolve_entities": False,
    "no_network": True,
    "load_dtd": False,
    "dtd_validation": False,
    "huge_tree": False,
    "remove_comments": True,
    "remove_pis": True,
}
_WIDE: Final = (b"<\0", b"\0<", b"\xff\xfe", b"\xfe\xff")
_FORBIDDEN: Final = (b"<!DOCTYPE", b"<!ENTITY")
_NO_MEMORY: Final = 2  # of libxml2's own error codes


def prepare() -> None:
    """Loads what a fork of the zygote could not."""
    tree_of(b"<a/>")


def tree_of(content: bytes) -> Element:
    """Raises Unreadable for what is no well-formed XML, and for XML with a document type."""
    demand_plain(content)
    try:
        root = etree.fromstring(content, etree.XMLParser(**_LIMITS))
    except etree.XMLSyntaxError as error:
        raise _translated(error) from error
    _demand_no_type(root)
    return root


def steps_of(content: bytes, *tags: str) -> Iterator[Step]:
    """`start` and `end` of every element with one of these tags, as they come. The caller clears what it has read."""
    demand_plain(content)
    steps = etree.iterparse(BytesIO(content), events=("start", "end"), tag=tags, **_LIMITS)
    try:
        for event, element in steps:
            yield str(event), element
    except etree.XMLSyntaxError as error:
        raise _translated(error) from error
    _demand_no_type(steps.root)


def demand_plain(content: bytes) -> None:
    """What declares a type or an entity is not given to any reader."""
    if content.startswith(_WIDE):
        content = content.replace(b"\0", b"")
    if any(mark in content for mark in _FORBIDDEN):
        raise Unreadable("XML with a document type is not read.")


def local(element: Element) -> str:
    """The tag without its namespace: a format's strict and transitional forms differ only in it."""
    tag: str = element.tag
    return tag[tag.rfind("}") + 1 :]


def attribute(element: Element, name: str) -> str | None:
    """In the element's own namespace, else in none."""
    space = str(element.tag).rpartition("}")[0]
    return element.get(f"{space}}}{name}") or element.get(name)


def foreign_attribute(element: Element, name: str) -> str | None:
    """In any namespace: for attributes whose namespace is not the element's."""
    return next((str(value) for key, value in element.attrib.items() if str(key).endswith(f"}}{name}")), None)


def child(element: Element | None, name: str) -> Element | None:
    for one in element if element is not None else ():
        if local(one) == name:
            return one
    return None


def descendants(element: Element, *names: str) -> Iterator[Element]:
    """In the order of the document."""
    return element.iter(*(f"{{*}}{name}" for name in names))


def _demand_no_type(root: Element) -> None:
    """The same once more, for encodings in which the marks look different."""
    if root.getroottree().docinfo.internalDTD is not None:
        raise Unreadable("XML with a document type is not read.")


def _translated(error: etree.XMLSyntaxError) -> Exception:
    return MemoryError() if getattr(error, "code", None) == _NO_MEMORY else Unreadable("The XML is damaged.")
