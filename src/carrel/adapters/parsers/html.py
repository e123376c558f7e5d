"""HTML: the text that a reader sees, without navigation, scripts and what is hidden."""

import re
from collections.abc import Iterator

from selectolax.lexbor import LexborHTMLParser, LexborNode, SelectolaxError

from carrel.adapters.parsers import decode
from carrel.adapters.parsers.draft import Draft
from carrel.adapters.parsers.frame import without_frame
from carrel.adapters.parsers.steps import steps
from carrel.adapters.parsers.tag_writer import TagWriter
from carrel.adapters.parsers.trail import Seeker
from carrel.domain.text import ParsedDocument

# What a person does not see is not quoted to anybody: it is where instructions to models are hidden.
_UNSEEN = (
    "head, script, style, nav, template, noscript, iframe, object, svg, [hidden], "
    '[style*="display:none" i], [style*="display: none" i], '
    '[style*="visibility:hidden" i], [style*="visibility: hidden" i]'
)
_CHARSET = re.compile(rb"<meta[^>]{0,200}charset\s{0,9}=\s{0,9}[\"']?([\w.:-]{1,40})", re.IGNORECASE)
_HEAD = 4096
_DIGITS = 9
_TWICE = 1_000_000

prepare = decode.prepare


def parse(content: bytes, *, key: str) -> ParsedDocument:  # noqa: ARG001 - all formats have one signature
    """The title comes from `<title>`, else from the first `<h1>`.

    A page's frame is left out. A page that would be nothing without it is taken whole.
    """
    charset = _CHARSET.search(content[:_HEAD])
    text = decode.text_of(content, declared=charset[1].decode() if charset else None)
    return _content(text) or whole(text)


def whole(text: str) -> ParsedDocument:
    """All that a reader sees but navigation. Raises Unreadable `no_text`."""
    tree, draft = _tree(text), Draft()
    name = _title(tree)
    writer = TagWriter(draft)
    _write(writer, tree)
    writer.flush()
    return draft.finish(name)


def _content(text: str) -> ParsedDocument | None:
    """None where nothing is left, and the page is small enough to be read once more."""
    tree, draft = _tree(text), Draft()
    name = _title(tree)
    _drop(tree, _UNSEEN)
    picture = without_frame(tree)
    if picture is None:
        return None
    if picture.heading:
        draft.heading(1, picture.heading)
    writer = TagWriter(draft)
    _walk(writer, picture.root)
    writer.flush()
    if not draft.is_begun and len(text) < _TWICE:
        return None
    return draft.finish(name)


def _title(tree: LexborHTMLParser) -> str | None:
    title = tree.css_first("title")
    return title.text() if title else None


def write(writer: TagWriter, source: str, *, line: int | None = None) -> None:
    """Adds a piece of HTML that stands in a document of another format, beginning on this line of it."""
    _write(writer, _tree(source), Seeker(source, line) if line else None)


def has_heading(source: str) -> bool:
    return _tree(source).css_first("h1, h2, h3, h4, h5, h6") is not None


def entries(source: str) -> Iterator[tuple[str, str]]:
    """Addresses and names in a book's table of contents, a page's (`nav`) or the older form's (`navMap`)."""
    tree = _tree(source)
    for link in tree.css("nav a[href]"):
        yield link.attributes["href"] or "", link.text()
    for point in tree.css("navpoint"):
        name, target = point.css_first("navlabel"), point.css_first("content")
        if name and target:
            yield target.attributes.get("src") or "", name.text()


def _tree(source: str) -> LexborHTMLParser:
    try:
        return LexborHTMLParser(source)
    except SelectolaxError as error:  # there is no wrong HTML: Lexbor got no more memory
        raise MemoryError from error


def _write(writer: TagWriter, tree: LexborHTMLParser, seeker: Seeker | None = None) -> None:
    _drop(tree, f"{_UNSEEN}, aside, footer")
    if tree.body:
        _walk(writer, tree.body, seeker)


def _drop(tree: LexborHTMLParser, selector: str) -> None:
    for node in tree.css(selector):
        node.remove()  # not `decompose`, which would free nodes that stand later in this list


def _walk(writer: TagWriter, root: LexborNode, seeker: Seeker | None = None) -> None:
    for entering, node in steps(root):
        _step(writer, node, seeker, entering=entering)


def _step(writer: TagWriter, node: LexborNode, seeker: Seeker | None, *, entering: bool) -> None:
    tag = node.tag or ""
    if node.is_text_node:
        if entering:
            _say(writer, node.text_content or "", seeker)
    elif entering:
        writer.enter(tag, start=_start(node) if tag == "ol" else 1)
    else:
        writer.leave(tag)


def _say(writer: TagWriter, text: str, seeker: Seeker | None) -> None:
    for part in text.splitlines(keepends=True) if seeker else (text,):
        if seeker and (line := seeker.line_of(part)):
            writer.go_on(line)
        writer.text(part)


def _start(node: LexborNode) -> int:
    start = node.attributes.get("start") or ""
    return int(start) if start.isdecimal() and len(start) < _DIGITS else 1
