"""HTML: the text that a reader sees, without navigation, scripts and what is hidden."""

import re
from collections.abc import Iterator

from selectolax.lexbor import LexborHTMLParser, LexborNode, SelectolaxError

from carrel.adapters.parsers import decode
from carrel.adapters.parsers.draft import Draft
from carrel.adapters.parsers.tag_writer import TagWriter
from carrel.domain.text import ParsedDocument

# What a person does not see is not quoted to anybody: it is where instructions to models are hidden.
_DROPPED = (
    "head, script, style, nav, aside, footer, template, noscript, iframe, object, svg, [hidden], "
    '[style*="display:none" i], [style*="display: none" i], '
    '[style*="visibility:hidden" i], [style*="visibility: hidden" i]'
)
_CHARSET = re.compile(rb"<meta[^>]{0,200}charset\s{0,9}=\s{0,9}[\"']?([\w.:-]{1,40})", re.IGNORECASE)
_HEAD = 4096
_DIGITS = 9

prepare = decode.prepare


def parse(content: bytes, *, key: str) -> ParsedDocument:  # noqa: ARG001 - all formats have one signature
    """The title comes from `<title>`, else from the first `<h1>`."""
    charset = _CHARSET.search(content[:_HEAD])
    tree = _tree(decode.text_of(content, declared=charset[1].decode() if charset else None))
    title = tree.css_first("title")
    name = title.text() if title else None
    draft = Draft()
    writer = TagWriter(draft)
    _write(writer, tree)
    writer.flush()
    return draft.finish(name)


def write(writer: TagWriter, source: str) -> None:
    """Adds a piece of HTML that stands in a document of another format."""
    _write(writer, _tree(source))


def _tree(source: str) -> LexborHTMLParser:
    try:
        return LexborHTMLParser(source)
    except SelectolaxError as error:  # there is no wrong HTML: Lexbor got no more memory
        raise MemoryError from error


def _write(writer: TagWriter, tree: LexborHTMLParser) -> None:
    for node in tree.css(_DROPPED):
        node.remove()  # not `decompose`, which would free nodes that stand later in this list
    if tree.body:
        for entering, node in _steps(tree.body):
            _step(writer, node, entering=entering)


def _step(writer: TagWriter, node: LexborNode, *, entering: bool) -> None:
    tag = node.tag or ""
    if node.is_text_node:
        if entering:
            writer.text(node.text_content or "")
    elif entering:
        writer.enter(tag, start=_start(node) if tag == "ol" else 1)
    else:
        writer.leave(tag)


def _start(node: LexborNode) -> int:
    start = node.attributes.get("start") or ""
    return int(start) if start.isdecimal() and len(start) < _DIGITS else 1


def _steps(root: LexborNode) -> Iterator[tuple[bool, LexborNode]]:
    """Every node on the way in and on the way out, without recursion: nesting is the author's to choose."""
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
