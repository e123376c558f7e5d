"""A web page without its frame: menus, banners, teasers and the like, by what pages have in common in any language.

Elements and roles say most. For the rest text is weighed: a block that is mostly links leads elsewhere, and a short one
under a heading that is a link announces another page. What would take away the greater part of a page is not done: a
page of links or teasers is its links and teasers.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final

from selectolax.lexbor import LexborHTMLParser, LexborNode

from carrel.adapters.parsers.steps import steps
from carrel.adapters.parsers.weights import Weights, weighed

_NEVER: Final = (
    '[role="navigation" i], [role="banner" i], [role="contentinfo" i], [role="search" i], [role="complementary" i], '
    '[role="menu" i], [role="menubar" i], [role="toolbar" i], [role="dialog" i], [role="alertdialog" i], '
    '[role="tablist" i], search, select, dialog:not([open]), [aria-hidden="true" i], .sr-only, .visually-hidden, '
    ".screen-reader-text, .mw-editsection"
)
_WHOLE: Final = frozenset({"html", "body", "main", "article"})
_CONTENT: Final = frozenset({"main", "article"})
_PARTS: Final = frozenset({"main", "article", "section"})
_HEADINGS: Final = frozenset({"h1", "h2", "h3", "h4", "h5", "h6"})
_NOTES: Final = re.compile(
    r"\b(?:note|notice|callout|admonition|tip|warning|caution|danger|important|info|aside)\b", re.IGNORECASE
)
_CONSENT: Final = re.compile(
    r"cookie[-_]?(?:banner|consent|notice|bar|popup|law|modal|overlay|message|info|policy|wall)"
    r"|(?:banner|notice|bar|popup|modal)[-_]?cookies?|onetrust|\bgdpr\b|\bcc-window\b"
    r"|consent[-_]?(?:banner|manage\w*|modal|popup|bar|overlay|dialog|notice|layer|wall)",
    re.IGNORECASE,
)
_SKIP: Final = re.compile(r"\bskip(?:[-_]|\b)", re.IGNORECASE)
_SMALL: Final = re.compile(
    r"\b(?:breadcrumbs?|paginat\w+|pager|shar(?:e|ing)|social|tags?[-_]?links?|entry-meta)\b", re.IGNORECASE
)
_ELSEWHERE: Final = re.compile(
    r"\b(?:related|recommend\w*|teasers?|newsletter|subscribe|subscription|sidebar|promo\w*|advert\w*|sponsor\w*"
    r"|trending|popular|upsell|cross-?sell|also-?(?:bought|like|read))\b",
    re.IGNORECASE,
)
_BANNER: Final = 1_500  # letters that a consent banner has at most
_BUTTON: Final = 25
_FORM: Final = 500
_LITTLE: Final = 300
_MUCH: Final = 100  # letters from which on a paragraph in a page's header is more than a motto
_TEASER: Final = 400
_FEW_LINKS: Final = 3
_MANY: Final = 2_000
_FEW: Final = 5
_LOOKED_INTO: Final = 300  # steps through what is short, if it is short
_LINKED: Final = 0.9
_BULK: Final = 0.5
_PART: Final = 0.34


@dataclass(frozen=True, slots=True)
class Picture:
    """`root` holds the content, without `heading`, the first `h1` of the page if it stands outside."""

    root: LexborNode
    heading: str | None


def without_frame(tree: LexborHTMLParser) -> Picture | None:
    """Takes the frame out of the tree; None where there is no body."""
    for number, node in enumerate(tree.css(_NEVER)):
        if number > _MANY or not _holds_content(node):
            node.remove()
    for node in tree.css("aside, footer"):
        if not _belongs_to_the_text(node):
            node.remove()
    _remove_small_things(tree)
    if tree.body is None:
        return None
    root = _root(tree, tree.body)
    heading = _heading_outside(tree, root)
    if root.tag == "body":
        _strip_banners(tree)
    _remove_what_leads_elsewhere(root)
    return Picture(root, heading)


def _holds_content(node: LexborNode) -> bool:
    """Some sites hide or label the page as a whole, and show it by a script."""
    return node.tag in {"html", "body", "main"} or node.css_first("main, article") is not None


def _belongs_to_the_text(node: LexborNode) -> bool:
    """A note set apart, or whom a quotation is by."""
    above = {parent.tag for parent in _above(node)}
    if node.tag == "footer":
        return "blockquote" in above
    is_note = (node.attributes.get("role") or "").lower() in {"note", "doc-tip", "doc-notice"} or _named(node, _NOTES)
    return bool(above & _CONTENT) and is_note


def _remove_small_things(tree: LexborHTMLParser) -> None:
    named = (node for node in tree.css("[id], [class]") if _named(node, _CONSENT) and node.tag not in _WHOLE)
    _remove_those(named, _asks_for_consent)
    _remove_those(tree.css('a[href^="#"]'), _is_signpost)
    _remove_those(tree.css("button, [role=button]"), _is_control)
    _remove_those(tree.css("form"), _asks_for_an_address)


def _remove_those(nodes: Iterable[LexborNode], test: Callable[[LexborNode], bool]) -> None:
    """The first of them: each costs as much as there is inside of it, and they may stand in each other."""
    for node in islice(nodes, _MANY):
        if node.parent is not None and test(node):
            node.remove()


def _asks_for_consent(node: LexborNode) -> bool:
    inside = any(parent.tag in _CONTENT for parent in _above(node))
    return not inside and _is_short(node, _BANNER) and node.css_first("button, a, input") is not None


def _is_signpost(node: LexborNode) -> bool:
    """A way past the menus, or the mark behind a heading by which one gets its address."""
    text = node.text().strip()
    if not any(character.isalnum() for character in text):
        return True
    return len(text) < 2 * _BUTTON and (
        _named(node, _SKIP) or bool(re.match(r"(?:skip|jump) (?:to|over)\b", text, re.IGNORECASE))
    )


def _is_control(node: LexborNode) -> bool:
    """Long ones, and those in headings, are the questions of a list that unfolds."""
    in_heading = any(parent.tag in _HEADINGS or parent.tag in {"summary", "dt"} for parent in _above(node))
    return not in_heading and _is_short(node, _BUTTON)


def _asks_for_an_address(node: LexborNode) -> bool:
    asks = node.css_first('input[type="email" i], input[type="search" i], input[type="password" i], textarea')
    return asks is not None and _is_short(node, _FORM)


def _root(tree: LexborHTMLParser, body: LexborNode) -> LexborNode:
    """`<main>`, or the one `<article>`, if the greater part of the page's text stands in it."""
    mains = tree.css('main, [role="main" i]')
    candidates = mains or [node for node in tree.css("article") if not _within(node, "article")]
    if not candidates:
        return body
    weights = weighed(body)
    best = max(candidates, key=lambda node: weights.of(node).plain)
    return best if weights.of(best).plain >= _BULK * max(weights.of(body).plain, 1) else body


def _heading_outside(tree: LexborHTMLParser, root: LexborNode) -> str | None:
    if root.tag == "body" or root.css_first("h1") is not None:
        return None
    heading = tree.css_first("h1")
    return heading.text() if heading else None


def _strip_banners(tree: LexborHTMLParser) -> None:
    """A page's own header keeps its title, unless the page has another, and what is long enough to be read."""
    headings = tree.css("h1")[:_FEW]
    for header in tree.css("header")[:_FEW]:
        is_own = not any(parent.tag in _PARTS for parent in _above(header))
        if header.parent is not None and is_own and header.css_first("a, form, button, input, ul") is not None:
            others = [heading for heading in headings if not _inside(heading, {header.mem_id})]
            kept = [] if others else header.css("h1")[:1]
            _reduce(header, [*kept, *(node for node in header.css("p")[:_FEW] if not _is_short(node, _MUCH))])


def _reduce(node: LexborNode, kept: list[LexborNode]) -> None:
    """To these, with what is inside of them and around them."""
    wanted = {one.mem_id for one in kept}
    around = wanted | {parent.mem_id for one in kept for parent in _above(one)}
    if not kept:
        node.remove()
    for inner in node.css("*"):
        if inner.mem_id not in around and not _inside(inner, wanted):
            inner.remove()


def _remove_what_leads_elsewhere(root: LexborNode) -> None:
    weights, gone, taken = weighed(root), set[int](), 0
    for rule in (_is_small_change, _announces_others, _is_teaser, _is_link_list):
        found = list(_outermost(weights, rule, gone))
        more = sum(weights.of(node).text for node in found)
        if taken + more <= _BULK * weights.whole:
            taken += more
            gone.update(node.mem_id for node in found)
            for node in found:
                node.remove()


Rule = Callable[[LexborNode, Weights], bool]


def _outermost(weights: Weights, rule: Rule, gone: set[int]) -> Iterator[LexborNode]:
    """The blocks that the rule fits, none of them inside of another or of what is gone."""
    taken = set(gone)
    for node in weights.nodes():
        if weights.parent_of(node) in taken:
            taken.add(node.mem_id)
        elif node.mem_id not in taken and rule(node, weights):
            taken.add(node.mem_id)
            yield node


def _is_small_change(node: LexborNode, weights: Weights) -> bool:
    return weights.of(node).text < _LITTLE and _named(node, _SMALL) and weights.of(node).links > 0


def _announces_others(node: LexborNode, weights: Weights) -> bool:
    weight = weights.of(node)
    return (
        weight.links + weight.fields > 0
        and weight.text < _PART * weights.whole
        and node.tag not in _CONTENT
        and _named(node, _ELSEWHERE)
    )


def _is_teaser(node: LexborNode, weights: Weights) -> bool:
    """One or several, with at most one heading of their own above them."""
    weight = weights.of(node)
    if not weight.linked_headings or node.tag not in {"article", "section", "div", "li", "ul", "ol"}:
        return False
    return weight.text <= _TEASER * weight.linked_headings and weight.headings - weight.linked_headings <= 1


def _is_link_list(node: LexborNode, weights: Weights) -> bool:
    weight = weights.of(node)
    if weight.links < _FEW_LINKS or node.tag in {"main", "article"}:
        return False
    is_menu = not weight.items or weight.links <= 2 * weight.items  # more are an item's words, not the item
    return is_menu and weight.headings <= 1 and weight.linked >= _LINKED * (weight.text - weight.titles)


def _named(node: LexborNode, pattern: re.Pattern[str]) -> bool:
    names = f"{node.attributes.get('id') or ''} {node.attributes.get('class') or ''}"
    return bool(pattern.search(names.replace("_", "-")))


def _inside(node: LexborNode, places: set[int]) -> bool:
    return any(parent.mem_id in places for parent in _above(node))


def _within(node: LexborNode, tag: str) -> bool:
    return any(parent.tag == tag for parent in _above(node))


def _above(node: LexborNode) -> Iterable[LexborNode]:
    """From the parent on; only so far up that a page nested thousands deep costs little."""
    parent = node.parent
    for _ in range(100):
        if parent is None:
            return
        yield parent
        parent = parent.parent


def _is_short(node: LexborNode, least: int) -> bool:
    """Whether it has fewer letters; it is looked into only so far, since many may stand in each other."""
    words: list[str] = []
    letters = 0
    for number, (entering, inner) in enumerate(steps(node)):
        if entering and inner.is_text_node:
            words.append(inner.text_content or "")
            letters += len("".join(words[-1].split()))
        if letters >= least or number > _LOOKED_INTO:
            return False
    return len(" ".join("".join(words).split())) < least
