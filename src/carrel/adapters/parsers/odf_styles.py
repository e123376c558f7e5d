"""What OpenDocument's styles say: which paragraphs are titles, which lists are numbered, what is hidden."""

from collections.abc import Iterable
from typing import Final

from carrel.adapters.parsers.markup import Element, attribute, child, descendants, foreign_attribute, local

_CHAIN: Final = 20  # styles that a style may be based on, one on the other


class OdfStyles:
    """`roots` are the documents in which styles stand. Later ones count more."""

    def __init__(self, roots: Iterable[Element]) -> None:
        self.hidden_words: set[str | None] = set()
        self.hidden_slides: set[str | None] = set()
        self.hidden_tables: set[str | None] = set()
        self._parents: dict[str, str] = {}
        self._numbered: set[tuple[str, str]] = set()
        for root in roots:
            for style in descendants(root, "style", "list-style"):
                self.take(style)

    def take(self, style: Element) -> None:
        """A style that is not complete yet says nothing that would be wrong."""
        name = foreign_attribute(style, "name") or ""
        if local(style) == "list-style":
            levels = (one for one in style if local(one) == "list-level-style-number")
            self._numbered |= {(name, attribute(one, "level") or "") for one in levels}
            return
        self._parents[name] = attribute(style, "parent-style-name") or ""
        if _says(child(style, "text-properties"), "display", "none"):
            self.hidden_words.add(name)
        if _says(child(style, "drawing-page-properties"), "visibility", "hidden"):
            self.hidden_slides.add(name)
        if _says(child(style, "table-properties"), "display", "false"):
            self.hidden_tables.add(name)

    def is_title(self, name: str | None) -> bool:
        for _ in range(_CHAIN):
            if name == "Title":
                return True
            name = self._parents.get(name or "")
        return False

    def is_numbered(self, name: str | None, level: int) -> bool:
        return (name or "", str(level)) in self._numbered


def _says(properties: Element | None, name: str, value: str) -> bool:
    return properties is not None and foreign_attribute(properties, name) == value
