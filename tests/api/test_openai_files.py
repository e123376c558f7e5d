"""Files through the official client, unchanged, over HTTP."""

import asyncio
import io
import uuid
from collections.abc import Awaitable, Callable

import openai
import pytest
from openai import AsyncOpenAI

from api.callers import Caller, CallerMaker
from support.openai_door import Speaker

Client = Callable[..., Awaitable[AsyncOpenAI]]


async def test_a_file_is_brought_listed_read_and_deleted(speaker: Speaker, owner: Caller) -> None:
    client = speaker(owner)
    made = await client.files.create(file=("boats.md", b"# Boats\n\nBoats float."), purpose="assistants")
    assert (made.object, made.filename, made.bytes, made.purpose) == ("file", "boats.md", 21, "assistants")
    assert made.status == "processed"
    assert made.created_at > 0
    assert (await client.files.retrieve(made.id)).id == made.id
    assert (await client.files.content(made.id)).content == b"# Boats\n\nBoats float."
    assert [file.id async for file in client.files.list()] == [made.id]
    assert [file.id async for file in client.files.list(purpose="batch")] == []
    gone = await client.files.delete(made.id)
    assert (gone.id, gone.deleted, gone.object) == (made.id, True, "file")
    with pytest.raises(openai.NotFoundError):
        await client.files.retrieve(made.id)
    with pytest.raises(openai.NotFoundError):
        await client.files.delete(made.id)


async def test_lists_go_on_from_the_last_id_in_both_orders(speaker: Speaker, owner: Caller) -> None:
    client = speaker(owner)
    ids = [(await client.files.create(file=(f"{n}.txt", b"text"), purpose="user_data")).id for n in range(5)]
    assert [file.id async for file in client.files.list(limit=2)] == ids[::-1]
    assert [file.id async for file in client.files.list(limit=2, order="asc")] == ids
    page = await client.files.list(limit=2, after=ids[3])
    assert ([file.id for file in page.data], page.has_more) == ([ids[2], ids[1]], True)
    back = await client.files.list(limit=2, extra_query={"before": ids[1]})
    assert [file.id for file in back.data] == [ids[3], ids[2]]


async def test_a_list_is_walked_while_its_files_are_deleted(speaker: Speaker, owner: Caller) -> None:
    client = speaker(owner)
    for n in range(5):
        await client.files.create(file=(f"{n}.txt", b"text"), purpose="assistants")
    async for file in client.files.list(limit=2):
        await client.files.delete(file.id)
    assert [file async for file in client.files.list()] == []


async def test_a_file_is_private_to_who_brought_it(speaker: Speaker, owner: Caller, a_caller: CallerMaker) -> None:
    client = speaker(owner)
    made = await client.files.create(file=("a.txt", b"mine"), purpose="assistants")
    absent = str(uuid.uuid4())
    for other in (await a_caller(of=owner), await a_caller()):
        stranger = speaker(other)
        assert [file async for file in stranger.files.list()] == []
        bodies = set()
        for identifier in (made.id, absent):
            for call in (stranger.files.retrieve, stranger.files.content, stranger.files.delete):
                with pytest.raises(openai.NotFoundError) as refused:
                    await call(identifier)
                bodies.add(str(refused.value.body))
        assert len(bodies) == 1
    assert (await client.files.content(made.id)).content == b"mine"


async def test_a_limited_key_sees_no_file_that_its_maker_brought_by_another_key(
    speaker: Speaker, owner: Caller
) -> None:
    source = await owner.source()
    scopes = ["search", "ingest"]
    limited = (await owner.made("/v1/keys", {"name": "k", "scopes": scopes, "source_ids": [source]}))["key"]
    mine = await speaker(owner).files.create(file=("a.txt", b"wide"), purpose="assistants")
    client = speaker(Caller(owner.client, limited))
    own = await client.files.create(file=("b.txt", b"narrow"), purpose="assistants")
    assert [file.id async for file in client.files.list()] == [own.id]
    with pytest.raises(openai.NotFoundError):
        await client.files.retrieve(mine.id)
    other = await owner.source("Other")
    with pytest.raises(openai.NotFoundError):
        await client.vector_stores.files.create(other, file_id=own.id)


async def test_the_fields_of_the_form_come_in_any_order(owner: Caller) -> None:
    for parts in (
        [("purpose", (None, b"assistants")), ("file", ("a.txt", b"text"))],
        [("file", ("a.txt", b"text")), ("purpose", (None, b"assistants"))],
    ):
        answer = await owner("POST", "/openai/v1/files", files=parts)
        assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(
    ("parts", "param"),
    [
        ([("file", ("a.txt", b"text"))], "purpose"),
        ([("purpose", (None, b"assistants"))], "file"),
        ([("purpose", (None, b"nothing")), ("file", ("a.txt", b"text"))], "purpose"),
        ([("purpose", (None, b"assistants")), ("file", ("a.txt", b""))], "file"),
        ([("purpose", (None, b"assistants")), ("file", ("../a.txt", b"text"))], "key"),
        ([("purpose", (None, b"assistants")), ("file", ("a.txt", b"x")), ("file", ("b.txt", b"y"))], "file"),
        ([("purpose", (None, b"assistants")), ("file", ("a.txt", b"x")), ("other", (None, b"y"))], "other"),
    ],
)
async def test_a_form_that_breaks_a_rule_is_refused_and_nothing_is_kept(
    owner: Caller, parts: list[object], param: str
) -> None:
    answer = await owner("POST", "/openai/v1/files", files=parts)
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["param"] == param
    assert (await owner("GET", "/openai/v1/files")).json()["data"] == []


async def test_a_repeated_request_gets_the_same_file(speaker: Speaker, owner: Caller) -> None:
    client = speaker(owner)
    headers = {"Idempotency-Key": "once"}
    first, again = [
        await client.files.create(file=("a.txt", b"text"), purpose="assistants", extra_headers=headers)
        for _ in range(2)
    ]
    assert first.id == again.id
    with pytest.raises(openai.BadRequestError):
        await client.files.create(file=("a.txt", b"other"), purpose="assistants", extra_headers=headers)
    assert [file.id async for file in client.files.list()] == [first.id]


async def test_deleting_a_file_forgets_what_was_made_of_it_and_nothing_else(speaker: Speaker, owner: Caller) -> None:
    client = speaker(owner)
    stores = [await client.vector_stores.create(name=name) for name in ("one", "two")]
    made = await client.files.create(file=("boats.md", b"Boats float on water."), purpose="assistants")
    kept = await client.files.create(file=("trains.md", b"Trains run on rails."), purpose="assistants")
    for store in stores:
        for file in (made, kept):
            await client.vector_stores.files.create_and_poll(vector_store_id=store.id, file_id=file.id)
    await client.files.delete(made.id)
    for store in stores:
        assert [file.id async for file in client.vector_stores.files.list(store.id)] == [kept.id]
        found = await client.vector_stores.search(store.id, query="boats on water")
        assert {one.file_id for one in found.data} <= {kept.id}


async def test_attaching_and_deleting_at_once_leaves_no_document_without_its_file(
    speaker: Speaker, owner: Caller
) -> None:
    client = speaker(owner)
    store = await client.vector_stores.create(name="race")
    for n in range(6):
        made = await client.files.create(file=(f"{n}.md", f"Boat {n} floats.".encode()), purpose="assistants")
        await asyncio.gather(
            client.vector_stores.files.create(store.id, file_id=made.id),
            client.files.delete(made.id),
            return_exceptions=True,
        )
    assert [file.id async for file in client.vector_stores.files.list(store.id)] == []


async def test_bytes_of_files_count_against_the_quota(speaker: Speaker, owner: Caller, an_operator: Caller) -> None:
    assert owner.tenant
    limits = {"bytes": {"hard": 1_000}}
    answer = await an_operator("PUT", f"/v1/tenants/{owner.tenant.id}/quotas", json=limits)
    assert answer.status_code == 200, answer.text
    client = speaker(owner)
    first = await client.files.create(file=("a.txt", b"x" * 600), purpose="assistants")
    with pytest.raises(openai.RateLimitError) as refused:
        await client.files.create(file=("b.txt", io.BytesIO(b"x" * 600)), purpose="assistants")
    assert refused.value.code == "insufficient_quota"
    await client.files.delete(first.id)
    await client.files.create(file=("b.txt", b"y" * 600), purpose="assistants")
