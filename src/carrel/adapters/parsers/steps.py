"""Through a tree of HTML without recursion: how deep it is nested is the author's to choose."""

from collections.abc import Iterator

from selectolax.lexbor import LexborNode


def steps(root: LexborNode) -> Iterator[tuple[bool, LexborNode]]:
    """Every node on the way in (True) and on the way out."""
    node, depth = root, 0
    while True:
        yield True, node
        if child := node.first_child:
            node, depth = child, depth + 1
            continue
        yield False, node
        while depth and not node.next and (parent := node.parent):
            node, depth = parent, depth - 1
            yield False, node
        if not depth or not (following := node.next):
            return
        node = following
