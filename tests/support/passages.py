"""Passages without a database: made up, or cut from the demo's documents."""

import re
import uuid
from importlib.resources import files
from pathlib import Path

from carrel.domain.answers import Passage
from carrel.domain.ids import ChunkId, DocumentId, SourceId, TenantId, VersionId

MOST = 6


def a_passage(text: str, *, title: str = "Page", headings: tuple[str, ...] = (), key: str = "page.md") -> Passage:
    return Passage(
        chunk=ChunkId(uuid.uuid4()),
        document=DocumentId(uuid.uuid4()),
        version=VersionId(uuid.uuid4()),
        source=SourceId(uuid.uuid4()),
        tenant=TenantId(uuid.uuid4()),
        title=title,
        key=key,
        heading_path=headings,
        page=None,
        text=text,
        ordinal=0,
        twin_of=text.encode(),
        confidence=0.9,
    )


def demo_passages(documents: int) -> list[tuple[Passage, ...]]:
    """The first sections of so many documents, as if each were the evidence for a question about it."""
    folder = Path(str(files("carrel.cli"))) / "demo"
    paths = sorted(path for path in folder.rglob("*.md"))
    spread = [paths[number * len(paths) // documents] for number in range(documents)]
    return [tuple(_sections(path)) for path in spread]


def _sections(path: Path) -> list[Passage]:
    head, *rest = re.split(r"^## ", path.read_text("utf-8"), flags=re.MULTILINE)
    title = head.splitlines()[0].strip("# ")
    return [
        a_passage(section, title=title, headings=(section.splitlines()[0],), key=path.name)
        for section in (head, *rest)
        if len(section.split()) > 12
    ][:MOST]
