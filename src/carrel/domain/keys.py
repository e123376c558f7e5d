"""A document's key: the name under which it lives in its source."""

import unicodedata

from carrel.domain.errors import Invalid

_LONGEST = 1024
_SCHEMES = ("https://", "http://")


def document_key(name: str) -> str:
    """The name in NFC, slashes kept: a relative path, or a page's address.

    Raises Invalid `invalid_key` for what leaves its folder or hides something.
    """
    return place_key(unicodedata.normalize("NFC", name))


def place_key(key: str) -> str:
    """A name that a place has, as it has it: two that only look the same are two things there, and two keys here.

    In NFC one would overwrite the other, and take it along when it goes. Raises as `document_key`.
    """
    if not key.strip() or len(key.encode("utf-8", "surrogatepass")) > _LONGEST:
        raise Invalid(f"A key has 1 to {_LONGEST} bytes.", code="invalid_key", field="key")
    if any(unicodedata.category(character) in {"Cc", "Cf", "Cs", "Zl", "Zp"} for character in key):
        raise Invalid("A key holds no control or invisible characters.", code="invalid_key", field="key")
    if key.startswith(_SCHEMES):
        return _page_key(key)
    segments = key.replace("\\", "/").split("/")
    if key[0] in "/\\" or ".." in segments or "." in segments or "" in segments or key[1:2] == ":":
        raise Invalid("A key is a relative path without '.', '..' or empty parts.", code="invalid_key", field="key")
    return key


def file_name(key: str) -> str:
    """The last part of a key that is not empty: for a page's address without its query, and at last its host."""
    if not key.startswith(_SCHEMES):
        return key.rsplit("/", 1)[-1]
    parts = [part for part in key.partition("?")[0].split("/")[2:] if part]
    return parts[-1]


def title_from_key(key: str) -> str:
    """A readable title where the document has none: the file's name without its ending."""
    name = file_name(key)
    if key.startswith(_SCHEMES) and name == key.split("/")[2]:
        return name
    name = unicodedata.normalize("NFC", name)
    stem = name.rsplit(".", 1)[0] if "." in name[1:] else name
    return stem.replace("_", " ").replace("-", " ").strip() or name


def _page_key(key: str) -> str:
    """As `http` and `https` addresses are written in their canonical form."""
    host, slash, path = key.partition("://")[2].partition("/")
    hidden = {".", ".."} & set(path.split("/")) or any(character in key for character in "\\# ")
    if not host or not slash or hidden or "?" in host or "@" in host:
        detail = "An address as a key has a host and a path, and no user, '.', '..', space or fragment."
        raise Invalid(detail, code="invalid_key", field="key")
    return key
