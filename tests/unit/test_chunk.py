"""Chunking: nothing is lost, nothing is too long, and a chunk is what a careful engineer would cut."""

import re
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carrel.domain.errors import Unreadable
from carrel.domain.ids import GenerationId, VersionId, chunk_id, new_id
from carrel.domain.library import ChunkRules
from carrel.domain.text import Block, Chunk, ParsedDocument
from carrel.ingest.chunk import chunk
from carrel.ports.embedder import MOST_TOKENS, Tokens

KINDS = ("heading", "paragraph", "list", "code", "table")
WORDS = ("gateway", "drains", "ends.", "now!", "why?", "line\n", "a", "7443", "x:")


def tokenized(text: str) -> Tokens:
    """A token for each word, and for each piece of eight characters of a longer one."""
    spans = [match.span() for match in re.finditer(r"\S{1,8}", text)]
    return Tokens(range(len(spans)), np.array(spans, np.int32).reshape(-1, 2))


def read_by_words(text: str) -> Tokens:
    """A token for each word, however long it is."""
    spans = [match.span() for match in re.finditer(r"\S+", text)]
    return Tokens(range(len(spans)), np.array(spans, np.int32).reshape(-1, 2))


def a_document(*blocks: tuple[str, str], path: Sequence[str] = ()) -> ParsedDocument:
    """Blocks as (kind, text); a heading of kind `#`, `##` … stands above what follows."""
    text, made, above = "", [], list(path)
    for kind, content in blocks:
        text += "\n\n" if text else ""
        if kind.startswith("#"):
            above = [*above[: len(kind) - 1], content]
        made.append(
            Block(len(text), len(text) + len(content), "heading" if kind.startswith("#") else kind, tuple(above))
        )
        text += content
    return ParsedDocument(text, tuple(made))


def words(count: int, *, mark: str = "word") -> str:
    return " ".join(f"{mark}{number}" for number in range(count))


def sentences(count: int, *, length: int = 10) -> str:
    return " ".join(f"{words(length - 1, mark='w')} end{number}." for number in range(count))


def chunks_of(document: ParsedDocument, *, size: int = 48, overlap: int = 8) -> list[Chunk]:
    return chunk(document, tokenized(document.text), ChunkRules(size, overlap))


blocks = st.lists(
    st.tuples(
        st.sampled_from(("#", "##", "###", "paragraph", "paragraph", "list", "code", "table")),
        st.lists(st.sampled_from(WORDS), min_size=1, max_size=60).map(lambda some: " ".join(some).strip()),
    ),
    max_size=12,
)


@settings(max_examples=150, deadline=None)
@given(blocks, st.integers(1, 64), st.integers(0, 64))
def test_whatever_the_document(made: list[tuple[str, str]], size: int, overlap: int) -> None:
    document = a_document(*made)
    tokens = tokenized(document.text)
    rules = ChunkRules(size, overlap).within(254)

    found = chunk(document, tokens, rules)

    assert found == chunk(document, tokens, rules), "the same again"
    assert [one.ordinal for one in found] == list(range(len(found)))
    assert {token for one in found for token in one.tokens} == set(tokens.ids), "every token is in some chunk"
    for one in found:
        assert 0 < len(one.tokens) <= size
        assert one.text == document.text[one.start : one.end]
        assert one.tokens == tuple(range(one.tokens[0], one.tokens[-1] + 1)), "in one stretch"
        assert tokens.spans[one.tokens[0], 0] == one.start
        assert tokens.spans[one.tokens[-1], 1] == one.end
    for before, after in pairwise(found):
        assert before.tokens[0] < after.tokens[0]
        shared = [token for token in after.tokens if token <= before.tokens[-1]]
        assert len(shared) <= min(overlap, size // 2)
        inside = [block for block in document.blocks if block.start < after.start < block.end]
        assert not shared or inside, "only a block that was cut repeats itself"


def test_the_ids_of_a_version_are_its_own_and_always_the_same() -> None:
    version, other, generation = VersionId(new_id()), VersionId(new_id()), GenerationId(new_id())
    ids = [chunk_id(version, generation, ordinal) for ordinal in range(50)]
    assert len({*ids, *(chunk_id(other, generation, ordinal) for ordinal in range(50))}) == 100
    assert ids == [chunk_id(version, generation, ordinal) for ordinal in range(50)]


@pytest.mark.parametrize("line", ["x" * 100_000, "word " * 20_000], ids=["one word", "one line"])
def test_a_line_of_a_hundred_thousand_characters(line: str) -> None:
    document = a_document(("paragraph", line.strip()))
    found = chunks_of(document, size=240, overlap=32)
    assert max(len(one.tokens) for one in found) <= 240
    assert min(len(one.tokens) for one in found) > 120, "parts of about one length"


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 2_000), st.sampled_from((1, 2, 40, 3_000))), min_size=1, max_size=20),
    st.integers(1, 64),
    st.integers(0, 16),
)
def test_no_chunk_is_long_however_long_words_and_gaps_are(made: list[tuple[int, int]], size: int, overlap: int) -> None:
    """A word that the embedder does not know is one token, and white space is none."""
    text = "".join("x" * word + " " * gap for word, gap in made)
    document, tokens = ParsedDocument(text, (Block(0, len(text), "code"),)), read_by_words(text)
    rules = ChunkRules(size, overlap).within(254)

    found = chunk(document, tokens, rules)

    for one in found:
        assert 0 < len(one.tokens) <= size
        assert 0 < len(one.text) <= max(16 * size, 32)
        assert one.text == text[one.start : one.end]
    covered = np.zeros(len(text), bool)
    for one in found:
        covered[one.start : one.end] = True
    assert not "".join(letter for letter, is_in in zip(text, covered, strict=True) if not is_in).strip()
    assert {token for one in found for token in one.tokens} == set(tokens.ids)


def test_a_word_of_eight_million_letters_is_many_chunks() -> None:
    document = ParsedDocument("x" * 8_000_000, (Block(0, 8_000_000, "paragraph"),))
    found = chunk(document, read_by_words(document.text), ChunkRules(240, 0))
    assert max(len(one.text) for one in found) <= 8 * 240
    assert "".join(one.text for one in found) == document.text
    assert {token for one in found for token in one.tokens} == {0}


def test_a_text_of_more_than_two_million_tokens_is_refused() -> None:
    document = ParsedDocument("x" * 9 * MOST_TOKENS, (Block(0, 9 * MOST_TOKENS, "paragraph"),))
    with pytest.raises(Unreadable) as refused:
        chunk(document, read_by_words(document.text), ChunkRules())
    assert refused.value.code == "too_long"


def test_no_blocks_no_chunks() -> None:
    assert chunks_of(ParsedDocument("", ())) == []
    assert chunks_of(ParsedDocument("   ", (Block(0, 3, "paragraph"),))) == []


def test_headings_travel_with_what_follows() -> None:
    document = a_document(
        ("#", "Title"), ("paragraph", words(40)), ("##", "Second"), ("###", "Deeper"), ("paragraph", words(40))
    )
    first, second = chunks_of(document)
    assert first.heading_path == ("Title",)
    assert second.text.startswith("Second\n\nDeeper\n\nword0")
    assert second.heading_path == ("Title", "Second", "Deeper")


def test_a_heading_is_never_parted_from_a_long_block() -> None:
    document = a_document(("#", "Title"), ("code", sentences(6)))
    assert all(len(one.tokens) > 8 for one in chunks_of(document))
    assert chunks_of(document)[0].text.startswith("Title\n\nw0")


def test_a_lead_in_stays_with_its_list() -> None:
    document = a_document(
        ("#", "Steps"), ("paragraph", sentences(3)), ("paragraph", "Check these:"), ("list", words(30, mark="step"))
    )
    first, second = chunks_of(document)
    assert "Check these" not in first.text
    assert second.text.startswith("Check these:\n\nstep0")


def test_small_sections_of_one_parent_share_a_chunk_under_the_name_of_both() -> None:
    document = a_document(
        ("#", "Guide"),
        ("##", "Questions"),
        ("###", "Why"),
        ("paragraph", words(6)),
        ("###", "When"),
        ("paragraph", words(6)),
    )
    (only,) = chunks_of(document)
    assert only.heading_path == ("Guide", "Questions")


def test_a_small_section_does_not_reach_over_its_parent() -> None:
    document = a_document(
        ("#", "Guide"),
        ("##", "Mitigation"),
        ("###", "Database"),
        ("paragraph", words(8, mark="promote")),
        ("##", "Rollback"),
        ("paragraph", words(20, mark="undo")),
    )
    paths = [one.heading_path for one in chunks_of(document)]
    assert paths == [("Guide", "Mitigation", "Database"), ("Guide", "Rollback")]


def test_a_long_block_is_cut_at_sentences_and_repeats_whole_ones() -> None:
    document = a_document(("paragraph", sentences(12)))
    found = chunks_of(document, size=48, overlap=12)
    assert all(one.text.endswith(".") for one in found)
    assert all(one.text.startswith("w0 ") for one in found)
    assert all(set(one.tokens) & set(after.tokens) for one, after in pairwise(found))


def test_a_section_does_not_end_in_a_crumb() -> None:
    document = a_document(
        ("#", "List"), *[("paragraph", words(15, mark=f"p{n}")) for n in range(3)], ("list", "Four words are left")
    )
    assert [len(one.tokens) for one in chunks_of(document)] == [31, 19]


def test_a_page_is_that_of_the_beginning() -> None:
    text = "First page. Second page."
    pages = ParsedDocument(text, (Block(0, 11, "paragraph", page=4), Block(12, 24, "paragraph", page=5)))
    assert [one.page for one in chunks_of(pages)] == [4]


def test_a_line_is_that_of_the_beginning_also_within_a_long_block() -> None:
    rows = [words(10, mark=f"r{number}") for number in range(20)]
    text = "\n".join(["First", *rows])
    table = (Block(0, 5, "paragraph", line=1), Block(6, len(text), "table", line=7))
    found = chunks_of(ParsedDocument(text, table), size=24, overlap=11)
    assert found[0].line == 1
    assert [one.line for one in found[1:]] == [7 + rows.index(one.text.split("\n")[0]) for one in found[1:]]


def test_lines_that_are_no_lines_of_the_file_do_not_count() -> None:
    rows = [words(10, mark=f"r{number}") for number in range(4)]
    text = "\n".join(rows)
    second, third = len(rows[0]) + 1, len(rows[0]) + len(rows[1]) + 2
    for turns, expected in (
        ((), [5, 6, 7, 8]),
        (((second, 5),), [5, 5, 6, 7]),
        (((second, 7),), [5, 7, 8, 9]),
        (((second + 1, 9), (third, 20)), [5, 6, 20, 21]),
    ):
        block = Block(0, len(text), "table", line=5, turns=turns)
        assert [one.line for one in chunks_of(ParsedDocument(text, (block,)), size=10, overlap=0)] == expected
