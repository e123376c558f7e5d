"""How much text the blocks of a page hold, and how much of it is links: counted in one pass over the tree."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from selectolax.lexbor import LexborNode

from carrel.adapters.parsers.steps import steps

# What may be taken out as a whole; all other text counts for the block around it.
_BLOCKS: Final = ("article", "div", "dl", "footer", "form", "header", "li", "main", "menu", "ol", "section", "ul")
_BETWEEN: Final = re.compile(r"\W+")
_HEADINGS: Final = ("h1", "h2", "h3", "h4", "h5", "h6")


@dataclass(slots=True)
class Weight:
    """Letters and digits, how many of them stand in links, and how many in headings that are no links."""

    text: int = 0
    linked: int = 0
    links: int = 0
    fields: int = 0
    items: int = 0
    headings: int = 0
    titles: int = 0
    linked_headings: int = 0

    @property
    def plain(self) -> int:
        return self.text - self.linked

    def add(self, other: "Weight") -> None:
        self.text += other.text
        self.linked += other.linked
        self.links += other.links
        self.fields += other.fields
        self.items += other.items
        self.headings += other.headings
        self.titles += other.titles
        self.linked_headings += other.linked_headings


class Weights:
    """Of the blocks of a tree, which must stay alive meanwhile."""

    def __init__(self) -> None:
        self._weights: dict[int, Weight] = {}
        self._parents: dict[int, int | None] = {}
        self._nodes: list[LexborNode] = []

    @property
    def whole(self) -> int:
        return self.of(self._nodes[0]).text

    def of(self, node: LexborNode) -> Weight:
        return self._weights.get(node.mem_id) or Weight()

    def parent_of(self, node: LexborNode) -> int | None:
        return self._parents[node.mem_id]

    def nodes(self) -> Iterator[LexborNode]:
        """Those inside of the first, from the outside in."""
        return iter(self._nodes[1:])

    def enter(self, node: LexborNode, parent: LexborNode | None) -> None:
        self._weights[node.mem_id] = Weight()
        self._parents[node.mem_id] = parent.mem_id if parent else None
        self._nodes.append(node)


def weighed(root: LexborNode) -> Weights:
    """`root` counts as a block, whatever it is."""
    counter = _Counter(root)
    for entering, node in steps(root):
        if (count := counter.counts.get(node.tag or "")) is not None:
            count(node, entering)
    return counter.weights


class _Counter:
    """`counts` by tag what matters; most nodes of a long page do not."""

    def __init__(self, root: LexborNode) -> None:
        self.weights = Weights()
        self.weights.enter(root, None)
        self._root = root.mem_id
        self._open = [(root, self.weights.of(root))]
        self._links = 0
        self._heading: Weight | None = None
        self.counts: Mapping[str, Callable[[LexborNode, bool], None]] = {
            **dict.fromkeys(_BLOCKS, self._block),
            **dict.fromkeys(_HEADINGS, self._head),
            "-text": self._text,
            "a": self._link,
            "input": self._field,
        }

    def _text(self, node: LexborNode, entering: bool) -> None:  # noqa: FBT001 - which of its two visits it is
        if entering:
            length = len(_BETWEEN.sub("", node.text_content or ""))
            top = self._open[-1][1]
            top.text += length
            if self._links:
                top.linked += length
            elif self._heading:
                self._heading.titles += length

    def _link(self, node: LexborNode, entering: bool) -> None:  # noqa: FBT001 - which of its two visits it is
        place = node.attributes.get("href")
        if not place:
            return
        self._links += 1 if entering else -1
        if entering:
            self._open[-1][1].links += 1
            if self._heading and not place.startswith("#"):
                self._heading.linked_headings = 1

    def _field(self, _: LexborNode, entering: bool) -> None:  # noqa: FBT001 - which of its two visits it is
        self._open[-1][1].fields += entering

    def _head(self, _: LexborNode, entering: bool) -> None:  # noqa: FBT001 - which of its two visits it is
        if entering:
            self._heading = Weight(headings=1, linked_headings=int(self._links > 0))
        elif self._heading:
            self._open[-1][1].add(self._heading)
            self._heading = None

    def _block(self, node: LexborNode, entering: bool) -> None:  # noqa: FBT001 - which of its two visits it is
        if node.mem_id == self._root:
            return
        if entering:
            self.weights.enter(node, self._open[-1][0])
            self._open.append((node, self.weights.of(node)))
            return
        closed, weight = self._open.pop()
        weight.items += closed.tag == "li"
        self._open[-1][1].add(weight)
