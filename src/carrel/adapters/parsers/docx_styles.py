"""What a Word document's styles and numbering say about a paragraph: its rank among headings, the mark before it."""

import re
from dataclasses import dataclass, replace
from typing import Final

from carrel.adapters.parsers.markup import Element, attribute, child, descendants, local

_HEADING: Final = re.compile(r"heading (\d)", re.IGNORECASE)
_CONTENTS: Final = re.compile(r"toc \d", re.IGNORECASE)
_CHAIN: Final = 20  # styles that a style may be based on, one on the other
_BODY: Final = 9  # the outline level of text that is no heading
_LEVELS: Final = 9
_PLACE: Final = re.compile(r"%([1-9])")
_ROMAN: Final = ((1000, "m"), (900, "cm"), (500, "d"), (400, "cd"), (100, "c"), (90, "xc"), (50, "l"), (40, "xl"),
                 (10, "x"), (9, "ix"), (5, "v"), (4, "iv"), (1, "i"))  # fmt: skip
_MOST_ROMAN: Final = 3_999


@dataclass(frozen=True, slots=True)
class Form:
    """`rank` of a heading: 0 for the document's title. `list` and `level` name the numbering. `contents`: a line of
    the table of contents, which repeats what stands elsewhere."""

    rank: int | None = None
    list: str | None = None
    level: int = 0
    contents: bool = False


class Styles:
    """The form of each paragraph style, with what it inherits."""

    def __init__(self, root: Element | None) -> None:
        styles = [] if root is None else [one for one in root if local(one) == "style"]
        self._raw = {attribute(one, "styleId") or "": one for one in styles}
        self._known: dict[str, Form] = {}

    def form(self, paragraph: Element) -> Form:
        """The paragraph's own properties, and its style's where it has none."""
        properties = child(paragraph, "pPr")
        style = child(properties, "pStyle")
        form = self._of(attribute(style, "val") or "") if style is not None else Form()
        return _with(form, properties)

    def _of(self, name: str) -> Form:
        if name not in self._known:
            chain: list[Element] = []
            above: str | None = name
            while above in self._raw and len(chain) < _CHAIN:
                chain.append(self._raw[above])
                based = child(chain[-1], "basedOn")
                above = attribute(based, "val") if based is not None else None
            form = Form()
            for style in reversed(chain):
                form = _with(_named(form, style), child(style, "pPr"))
            self._known[name] = form
        return self._known[name]


def _named(form: Form, style: Element) -> Form:
    element = child(style, "name")
    name = (attribute(element, "val") or "") if element is not None else ""
    if heading := _HEADING.fullmatch(name):
        return replace(form, rank=int(heading[1]))
    if name.lower() == "title":
        return replace(form, rank=0)
    return replace(form, contents=form.contents or bool(_CONTENTS.fullmatch(name)))


def _with(form: Form, properties: Element | None) -> Form:
    outline, numbering = child(properties, "outlineLvl"), child(properties, "numPr")
    if outline is not None and form.rank != 0:
        level = _number(outline)
        form = replace(form, rank=level + 1 if level < _BODY else None)
    if numbering is not None:
        number, level_element = child(numbering, "numId"), child(numbering, "ilvl")
        if number is not None:
            form = replace(form, list=attribute(number, "val"))
        if level_element is not None:
            form = replace(form, level=min(_number(level_element), _LEVELS - 1))
    return form


def _number(element: Element) -> int:
    value = attribute(element, "val") or ""
    return int(value) if value.isdecimal() and len(value) < _LEVELS else 0


@dataclass(frozen=True, slots=True)
class _Level:
    kind: str
    text: str
    start: int


class Numbering:
    """Counts the paragraphs of each list and gives the mark that Word shows before them."""

    def __init__(self, root: Element | None) -> None:
        self._levels: dict[str, dict[int, _Level]] = {}
        self._counts: dict[str, list[int]] = {}
        if root is None:
            return
        shared = {
            attribute(one, "abstractNumId") or "": {_at(level): _level(level) for level in descendants(one, "lvl")}
            for one in root
            if local(one) == "abstractNum"
        }
        for one in root:
            kind = child(one, "abstractNumId")
            if local(one) == "num" and kind is not None:
                self._levels[attribute(one, "numId") or ""] = shared.get(attribute(kind, "val") or "", {})

    def mark(self, form: Form) -> str | None:
        """None for a paragraph of no list, `-` for one without a number."""
        if form.list is None or form.list == "0":
            return None
        levels = self._levels.get(form.list, {})
        level = levels.get(form.level)
        if level is None or level.kind in ("bullet", "none"):
            return "-"
        counts = self._counts.setdefault(form.list, [0] * _LEVELS)
        counts[form.level] = counts[form.level] + 1 if counts[form.level] else level.start
        counts[form.level + 1 :] = [0] * (_LEVELS - form.level - 1)
        return _PLACE.sub(lambda place: _shown(levels, counts, int(place[1]) - 1), level.text) or "-"


def _at(level: Element) -> int:
    value = attribute(level, "ilvl") or ""
    return int(value) if value.isdecimal() and len(value) < _LEVELS else 0


def _level(level: Element) -> _Level:
    kind, text, start = child(level, "numFmt"), child(level, "lvlText"), child(level, "start")
    return _Level(
        (attribute(kind, "val") or "") if kind is not None else "decimal",
        ((attribute(text, "val") or "") if text is not None else "")[:20],
        max(_number(start), 1) if start is not None else 1,
    )


def _shown(levels: dict[int, _Level], counts: list[int], place: int) -> str:
    level = levels.get(place)
    count = counts[place] or (level.start if level else 1)
    match level.kind if level else "":
        case "lowerLetter" | "upperLetter" as kind:
            letters = chr(ord("a") + (count - 1) % 26) * min((count - 1) // 26 + 1, _LEVELS)
            return letters.upper() if kind == "upperLetter" else letters
        case "lowerRoman" | "upperRoman" as kind:
            return _roman(count).upper() if kind == "upperRoman" else _roman(count)
        case _:
            return str(count)


def _roman(count: int) -> str:
    if count > _MOST_ROMAN:
        return str(count)
    written = ""
    for value, letters in _ROMAN:
        written += letters * (count // value)
        count %= value
    return written
