"""Embedders of providers: what they send, how patient they are, and what they do not believe."""

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

import numpy as np
import pytest

from carrel.adapters.embedders.remote import Place, RemoteEmbedder, letters, opened
from carrel.adapters.embedders.remote.bedrock import BedrockWire, ByAccount
from carrel.adapters.embedders.remote.openai import OpenAiWire
from carrel.domain.errors import EmbedderFailed
from support.embedders import KEY, SWIFT, WIRES, an_embedder
from support.model_server import BEFORE, Fault, Hold, ModelServer, Page, Script, a_model_server, embedding

OVER_HTTP = [name for name in WIRES if name != "titan by account"]
TEXTS = [f"Paragraph {number} tells of leave and of pay." for number in range(300)]


@pytest.fixture
async def server() -> AsyncIterator[ModelServer]:
    async with a_model_server() as running:
        yield running


@pytest.fixture(autouse=True)
def account(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIATESTS")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret-of-tests")


def ids_of(*texts: str) -> list[Sequence[int]]:
    return [letters.tokenize(text).ids for text in texts]


async def failed(embedder: RemoteEmbedder, *texts: str) -> EmbedderFailed:
    with pytest.raises(EmbedderFailed) as caught:
        await embedder.embed(ids_of(*(texts or TEXTS[:3])))
    assert KEY not in f"{caught.value!r} {caught.value.__cause__!r}"
    return caught.value


# What is sent


@pytest.mark.parametrize(("name", "most"), [("openai", 128), ("ollama", 128), ("titan", 1), ("cohere", 96)])
async def test_texts_go_in_batches_and_come_back_in_order(server: ModelServer, name: str, most: int) -> None:
    async with an_embedder(server, name) as embedder:
        vectors = await embedder.embed(ids_of(*TEXTS))

    sizes = [len(heard.told.texts) for heard in server.heard]
    assert (sum(sizes), max(sizes)) == (300, most)
    expected = np.array([embedding(text, 64) for text in TEXTS], np.float32)
    assert np.allclose(vectors, expected, atol=1e-6)


async def test_a_request_holds_no_more_tokens_than_one_may(server: ModelServer) -> None:
    long = "word " * 900
    async with an_embedder(server, plan=replace(SWIFT, max_tokens=1_000)) as embedder:
        await embedder.embed(ids_of(*[f"{number} {long}" for number in range(128)]))
    assert max(heard.input_tokens for heard in server.heard) <= 64_000
    assert len(server.heard) == 2


async def test_no_more_requests_at_a_time_than_the_plan_says(server: ModelServer) -> None:
    hold = Hold(BEFORE)
    async with an_embedder(server, "titan", script=Script(hold=hold), plan=replace(SWIFT, concurrency=3)) as embedder:
        both = [asyncio.create_task(embedder.embed(ids_of(*TEXTS[:20]))) for _ in range(2)]
        while server.answering < 3:  # noqa: ASYNC110 - the server is in another thread
            await asyncio.sleep(0.01)
        for _ in range(50):
            await asyncio.sleep(0)
        assert server.answering == 3
        hold.release.set()
        assert [len(vectors) for vectors in await asyncio.gather(*both)] == [20, 20]


async def test_a_newcomer_waits_for_one_request_of_another_tenants_at_most(server: ModelServer) -> None:
    hold = Hold(BEFORE)
    async with an_embedder(server, "titan", script=Script(hold=hold), plan=replace(SWIFT, concurrency=1)) as embedder:
        bulk = [asyncio.create_task(embedder.embed(ids_of(*TEXTS[:5]), flow="bulk")) for _ in range(4)]
        await hold.reached.wait()
        newcomer = asyncio.create_task(embedder.embed(ids_of("leave"), flow="newcomer"))
        await asyncio.sleep(0)
        hold.release.set()
        await newcomer
        asked = [heard.told.texts for heard in server.heard]
        assert ["leave"] in [list(texts) for texts in asked[:3]]
        assert len(await asyncio.gather(*bulk)) == 4


async def test_a_question_does_not_wait_for_texts(server: ModelServer) -> None:
    hold = Hold(BEFORE)
    async with an_embedder(server, "openai", script=Script(hold=hold), plan=replace(SWIFT, concurrency=1)) as embedder:
        texts = asyncio.create_task(embedder.embed(ids_of(*TEXTS[:2])))
        await hold.reached.wait()
        server.scripts["embed"] = Script()
        assert len(await embedder.for_questions().embed(ids_of("leave?"))) == 1
        hold.release.set()
        await texts


async def test_the_key_and_the_model_are_sent(server: ModelServer) -> None:
    for name in OVER_HTTP:
        async with an_embedder(server, name) as embedder:
            await embedder.embed(ids_of("leave"))
            assert server.heard[-1].told.key == ("" if name == "ollama" else KEY)
            assert server.heard[-1].told.model in embedder.profile.name


async def test_an_account_signs_what_it_sends(server: ModelServer) -> None:
    async with an_embedder(server, "titan by account") as embedder:
        await embedder.embed(ids_of("leave"))
    assert server.heard[-1].told.key == "AKIATESTS"


async def test_cohere_is_told_what_is_a_question(server: ModelServer) -> None:
    async with an_embedder(server, "cohere") as embedder:
        await embedder.embed(ids_of("leave"))
        await embedder.for_questions().embed(ids_of("leave?"))
    assert [heard.body["input_type"] for heard in server.heard] == ["search_document", "search_query"]


async def test_a_text_without_anything_to_read_is_sent_all_the_same(server: ModelServer) -> None:
    async with an_embedder(server) as embedder:
        assert len(await embedder.embed(ids_of("\x01", ""))) == 2
    assert all(text.strip() for text in server.heard[-1].told.texts)


async def test_a_long_answer_to_an_account_is_read_to_its_end(server: ModelServer) -> None:
    """It comes in many pieces."""
    wire = BedrockWire("cohere.embed-v4:0", ByAccount(region="eu-central-1", base_url=server.url, connections=8))
    server.scripts[wire.model] = Script()
    embedder = await opened(wire, replace(SWIFT, dimension=2_000))
    vectors = await embedder.embed(ids_of(*TEXTS[:96]))
    await embedder.close()
    assert (len(vectors), len(server.heard)) == (96, 1)


# The dimension


@pytest.mark.parametrize("name", WIRES)
async def test_it_is_asked_of_the_provider_and_stands_in_the_name(server: ModelServer, name: str) -> None:
    async with an_embedder(server, name, dimension=256) as embedder:
        (vector,) = await embedder.embed(ids_of("leave"))
    assert len(vector) == embedder.profile.dimension == server.heard[-1].told.dimensions == 256
    provider, *model, dimension = embedder.profile.name.split("/")
    assert (provider in name or provider == "bedrock", dimension) == (True, "256")
    assert "/".join(model) == server.heard[-1].told.model


async def test_without_one_it_is_found_by_one_call(server: ModelServer) -> None:
    embedder = await opened(OpenAiWire("embed", Place(server.openai, KEY)), SWIFT)
    assert (embedder.profile.dimension, len(server.heard)) == (1536, 1)
    await embedder.embed(ids_of("leave"))
    assert all("dimensions" not in heard.body for heard in server.heard)
    await embedder.close()


async def test_a_model_that_takes_none_is_used_as_it_is_if_that_is_the_dimension(server: ModelServer) -> None:
    said = b'{"error": {"message": "Model does not support matryoshka representation."}}'
    refusing = Script(page=Page(said, "application/json", status=400))
    for dimension, served in ((1536, True), (100, False)):
        async with an_embedder(server, script=refusing, dimension=dimension) as embedder:
            asking = asyncio.create_task(embedder.embed(ids_of("leave")))
            while not server.heard or server.heard[-1].status != 400:  # noqa: ASYNC110 - another thread's
                await asyncio.sleep(0)
            server.scripts["embed"] = Script()
            if served:
                assert len((await asking)[0]) == 1536
            else:
                with pytest.raises(EmbedderFailed, match="CARREL_EMBEDDER__DIMENSION") as caught:
                    await asking
                assert (caught.value.code, caught.value.retryable) == ("embedder_dimension", False)


async def test_requests_that_are_refused_a_dimension_at_once_are_all_sent_again(server: ModelServer) -> None:
    said = b'{"error": {"message": "Model does not support matryoshka representation."}}'
    hold = Hold(BEFORE)
    refusing = Script(page=Page(said, "application/json", status=400), hold=hold)
    async with an_embedder(server, script=refusing, dimension=1536) as embedder:
        both = [asyncio.create_task(embedder.embed(ids_of(text))) for text in TEXTS[:2]]
        while server.answering < 2:  # noqa: ASYNC110 - the server is in another thread
            await asyncio.sleep(0.01)
        server.scripts["embed"] = Script()
        hold.release.set()
        vectors = [vector for (vector,) in await asyncio.gather(*both)]
    assert [len(vector) for vector in vectors] == [1536, 1536]
    assert ["dimensions" in heard.body for heard in server.heard] == [True, True, False, False]


async def test_a_vector_that_no_index_could_hold_is_refused_at_the_start(server: ModelServer) -> None:
    server.scripts["embed"] = Script(spoils=lambda vectors: [[1.0] * 4_001 for _ in vectors])
    wire = OpenAiWire("embed", Place(server.openai, KEY))
    with pytest.raises(EmbedderFailed, match="4,001 numbers") as caught:
        await opened(wire, SWIFT)
    await wire.close()
    assert caught.value.code == "embedder_dimension"


# Refusals

FINAL = {Fault.KEY: "embedder_key_refused", Fault.FORBIDDEN: "embedder_key_refused", Fault.MODEL: "embedder_unknown"}


@pytest.mark.parametrize("name", WIRES)
@pytest.mark.parametrize("fault", FINAL)
async def test_what_the_operator_must_change_is_final_and_not_tried_again(
    server: ModelServer, name: str, fault: Fault
) -> None:
    async with an_embedder(server, name, script=Script(fault=fault)) as embedder:
        failure = await failed(embedder, "leave")
    assert (failure.code, failure.retryable, len(server.heard)) == (FINAL[fault], False, 1)


@pytest.mark.parametrize("name", WIRES)
async def test_a_used_up_account_is_for_later(server: ModelServer, name: str) -> None:
    async with an_embedder(server, name, script=Script(fault=Fault.QUOTA)) as embedder:
        failure = await failed(embedder, "leave")
    codes = {"embedder_quota_exhausted"} if name != "ollama" else {"embedder_quota_exhausted", "embedder_throttled"}
    assert failure.code in codes
    assert failure.retryable


@pytest.mark.parametrize("name", WIRES)
@pytest.mark.parametrize("fault", [Fault.THROTTLE, Fault.BROKEN, Fault.OVERLOADED])
async def test_what_passes_by_is_tried_again(server: ModelServer, name: str, fault: Fault) -> None:
    async with an_embedder(server, name, script=Script(fault=fault, times=2, retry_after=0)) as embedder:
        assert len(await embedder.embed(ids_of("leave"))) == 1
    assert len(server.heard) == 3


async def test_after_some_attempts_the_work_is_given_back(server: ModelServer) -> None:
    async with an_embedder(server, script=Script(fault=Fault.OVERLOADED)) as embedder:
        failure = await failed(embedder, "leave")
    assert (failure.code, failure.retryable, len(server.heard)) == ("embedder_unreachable", True, 4)


async def test_whoever_is_told_to_wait_long_gives_the_work_back_at_once(server: ModelServer) -> None:
    async with an_embedder(server, script=Script(fault=Fault.THROTTLE, retry_after=600)) as embedder:
        failure = await failed(embedder, "leave")
    assert (failure.code, failure.wait, failure.retryable, len(server.heard)) == ("embedder_throttled", 600, True, 1)


async def test_a_failed_request_ends_the_others_of_its_batch(server: ModelServer) -> None:
    async with an_embedder(server, "titan", script=Script(fault=Fault.KEY)) as embedder:
        assert (await failed(embedder, *TEXTS)).code == "embedder_key_refused"
    assert len(server.heard) <= SWIFT.concurrency


async def test_nobody_there_is_unreachable() -> None:
    async with a_model_server() as gone:
        pass
    embedder = await opened(OpenAiWire("embed", Place(gone.openai, KEY)), replace(SWIFT, dimension=64))
    assert (await failed(embedder)).code == "embedder_unreachable"
    await embedder.close()


async def test_a_connection_that_breaks_off_is_tried_again(server: ModelServer) -> None:
    hold = Hold(BEFORE)
    async with an_embedder(server, script=Script(hold=hold)) as embedder:
        asking = asyncio.create_task(embedder.embed(ids_of("leave")))
        await hold.reached.wait()
        server.scripts["embed"] = Script()
        server.hang_up()
        assert len(await asking) == 1


async def test_a_provider_that_says_nothing_is_left(server: ModelServer) -> None:
    for plan, question in ((replace(SWIFT, seconds=0.05), False), (replace(SWIFT, question_seconds=0.05), True)):
        async with an_embedder(server, script=Script(hold=Hold(BEFORE)), plan=plan) as embedder:
            failure = await failed(embedder.for_questions() if question else embedder, "leave")
        assert (failure.code, failure.retryable) == ("embedder_timeout", True)


async def test_a_redirect_is_not_followed(server: ModelServer) -> None:
    away = Page(b"", status=307, location=f"{server.url}/v1/elsewhere")
    async with an_embedder(server, script=Script(page=away)) as embedder:
        assert (await failed(embedder)).code == "embedder_unreachable"
    assert {heard.path for heard in server.heard} == {"/v1/embeddings"}


async def test_the_log_has_the_providers_short_code_and_no_word_of_it(
    server: ModelServer, capsys: pytest.CaptureFixture[str]
) -> None:
    told = {"message": f"Incorrect API key provided: {KEY}.", "input": "leave", "code": "invalid_api_key"}
    said = json.dumps({"error": told}).encode()
    async with an_embedder(server, script=Script(page=Page(said, "application/json", status=401))) as embedder:
        failure = await failed(embedder)
    logged = capsys.readouterr()
    assert "invalid_api_key" in logged.out + logged.err
    assert not {"Incorrect", KEY, "leave"} & set(re.findall(r"[\w-]+", logged.out + logged.err))
    assert "Incorrect" not in failure.detail
    assert KEY not in repr(Place(server.openai, KEY))


# Texts that are too long


async def test_a_batch_that_is_too_large_goes_in_halves(server: ModelServer) -> None:
    for name in ("openai", "ollama", "cohere"):
        server.heard.clear()
        async with an_embedder(server, name, script=Script(fault=Fault.TOO_LONG, times=1)) as embedder:
            server._asked.clear()
            vectors = await embedder.embed(ids_of(*TEXTS[:60]))
        assert [len(heard.told.texts) for heard in server.heard] == [60, 30, 30]
        assert np.allclose(vectors, [embedding(text, 64) for text in TEXTS[:60]], atol=1e-6)


async def test_a_text_that_is_too_long_is_read_in_parts(server: ModelServer) -> None:
    text = "Leave is thirty days. Sickness is told to the manager before nine."
    for name in WIRES:
        server.heard.clear()
        server._asked.clear()
        async with an_embedder(server, name, script=Script(fault=Fault.TOO_LONG, times=1)) as embedder:
            (vector,) = await embedder.embed(ids_of(text))
        _, first, second = [heard.told.texts[0] for heard in server.heard]
        assert "".join(f"{first}{second}".split()) == "".join(text.split()), "nothing is lost"
        sizes = [len(ids) for ids in ids_of(first, second)]
        mean = sum(size * np.array(embedding(part, 64)) for size, part in zip(sizes, (first, second), strict=True))
        assert np.allclose(vector, mean / np.linalg.norm(mean), atol=1e-6)


async def test_a_provider_that_finds_everything_too_long_is_not_asked_for_ever(server: ModelServer) -> None:
    async with an_embedder(server, script=Script(fault=Fault.TOO_LONG)) as embedder:
        failure = await failed(embedder, "word " * 300)
    assert (failure.code, failure.retryable) == ("embedder_input_refused", False)
    assert len(server.heard) < 20


# What is not believed


def scaled(factor: float) -> Script:
    return Script(spoils=lambda vectors: [[value * factor for value in vector] for vector in vectors])


LIES: dict[str, Script] = {
    "fewer vectors": Script(spoils=lambda vectors: vectors[:-1]),
    "more vectors": Script(spoils=lambda vectors: [*vectors, vectors[0]]),
    "no vectors": Script(spoils=lambda _: []),
    "not a number": Script(spoils=lambda vectors: [[float("nan"), *vector[1:]] for vector in vectors]),
    "infinite": Script(spoils=lambda vectors: [[float("inf"), *vector[1:]] for vector in vectors]),
    "zeros": scaled(0),
    "ragged": Script(spoils=lambda vectors: [vectors[0][:-1], *vectors[1:]]),
    "html": Script(page=Page(b"<h1>We will be back soon</h1>")),
    "half of a json": Script(page=Page(b'{"data": [', "application/json")),
    "a list": Script(page=Page(b"[1, 2]", "application/json")),
    "another json": Script(page=Page(b'{"hello": ["world"]}', "application/json")),
    "words": Script(page=Page(b'{"data": "none", "embeddings": [["a"]], "embedding": {"a": 1}}', "application/json")),
}


COUNTED = {"fewer vectors", "more vectors", "no vectors", "ragged"}


@pytest.mark.parametrize(
    ("name", "lie"),
    [(name, lie) for name in OVER_HTTP for lie in LIES if name != "titan" or lie not in COUNTED],  # it has one text
)
async def test_an_answer_that_cannot_be_right_is_refused(server: ModelServer, name: str, lie: str) -> None:
    async with an_embedder(server, name, script=LIES[lie]) as embedder:
        failure = await failed(embedder)
    assert (failure.code, failure.retryable) == ("embedder_garbled", True)


async def test_a_vector_of_another_dimension_is_refused(server: ModelServer) -> None:
    for name in OVER_HTTP:
        shorter = Script(spoils=lambda vectors: [vector[:32] for vector in vectors])
        server.heard.clear()
        async with an_embedder(server, name, script=shorter) as embedder:
            failure = await failed(embedder, "leave")
        assert (failure.code, failure.retryable, len(server.heard)) == ("embedder_dimension", False, 1)


@pytest.mark.parametrize("factor", [1e-300, 1e-30, 1e30, 1e300])
async def test_every_length_becomes_one(server: ModelServer, factor: float) -> None:
    async with an_embedder(server, "ollama", script=scaled(factor)) as embedder:
        if factor in {1e-300, 1e300}:
            assert (await failed(embedder)).code == "embedder_garbled"
            return
        (vector,) = await embedder.embed(ids_of("leave"))
    assert np.linalg.norm(vector) == pytest.approx(1)


def in_places(*places: int) -> Script:
    data = [{"index": place, "embedding": embedding(TEXTS[place % 3], 64)} for place in places]
    return Script(page=Page(json.dumps({"data": data}).encode(), "application/json"))


async def test_the_order_is_that_of_the_index_and_each_stands_once(server: ModelServer) -> None:
    async with an_embedder(server, script=in_places(2, 0, 1)) as embedder:
        vectors = await embedder.embed(ids_of(*TEXTS[:3]))
        assert np.allclose(vectors, [embedding(text, 64) for text in TEXTS[:3]], atol=1e-6)
        for places in ((0, 1, 1), (0, 1, 3), (0, 1)):
            server.scripts["embed"] = in_places(*places)
            assert (await failed(embedder)).code == "embedder_garbled"


async def test_an_answer_without_end_is_cut(server: ModelServer) -> None:
    long = Page(b'{"data": "' + b"x" * (3 << 20) + b'"}', "application/json")
    async with an_embedder(server, script=Script(page=long)) as embedder:
        assert "more than" in (await failed(embedder)).detail


# Letters


def test_ids_are_the_text_itself() -> None:
    texts = ["Zażółć gęślą jaźń", "日本語のテキスト", "naïve_name[12345] = 🙂", "a b  c\nd\n\n\ne", "x" * 1_000]
    for text in texts:
        written = letters.text_of(letters.tokenize(text).ids)
        assert written.split() == text.split()
    assert letters.text_of(letters.tokenize("a b  c\nd\n\n\ne").ids) == "a b c\nd\n\ne"


def test_a_long_text_read_in_pieces_keeps_every_word() -> None:
    text = "".join(f"word{number}{' ' * (number % 7)}\n" for number in range(30_000))
    tokens = letters.tokenize(text)
    assert letters.text_of(tokens.ids).split() == text.split()
    assert (np.diff(tokens.spans.reshape(-1)) >= 0).all()


# What it costs


def test_the_embedder_of_this_process_imports_nothing_of_theirs() -> None:
    code = """
        import sys
        from carrel.wiring import embedders
        from carrel.adapters.embedders import minilm
        found = {"aiobotocore", "botocore", "openai", "any_llm", "carrel.adapters.embedders.remote"} & set(sys.modules)
        assert not found, found
    """
    subprocess.run([sys.executable, "-c", "\n".join(line.strip() for line in code.splitlines())], check=True)
