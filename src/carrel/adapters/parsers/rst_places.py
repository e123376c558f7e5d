"""Where in a reStructuredText file a node stands: docutils says it nearly, and for some nodes not at all."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

_REACH: Final = 500  # lines
_NEAR: Final = (0, -1, 1, -2, 2)
_ABOVE: Final = 20
_WORDS: Final = 6


class RstPlaces:
    """Asked for one node after the other, in the order of the document. `line` is that of the last."""

    def __init__(self, source: Sequence[str]) -> None:
        self._source = source
        self.line = 1

    def of(self, leaf: Any) -> int:
        """The line on which the text of an element begins."""
        self.line = self.look(leaf)
        return self.line

    def look(self, leaf: Any) -> int:
        """The same, and nothing is remembered."""
        begin = _begin(leaf.rawsource or leaf.astext())
        told = _told(leaf)
        near = [told + distance for distance in _NEAR] if told else []
        ahead = range(self.line, self.line + _REACH)
        return next((line for line in (*near, *ahead) if self._holds(line, begin)), self.line)

    def above(self, leaf: Any | None, mark: str) -> int:
        """The line above an element, or its own, on which this mark stands."""
        if leaf is None:
            return self.line
        last = self.look(leaf)
        return next((line for line in range(last, last - _ABOVE, -1) if self._holds(line, mark)), last)

    def of_code(self, text: str) -> int:
        """The line on which a block stands that docutils does not place: the next one that holds how it begins."""
        begin = next((line.strip() for line in text.split("\n") if line.strip()), "")
        ahead = range(self.line, self.line + _REACH)
        self.line = next((line for line in ahead if self._holds(line, begin)), self.line)
        return self.line

    def _holds(self, line: int, begin: str) -> bool:
        return bool(begin) and 0 < line <= len(self._source) and begin in " ".join(self._source[line - 1].split())


def _begin(text: str) -> str:
    """Of the first line that says anything."""
    return next((" ".join(line.split()[:_WORDS]) for line in text.split("\n") if line.strip()), "")


def _told(leaf: Any) -> int | None:
    return next((int(node.line) for node in _around(leaf) if getattr(node, "line", None)), None)


def _around(leaf: Any) -> Iterator[Any]:
    yield leaf
    if leaf.parent is not None:
        yield leaf.parent
