"""Vector stores through the official client, unchanged, over HTTP: sources and documents in OpenAI's words."""

import uuid
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI

from api.callers import Caller, CallerMaker
from support.openai_door import Speaker

BOATS = b"# Boats\n\nA boat floats since it displaces as much water as it weighs."


async def a_file(client: AsyncOpenAI, name: str = "boats.md", content: bytes = BOATS) -> str:
    return (await client.files.create(file=(name, content), purpose="assistants")).id


async def test_a_store_is_made_changed_listed_and_deleted(speaker: Speaker, owner: Caller) -> None:
    client = speaker(owner)
    made = await client.vector_stores.create(name="Manuals", metadata={"team": "red"})
    assert (made.name, made.status, made.usage_bytes, made.metadata) == ("Manuals", "completed", 0, {"team": "red"})
    assert made.file_counts.total == 0
    assert (await owner("GET", f"/v1/sources/{made.id}")).json()["name"] == "Manuals"
    changed = await client.vector_stores.update(made.id, name="Guides", metadata={"team": "blue"})
    assert (changed.name, changed.metadata) == ("Guides", {"team": "blue"})
    assert (await client.vector_stores.update(made.id, name="Books")).metadata == {"team": "blue"}
    unnamed = [await client.vector_stores.create() for _ in range(2)]
    ids = [store.id for store in (made, *unnamed)]
    assert [store.id async for store in client.vector_stores.list(limit=2)] == ids[::-1]
    assert [store.id async for store in client.vector_stores.list(limit=1, order="asc")] == ids
    gone = await client.vector_stores.delete(made.id)
    assert (gone.deleted, gone.object) == (True, "vector_store.deleted")
    with pytest.raises(openai.NotFoundError):
        await client.vector_stores.retrieve(made.id)


async def test_a_name_that_is_taken_is_a_conflict_that_is_not_tried_again(speaker: Speaker, owner: Caller) -> None:
    client = speaker(owner, max_retries=2)
    await client.vector_stores.create(name="Manuals")
    with pytest.raises(openai.ConflictError) as refused:
        await client.vector_stores.create(name="Manuals")
    assert refused.value.code == "source_exists"
    assert refused.value.response.request.headers["x-stainless-retry-count"] == "0"


async def test_a_store_is_made_with_files_and_searched(speaker: Speaker, owner: Caller) -> None:
    client = speaker(owner)
    file = await a_file(client)
    store = await client.vector_stores.create(name="Boats", file_ids=[file])
    assert store.file_counts.total == 1
    await client.vector_stores.files.poll(file, vector_store_id=store.id)
    looked = await client.vector_stores.retrieve(store.id)
    assert (looked.file_counts.completed, looked.usage_bytes) == (1, len(BOATS))
    found = await client.vector_stores.search(store.id, query="why does a boat float?", rewrite_query=True)
    best = found.data[0]
    assert (best.file_id, best.filename) == (file, "boats.md")
    assert "displaces" in best.content[0].text
    assert 0 < best.score <= 1
    assert best.model_extra
    versions = await owner("GET", f"/v1/documents/{best.model_extra['document_id']}/versions")
    assert best.model_extra["version_id"] == versions.json()["items"][0]["id"]
    none = await client.vector_stores.search(store.id, query="x", ranking_options={"score_threshold": 1.0})
    assert none.data == []


async def test_upload_and_poll_ends_with_a_document(speaker: Speaker, owner: Caller) -> None:
    client = speaker(owner)
    store = await client.vector_stores.create(name="Boats")
    made = await client.vector_stores.files.upload_and_poll(
        vector_store_id=store.id, file=("boats.md", BOATS), attributes={"team": "red", "year": 2024, "draft": False}
    )
    assert (made.status, made.last_error, made.usage_bytes) == ("completed", None, len(BOATS))
    assert made.attributes == {"team": "red", "year": 2024, "draft": False}
    changed = await client.vector_stores.files.update(made.id, vector_store_id=store.id, attributes={"team": "blue"})
    assert changed.attributes == {"team": "blue"}
    texts = [part.text async for part in client.vector_stores.files.content(made.id, vector_store_id=store.id)]
    assert "displaces" in "".join(text or "" for text in texts)
    gone = await client.vector_stores.files.delete(made.id, vector_store_id=store.id)
    assert (gone.deleted, gone.object) == (True, "vector_store.file.deleted")
    assert (await client.files.retrieve(made.id)).filename == "boats.md"
    with pytest.raises(openai.NotFoundError):
        await client.vector_stores.files.retrieve(made.id, vector_store_id=store.id)


async def test_what_cannot_be_read_fails_with_its_reason(speaker: Speaker, owner: Caller) -> None:
    client = speaker(owner)
    store = await client.vector_stores.create(name="Broken")
    made = await client.vector_stores.files.upload_and_poll(
        vector_store_id=store.id, file=("bad.pdf", b"%PDF-1.7\nThis is no PDF after all.")
    )
    assert made.status == "failed"
    assert made.last_error
    assert made.last_error.code == "invalid_file"
    with pytest.raises(openai.APIStatusError) as refused:
        await client.vector_stores.files.create(store.id, file_id=await a_file(client, "x.zip", b"PK\x03\x04"))
    assert (refused.value.status_code, refused.value.code) == (415, "unsupported_type")


async def test_two_files_of_one_name_are_two_documents(speaker: Speaker, owner: Caller) -> None:
    client = speaker(owner)
    store = await client.vector_stores.create(name="Twins")
    ids = [await a_file(client, "notes.md", f"Note number {n}.".encode()) for n in range(2)]
    for file in [*ids, ids[0]]:
        await client.vector_stores.files.create_and_poll(file, vector_store_id=store.id)
    listed = [file async for file in client.vector_stores.files.list(store.id, order="asc")]
    assert [file.id for file in listed] == ids
    names = [file.model_extra["filename"] for file in listed if file.model_extra]
    assert names[0] == "notes.md"
    assert names[1].startswith("notes (")
    assert names[1].endswith(").md")
    await owner("PUT", f"/v1/sources/{store.id}/documents/own.md?wait=true", content=b"Put by another door.")
    third = await a_file(client, "own.md", b"Brought as a file.")
    await client.vector_stores.files.create_and_poll(third, vector_store_id=store.id)
    assert len([file async for file in client.vector_stores.files.list(store.id)]) == 4


async def test_a_batch_counts_its_files_and_names_what_was_not_taken(speaker: Speaker, owner: Caller) -> None:
    client = speaker(owner)
    store = await client.vector_stores.create(name="Batch")
    good = [await a_file(client, f"{n}.md", f"Boat number {n}.".encode()) for n in range(3)]
    bad = await a_file(client, "x.zip", b"PK\x03\x04 zip")
    batches = client.vector_stores.file_batches
    batch = await batches.create_and_poll(store.id, file_ids=[*good, bad])
    assert (batch.status, batch.file_counts.total, batch.file_counts.completed) == ("completed", 4, 3)
    assert batch.file_counts.failed == 1
    listed = [file async for file in batches.list_files(batch.id, vector_store_id=store.id, limit=2, order="asc")]
    assert [file.id for file in listed] == [*good, bad]
    failed = [file async for file in batches.list_files(batch.id, vector_store_id=store.id, filter="failed")]
    assert [(file.id, file.last_error and file.last_error.code) for file in failed] == [(bad, "unsupported_file")]
    each = await batches.create(store.id, files=[{"file_id": good[0], "attributes": {"team": "red"}}])
    assert each.file_counts.total == 1
    looked = await client.vector_stores.files.retrieve(good[0], vector_store_id=store.id)
    assert looked.attributes == {"team": "red"}


async def test_many_files_are_uploaded_at_once(speaker: Speaker, owner: Caller) -> None:
    client = speaker(owner)
    store = await client.vector_stores.create(name="Many")
    files: list[Any] = [(f"{n}.md", f"Boat number {n}.".encode()) for n in range(5)]
    batch = await client.vector_stores.file_batches.upload_and_poll(store.id, files=files)
    assert batch.file_counts.completed == 5
    states = [file.status async for file in client.vector_stores.files.list(store.id, filter="completed", limit=2)]
    assert states == ["completed"] * 5
    assert [file async for file in client.vector_stores.files.list(store.id, filter="failed")] == []
    assert [file async for file in client.vector_stores.files.list(store.id, filter="cancelled")] == []


SHELF: dict[str, Any] = {
    "a.md": {"team": "red", "year": 2023, "draft": True, "on": "2024-01-31"},
    "b.md": {"team": "blue", "year": 2024, "draft": False, "on": "2024-06-30"},
    "c.md": {"team": "red", "year": 2025.5},
    "d.md": {},
}


def compared(how: str, key: str, value: Any) -> dict[str, Any]:
    return {"type": how, "key": key, "value": value}


@pytest.fixture(scope="session")
def shelf() -> dict[str, Any]:
    return {}


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        (compared("eq", "team", "red"), "ac"),
        (compared("ne", "team", "red"), "bd"),
        (compared("gt", "year", 2023), "bc"),
        (compared("gte", "year", 2024.0), "bc"),
        (compared("lt", "year", 2024), "a"),
        (compared("lte", "year", 2024), "ab"),
        (compared("in", "team", ["red", "green"]), "ac"),
        (compared("nin", "team", ["red", "green"]), "bd"),
        (compared("eq", "draft", True), "a"),
        (compared("eq", "draft", 1), ""),
        (compared("gt", "year", "2023"), ""),
        (compared("gte", "on", "2024-06-01"), "b"),
        (compared("eq", "nothing", "x"), ""),
        ({"type": "and", "filters": [compared("eq", "team", "red"), compared("gt", "year", 2024)]}, "c"),
        ({"type": "or", "filters": [compared("eq", "team", "blue"), compared("lt", "year", 2024)]}, "ab"),
        (
            {
                "type": "or",
                "filters": [
                    {"type": "and", "filters": [compared("eq", "team", "red"), compared("eq", "draft", True)]},
                    {"type": "and", "filters": [compared("ne", "team", "red"), compared("ne", "team", "blue")]},
                ],
            },
            "ad",
        ),
        (compared("eq", "te'am\" -> '{}' or true --", "x"), ""),
    ],
    ids=str,
)
async def test_filters_are_true_of_what_is_found(
    speaker: Speaker, a_caller: CallerMaker, *, shelf: dict[str, Any], filters: Any, names: str
) -> None:
    if not shelf:
        shelf["caller"] = await a_caller()
        client = speaker(shelf["caller"])
        shelf["store"] = (await client.vector_stores.create(name="Shelf")).id
        for name, attributes in SHELF.items():
            text = f"{name}: boats float on the water of the harbour.".encode()
            await client.vector_stores.files.upload_and_poll(
                vector_store_id=shelf["store"], file=(name, text), attributes=attributes
            )
    found = await speaker(shelf["caller"]).vector_stores.search(
        shelf["store"], query="boats on water", filters=filters, max_num_results=50
    )
    assert sorted(one.filename[0] for one in found.data) == list(names)
    for one in found.data:
        assert one.attributes == SHELF[one.filename]


def nested(depth: int) -> dict[str, Any]:
    inner = compared("eq", "team", "red")
    return inner if depth == 1 else {"type": "and", "filters": [nested(depth - 1)]}


@pytest.mark.parametrize(
    "filters",
    [
        nested(6),
        {"type": "or", "filters": [compared("eq", "team", str(n)) for n in range(51)]},
        {"type": "or", "filters": []},
        compared("like", "team", "red"),
        compared("eq", "team", ["red"]),
        compared("in", "team", "red"),
        compared("in", "team", []),
        compared("gt", "draft", True),
        compared("eq", "team", None),
        compared("eq", "", "red"),
        compared("eq", "k" * 201, "red"),
        {**compared("eq", "team", "red"), "more": 1},
        {"type": "and"},
        "team = red",
        [],
    ],
    ids=lambda filters: str(filters)[:60],
)
async def test_a_filter_that_is_none_is_refused(owner: Caller, filters: Any) -> None:
    source = await owner.source()
    answer = await owner("POST", f"/openai/v1/vector_stores/{source}/search", json={"query": "x", "filters": filters})
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["param"] == "filters"


async def test_filters_may_be_as_deep_and_as_many_as_promised(owner: Caller) -> None:
    source = await owner.source()
    many = {"type": "or", "filters": [compared("in", "team", [str(n)] * 50) for n in range(50)]}
    for filters in (nested(5), many):
        answer = await owner(
            "POST", f"/openai/v1/vector_stores/{source}/search", json={"query": "x", "filters": filters}
        )
        assert answer.status_code == 200, answer.text


async def test_several_questions_come_together_and_twice_nothing(speaker: Speaker, owner: Caller) -> None:
    client = speaker(owner)
    store = await client.vector_stores.create(name="Both")
    for name, text in (("boats.md", "Boats float on water."), ("trains.md", "Trains run on rails.")):
        await client.vector_stores.files.upload_and_poll(vector_store_id=store.id, file=(name, text.encode()))
    found = await client.vector_stores.search(store.id, query=["boats on water", "trains on rails"])
    assert sorted(one.filename for one in found.data) == ["boats.md", "trains.md"]
    scores = [one.score for one in found.data]
    assert scores == sorted(scores, reverse=True)


async def test_each_question_of_a_search_is_counted(speaker: Speaker, owner: Caller, an_operator: Caller) -> None:
    assert owner.tenant
    rates = {"each": {"search": "9/minute"}}
    assert (await an_operator("PUT", f"/v1/tenants/{owner.tenant.id}/rates", json=rates)).status_code == 200
    store = (await speaker(owner).vector_stores.create()).id
    path = f"/openai/v1/vector_stores/{store}/search"
    left = [
        int((await owner("POST", path, json={"query": asked})).headers["RateLimit-Remaining"])
        for asked in ("boats", ["boats", "water", "weight"], "boats")
    ]
    assert [left[0] - left[1], left[1] - left[2]] == [3, 1]


async def test_the_text_of_a_file_comes_within_bounds(
    speaker: Speaker, owner: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = speaker(owner)
    file = await a_file(client)
    store = await client.vector_stores.create(name="Boats", file_ids=[file])
    await client.vector_stores.files.poll(file, vector_store_id=store.id)
    monkeypatch.setattr("carrel.library.documents._MOST_READ", 20)
    answer = await owner("GET", f"/openai/v1/vector_stores/{store.id}/files/{file}/content")
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "too_large")


async def test_a_store_has_one_way_of_cutting(speaker: Speaker, owner: Caller) -> None:
    client = speaker(owner)
    lengths: Any = {"type": "static", "static": {"max_chunk_size_tokens": 100, "chunk_overlap_tokens": 20}}
    store = await client.vector_stores.create(name="Short", chunking_strategy=lengths)
    file = await a_file(client)
    made = await client.vector_stores.files.create(store.id, file_id=file, chunking_strategy=lengths)
    assert made.chunking_strategy
    assert made.chunking_strategy.model_dump() == lengths
    other = {"type": "static", "static": {"max_chunk_size_tokens": 200, "chunk_overlap_tokens": 20}}
    with pytest.raises(openai.BadRequestError) as refused:
        await client.vector_stores.files.create(store.id, file_id=file, chunking_strategy=other)  # type: ignore[arg-type]
    assert refused.value.param == "chunking_strategy"


async def test_documents_of_other_doors_are_files_of_the_store(speaker: Speaker, owner: Caller) -> None:
    source = await owner.source("Docs")
    document = await owner.put(source, "boats.md", BOATS)
    client = speaker(owner)
    listed = [file async for file in client.vector_stores.files.list(source)]
    assert [(file.id, file.status) for file in listed] == [(document["id"], "completed")]
    found = await client.vector_stores.search(source, query="boats")
    assert {one.file_id for one in found.data} == {document["id"]}
    await client.vector_stores.files.delete(document["id"], vector_store_id=source)
    assert (await owner("GET", f"/v1/documents/{document['id']}")).status_code == 404


async def test_what_others_may_not_see_is_not_there(speaker: Speaker, owner: Caller, a_caller: CallerMaker) -> None:
    mine = speaker(owner)
    store = await mine.vector_stores.create(name="Mine")
    file = await a_file(mine)
    await mine.vector_stores.files.create_and_poll(file, vector_store_id=store.id)
    batch = await mine.vector_stores.file_batches.create(store.id, file_ids=[file])
    other = await owner.source("Other")
    scopes = ["search", "ingest", "ask"]
    made = await owner.made("/v1/keys", {"name": "k", "scopes": scopes, "source_ids": [other]})
    for client in (speaker(await a_caller()), speaker(Caller(owner.client, made["key"]))):
        stores, absent = client.vector_stores, str(uuid.uuid4())
        said = set()
        for place in (store.id, absent):
            for called in (
                stores.retrieve(place),
                stores.files.retrieve(file, vector_store_id=place),
                stores.files.update(file, vector_store_id=place, attributes={}),
                stores.files.delete(file, vector_store_id=place),
                stores.files.create(place, file_id=file),
                stores.file_batches.retrieve(batch.id, vector_store_id=place),
            ):
                with pytest.raises(openai.NotFoundError) as refused:
                    await called
                said.add(str(refused.value.body))
            for listed in (
                stores.search(place, query="boats"),
                stores.files.list(place),
                stores.files.content(file, vector_store_id=place),
                stores.file_batches.list_files(batch.id, vector_store_id=place),
            ):
                with pytest.raises(openai.NotFoundError) as refused:
                    await listed
                said.add(str(refused.value.body))
        assert len(said) == 1
        assert store.id not in [one.id async for one in stores.list()]


async def test_a_colleague_reads_what_was_attached_and_not_the_file_itself(
    speaker: Speaker, owner: Caller, a_caller: CallerMaker
) -> None:
    mine = speaker(owner)
    store = await mine.vector_stores.create(name="Shared")
    file = await a_file(mine)
    await mine.vector_stores.files.create_and_poll(file, vector_store_id=store.id)
    colleague = speaker(await a_caller("search", of=owner))
    assert (await colleague.vector_stores.search(store.id, query="boats")).data[0].file_id == file
    assert (await colleague.vector_stores.files.retrieve(file, vector_store_id=store.id)).status == "completed"
    with pytest.raises(openai.NotFoundError):
        await colleague.files.retrieve(file)
    with pytest.raises(openai.PermissionDeniedError):
        await colleague.vector_stores.files.delete(file, vector_store_id=store.id)


async def test_a_list_does_not_begin_at_what_was_never_in_it(speaker: Speaker, owner: Caller) -> None:
    client = speaker(owner)
    store = await client.vector_stores.create(name="List")
    with pytest.raises(openai.BadRequestError) as refused:
        await client.vector_stores.files.list(store.id, after=str(uuid.uuid4()))
    assert refused.value.param == "after"


async def test_a_list_is_walked_while_its_files_are_deleted(speaker: Speaker, owner: Caller) -> None:
    client = speaker(owner)
    store = await client.vector_stores.create(name="Walk")
    for n in range(3):
        await owner.put(store.id, f"{n}.md", f"Boat {n}.")
    async for file in client.vector_stores.files.list(store.id, limit=1):
        await client.vector_stores.files.delete(file.id, vector_store_id=store.id)
    assert [file async for file in client.vector_stores.files.list(store.id)] == []
