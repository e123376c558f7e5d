"""A document's key: the name under which it lives in its source."""

import unicodedata

from carrel.domain.errors import Invalid

_LONGEST = 1024


def document_key(name: str) -> str:
    """The name in NFC, slashes kept. Raises Invalid `invalid_key` for what leaves its folder or hides something."""
    key = unicodedata.normalize("NFC", name)
    if not key.strip() or len(key.encode("utf-8", "surrogatepass")) > _LONGEST:
        raise Invalid(f"A key has 1 to {_LONGEST} bytes.", code="invalid_key", field="key")
    if any(unicodedata.category(character) in {"Cc", "Cf", "Cs", "Zl", "Zp"} for character in key):
        raise Invalid("A key holds no control or invisible characters.", code="invalid_key", field="key")
    segments = key.replace("\\", "/").split("/")
    if key[0] in "/\\" or ".." in segments or "." in segments or "" in segments or key[1:2] == ":":
        raise Invalid("A key is a relative path without '.', '..' or empty parts.", code="invalid_key", field="key")
    return key


def title_from_key(key: str) -> str:
    """A readable title where the document has none: the file's name without its ending."""
    name = key.rsplit("/", 1)[-1]
    stem = name.rsplit(".", 1)[0] if "." in name[1:] else name
    return stem.replace("_", " ").replace("-", " ").strip() or name
