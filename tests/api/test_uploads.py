"""Bringing documents over HTTP: many as multipart, one under its key."""

import uuid
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest

from api.callers import Caller, CallerMaker
from carrel.api import arrivals
from support.raw import connected
from support.stand import Stand

MB = 1024 * 1024
LINE = "--frontier"


@pytest.fixture
async def source(owner: Caller) -> str:
    return await owner.source()


def a_part(disposition: str, content: str = "Some text.") -> str:
    return f"{LINE}\r\nContent-Disposition: {disposition}\r\n\r\n{content}\r\n"


async def send(caller: Caller, source: str, body: str | bytes, boundary: str = "frontier") -> Any:
    content = body.encode() if isinstance(body, str) else body
    headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
    return await caller("POST", f"/v1/sources/{source}/documents", content=content, headers=headers)


async def upload(caller: Caller, source: str, *files: tuple[str, bytes]) -> list[dict[str, Any]]:
    answer = await caller("POST", f"/v1/sources/{source}/documents", files=[("files", file) for file in files])
    assert answer.status_code == 202, answer.text
    return list(answer.json()["results"])


async def documents_of(caller: Caller, source: str) -> list[str]:
    answer = await caller("GET", f"/v1/documents?source_id={source}&limit=200")
    return sorted(item["key"] for item in answer.json()["items"])


async def test_results_come_in_the_order_of_the_files(owner: Caller, source: str) -> None:
    names = [f"{number}.txt" for number in (3, 1, 2)]
    results = await upload(owner, source, *[(name, f"Text of {name}".encode()) for name in names])
    assert [result["key"] for result in results] == names
    assert {result["outcome"] for result in results} == {"created"}
    assert all(uuid.UUID(result["document_id"]) for result in results)
    assert {(result["same_as"], result["problem"]) for result in results} == {(None, None)}


async def test_each_file_has_its_own_outcome(owner: Caller, source: str) -> None:
    await upload(owner, source, ("kept.txt", b"One."), ("other.txt", b"Two."))
    kept, other, twin = await upload(
        owner, source, ("kept.txt", b"One."), ("other.txt", b"New."), ("twin.txt", b"One.")
    )
    assert [result["outcome"] for result in (kept, other, twin)] == ["unchanged", "replaced", "created"]
    assert twin["same_as"] == kept["document_id"]


async def test_a_source_that_rejects_duplicates_says_of_what(owner: Caller) -> None:
    source = await owner.source("unique", duplicates="reject")
    first, second = await upload(owner, source, ("a.txt", b"Same."), ("b.txt", b"Same."))
    assert (second["outcome"], second["same_as"]) == ("duplicate", first["document_id"])
    put = await owner("PUT", f"/v1/sources/{source}/documents/c.txt?wait=true", content=b"Same.")
    assert (put.status_code, put.json()["outcome"], put.json()["document_id"]) == (
        200,
        "duplicate",
        first["document_id"],
    )


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("empty.txt", b"", "empty_document"),
        ("../up.txt", b"x", "invalid_key"),
        ("a/../b.txt", b"x", "invalid_key"),
        ("/etc/passwd", b"x", "invalid_key"),
        ("C:\\boot.txt", b"x", "invalid_key"),
        ("\\\\host\\x.txt", b"x", "invalid_key"),
        ("a//b.txt", b"x", "invalid_key"),
        ("new\nline.txt", b"x", "invalid_key"),
        ("left\u202etxt.exe", b"x", "invalid_key"),
        ("é" * 600 + ".txt", b"x", "invalid_key"),
        ("picture.png", b"\x89PNG\r\n", "unsupported_type"),
        ("letter.doc", b"\xd0\xcf\x11\xe0", "unsupported_type"),
        ("letter.docx", b"I am a text.", "type_mismatch"),
        ("lie.pdf", b"I am a text.", "type_mismatch"),
        ("lie.txt", b"PK\x03\x04", "type_mismatch"),
        ("nul.txt", b"a\x00b", "type_mismatch"),
    ],
)
async def test_a_file_that_cannot_be_taken_is_rejected_and_the_others_are_taken(  # noqa: PLR0917 - a row of the table
    owner: Caller, source: str, name: str, content: bytes, code: str
) -> None:
    bad, good = await upload(owner, source, (name, content), ("good.txt", b"Good."))
    assert (bad["outcome"], bad["document_id"], bad["problem"]["code"]) == ("rejected", None, code)
    assert bad["problem"].keys() == {"code", "detail"}
    assert good["outcome"] == "created"
    assert await documents_of(owner, source) == ["good.txt"]


async def test_a_key_is_in_nfc_and_keeps_its_slashes(owner: Caller, source: str) -> None:
    (result,) = await upload(owner, source, ("Ordner/u\u0308ber uns.txt", b"x"))
    assert result["key"] == "Ordner/\u00fcber uns.txt"


async def test_the_same_key_twice_takes_the_first(owner: Caller, source: str) -> None:
    first, second = await upload(owner, source, ("\u00fc.txt", b"One."), ("u\u0308.txt", b"Two."))
    assert first["outcome"] == "created"
    assert (second["outcome"], second["problem"]["code"]) == ("rejected", "duplicate_key")


async def test_a_request_may_be_rejected_file_by_file_and_is_still_202(owner: Caller, source: str) -> None:
    results = await upload(owner, source, ("a.txt", b""), ("b.zip", b"PK"))
    assert {result["outcome"] for result in results} == {"rejected"}


async def test_a_file_that_is_known_and_comes_twice_is_unchanged_once_and_rejected_once(
    owner: Caller, source: str
) -> None:
    await upload(owner, source, ("a.txt", b"Boats."), ("b.txt", b"Ships."))
    again = await upload(owner, source, ("a.txt", b"Boats."), ("a.txt", b"Boats."), ("b.txt", b"Rafts."))
    assert [result["outcome"] for result in again] == ["unchanged", "rejected", "replaced"]


async def test_what_is_too_much_to_be_held_in_memory_is_taken_and_known_again_all_the_same(
    owner: Caller, source: str
) -> None:
    files = [(f"{number}.txt", f"{number} ".encode() * (MB // 2 - 1)) for number in range(6)]
    first, again = await upload(owner, source, *files), await upload(owner, source, *files)
    assert [result["outcome"] for result in (*first, *again)] == ["created"] * 6 + ["unchanged"] * 6


async def test_100_files_are_taken_and_101_are_not(owner: Caller, source: str) -> None:
    files = [(f"{number:03}.txt", b"The same.") for number in range(101)]
    answer = await owner("POST", f"/v1/sources/{source}/documents", files=[("files", file) for file in files])
    assert (answer.status_code, answer.json()["code"]) == (422, "too_many_files")
    assert await documents_of(owner, source) == []
    assert len(await upload(owner, source, *files[:100])) == 100


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (f"{LINE}--\r\n", "no_files"),
        (a_part('form-data; name="file"; filename="a.txt"') + f"{LINE}--\r\n", "unknown_field"),
        ("", "malformed_multipart"),
        ("nothing of the kind", "malformed_multipart"),
        (a_part('form-data; name="files"; filename="a.txt"'), "malformed_multipart"),
        (a_part('form-data; name="files"; filename="a.txt"') + f"{LINE}", "malformed_multipart"),
        (a_part("attachment; filename=a.txt") + f"{LINE}--\r\n", "malformed_multipart"),
        (f"{LINE}\r\nnot a header\r\n\r\nx\r\n{LINE}--\r\n", "malformed_multipart"),
        (f"{LINE}\r\n" + "X-A: 1\r\n" * 50 + f"\r\nx\r\n{LINE}--\r\n", "malformed_multipart"),
        (f"{LINE}\r\nX-A: " + "1" * 10_000 + f"\r\n\r\nx\r\n{LINE}--\r\n", "malformed_multipart"),
    ],
)
async def test_a_malformed_request_takes_nothing(owner: Caller, source: str, body: str, code: str) -> None:
    answer = await send(owner, source, body)
    assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert await documents_of(owner, source) == []


async def test_a_request_that_breaks_off_takes_nothing(owner: Caller, source: str) -> None:
    whole = a_part('form-data; name="files"; filename="a.txt"') + a_part('form-data; name="files"; filename="b.txt"')
    answer = await send(owner, source, whole[:-20])
    assert (answer.status_code, answer.json()["code"]) == (422, "malformed_multipart")
    assert await documents_of(owner, source) == []


@pytest.mark.parametrize(
    ("disposition", "key"),
    [
        ("form-data; name=\"files\"; filename*=UTF-8''na%C3%AFve%20plan.txt", "naïve plan.txt"),
        ('form-data; name="files"; filename="a %22quoted%22 name.txt"', 'a "quoted" name.txt'),
        ('form-data; name="files"; filename="na\u00efve.txt"', "naïve.txt"),
        ("form-data; name=files; filename=plain.txt", "plain.txt"),
    ],
)
async def test_file_names_are_read_as_clients_write_them(
    owner: Caller, source: str, disposition: str, key: str
) -> None:
    answer = await send(owner, source, a_part(disposition) + f"{LINE}--\r\n")
    assert [result["key"] for result in answer.json()["results"]] == [key]
    assert answer.json()["results"][0]["outcome"] == "created"


async def test_a_file_name_that_is_no_utf_8_or_no_name_is_rejected(owner: Caller, source: str) -> None:
    names = (
        b'; filename="caf\xe9.txt"',
        b'; filename="bell\x07.txt"',
        b'; filename="nul\x00.txt"',
        b'; filename=""',
        b"",
    )
    for name in names:
        disposition = b'form-data; name="files"' + name
        body = b"--frontier\r\nContent-Disposition: " + disposition + b"\r\n\r\nx\r\n--frontier--\r\n"
        (result,) = (await send(owner, source, body)).json()["results"]
        assert (result["outcome"], result["problem"]["code"]) == ("rejected", "invalid_key")


@pytest.mark.parametrize("kind", ["application/json", "text/plain", "multipart/mixed; boundary=x"])
async def test_another_kind_of_body_is_415(owner: Caller, source: str, kind: str) -> None:
    headers = {"Content-Type": kind}
    answer = await owner("POST", f"/v1/sources/{source}/documents", content=b"{}", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_type")


@pytest.mark.parametrize("boundary", ["", '""', "x" * 201, '"a\tb"'])
async def test_a_boundary_that_is_none_is_422(owner: Caller, source: str, boundary: str) -> None:
    answer = await send(owner, source, b"x", boundary)
    assert (answer.status_code, answer.json()["code"]) == (422, "malformed_multipart")


async def test_a_file_of_more_than_50_mb_is_rejected_and_the_next_is_taken(owner: Caller, source: str) -> None:
    large, small = await upload(owner, source, ("large.txt", b"x" * (50 * MB + 1)), ("small.txt", b"x"))
    assert (large["outcome"], large["problem"]["code"]) == ("rejected", "too_large")
    assert small["outcome"] == "created"


async def test_more_than_500_mb_in_one_request_are_413_and_nothing_is_taken(
    owner: Caller, source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrivals, "MOST_IN_ALL", 3 * MB + 100)
    files = [("files", (f"{number}.txt", b"x" + b" " * MB)) for number in range(3)]
    answer = await owner("POST", f"/v1/sources/{await owner.source('other')}/documents", files=files)
    assert answer.status_code == 202
    files = [("files", (f"{number}.txt", b"x" + b" " * MB)) for number in range(5)]
    answer = await owner("POST", f"/v1/sources/{source}/documents", files=files)
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
    assert await documents_of(owner, source) == []


async def test_the_credential_and_the_source_are_judged_before_the_body_is_read(
    nobody: Caller, owner: Caller, a_caller: CallerMaker, source: str
) -> None:
    async def never() -> AsyncIterator[bytes]:
        raise AssertionError("the body was read")
        yield b""

    path = f"/v1/sources/{source}/documents"
    for method, where in (("POST", path), ("PUT", f"{path}/a.txt")):
        assert (await nobody(method, where, content=never())).status_code == 401
        assert (await (await a_caller("search", of=owner))(method, where, content=never())).status_code == 403
        assert (await (await a_caller())(method, where, content=never())).status_code == 404


async def test_put_says_what_became_of_the_document(owner: Caller, source: str) -> None:
    path = f"/v1/sources/{source}/documents/guides/boats.md"
    created = await owner("PUT", f"{path}?wait=true", content=b"# Boats\n\nThey float.")
    assert created.status_code == 201
    body = created.json()
    assert (body["outcome"], body["same_as"]) == ("created", None)
    assert body["document"]["id"] == body["document_id"]
    assert (body["document"]["key"], body["document"]["status"]) == ("guides/boats.md", "ready")
    for content, outcome in ((b"# Boats\n\nThey float.", "unchanged"), (b"# Boats\n\nThey sink.", "replaced")):
        again = await owner("PUT", f"{path}?wait=true", content=content)
        assert (again.status_code, again.json()["outcome"]) == (200, outcome)
    at_once = await owner("PUT", path, content=b"# Boats\n\nThey fly.")
    assert (at_once.status_code, at_once.json()["outcome"]) == (202, "replaced")


async def test_put_of_a_document_that_fails_is_200_with_its_error(owner: Caller, source: str) -> None:
    answer = await owner("PUT", f"/v1/sources/{source}/documents/a.pdf?wait=true", content=b"%PDF-1.7 broken")
    assert answer.status_code == 200
    document = answer.json()["document"]
    assert (document["status"], document["error"]["code"]) == ("failed", "damaged_document")
    assert document["error"].keys() == {"code", "detail", "stage", "retryable", "way_out"}


@pytest.mark.parametrize(
    ("key", "content", "headers", "status", "code"),
    [
        ("a.txt", b"", {}, 422, "empty_document"),
        ("a.png", b"\x89PNG", {}, 415, "unsupported_type"),
        ("a.pdf", b"text", {}, 415, "type_mismatch"),
        ("a", b"x", {"Content-Type": "image/png"}, 415, "unsupported_type"),
        ("%2e%2e/a.txt", b"x", {}, 422, "invalid_key"),
        ("a/%2E%2E/b.txt", b"x", {}, 422, "invalid_key"),
        ("%2Fetc/passwd", b"x", {}, 422, "invalid_key"),
        ("a%00.txt", b"x", {}, 422, "invalid_key"),
        ("", b"x", {}, 422, "invalid_key"),
        ("x" * 1100, b"x", {}, 422, "invalid_key"),
    ],
)
async def test_put_refuses_what_cannot_be_taken(  # noqa: PLR0917 - a row of the table
    owner: Caller, source: str, key: str, content: bytes, headers: dict[str, str], status: int, code: str
) -> None:
    answer = await owner("PUT", f"/v1/sources/{source}/documents/{key}", content=content, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert await documents_of(owner, source) == []


async def test_put_of_more_than_50_mb_is_413(owner: Caller, source: str) -> None:
    answer = await owner("PUT", f"/v1/sources/{source}/documents/a.txt", content=b"x" * (50 * MB + 1))
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")


async def test_a_download_is_an_attachment_that_can_do_nothing(owner: Caller, source: str) -> None:
    page = b"<script>alert(1)</script><p>Boats float on water all day long.</p>"
    document = await owner.put(source, "pages/b\u00f6se seite.html", page)
    answer = await owner("GET", f"/v1/documents/{document['id']}/content")
    assert (answer.status_code, answer.content) == (200, page)
    assert answer.headers["Content-Disposition"] == "attachment; filename*=UTF-8''b%C3%B6se%20seite.html"
    assert answer.headers["Content-Security-Policy"] == "sandbox; default-src 'none'"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Content-Length"] == str(len(page))


async def test_a_large_download_comes_whole(owner: Caller, source: str) -> None:
    content = b"%PDF-1.7 broken" + bytes(range(256)) * 12_000
    document = await owner.put(source, "large.pdf", content)
    assert (await owner("GET", f"/v1/documents/{document['id']}/content")).content == content


async def test_a_deleted_document_is_gone_everywhere(owner: Caller, source: str) -> None:
    document = await owner.put(source, "boats.md", "# Boats\n\nBoats float on water.")
    assert (await owner("POST", "/v1/search", json={"query": "boats float"})).json()["hits"]
    await owner("DELETE", f"/v1/documents/{document['id']}")
    assert (await owner("POST", "/v1/search", json={"query": "boats float"})).json()["hits"] == []
    for path in ("", "/content"):
        assert (await owner("GET", f"/v1/documents/{document['id']}{path}")).status_code == 404


async def test_many_documents_are_deleted_at_once_or_none_of_them(
    owner: Caller, source: str, a_caller: CallerMaker
) -> None:
    ids = [(await owner.put(source, f"{n}.md", f"# Boat {n}\n\nBoat {n} floats."))["id"] for n in range(3)]
    rival = await a_caller()
    foreign = (await rival.put(await rival.source(), "a.md", "# Foreign"))["id"]
    for wanted, status in (([*ids, foreign], 404), ([*ids, str(uuid.uuid4())], 404), ([*ids, "x"], 422), (None, 422)):
        refused = await owner("POST", "/v1/documents/delete", json={"document_ids": wanted})
        assert refused.status_code == status
    assert len(await documents_of(owner, source)) == 3

    done = await owner("POST", "/v1/documents/delete", json={"document_ids": [ids[0], ids[2], ids[0]]})

    assert (done.status_code, done.json()) == (200, {"deleted": 2})
    assert await documents_of(owner, source) == ["1.md"]
    assert {
        hit["key"] for hit in (await owner("POST", "/v1/search", json={"query": "boat floats"})).json()["hits"]
    } == {"1.md"}


async def test_only_a_failed_document_can_be_tried_again(owner: Caller, source: str) -> None:
    document = await owner.put(source, "boats.md", "Boats float on water.")
    answer = await owner("POST", f"/v1/documents/{document['id']}/retry")
    assert (answer.status_code, answer.json()["code"]) == (409, "not_failed")


async def test_redrive_counts_what_it_took(owner: Caller, source: str) -> None:
    await owner.put(source, "one.pdf", "%PDF-1.7 broken")
    nothing = await owner("POST", "/v1/ingestion/redrive", json={"code": "no_text"})
    assert nothing.json() == {"redriven": 0}
    both = await owner("POST", "/v1/ingestion/redrive", json={"source_id": source, "code": "damaged_document"})
    assert both.json() == {"redriven": 1}


async def test_dead_letters_are_listed_by_code_and_tried_again_by_id(owner: Caller, source: str) -> None:
    torn = await owner.put(source, "torn.pdf", "%PDF-1.7 broken")
    await owner.put(source, "blank.md", "   \n\n   ")
    listed = (await owner("GET", f"/v1/documents?source_id={source}&status=failed&code=damaged_document")).json()
    assert [(one["key"], one["attempts"], one["error"]["stage"]) for one in listed["items"]] == [
        ("torn.pdf", 1, "parse")
    ]
    assert "save it anew" in listed["items"][0]["error"]["way_out"]

    one = await owner("POST", "/v1/ingestion/redrive", json={"document_ids": [torn["id"]]})
    assert (one.status_code, one.json()) == (200, {"redriven": 1})
    for ids, status in (([str(uuid.uuid4())], 404), ([torn["id"], str(uuid.uuid4())], 404), (["x"], 422)):
        answer = await owner("POST", "/v1/ingestion/redrive", json={"document_ids": ids})
        assert answer.status_code == status
    too_many = await owner("POST", "/v1/ingestion/redrive", json={"document_ids": [torn["id"]] * 1001})
    assert too_many.status_code == 422


async def test_a_document_in_quarantine_is_tried_again_only_by_force(owner: Caller, source: str, carrel: Stand) -> None:
    document = await owner.put(source, "bad.pdf", "%PDF-1.7 broken")
    async with connected(carrel.endpoint.superuser_url) as connection:
        await connection.execute(
            "update document_versions set failure_code = 'quarantined', crashes = 2 where id = $1", document["version"]
        )
    path = f"/v1/documents/{document['id']}/retry"
    for body in (None, {}, {"force": False}):
        refused = await owner("POST", path, **({} if body is None else {"json": body}))
        assert (refused.status_code, refused.json()["code"]) == (409, "quarantined")
    assert (await owner("POST", "/v1/ingestion/redrive")).json() == {"redriven": 0}
    assert (await owner("POST", path, json={"force": "yes"})).status_code == 422
    forced = await owner("POST", path, json={"force": True})
    assert (forced.status_code, forced.json()["status"]) == (200, "pending")


async def test_the_versions_of_a_document_are_told_newest_first_a_page_at_a_time(owner: Caller, source: str) -> None:
    made = [await owner.put(source, "boats.md", f"# Boats\n\nThere are {number} boats.") for number in range(3)]
    document = made[-1]
    path = f"/v1/documents/{document['id']}/versions?limit=2"
    first = (await owner("GET", path)).json()
    second = (await owner("GET", f"{path}&cursor={first['next_cursor']}")).json()
    assert [one["number"] for one in first["items"] + second["items"]] == [3, 2, 1]
    assert second["next_cursor"] is None
    assert (first["items"][0]["id"], first["items"][0]["live_until"]) == (document["live_version"], None)
    hit = (await owner("POST", "/v1/search", json={"query": "boats"})).json()["hits"][0]
    assert hit["version_id"] == document["live_version"]


async def test_attributes_are_replaced_and_can_be_searched_by(owner: Caller, source: str) -> None:
    document = await owner.put(source, "boats.md", "Boats float on water.")
    attributes = {"team": "red", "year": 2026, "draft": False, "weight": 1.5}
    answer = await owner("PATCH", f"/v1/documents/{document['id']}", json={"attributes": attributes})
    assert answer.json()["attributes"] == attributes
    for filters, count in (({"team": "red"}, 1), ({"team": ["blue", "red"]}, 1), ({"year": 2025}, 0)):
        found = await owner("POST", "/v1/search", json={"query": "boats", "filters": filters})
        assert len(found.json()["hits"]) == count


@pytest.mark.parametrize("name", ["%0A", "a%0A", "%0Ab.txt", "a%0Db.txt", "a%00.txt", "a%E2%80%A8b.txt", ".."])
async def test_a_put_under_a_name_that_is_no_key_says_so(owner: Caller, source: str, name: str) -> None:
    answer = await owner("PUT", f"/v1/sources/{source}/documents/{name.replace('..', '%2E%2E')}", content=b"x")
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_key")


async def test_a_document_says_whether_its_bytes_are_whole(owner: Caller, source: str, carrel: Stand) -> None:
    """The answer's `content`, before and after somebody found that they are gone."""
    path = f"/v1/sources/{source}/documents/kept.txt?wait=true"
    made = (await owner("PUT", path, content=b"It is kept.")).json()["document"]
    assert made["content"] == {"error": None, "checked_at": None}
    async with connected(carrel.endpoint.superuser_url) as connection:
        blob = await connection.fetchval("select blob_key from document_versions where id = $1", UUID(made["version"]))
    await carrel.parts.base.blobs.delete(blob)

    again = (await owner("PUT", path, content=b"It is kept.")).json()

    assert (again["outcome"], again["document"]["content"]["error"]) == ("replaced", None)
    async with connected(carrel.endpoint.superuser_url) as connection:
        await connection.execute(
            "update document_versions set content_code = 'content_damaged', checked_at = now() where id = $1",
            UUID(again["document"]["version"]),
        )
    seen = (await owner("GET", f"/v1/documents/{made['id']}")).json()
    assert (seen["status"], seen["content"]["error"]["code"]) == ("ready", "content_damaged")
    assert seen["content"]["checked_at"] is not None
