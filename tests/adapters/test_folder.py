"""A folder as a place: what counts as a file of it, and what never does."""

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from carrel.adapters.origins import folder as adapter
from carrel.adapters.origins.folder import WatchedFolder
from carrel.domain.errors import Invalid, Refusal
from carrel.ports.origins import Failed, Found, Gone, Same, Sight

NOBODY = 65534


@pytest.fixture
def root() -> Iterator[Path]:
    """Open to everybody, since these tests look at it as nobody too."""
    with TemporaryDirectory() as made:
        Path(made).chmod(0o755)
        folder = Path(made).resolve() / "opened"
        folder.mkdir()
        yield folder


def place(folder: Path, *opened: Path) -> WatchedFolder:
    return WatchedFolder(str(folder), [str(one) for one in opened or (folder,)], most_bytes=1_000)


async def nothing_known(keys: Sequence[str]) -> Mapping[str, str]:
    return dict.fromkeys(keys[:0], "")


async def walked(origin: WatchedFolder, known: Mapping[str, str] | None = None) -> dict[str, Sight]:
    async def knows(keys: Sequence[str]) -> Mapping[str, str]:
        return {key: tag for key, tag in (known or {}).items() if key in keys}

    return {sight.key: sight async for sight in origin.walk(knows)}


async def content(sight: Sight) -> bytes:
    assert isinstance(sight, Found)
    return b"".join([piece async for piece in sight.content])


async def code_of(sight: Sight) -> str:
    with pytest.raises(Refusal) as refused:
        await content(sight)
    return refused.value.code


@contextmanager
def as_nobody() -> Iterator[None]:
    """Root may read everything, so for a moment it is not root."""
    mighty = os.geteuid() == 0
    if mighty:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if mighty:
            os.seteuid(0)


async def test_files_below_it_are_found_with_their_bytes(root: Path) -> None:
    (root / "a/b").mkdir(parents=True)
    (root / "a/b/c.md").write_bytes(b"Some words.")
    (root / "empty").mkdir()
    os.mkfifo(root / "pipe.md")
    for hidden in (".git/config", "a/.secret.md"):
        (root / hidden).parent.mkdir(exist_ok=True)
        (root / hidden).write_text("hidden")
    found = await walked(place(root))
    assert set(found) == {"a/b/c.md"}
    assert await content(found["a/b/c.md"]) == b"Some words."


async def test_a_tag_changes_with_the_file_and_a_fresh_file_has_none(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "a.md").write_text("Some words.")
    fresh = (await walked(place(root)))["a.md"]
    assert isinstance(fresh, Found)
    assert fresh.tag is None
    monkeypatch.setattr(adapter, "_FRESH", 0.0)
    settled = (await walked(place(root)))["a.md"]
    assert isinstance(settled, Found)
    assert settled.tag is not None
    assert (await walked(place(root), {"a.md": settled.tag}))["a.md"] == Same("a.md")
    assert await place(root).look("a.md", nothing_known) != Same("a.md")
    os.utime(root / "a.md", (1, 1))
    assert isinstance((await walked(place(root), {"a.md": settled.tag}))["a.md"], Found)


async def test_links_lead_to_files_inside_and_to_nothing_else(root: Path) -> None:
    outside = root.parent / "outside"
    (outside / "deep").mkdir(parents=True)
    (outside / "secret.md").write_text("secret")
    (outside / "deep/secret.md").write_text("secret")
    (root / "real.md").write_text("Real words.")
    for name, target in (
        ("inside.md", "real.md"),
        ("out.md", outside / "secret.md"),
        ("up.md", "../outside/secret.md"),
        ("folder", outside),
        ("inner", root),
        ("dangling.md", root / "nothing"),
        ("loop.md", "loop.md"),
        ("proc.md", "/proc/self/environ"),
    ):
        (root / name).symlink_to(target)
    found = await walked(place(root))
    assert set(found) == {"real.md", "inside.md", "out.md", "up.md", "loop.md", "proc.md"}
    assert await content(found["inside.md"]) == b"Real words."
    refused = {key: sight.refusal.code for key, sight in found.items() if isinstance(sight, Failed)}
    assert refused == dict.fromkeys(("out.md", "up.md", "proc.md"), "outside_folder") | {"loop.md": "item_unreadable"}
    for key in ("folder/secret.md", "inner/real.md", "../outside/secret.md", "/etc/passwd", ".git/config", "", "a\0b"):
        assert await place(root).look(key, nothing_known) == Gone(key), key


async def test_a_link_that_is_turned_while_it_is_looked_at_gives_nothing(root: Path) -> None:
    outside = root.parent / "outside"
    outside.mkdir()
    (outside / "a.md").write_text("secret")
    (root / "sub").mkdir()
    (root / "sub/a.md").write_text("Real words.")
    (root / "b.md").write_text("Real words.")
    found = await walked(place(root))
    (root / "sub/a.md").unlink()
    (root / "sub").rmdir()
    (root / "sub").symlink_to(outside)
    (root / "b.md").unlink()
    (root / "b.md").symlink_to(outside / "a.md")
    assert await code_of(found["sub/a.md"]) == "outside_folder"
    assert await code_of(found["b.md"]) == "outside_folder"


async def test_what_went_before_it_was_read_is_not_found(root: Path) -> None:
    (root / "a.md").write_text("Some words.")
    found = await walked(place(root))
    (root / "a.md").unlink()
    assert await code_of(found["a.md"]) == "not_found"
    assert await place(root).look("a.md", nothing_known) == Gone("a.md")


async def test_a_file_that_is_too_large_is_not_opened(root: Path) -> None:
    (root / "large.md").write_bytes(b"x" * 1_001)
    sight = (await walked(place(root)))["large.md"]
    assert isinstance(sight, Failed)
    assert sight.refusal.code == "too_large"


async def test_a_file_that_may_not_be_read_is_refused_alone(root: Path) -> None:
    (root / "closed.md").write_text("closed")
    (root / "closed.md").chmod(0)
    (root / "good.md").write_text("Some words.")
    with as_nobody():
        found = await walked(place(root))
        assert await content(found["good.md"]) == b"Some words."
        assert await code_of(found["closed.md"]) == "item_unreadable"


async def test_a_part_that_cannot_be_listed_breaks_the_walk_off_in_the_end(root: Path) -> None:
    (root / "closed").mkdir()
    (root / "closed/a.md").write_text("closed")
    (root / "closed").chmod(0)
    (root / "z.md").write_text("Some words.")
    seen: list[str] = []

    async def look() -> None:
        async for sight in place(root).walk(nothing_known):
            seen.append(sight.key)  # noqa: PERF401 - what came before it broke off counts

    with as_nobody(), pytest.raises(Refusal) as refused:
        await look()
    assert (seen, refused.value.code) == (["z.md"], "folder_unreadable")
    (root / "closed").chmod(0o755)


@pytest.mark.parametrize(
    ("path", "code"),
    [("nothing", "folder_missing"), ("file.md", "folder_missing"), ("out", "folder_not_allowed")],
)
async def test_a_folder_that_is_none_is_refused_whatever_is_asked(root: Path, path: str, code: str) -> None:
    (root / "file.md").write_text("no folder")
    (root / "out").symlink_to("/etc")
    origin = place(root / path, root)
    with pytest.raises(Invalid) as walk:
        await walked(origin)
    with pytest.raises(Invalid) as look:
        await origin.look("a.md", nothing_known)
    with pytest.raises(Invalid) as events:
        await anext(aiter(origin.events()))
    assert {refused.value.code for refused in (walk, look, events)} == {code}


async def test_a_brother_of_the_same_beginning_is_not_inside(root: Path) -> None:
    (root.parent / "opened-too").mkdir()
    with pytest.raises(Invalid) as refused:
        await walked(place(root.parent / "opened-too", root))
    assert refused.value.code == "folder_not_allowed"


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_nothing_stays_open(root: Path) -> None:
    (root / "sub").mkdir()
    for number in range(20):
        (root / f"sub/{number}.md").write_text("Some words.")
    before = open_files()
    sights: AsyncIterator[Sight] = place(root).walk(nothing_known)
    await content(await anext(sights))
    await sights.aclose()  # type: ignore[attr-defined]
    assert open_files() <= before


async def test_a_large_folder_is_asked_about_in_batches(root: Path) -> None:
    """Whatever its size, so many are in the hand at a time."""
    for number in range(1_200):
        (root / f"{number}.md").touch()
    asked: list[int] = []

    async def knows(keys: Sequence[str]) -> Mapping[str, str]:
        asked.append(len(keys))
        return {}

    assert len([sight async for sight in place(root).walk(knows)]) == 1_200
    assert asked == [500, 500, 200]


async def test_a_watch_that_is_left_leaves_no_thread(root: Path) -> None:
    events = place(root).events()
    assert (await anext(events)).key is None, "for what has changed while nobody watched"
    (root / "a.md").write_text("Some words.")
    assert (await anext(events)).key == "a.md"
    (root / "sub").mkdir()
    assert (await anext(events)).key is None, "a folder takes files with it"
    await events.aclose()  # type: ignore[attr-defined]
    async with asyncio.timeout(60):
        while any(thread.name.startswith("watch") for thread in threading.enumerate()):  # noqa: ASYNC110 - threads tell nobody
            await asyncio.sleep(0.02)
