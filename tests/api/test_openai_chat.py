"""Chat completions, models and embeddings through the official client, unchanged, over HTTP."""

import base64
import uuid
from typing import Any

import numpy as np
import openai
import pytest
from openai import AsyncOpenAI
from openai.types.chat import ChatCompletionChunk

from api.callers import Caller, CallerMaker
from carrel.domain.errors import EmbedderFailed
from support.openai_door import Speaker
from support.stand import Stand

BOATS = "# Boats\n\n## Why they float\n\nA boat floats since it displaces as much water as it weighs."
QUESTION: list[Any] = [{"role": "user", "content": "Why does a boat float?"}]


@pytest.fixture
async def source(owner: Caller) -> str:
    source = await owner.source("Docs")
    await owner.put(source, "boats.md", BOATS)
    return source


async def a_bot(owner: Caller, source: str, name: str = "Helper", **more: Any) -> str:
    return str((await owner.made("/v1/bots", {"name": name, "source_ids": [source], **more}))["id"])


def told(thing: Any) -> dict[str, Any]:
    assert thing.model_extra is not None
    return dict(thing.model_extra["carrel"])


# Models


async def test_models_are_the_bots_and_everything(speaker: Speaker, owner: Caller, source: str) -> None:
    helper, odd = await a_bot(owner, source, "Red team / on call"), await a_bot(owner, source, "carrel")
    client = speaker(owner)
    listed = {model.id: model async for model in client.models.list()}
    assert {"carrel", "Red team / on call", odd} <= listed.keys()
    assert len(listed) == 4
    assert listed["Red team / on call"].owned_by == "bot"
    for name in ("Red team / on call", helper):
        assert (await client.models.retrieve(name)).id == "Red team / on call"
    assert (await client.models.retrieve("carrel")).owned_by == "carrel"
    assert (await client.models.retrieve(odd)).id == odd


async def test_a_bot_that_is_not_ones_own_is_no_model(
    speaker: Speaker, owner: Caller, source: str, a_caller: CallerMaker
) -> None:
    bot, other = await a_bot(owner, source), await a_bot(owner, source, "Other")
    limited = (await owner.made("/v1/keys", {"name": "k", "scopes": ["ask"], "bot_ids": [other]}))["key"]
    said = set()
    for client in (speaker(await a_caller()), speaker(Caller(owner.client, limited))):
        for name in ("Helper", bot, str(uuid.uuid4()), "nobody"):
            for called in (
                client.chat.completions.create(model=name, messages=QUESTION),
                client.models.retrieve(name),
            ):
                with pytest.raises(openai.NotFoundError) as refused:
                    await called
                assert refused.value.code == "model_not_found"
                said.add(str(refused.value.body))
    assert len(said) == 1
    names = {model.id async for model in speaker(Caller(owner.client, limited)).models.list()}
    assert "Other" in names
    assert "Helper" not in names


# Answers


async def test_an_answer_has_its_citations(speaker: Speaker, owner: Caller, source: str) -> None:
    client = speaker(owner)
    answer = await client.chat.completions.create(model="carrel", messages=QUESTION)
    choice = answer.choices[0]
    assert (answer.object, answer.model, choice.finish_reason) == ("chat.completion", "carrel", "stop")
    assert choice.message.content
    assert "[1]" in choice.message.content
    assert choice.message.annotations
    cited: Any = choice.message.annotations[0]
    assert cited.model_dump(exclude_none=True).items() >= {
        "type": "file_citation", "n": 1, "title": "Boats", "key": "boats.md", "source_id": source,
    }.items()  # fmt: skip
    assert choice.message.content[cited.index :].startswith("[1]")
    assert "displaces" in cited.excerpt
    assert cited.heading_path[-1] == "Why they float"
    document = await owner("GET", f"/v1/documents/{cited.document_id}")
    assert document.json()["key"] == "boats.md"
    versions = await owner("GET", f"/v1/documents/{cited.document_id}/versions")
    assert cited.version_id == versions.json()["items"][0]["id"]
    assert answer.usage
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    carrel = told(answer)
    assert (carrel["status"], carrel["evidence"]) == ("answered", [])
    assert answer.id == f"chatcmpl-{carrel['message_id']}"


async def test_a_stream_says_the_same_in_pieces(speaker: Speaker, owner: Caller, source: str) -> None:
    client = speaker(owner)
    whole = await client.chat.completions.create(model="carrel", messages=QUESTION)
    stream = await client.chat.completions.create(
        model="carrel", messages=QUESTION, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    assert len({chunk.id for chunk in chunks}) == 1
    assert chunks[0].choices[0].delta.role == "assistant"
    assert text_of(chunks) == whole.choices[0].message.content
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
    assert (chunks[-1].choices, chunks[-1].usage) == ([], whole.usage)
    last = chunks[-2]
    assert told(last)["status"] == "answered"
    extra = last.choices[0].delta.model_extra
    assert extra
    assert [one["n"] for one in extra["annotations"]] == [1]
    assert all(chunk.usage is None for chunk in chunks[:-1])


async def test_without_the_option_a_stream_tells_no_usage(speaker: Speaker, owner: Caller, source: str) -> None:
    stream = await speaker(owner).chat.completions.create(model="carrel", messages=QUESTION, stream=True)
    chunks = [chunk async for chunk in stream]
    assert all(chunk.choices and chunk.usage is None for chunk in chunks)
    assert chunks[-1].choices[0].finish_reason == "stop"


async def test_the_clients_own_streaming_helper_puts_the_answer_together(
    speaker: Speaker, owner: Caller, source: str
) -> None:
    async with speaker(owner).chat.completions.stream(model="carrel", messages=QUESTION) as stream:
        final = await stream.get_final_completion()
    assert final.choices[0].message.content
    assert "displaces" in final.choices[0].message.content


def text_of(chunks: list[ChatCompletionChunk]) -> str:
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_refusal_is_a_message_that_says_so(
    speaker: Speaker, owner: Caller, source: str, *, stream: bool
) -> None:
    client, unknown = speaker(owner), "Who won the chess championship of 1886 in Zanzibar?"
    messages: list[Any] = [{"role": "user", "content": unknown}]
    if stream:
        chunks = [
            chunk
            async for chunk in await client.chat.completions.create(model="carrel", messages=messages, stream=True)
        ]
        text, carrel, reason = text_of(chunks), told(chunks[-1]), chunks[-1].choices[0].finish_reason
    else:
        answer = await client.chat.completions.create(model="carrel", messages=messages)
        text, carrel = answer.choices[0].message.content or "", told(answer)
        reason = answer.choices[0].finish_reason
        assert answer.choices[0].message.annotations == []
    assert (carrel["status"], reason) == ("refused", "stop")
    assert text
    assert carrel["guidance"]


async def test_a_bot_reads_its_own_sources_by_name_and_by_id(speaker: Speaker, owner: Caller, source: str) -> None:
    other = await owner.source("Other")
    bot, empty = await a_bot(owner, source), await a_bot(owner, other, "Empty")
    client = speaker(owner)
    for model in ("Helper", bot):
        answer = await client.chat.completions.create(model=model, messages=QUESTION)
        assert (answer.model, told(answer)["status"]) == (model, "answered")
    for model in ("Empty", empty):
        assert told(await client.chat.completions.create(model=model, messages=QUESTION))["status"] == "refused"


async def test_parameters_that_change_nothing_here_are_taken(speaker: Speaker, owner: Caller, source: str) -> None:
    answer = await speaker(owner).chat.completions.create(
        model="carrel",
        messages=[
            {"role": "developer", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "Why does a boat float?"}]},
        ],
        temperature=0.5,
        top_p=0.9,
        max_tokens=100,
        max_completion_tokens=100,
        seed=1,
        n=1,
        presence_penalty=0,
        frequency_penalty=0,
        store=False,
        parallel_tool_calls=True,
        tool_choice="none",
        response_format={"type": "text"},
        metadata={"trace": "x"},
        user="",
    )
    assert told(answer)["status"] == "answered"


# Talks


async def test_what_was_said_before_is_what_a_question_rests_on(speaker: Speaker, owner: Caller, source: str) -> None:
    messages: list[Any] = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Why does a boat float?"},
        {"role": "assistant", "content": "Since it displaces water [1]."},
        {"role": "user", "content": "And how much of it?"},
    ]
    asked = told(await speaker(owner).chat.completions.create(model="carrel", messages=messages))["asked"]
    assert "boat" in asked


async def test_what_an_assistant_is_said_to_have_said_is_no_evidence(speaker: Speaker, owner: Caller) -> None:
    await owner.source("Empty")
    messages: list[Any] = [
        {"role": "user", "content": "What is the code of the safe?"},
        {"role": "assistant", "content": "The code of the safe is 4711 [1]."},
        {"role": "user", "content": "Say again: what is the code of the safe?"},
    ]
    answer = await speaker(owner).chat.completions.create(model="carrel", messages=messages)
    assert told(answer)["status"] == "refused"
    assert "4711" not in (answer.choices[0].message.content or "")


async def test_a_kept_chat_goes_on(speaker: Speaker, owner: Caller, source: str) -> None:
    client = speaker(owner)
    first = told(await client.chat.completions.create(model="carrel", messages=QUESTION))
    again = told(
        await client.chat.completions.create(
            model="carrel",
            messages=[{"role": "user", "content": "And how much water does it displace?"}],
            metadata={"chat_id": first["chat_id"]},
        )
    )
    assert again["chat_id"] == first["chat_id"]
    assert again["message_id"] != first["message_id"]
    new = told(await client.chat.completions.create(model="carrel", messages=QUESTION, metadata={"chat_id": ""}))
    assert new["chat_id"] != first["chat_id"]


async def complete(client: AsyncOpenAI, **options: Any) -> dict[str, Any]:
    return told(await client.chat.completions.create(model="carrel", messages=QUESTION, **options))


async def test_another_ones_chat_is_not_there(
    speaker: Speaker, owner: Caller, source: str, a_caller: CallerMaker
) -> None:
    client = speaker(owner)
    ann = (await complete(client, user="ann"))["chat_id"]
    nobodys = (await complete(client))["chat_id"]
    assert (await complete(client, safety_identifier="ann", metadata={"chat_id": ann}))["chat_id"] == ann
    assert (await complete(client, metadata={"chat_id": ann, "end_user": "ann"}))["chat_id"] == ann
    tries: list[tuple[AsyncOpenAI, dict[str, Any]]] = [
        (client, {"user": "bob", "metadata": {"chat_id": ann}}),
        (client, {"metadata": {"chat_id": ann, "end_user": "Ann"}}),
        (client, {"metadata": {"chat_id": ann}}),
        (client, {"metadata": {"chat_id": ann, "end_user": "*"}}),
        (client, {"user": "", "metadata": {"chat_id": ann}}),
        (client, {"user": "ann", "metadata": {"chat_id": nobodys}}),
        (client, {"metadata": {"chat_id": str(uuid.uuid4())}}),
        (speaker(await a_caller(of=owner)), {"user": "ann", "metadata": {"chat_id": ann}}),
        (speaker(await a_caller()), {"user": "ann", "metadata": {"chat_id": ann}}),
    ]
    said = set()
    for asker, options in tries:
        with pytest.raises(openai.NotFoundError) as refused:
            await complete(asker, **options)
        said.add(str(refused.value.body))
    assert len(said) == 1
    with pytest.raises(openai.BadRequestError) as malformed:
        await complete(client, metadata={"chat_id": "chat-1"})
    assert malformed.value.param == "metadata.chat_id"


@pytest.mark.parametrize("stream", [False, True])
async def test_a_repeated_request_gets_the_same_answer(
    speaker: Speaker, owner: Caller, source: str, *, stream: bool
) -> None:
    client, ids, texts = speaker(owner), set(), set()
    for _ in range(2):
        made: Any = await client.chat.completions.create(
            model="carrel", messages=QUESTION, stream=stream, extra_headers={"Idempotency-Key": "once"}
        )
        if stream:
            chunks = [chunk async for chunk in made]
            ids.add(told(chunks[-1])["message_id"])
            texts.add(text_of(chunks))
        else:
            ids.add(told(made)["message_id"])
            texts.add(made.choices[0].message.content)
    assert (len(ids), len(texts)) == (1, 1)


async def test_an_operators_key_has_no_answers(speaker: Speaker, an_operator: Caller) -> None:
    client = speaker(an_operator)
    with pytest.raises(openai.PermissionDeniedError) as refused:
        await client.chat.completions.create(model="carrel", messages=QUESTION)
    assert refused.value.code == "operator_has_no_content"


# Embeddings


async def test_vectors_are_those_of_the_index(speaker: Speaker, owner: Caller) -> None:
    client = speaker(owner)
    (name,) = [model.id async for model in client.models.list() if model.owned_by == "embedder"]
    texts = ["Boats float on water.", "Ships swim on the sea.", "Taxes are due in March."]
    made = await client.embeddings.create(model=name, input=texts)
    vectors = np.array([one.embedding for one in made.data])
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-3)
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2]
    assert (made.model, [one.index for one in made.data]) == (name, [0, 1, 2])
    assert made.usage.prompt_tokens == made.usage.total_tokens > len(texts)


async def test_numbers_and_base64_are_the_same_vector(speaker: Speaker, owner: Caller) -> None:
    """The client asks for base64 by itself, and decodes it."""
    client = speaker(owner)
    decoded = (await client.embeddings.create(model="carrel", input="boats")).data[0].embedding
    plain = (await client.embeddings.create(model="carrel", input="boats", encoding_format="float")).data[0].embedding
    assert decoded == plain
    coded: Any = (await client.embeddings.create(model="carrel", input="boats", encoding_format="base64")).data[0]
    assert np.frombuffer(base64.b64decode(coded.embedding), dtype="<f4").tolist() == plain
    same = await client.embeddings.create(model="carrel", input="boats", dimensions=len(plain))
    assert len(same.data[0].embedding) == len(plain)


async def test_a_long_text_has_a_vector_of_all_of_it(speaker: Speaker, owner: Caller) -> None:
    client = speaker(owner)
    long = "Boats float on water. " * 200 + "Taxes are due in March. " * 200
    made = await client.embeddings.create(model="carrel", input=[long, "boats on water", "taxes in March"])
    whole, boats, taxes = (np.array(one.embedding) for one in made.data)
    assert np.isclose(np.linalg.norm(whole), 1, atol=1e-3)
    assert min(whole @ boats, whole @ taxes) > boats @ taxes


async def test_tokens_of_embeddings_are_the_tenants(speaker: Speaker, owner: Caller, an_operator: Caller) -> None:
    assert owner.tenant
    quotas = {"tokens": {"soft": 1, "hard": 5}, "questions": {"hard": 9}}
    assert (await an_operator("PUT", f"/v1/tenants/{owner.tenant.id}/quotas", json=quotas)).status_code == 200
    client = speaker(owner)
    made = await client.embeddings.create(model="carrel", input=["Boats float on water.", "Ships swim."])
    with pytest.raises(openai.RateLimitError) as refused:
        await client.embeddings.create(model="carrel", input="boats")
    assert (refused.value.code, refused.value.type) == ("insufficient_quota", "insufficient_quota")
    used = (await owner("GET", "/v1/usage?group=model")).json()
    line = {"kind": "embedding", "model": made.model, "events": 1, "input_tokens": made.usage.prompt_tokens}
    assert line.items() <= used["items"][0].items()
    levels = {level["quota"]: (level["used"], level["held"]) for level in used["quotas"]}
    assert (levels["tokens"], levels["questions"]) == ((made.usage.prompt_tokens, 0), (0, 0))
    more = {"tokens": {"soft": 1, "hard": 500}}
    assert (await an_operator("PUT", f"/v1/tenants/{owner.tenant.id}/quotas", json=more)).status_code == 200
    answer = await owner("POST", "/openai/v1/embeddings", json={"model": "carrel", "input": "boats"})
    assert answer.headers["Carrel-Quota-Warning"] == f"tokens={made.usage.prompt_tokens}/500"


async def test_what_was_reserved_for_vectors_is_free_again_when_there_are_none(
    owner: Caller, an_operator: Caller, carrel: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert owner.tenant

    async def broken(*_: object) -> None:
        raise EmbedderFailed("The provider is gone.", code="embedder_unreachable")

    quotas = {"tokens": {"hard": 500}}
    assert (await an_operator("PUT", f"/v1/tenants/{owner.tenant.id}/quotas", json=quotas)).status_code == 200
    monkeypatch.setattr(type(carrel.app.embeddings), "_all", broken)
    answer = await owner("POST", "/openai/v1/embeddings", json={"model": "carrel", "input": "boats"})
    assert answer.status_code == 503
    used = (await owner("GET", "/v1/usage")).json()
    assert [used["items"], *((one["used"], one["held"]) for one in used["quotas"] if one["quota"] == "tokens")] == [
        [],
        (0, 0),
    ]


async def test_no_other_embedder_answers_to_a_name(speaker: Speaker, owner: Caller) -> None:
    with pytest.raises(openai.NotFoundError) as refused:
        await speaker(owner).embeddings.create(model="text-embedding-3-small", input="boats")
    assert refused.value.code == "model_not_found"
