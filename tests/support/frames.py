"""How much of a page's content is kept and how much of its frame, on invented pages that say which is which.

In them `data-is="text"` marks what must stay and `data-is="frame"` what must go. Run it as a program to see both rules:
`.venv/bin/python tests/support/frames.py`.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Final

from carrel.adapters.parsers import html
from carrel.domain.text import ParsedDocument

PAGES: Final = sorted((Path(__file__).parent / "web_pages").glob("*.html"))
_VOID: Final = frozenset({"br", "hr", "img", "input", "link", "meta"})


@dataclass(frozen=True)
class Score:
    """`kept` and `wrong` are texts of the content and of the frame that the document has."""

    kept: int
    content: int
    wrong: int
    frame: int
    missing: tuple[str, ...]
    extra: tuple[str, ...]

    @property
    def precision(self) -> float:
        return self.kept / max(self.kept + self.wrong, 1)

    @property
    def recall(self) -> float:
        return self.kept / max(self.content, 1)

    def __add__(self, other: "Score") -> "Score":
        return Score(
            self.kept + other.kept,
            self.content + other.content,
            self.wrong + other.wrong,
            self.frame + other.frame,
            self.missing + other.missing,
            self.extra + other.extra,
        )


class _Marked(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self._open: list[str | None] = []
        self.texts: list[tuple[str, list[str]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _VOID:
            return
        mark = dict(attrs).get("data-is")
        self._open.append(mark)
        if mark:
            self.texts.append((mark, []))

    def handle_endtag(self, tag: str) -> None:
        if tag not in _VOID:
            self._open.pop()

    def handle_data(self, data: str) -> None:
        if any(self._open):
            self.texts[-1][1].append(data)


def score(page: Path, parse: Callable[[str], ParsedDocument]) -> Score:
    source = page.read_text(encoding="utf-8")
    marked = _Marked()
    marked.feed(source)
    read = _plain(parse(source).text)
    texts = [(mark, _plain("".join(words))) for mark, words in marked.texts]
    content, frame = ([text for mark, text in texts if mark == kind] for kind in ("text", "frame"))
    missing = tuple(text for text in content if text not in read)
    extra = tuple(text for text in frame if text in read)
    return Score(len(content) - len(missing), len(content), len(extra), len(frame), missing, extra)


def with_frame(source: str) -> ParsedDocument:
    return html.whole(source)


def without_frame(source: str) -> ParsedDocument:
    return html.parse(source.encode(), key="page.html")


def total(parse: Callable[[str], ParsedDocument]) -> Score:
    return sum((score(page, parse) for page in PAGES), Score(0, 0, 0, 0, (), ()))


def _plain(text: str) -> str:
    return " ".join(text.split())


def main() -> None:
    sys.stdout.write("page      without <nav>, <aside>, <footer>     without the frame\n")
    for page in PAGES:
        before, after = score(page, with_frame), score(page, without_frame)
        sys.stdout.write(f"{page.stem:<9} {_line(before):<38} {_line(after)}\n")
        sys.stdout.writelines(f"          missing: {text}\n" for text in after.missing)
        sys.stdout.writelines(f"          too much: {text}\n" for text in after.extra)
    sys.stdout.write(f"all       {_line(total(with_frame)):<38} {_line(total(without_frame))}\n")


def _line(found: Score) -> str:
    return f"precision {found.precision:.3f}, recall {found.recall:.3f}"


if __name__ == "__main__":
    main()
