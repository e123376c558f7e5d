"""Files that were made to do harm. They are built when they are needed: some are large, and none is stored."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from support.evil import html, markdown, names, pdf, text


@dataclass(frozen=True)
class EvilFile:
    """`name` says what is evil about it, `key` is the file name under which it is sent."""

    name: str
    key: str
    make: Callable[[], bytes]


def every_evil_file() -> Iterator[EvilFile]:
    for ending, files in {"pdf": pdf.EVIL, "html": html.EVIL, "md": markdown.EVIL, "txt": text.EVIL}.items():
        for name, make in files.items():
            yield EvilFile(f"{ending}: {name}", f"{ending}/{name}.{ending}", make)
    for name, (key, make) in names.EVIL.items():
        yield EvilFile(f"name: {name}", key, make)
