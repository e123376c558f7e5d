"""What a model wrote, made safe to show: no link, no image, no markup, nothing invisible, no citation of nothing.

After reading any document a model may be the attacker's, and an image or a link that leaves us could carry away what
was asked. So `![..](..)` and `[text](url)` become their text, an address becomes the name of its host, tags go, and
`[n]` stays only where passage n was given.

The text comes in pieces and leaves in pieces: what may still become one of these things is held back, a few hundred
characters at most. Each decision rests on the text alone, never on where a piece ended, so that the pieces together are
the same however they were cut. Two scans follow each other: the first takes things out, the second looks at what that
has brought together.
"""

import re
import unicodedata
from typing import Final

_LONGEST_LABEL: Final = 300
_LONGEST_TAG: Final = 256
_LONGEST_TARGET: Final = 2_000
_LONGEST_GAP: Final = 200
_LONGEST_ENTITY: Final = 32

_FILLERS: Final = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0")
_LINE_ENDS: Final = {"\u2028": "\n", "\u2029": "\n", "\x85": "\n", "\x0b": "\n", "\x0c": "\n"}
_SUSPICIOUS: Final = re.compile(r"[^\t\n\x20-\x7e\xa1-\xac\xae-\u02ff]")

_PLAIN: Final = re.compile(r"[^\s\[\]<\\!]+")
_GAP: Final = re.compile(r"\s+")
_LABEL: Final = re.compile(rf"\[([^\[\]]{{0,{_LONGEST_LABEL}}}+)\]")
_NUMBERS: Final = re.compile(r"\s*\d{1,3}(?:\s*[,;]\s*\d{1,3})*\s*")
_BALANCED: Final = re.compile(r"\((?>[^()\n]+|\([^()\n]*\))*+\)")
_UNBALANCED: Final = re.compile(r"\((?>[^()\n]+|\([^()\n]*\))*+(?:\([^()\n]*+)?\Z")
_TARGET: Final = re.compile(r"\(\s*+(?:<[^<>]*>|[^\s]*)(?:\s+(?:\"[^\"]*\"|'[^']*'|\([^()]*\)))?\s*\)")
_TAG: Final = re.compile(rf"<([^<>]{{0,{_LONGEST_TAG}}}+)>")
_OPEN_TAG: Final = re.compile(r"<[^<>]*+\Z")
_PLACEHOLDER: Final = re.compile(r"([A-Za-z][A-Za-z0-9_.\-]*)[A-Za-z0-9 _,.|\-]*")
_AUTOLINK: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]+:[^\s]*|[^\s@]+@[^\s@]+")
_ESCAPED: Final = frozenset("\\[]!")
_NAMES: Final = """
    a abbr acronym address animate applet area article aside audio b base basefont bdi bdo bgsound big blink
    blockquote body br button canvas caption center circle cite code col colgroup data datalist dd del details dfn
    dialog dir div dl dt em embed fieldset figcaption figure font footer foreignobject form frame frameset g h1 h2
    h3 h4 h5 h6 head header hgroup hr html i iframe image img input ins isindex kbd keygen label legend li link
    listing main map mark marquee math menu menuitem meta meter nav nobr noembed noframes noscript object ol
    optgroup option output p param path picture plaintext portal pre progress q rb rp rt rtc ruby s samp script
    search section select set slot small source spacer span strike strong style sub summary sup svg table tbody td
    template textarea tfoot th thead time title tr track tt u ul use var video wbr xml xmp
"""
_HTML: Final = frozenset(_NAMES.split())

_CALM: Final = re.compile(r"[^hfwHFW:&(\\]+")
_ADDRESS: Final = re.compile(
    r"(?:https?|ftps?|wss?)?\\{0,3}:\\{0,3}/\\{0,3}/(?=[^\s])|www\\{0,3}\.(?=[^\s])", re.IGNORECASE
)
_PERHAPS_ADDRESS: Final = re.compile(
    r"(?:(?:h(?:t(?:t(?:ps?)?)?)?|f(?:t(?:ps?)?)?|w(?:ss?)?)?\\{0,3}(?::\\{0,3}(?:/\\{0,3}/?)?)?|ww?|www\\{0,3}\.?)\Z",
    re.IGNORECASE,
)
_REST_OF_ADDRESS: Final = re.compile(r"[^\s<>\"'`()\[\]{}|\\]+")
_HOST: Final = re.compile(
    r"(?:[^/?#\\]*@)?(?:www\.)*+([a-z0-9][a-z0-9.\-]{0,99}(?::\d{1,5})?)(?=[/?#\\]|\Z)", re.IGNORECASE
)
_CLOSING: Final = re.compile(r"[.,;:!?*_~]*\Z")
_ENTITY: Final = re.compile(rf"&(#?[A-Za-z0-9]{{1,{_LONGEST_ENTITY}}}+);")
_PERHAPS_ENTITY: Final = re.compile(rf"&#?[A-Za-z0-9]{{0,{_LONGEST_ENTITY}}}+\Z")
_HARMLESS_ENTITIES: Final = frozenset({"amp", "lt", "gt", "quot", "apos", "nbsp", "#39"})


def visible(text: str) -> str:
    """Without what nobody sees: control characters, marks of direction and width, tags, halves of a pair."""
    return _SUSPICIOUS.sub(lambda found: _shown(found[0]), text)


def sanitised(text: str, *, passages: int) -> str:
    """The whole at once; `passages` is how many there are to cite."""
    sanitiser = Sanitiser(passages=passages)
    return sanitiser.feed(text) + sanitiser.end()


class Sanitiser:
    """`feed` and `end` give what may be shown by now; all of it together is `sanitised` of the whole."""

    def __init__(self, *, passages: int) -> None:
        self._structure = _Structure(passages)
        self._addresses = _Addresses()

    def feed(self, text: str) -> str:
        return self._addresses.feed(self._structure.feed(visible(text)))

    def end(self) -> str:
        return self._addresses.feed(self._structure.feed("", last=True), last=True)


class _Structure:
    """Takes out links, images, tags and unknown citations; keeps the spaces that may belong to one of these."""

    def __init__(self, passages: int) -> None:
        self._passages = passages
        self._text = ""
        self._gap = ""
        self._out: list[str] = []
        self._before = ""
        self._joined = False

    def feed(self, text: str, *, last: bool = False) -> str:
        self._text += text
        place = 0
        while place < len(self._text):
            step = self._step(place, last=last)
            if step is None:
                break
            place = step
        self._text = self._text[place:]
        said = "".join(self._out)
        self._out.clear()
        return said

    def _step(self, place: int, *, last: bool) -> int | None:
        """The place after what was decided; None when more text is needed."""
        text = self._text
        if plain := _PLAIN.match(text, place):
            return self._say(plain[0], plain.end())
        if gap := _GAP.match(text, place):
            self._gap = (self._gap + gap[0])[:_LONGEST_GAP]
            return gap.end()
        decide = {"[": self._bracket, "]": self._closed, "<": self._tag, "!": self._bang}.get(
            text[place], self._backslash
        )
        return decide(place, last=last)

    def _say(self, words: str, after: int) -> int:
        if self._joined and self._before == "<" and not self._gap and words[0] in _BEGIN_TAG:
            words = f" {words}"
        if self._before:
            self._out.append(self._gap)
        self._gap, self._joined = "", False
        self._out.append(words)
        self._before = words[-1]
        return after

    def _bracket(self, place: int, *, last: bool) -> int | None:
        label = _LABEL.match(self._text, place)
        if label is None:
            return None if not last and _is_open_label(self._text, place) else self._say("[", place + 1)
        target = self._target(label.end(), last=last)
        if target is None:
            return None
        if _NUMBERS.fullmatch(label[1]):
            return self._cite(label[1], max(target, label.end()))
        return self._say("[", place + 1) if target < 0 else self._unwrap(label[1], target)

    def _cite(self, numbers: str, after: int) -> int:
        known = [int(n) for n in re.findall(r"\d+", numbers) if 1 <= int(n) <= self._passages]
        if known:
            return self._say("".join(f"[{n}]" for n in known), after)
        self._gap, self._joined = "", True
        return after

    def _closed(self, place: int, *, last: bool) -> int | None:
        target = self._target(place + 1, last=last)
        if target is None:
            return None
        return self._say("]", max(target, place + 1))

    def _target(self, place: int, *, last: bool) -> int | None:
        """The place after the target of a link, -1 if there is none here; None when more text is needed."""
        if place == len(self._text) and not last:
            return None
        if not self._text.startswith("(", place):
            return -1
        window = self._text[place : place + _LONGEST_TARGET]
        if balanced := _BALANCED.match(window):
            return place + balanced.end() if _TARGET.fullmatch(balanced[0]) else -1
        if not last and len(window) < _LONGEST_TARGET and _UNBALANCED.match(window):
            return None
        return -1

    def _tag(self, place: int, *, last: bool) -> int | None:
        text = self._text
        if place + 1 == len(text) and not last:
            return None
        if text[place + 1 : place + 2] not in _BEGIN_TAG or place + 1 == len(text):
            return self._say("<", place + 1)
        tag = _TAG.match(text, place)
        if tag is None:
            if not last and len(text) - place <= _LONGEST_TAG + 1 and _OPEN_TAG.match(text, place):
                return None
            return self._say("< ", place + 1)
        if (kept := _PLACEHOLDER.fullmatch(tag[1])) and kept[1].lower() not in _HTML:
            return self._say("<", place + 1)
        return self._unwrap(tag[1] if _AUTOLINK.fullmatch(tag[1]) else "", tag.end())

    def _unwrap(self, inner: str, after: int) -> int:
        """What is left of it is looked at again, together with what follows."""
        self._text = inner + self._text[after:]
        self._joined = True
        return 0

    def _bang(self, place: int, *, last: bool) -> int | None:
        text = self._text
        if place + 1 == len(text) and not last:
            return None
        if not text.startswith("[", place + 1):
            return self._say("!", place + 1)
        label = _LABEL.match(text, place + 1)
        if label is None:
            return None if not last and _is_open_label(text, place + 1) else self._say("!", place + 1)
        target = self._target(label.end(), last=last)
        if target is None:
            return None
        return self._say("!", place + 1) if target < 0 else place + 1

    def _backslash(self, place: int, *, last: bool) -> int | None:
        if place + 1 == len(self._text) and not last:
            return None
        pair = self._text[place : place + 2]
        if pair[1:] in _ESCAPED:
            return self._say(pair, place + len(pair))
        return self._say("\\", place + 1)


class _Addresses:
    """Turns addresses into the names of their hosts, and parts what must not stand together."""

    def __init__(self) -> None:
        self._text = ""
        self._address: list[str] | None = None
        self._before = ""
        self._out: list[str] = []

    def feed(self, text: str, *, last: bool = False) -> str:
        self._text += text
        place = 0
        while place < len(self._text):
            step = self._step(place, last=last)
            if step is None:
                break
            place = step
        self._text = self._text[place:]
        if last and self._address is not None:
            self._name_host()
        said = "".join(self._out)
        self._out.clear()
        return said

    def _step(self, place: int, *, last: bool) -> int | None:
        text = self._text
        if self._address is not None:
            return self._follow(place, self._address)
        if calm := _CALM.match(text, place):
            return self._say(calm[0], calm.end())
        if text[place] == "&":
            return self._ampersand(place, last=last)
        if (address := _ADDRESS.match(text, place)) and not self._goes_on(address[0]):
            self._address = []
            return address.end()
        perhaps = not last and _PERHAPS_ADDRESS.match(text, place)
        return None if perhaps else self._say(text[place], place + 1)

    def _follow(self, place: int, address: list[str]) -> int:
        if rest := _REST_OF_ADDRESS.match(self._text, place):
            address.append(rest[0])
            return rest.end()
        self._name_host()
        return place

    def _say(self, words: str, after: int) -> int:
        if self._before == "]" and words[0] in "(:":
            self._out.append(" ")
        self._out.append(words)
        self._before = words[-1]
        return after

    def _goes_on(self, address: str) -> bool:
        """`awww.` begins no address."""
        return address[0] in "wW" and "." in address and self._before.isalnum()

    def _name_host(self) -> None:
        address = "".join(self._address or ())
        self._address = None
        closing = _CLOSING.search(address)
        assert closing is not None
        host = _HOST.match(address[: closing.start()])
        told = f"(link to {host[1]} removed)" if host else "(link removed)"
        if self._before and not self._before.isspace() and self._before not in _OPENING:
            told = f" {told}"
        self._out += (told, closing[0])
        self._before = closing[0][-1:] or ")"

    def _ampersand(self, place: int, *, last: bool) -> int | None:
        entity = _ENTITY.match(self._text, place)
        if entity is None:
            if not last and _PERHAPS_ENTITY.match(self._text, place):
                return None
            return self._say("&", place + 1)
        return self._say("&" if entity[1].lower() in _HARMLESS_ENTITIES else "& ", place + 1)


_BEGIN_TAG: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ/!?")
_OPENING: Final = frozenset("([{<\"'`*_~=")


def _is_open_label(text: str, place: int) -> bool:
    """Whether the bracket may still be closed by what comes."""
    inner = text[place + 1 : place + 2 + _LONGEST_LABEL]
    return len(inner) <= _LONGEST_LABEL and "[" not in inner and "]" not in inner


def _shown(character: str) -> str:
    if character in _LINE_ENDS:
        return _LINE_ENDS[character]
    hidden = unicodedata.category(character) in {"Cc", "Cf", "Cs", "Co"} or character in _FILLERS
    return "" if hidden or _is_variation(character) else character


def _is_variation(character: str) -> bool:
    return "\ufe00" <= character <= "\ufe0f" or "\U000e0100" <= character <= "\U000e01ef"
