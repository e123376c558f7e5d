"""What every embedder promises (ports/embedder.py), on each of them; providers' on a server that speaks as they."""

from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from carrel.adapters.embedders import minilm
from carrel.domain.errors import Unreadable
from carrel.domain.library import ChunkRules
from carrel.domain.text import Block, ParsedDocument
from carrel.ingest.chunk import chunk
from carrel.ports.embedder import MOST_TOKENS, Embedder
from support.embedders import WIRES, an_embedder
from support.model_server import a_model_server

SENTENCE = "Restart the payment service, then look at port 7443."
ODD = "Zażółć gęślą\n\n\tjaźń: 日本語のテキスト, naïve_name[12345] 🙂 \ud800 end."


@pytest.fixture(params=["minilm", *WIRES])
async def embedder(
    request: pytest.FixtureRequest, models: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Embedder]:
    if request.param == "minilm":
        own = minilm.prepare(models, threads=1)
        yield own
        own.close()
        return
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIATESTS")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret-of-tests")
    async with a_model_server() as server, an_embedder(server, request.param) as remote:
        yield remote


async def test_a_vector_has_length_one_and_the_profiles_dimension(embedder: Embedder) -> None:
    for vector in await embedder.embed([embedder.tokenize(SENTENCE).ids, embedder.tokenize("x").ids, ()]):
        assert (vector.dtype.name, vector.shape) == ("float32", (embedder.profile.dimension,))
        assert float(np.linalg.norm(vector)) == pytest.approx(1, abs=1e-5)


async def test_the_same_tokens_give_the_same_vector_whatever_else_is_in_the_batch(embedder: Embedder) -> None:
    texts = [embedder.tokenize(f"Document {number} tells of {SENTENCE}").ids for number in range(150)]

    together = await embedder.embed(texts)

    assert len(together) == len(texts)
    for place in (0, 1, 127, 128, 149):
        (alone,) = await embedder.embed([texts[place]])
        assert np.array_equal(alone, together[place])


async def test_an_empty_batch_has_no_vectors(embedder: Embedder) -> None:
    assert await embedder.embed([]) == []


async def test_of_ids_beyond_max_tokens_nothing_is_seen(embedder: Embedder) -> None:
    ids = embedder.tokenize("one two three four five " * 200).ids
    most = embedder.profile.max_tokens

    cut, whole = await embedder.embed([ids[:most], ids])

    assert len(ids) > most
    assert np.array_equal(cut, whole)


async def test_what_shares_words_is_nearer_than_what_does_not(embedder: Embedder) -> None:
    sentences = (SENTENCE, "The payment service was restarted on port 7443.", "Bake the cake for an hour.")
    asked, alike, other = await embedder.embed([embedder.tokenize(text).ids for text in sentences])
    assert asked @ alike > asked @ other


@pytest.mark.parametrize("text", [SENTENCE, ODD, "", " \n\t", "word" * 20_000, "a \u2003 b"])
def test_spans_are_in_order_and_leave_out_nothing_but_white_space(embedder: Embedder, text: str) -> None:
    tokens = embedder.tokenize(text)
    spans = [(int(start), int(end)) for start, end in tokens.spans]
    assert len(tokens.ids) == len(spans)
    assert all(start < end for start, end in spans)
    assert all(before[1] <= after[0] for before, after in pairwise(spans))
    left = "".join(
        text[end:start] for (_, end), (start, _) in zip([(0, 0), *spans], [*spans, (len(text),) * 2], strict=True)
    )
    assert left.strip(" \n\t\u2003") == ""


def test_a_text_of_very_many_tokens_is_refused(embedder: Embedder) -> None:
    with pytest.raises(Unreadable) as refused:
        embedder.tokenize("! \n" * (MOST_TOKENS + 1))
    assert refused.value.code == "too_long"


def test_its_tokens_serve_for_chunking(embedder: Embedder) -> None:
    text = "\n\n".join(f"Paragraph {number}. {SENTENCE}" for number in range(200))
    document = ParsedDocument(text, (Block(0, len(text), "paragraph"),))

    chunks = chunk(document, embedder.tokenize(text), ChunkRules(100, 16))

    assert all(len(one.tokens) <= 100 for one in chunks)
    assert {number for number in range(200) if any(f"Paragraph {number}." in one.text for one in chunks)} == set(
        range(200)
    )
