"""Bad input, each with its status and code, the field named, and never its value repeated."""

import uuid
from dataclasses import replace
from typing import Any

import pytest

from api.callers import Caller, CallerMaker
from carrel.domain.credentials import new_api_key
from carrel.domain.ids import KeyId

JSON = {"Content-Type": "application/json"}
FOREIGN = "0f0e0d0c-0b0a-4908-8706-050403020100"  # any id that nobody has; the same in every test process
Bad = tuple[str, str, Any, str, str]

BODIES: list[Bad] = [
    ("POST", "/v1/search", {"query": ""}, "query", "too_short"),
    ("POST", "/v1/search", {"query": " \n\t "}, "query", "too_short"),
    ("POST", "/v1/search", {"query": "x" * 8001}, "query", "too_long"),
    ("POST", "/v1/search", {"query": "nul\x00"}, "query", "invalid_text"),
    ("POST", "/v1/search", {"query": 5}, "query", "invalid_type"),
    ("POST", "/v1/search", {"query": None}, "query", "invalid_type"),
    ("POST", "/v1/search", {}, "query", "missing"),
    ("POST", "/v1/search", {"query": "x", "limit": 0}, "limit", "out_of_range"),
    ("POST", "/v1/search", {"query": "x", "limit": -1}, "limit", "out_of_range"),
    ("POST", "/v1/search", {"query": "x", "limit": 101}, "limit", "out_of_range"),
    ("POST", "/v1/search", {"query": "x", "limit": 10**9}, "limit", "out_of_range"),
    ("POST", "/v1/search", {"query": "x", "limit": 10**40}, "limit", "out_of_range"),
    ("POST", "/v1/search", {"query": "x", "limit": "5"}, "limit", "invalid_type"),
    ("POST", "/v1/search", {"query": "x", "limit": True}, "limit", "invalid_type"),
    ("POST", "/v1/search", {"query": "x", "limit": 1.5}, "limit", "invalid_type"),
    ("POST", "/v1/search", {"query": "x", "limit": None}, "limit", "invalid_type"),
    ("POST", "/v1/search", {"query": "x", "explain": 1}, "explain", "invalid_type"),
    ("POST", "/v1/search", {"query": "x", "bot_id": "nope"}, "bot_id", "invalid_id"),
    ("POST", "/v1/search", {"query": "x", "source_ids": [FOREIGN, 7]}, "source_ids.1", "invalid_id"),
    ("POST", "/v1/search", {"query": "x", "source_ids": FOREIGN}, "source_ids", "invalid_type"),
    ("POST", "/v1/search", {"query": "x", "bot_id": FOREIGN, "source_ids": [FOREIGN]}, "source_ids", "bot_and_sources"),
    ("POST", "/v1/search", {"query": "x", "tenants": ["a"] * 21}, "tenants", "too_long"),
    ("POST", "/v1/search", {"query": "x", "filters": {"team": {"a": 1}}}, "filters.team", "invalid_type"),
    ("POST", "/v1/search", {"query": "x", "filters": {"team": []}}, "filters.team", "invalid_filter"),
    ("POST", "/v1/search", {"query": "x", "filters": {"team": None}}, "filters.team", "invalid_type"),
    ("POST", "/v1/search", {"query": "x", "filters": {"team": "\x00"}}, "filters.team", "invalid_text"),
    ("POST", "/v1/search", {"query": "x", "top_k": 5}, "top_k", "unknown_field"),
    ("POST", "/v1/search", {"query": "x", "tenant_id": FOREIGN}, "tenant_id", "unknown_field"),
    ("POST", "/v1/search", [], "body", "invalid_type"),
    ("POST", "/v1/search", "query", "body", "invalid_type"),
    ("POST", "/v1/chat", {"message": ""}, "message", "too_short"),
    ("POST", "/v1/chat", {"message": "x" * 8001}, "message", "too_long"),
    ("POST", "/v1/chat", {"message": "x", "stream": "true"}, "stream", "invalid_type"),
    ("POST", "/v1/chat", {"message": "x", "chat_id": "1"}, "chat_id", "invalid_id"),
    ("POST", "/v1/chat", {"message": "x", "end_user": "a\x07b"}, "end_user", "invalid_name"),
    ("POST", "/v1/sources", {}, "name", "missing"),
    ("POST", "/v1/sources", {"name": "  "}, "name", "too_short"),
    ("POST", "/v1/sources", {"name": "x" * 201}, "name", "too_long"),
    ("POST", "/v1/sources", {"name": "a\x00b"}, "name", "invalid_name"),
    ("POST", "/v1/sources", {"name": "a\u202eb"}, "name", "invalid_name"),
    ("POST", "/v1/sources", {"name": "x", "visibility": "public"}, "visibility", "invalid_choice"),
    ("POST", "/v1/sources", {"name": "x", "kind": "sftp"}, "kind", "invalid_choice"),
    ("POST", "/v1/sources", {"name": "x", "chunk": {"size": 31}}, "chunk.size", "out_of_range"),
    ("POST", "/v1/sources", {"name": "x", "chunk": {"size": 64, "overlap": 33}}, "chunk.overlap", "out_of_range"),
    ("POST", "/v1/sources", {"name": "x", "chunk": {"length": 5}}, "chunk.length", "unknown_field"),
    *[
        ("POST", "/v1/sources", {"name": "x", "kind": kind, "place": place, **more}, field, code)
        for kind, place, more, field, code in (
            ("folder", None, {}, "place.path", "missing"),
            ("folder", {}, {}, "place.path", "missing"),
            ("folder", {"path": ""}, {}, "place.path", "missing"),
            ("folder", {"path": "relative"}, {}, "place.path", "invalid_place"),
            ("folder", {"path": "/srv/../etc"}, {}, "place.path", "invalid_place"),
            ("folder", {"path": "/srv/a\u202eb"}, {}, "place.path", "invalid_place"),
            ("folder", {"path": "/etc"}, {}, "place.path", "folder_not_allowed"),
            ("folder", {"path": "/nowhere/at/all"}, {}, "place.path", "folder_not_allowed"),
            ("folder", {"path": 5}, {}, "place.path", "invalid_type"),
            ("folder", {"path": "/srv", "urls": ["https://a.example"]}, {}, "place.urls", "unknown_field"),
            ("folder", {"secret": "x"}, {}, "place.secret", "unknown_field"),
            ("folder", {"path": "/" + "x" * 1000}, {}, "place.path", "too_long"),
            ("url", {"urls": []}, {}, "place.urls", "missing"),
            ("url", {"urls": "https://a.example"}, {}, "place.urls", "invalid_type"),
            ("url", {"urls": ["ftp://a.example"]}, {}, "place.urls.0", "invalid_url"),
            ("url", {"urls": ["https://a.example", "//b.example"]}, {}, "place.urls.1", "invalid_url"),
            ("url", {"urls": ["https://user:word@a.example/"]}, {}, "place.urls.0", "invalid_url"),
            ("url", {"urls": ["https://a.example/#part"]}, {}, "place.urls.0", "invalid_url"),
            ("url", {"urls": ["https://a.example:99999/"]}, {}, "place.urls.0", "invalid_url"),
            ("url", {"urls": ["https://a.example/\n"]}, {}, "place.urls.0", "invalid_url"),
            ("url", {"urls": ["https://a.example"] * 101}, {}, "place.urls", "too_long"),
            ("url", {"urls": ["https://a.example"], "depth": 6}, {}, "place.depth", "out_of_range"),
            ("url", {"urls": ["https://a.example"], "depth": "1"}, {}, "place.depth", "invalid_type"),
            ("url", {"urls": ["https://a.example"], "pages": 0}, {}, "place.pages", "out_of_range"),
            ("sitemap", {"urls": ["https://a.example/s.xml"], "depth": 1}, {}, "place.depth", "unknown_field"),
            ("s3", {}, {}, "place.bucket", "missing"),
            ("s3", {"bucket": "UPPER"}, {}, "place.bucket", "invalid_place"),
            ("s3", {"bucket": "abc", "region": "EU west"}, {}, "place.region", "invalid_place"),
            ("s3", {"bucket": "abc", "prefix": "a\x00"}, {}, "place.prefix", "invalid_place"),
            ("s3", {"bucket": "abc", "credential_id": "x"}, {}, "place.credential_id", "invalid_id"),
            ("s3", {"bucket": "abc", "endpoint": "http://10.0.0.1"}, {}, "place.endpoint", "endpoint_not_allowed"),
            ("s3", {"bucket": "abc", "endpoint": "https://s3.example/path"}, {}, "place.endpoint", "invalid_url"),
            ("s3", {"bucket": "abc", "queue": "http://10.0.0.1/1/q"}, {}, "place.queue", "endpoint_not_allowed"),
            ("s3", {"bucket": "abc", "queue": "https://sqs.example"}, {}, "place.queue", "invalid_queue"),
            ("upload", {"path": "/srv"}, {}, "place", "invalid_place"),
            ("text", None, {"schedule": 60}, "schedule", "invalid_schedule"),
            ("url", {"urls": ["https://a.example"]}, {"schedule": 59}, "schedule", "out_of_range"),
            ("url", {"urls": ["https://a.example"]}, {"schedule": 10**12}, "schedule", "out_of_range"),
            ("url", {"urls": ["https://a.example"]}, {"schedule": "60"}, "schedule", "invalid_type"),
            ("url", {"urls": ["https://a.example"]}, {"schedule": True}, "schedule", "invalid_type"),
            ("url", {"urls": ["https://a.example"]}, {"schedule": 60.5}, "schedule", "invalid_type"),
        )
    ],
    ("POST", f"/v1/sources/{FOREIGN}/refresh", {"accept_empty": "yes"}, "accept_empty", "invalid_type"),
    ("POST", f"/v1/sources/{FOREIGN}/refresh", {"force": True}, "force", "unknown_field"),
    ("POST", f"/v1/sources/{FOREIGN}/texts", {"text": "x"}, "key", "missing"),
    ("POST", f"/v1/sources/{FOREIGN}/texts", {"key": "a.md"}, "text", "missing"),
    ("POST", f"/v1/sources/{FOREIGN}/texts", {"key": "a.md", "text": ""}, "text", "too_short"),
    ("POST", f"/v1/sources/{FOREIGN}/texts", {"key": "a.md", "text": "a\x00b"}, "text", "invalid_text"),
    ("POST", f"/v1/sources/{FOREIGN}/texts", {"key": "a.md", "text": "x", "title": "a\nb"}, "title", "invalid_name"),
    ("POST", "/v1/bots", {"name": "x"}, "source_ids", "missing"),
    ("POST", "/v1/bots", {"name": "x", "source_ids": [], "model": "gpt"}, "model", "unknown_model"),
    ("POST", "/v1/bots", {"name": "x", "source_ids": [], "retrieval": {"k": 5}}, "retrieval.k", "unknown_setting"),
    ("POST", "/v1/bots", {"name": "x", "source_ids": ["nope"]}, "source_ids.0", "invalid_id"),
    ("POST", "/v1/bots", {"name": "x", "source_ids": [], "instructions": "x" * 8001}, "instructions", "too_long"),
    ("POST", "/v1/keys", {"name": "x", "scopes": []}, "scopes", "too_short"),
    ("POST", "/v1/keys", {"name": "x", "scopes": ["root"]}, "scopes.0", "invalid_choice"),
    *[
        ("POST", "/v1/keys", {"name": "x", "scopes": ["ask"], "expires_at": time}, "expires_at", "invalid_time")
        for time in (5, "5", "soon", "2030-02-30T00:00:00Z", "2030-01-01T00:00:00", "9999-12-31T23:59:59-23:00")
    ],
    (
        "POST",
        "/v1/keys",
        {"name": "x", "scopes": ["ask"], "expires_at": "2020-01-01T00:00:00Z"},
        "expires_at",
        "expires_in_the_past",
    ),
    ("POST", "/v1/ingestion/redrive", {"source_id": "x"}, "source_id", "invalid_id"),
    ("PATCH", f"/v1/documents/{FOREIGN}", {}, "attributes", "missing"),
    ("PATCH", f"/v1/documents/{FOREIGN}", {"attributes": {"a": [1]}}, "attributes.a", "invalid_type"),
    ("PATCH", f"/v1/documents/{FOREIGN}", {"attributes": {"a": "x" * 513}}, "attributes.a", "too_long"),
    ("PATCH", f"/v1/documents/{FOREIGN}", {"attributes": {str(n): n for n in range(65)}}, "attributes", "too_long"),
    ("PATCH", f"/v1/sources/{FOREIGN}", {"visibility": "private"}, "visibility", "unknown_field"),
]  # fmt: skip
QUERIES = [
    ("/v1/sources?limit=0", "limit", "out_of_range"),
    ("/v1/sources?limit=-1", "limit", "out_of_range"),
    ("/v1/sources?limit=201", "limit", "out_of_range"),
    ("/v1/sources?limit=1000000000", "limit", "out_of_range"),
    ("/v1/sources?limit=ten", "limit", "invalid_type"),
    ("/v1/sources?limit=1_0", "limit", "invalid_type"),
    ("/v1/sources?limit=5.0", "limit", "invalid_type"),
    ("/v1/sources?limit=", "limit", "invalid_type"),
    ("/v1/sources?bot_id=nope", "bot_id", "invalid_id"),
    (f"/v1/sources/{FOREIGN}/items?status=lost", "status", "invalid_choice"),
    (f"/v1/sources/{FOREIGN}/runs?limit=0", "limit", "out_of_range"),
    ("/v1/sources?cursor=nope", "cursor", "invalid_cursor"),
    # 0001-01-01T00:00:00+14:00 lies before the first moment of UTC
    (
        "/v1/sources?cursor=MDAwMS0wMS0wMVQwMDowMDowMCsxNDowMCAwMDAwMDAwMC0wMDAwLTQwMDAtODAwMC0wMDAwMDAwMDAwMDA",
        "cursor",
        "invalid_cursor",
    ),
    ("/v1/keys?cursor=%00", "cursor", "invalid_cursor"),
    ("/v1/bots?cursor=MjAyMC0wMS0wMVQwMDowMDowMCBub3BlCg", "cursor", "invalid_cursor"),
    ("/v1/documents?source_id=1", "source_id", "invalid_id"),
    ("/v1/documents?status=done", "status", "invalid_choice"),
    ("/v1/documents?tenant=x", "tenant", "unknown_field"),
]


@pytest.fixture(scope="session")
def one(carrel: object) -> dict[str, Caller]:
    """One caller for the whole table: nothing in it succeeds."""
    return {}


@pytest.fixture
async def caller(one: dict[str, Caller], a_caller: CallerMaker) -> Caller:
    if "caller" not in one:
        one["caller"] = await a_caller()
    return one["caller"]


@pytest.mark.parametrize("bad", BODIES, ids=lambda bad: f"{bad[1]} {bad[2]}"[:60])
async def test_a_bad_body_is_422_and_names_the_field(caller: Caller, bad: Bad) -> None:
    method, path, body, field, code = bad
    answer = await caller(method, path, json=body)
    assert answer.status_code == 422
    assert answer.headers["Content-Type"] == "application/problem+json"
    found = answer.json()
    assert (found["status"], found["title"]) == (422, "Invalid request")
    assert [(error["field"], error["code"]) for error in found["errors"]] == [(field, code)]
    assert all(error["detail"] for error in found["errors"])


@pytest.mark.parametrize(("path", "field", "code"), QUERIES)
async def test_a_bad_query_is_422_and_names_the_field(caller: Caller, path: str, field: str, code: str) -> None:
    answer = await caller("GET", path)
    assert answer.status_code == 422
    assert [(error["field"], error["code"]) for error in answer.json()["errors"]] == [(field, code)]


@pytest.mark.parametrize(
    ("path", "body", "choices"),
    [
        ("/v1/sources", {"name": "x", "visibility": "public"}, "'tenant' or 'private'"),
        ("/v1/keys", {"name": "x", "scopes": ["read"]}, "'search', 'ask', 'ingest' or 'manage'"),
        ("/v1/documents?status=done", None, "'pending', 'processing', 'ready' or 'failed'"),
    ],
)
async def test_a_bad_choice_is_told_the_good_ones(caller: Caller, path: str, body: Any, choices: str) -> None:
    answer = await caller("POST" if body else "GET", path, json=body)
    assert answer.json()["errors"][0]["detail"] == f"This must be {choices}."


@pytest.mark.parametrize(
    "content",
    [b"{", b"nonsense", b"\xff\xfe", b'{"query": "\xff"}', b"NaN", b'{"query": "\\ud800"}', b"[" * 5000, b"{} {}"],
)
async def test_what_is_not_json_in_utf_8_is_422(caller: Caller, content: bytes) -> None:
    for headers in (JSON, {}):
        answer = await caller("POST", "/v1/search", content=content, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (422, "malformed_json")


async def test_json_needs_no_content_type(caller: Caller) -> None:
    answer = await caller("POST", "/v1/search", content=b'{"query": "boats"}')
    assert answer.status_code == 200


async def test_a_body_of_another_type_is_415(caller: Caller) -> None:
    answer = await caller("POST", "/v1/search", data={"query": "x"})
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_type")


async def test_no_body_at_all_is_422(caller: Caller) -> None:
    answer = await caller("POST", "/v1/search")
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "body")


async def test_a_json_body_of_more_than_1_mb_is_413(caller: Caller) -> None:
    for size, code in ((1024 * 1024 - 100, "too_long"), (1024 * 1024, "too_large"), (17 * 1024 * 1024, "too_large")):
        answer = await caller("POST", "/v1/search", json={"query": "x" * size})
        assert answer.json()["code"] == code
        assert answer.status_code == (413 if code == "too_large" else 422)


async def test_json_that_nests_deeper_than_32_levels_is_refused(caller: Caller) -> None:
    for depth, code in ((31, "invalid"), (32, "malformed_json")):
        content = b'{"query": "x", "filters": ' + b"[" * depth + b"]" * depth + b"}"
        answer = await caller("POST", "/v1/search", content=content, headers=JSON)
        assert (answer.status_code, answer.json()["code"]) == (422, code)


async def test_many_brackets_that_do_not_nest_are_no_depth(caller: Caller) -> None:
    answer = await caller("POST", "/v1/search", json={"query": "[{" * 100})
    assert answer.status_code == 200


async def test_the_value_is_never_repeated(caller: Caller) -> None:
    secret = "swordfish"
    bodies = ({"name": secret, "scopes": [secret]}, {"name": [secret], "scopes": secret}, {"name": {"a": secret}})
    for body in bodies:
        answer = await caller("POST", "/v1/keys", json=body)
        assert answer.status_code == 422
        assert secret not in answer.text


async def test_several_mistakes_are_named_together(caller: Caller) -> None:
    answer = await caller("POST", "/v1/search", json={"limit": 0, "extra": 1})
    assert {error["field"] for error in answer.json()["errors"]} == {"query", "limit", "extra"}


async def test_foreign_ids_in_a_body_are_404_for_the_whole_request(caller: Caller) -> None:
    source = await caller.source(f"source {uuid.uuid4()}")
    for body in ({"name": "x", "source_ids": [source, FOREIGN]}, {"name": "y", "source_ids": [FOREIGN]}):
        assert (await caller("POST", "/v1/bots", json=body)).status_code == 404
    assert (await caller("GET", "/v1/bots")).json()["items"] == []


@pytest.mark.parametrize(
    ("header", "code"),
    [
        ("", "malformed_credential"),
        ("Bearer", "malformed_credential"),
        ("Bearer ", "malformed_credential"),
        ("Basic dXNlcjpwYXNz", "malformed_credential"),
        ("Bearer a b", "malformed_credential"),
        ("Bearer ck_1_2_3", "malformed_key"),
        ("Bearer " + "x" * 9000, "malformed_credential"),
        ("Bearer " + "x" * 3000, "malformed_key"),
        ("Bearer eyJhbGciOiJub25lIn0.e30.", "malformed_key"),
        (f"Bearer {new_api_key().reveal()}", "unknown_key"),
    ],
)
async def test_a_dead_credential_is_401(nobody: Caller, header: str, code: str) -> None:
    answer = await nobody("GET", "/v1/sources", headers={"Authorization": header})
    assert (answer.status_code, answer.json()["code"]) == (401, code)
    assert answer.headers["WWW-Authenticate"] == "Bearer"


async def test_two_credentials_are_none(a_caller: CallerMaker, nobody: Caller) -> None:
    one, other = await a_caller(), await a_caller()
    headers = [("Authorization", f"Bearer {one.key}"), ("Authorization", f"Bearer {other.key}")]
    answer = await nobody.client.get("/v1/sources", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (401, "malformed_credential")


async def test_a_bearer_in_any_case_and_with_a_wrong_secret(owner: Caller, nobody: Caller) -> None:
    assert owner.key is not None
    fine = await nobody("GET", "/v1/sources", headers={"Authorization": f"bEARER  {owner.key}"})
    assert fine.status_code == 200
    wrong = replace(new_api_key(), id=KeyId(uuid.UUID(owner.key.split("_")[1]))).reveal()
    answer = await nobody("GET", "/v1/sources", headers={"Authorization": f"Bearer {wrong}"})
    assert (answer.status_code, answer.json()["code"]) == (401, "unknown_key")


async def test_a_revoked_key_is_dead_from_the_next_request_on(owner: Caller) -> None:
    made = await owner.made("/v1/keys", {"name": "k", "scopes": ["search"]})
    holder = Caller(owner.client, made["key"])
    assert (await holder("GET", "/v1/sources")).status_code == 200
    assert (await owner("DELETE", f"/v1/keys/{made['id']}")).status_code == 204
    answer = await holder("GET", "/v1/sources")
    assert (answer.status_code, answer.json()["code"]) == (401, "revoked_key")
    assert (await owner("GET", f"/v1/keys/{made['id']}")).json()["revoked_at"] is not None


@pytest.mark.parametrize(
    ("method", "path", "takes"), [("PATCH", "/v1/chats/export", "GET, HEAD"), ("GET", "/v1/invitations/accept", "POST")]
)
async def test_a_path_beside_ids_takes_its_own_methods_only(owner: Caller, method: str, path: str, takes: str) -> None:
    body = {"json": {"title": "x"}} if method == "PATCH" else {}
    answer = await owner(method, path, **body)
    assert (answer.status_code, answer.json()["code"], answer.headers["Allow"]) == (405, "method_not_allowed", takes)


async def test_a_path_beside_ids_tells_everybody_which_methods_it_takes(owner: Caller) -> None:
    made = await owner.made("/v1/keys", {"name": "k", "scopes": ["search"]})
    for caller in (Caller(owner.client, made["key"]), Caller(owner.client, "ck_1_2_3")):
        answer = await caller("GET", "/v1/invitations/accept")
        assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
    answer = await owner("PATCH", "/v1/chats/export", json={"title": 1})
    assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")


@pytest.mark.parametrize("path", ["/v1/usage", "/v1/feedback"])
async def test_a_day_is_no_number_of_seconds(owner: Caller, path: str) -> None:
    for day in ("0", "1700000000", "2030-1-1", "20300101"):
        answer = await owner("GET", f"{path}?from={day}")
        assert (answer.status_code, answer.json()["errors"][0]["code"]) == (422, "invalid_day")


async def test_a_method_that_a_path_does_not_take_is_405(owner: Caller) -> None:
    answer = await owner("PUT", "/v1/sources")
    assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
    assert answer.headers["Allow"] == "GET, HEAD, POST"
    assert answer.headers["Content-Type"] == "application/problem+json"


async def test_a_conflict_is_409_with_its_code(an_operator: Caller, owner: Caller) -> None:
    slug = f"s-{uuid.uuid4()}"
    await an_operator.made("/v1/tenants", {"name": "One", "slug": slug})
    again = await an_operator("POST", "/v1/tenants", json={"name": "Two", "slug": slug})
    assert (again.status_code, again.json()["code"]) == (409, "tenant_exists")
    source = await owner.source("Docs")
    same = await owner("POST", "/v1/sources", json={"name": "Docs"})
    assert (same.status_code, same.json()["code"]) == (409, "source_exists")
    other = await owner.source("Other")
    renamed = await owner("PATCH", f"/v1/sources/{other}", json={"name": "Docs"})
    assert (renamed.status_code, renamed.json()["code"]) == (409, "source_exists")
    await owner.made("/v1/bots", {"name": "Bot", "source_ids": [source]})
    bot = await owner("POST", "/v1/bots", json={"name": "Bot", "source_ids": [source]})
    assert (bot.status_code, bot.json()["code"]) == (409, "bot_exists")


@pytest.mark.parametrize("slug", ["", "Upper", "a b", "-a", "ü", "a" * 64, "a/b", "a\x00", FOREIGN])
async def test_a_slug_that_is_none_is_422(an_operator: Caller, slug: str) -> None:
    answer = await an_operator("POST", "/v1/tenants", json={"name": "ü", "slug": slug})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "slug")
