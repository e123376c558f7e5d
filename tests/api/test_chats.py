"""Chats over HTTP: read again, renamed, taken along, deleted, rated; and nobody else's."""

import asyncio
import csv
import io
import uuid
from typing import Any

import httpx2
import pytest

from api.callers import Caller, CallerMaker
from support.people import a_person
from support.raw import connected
from support.stand import Stand

BOATS = "# Boats\n\nBoats float on water, since they are lighter than what they push away."
QUESTION = "Why do boats float on water?"


@pytest.fixture
async def reader(owner: Caller) -> Caller:
    """Somebody with a document to ask about."""
    await owner.put(await owner.source(), "boats.md", BOATS)
    return owner


async def asked(caller: Caller, message: str = QUESTION, **more: Any) -> dict[str, Any]:
    answer = await caller("POST", "/v1/chat", json={"message": message, **more})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def got(caller: Caller, path: str) -> Any:
    answer = await caller("GET", path)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def walked(caller: Caller, path: str) -> list[dict[str, Any]]:
    """Every item of a list that is read in pages of two."""
    items: list[dict[str, Any]] = []
    cursor = ""
    while True:
        mark = "&" if "?" in path else "?"
        found = await got(caller, f"{path}{mark}limit=2{cursor}")
        assert len(found["items"]) <= 2
        items += found["items"]
        if found["next_cursor"] is None:
            return items
        cursor = f"&cursor={found['next_cursor']}"


# Reading again


async def test_chats_are_listed_by_their_last_question_in_pages(reader: Caller) -> None:
    chats = [(await asked(reader, f"Boat number {number}?"))["chat_id"] for number in range(5)]
    assert [item["id"] for item in await walked(reader, "/v1/chats")] == chats[::-1]
    await asked(reader, "And then?", chat_id=chats[1])
    assert [item["id"] for item in await walked(reader, "/v1/chats")][:2] == [chats[1], chats[4]]


async def test_a_chat_is_called_after_its_first_question(reader: Caller) -> None:
    first = await asked(reader, "  Why\u202e do\n\tboats float?  ")
    await asked(reader, "And ships?", chat_id=first["chat_id"])
    chat = await got(reader, f"/v1/chats/{first['chat_id']}")
    assert chat.keys() == {"id", "title", "bot_id", "end_user", "created_at", "updated_at"}
    assert (chat["title"], chat["bot_id"], chat["end_user"]) == ("Why do boats float?", None, None)
    assert chat["updated_at"] > chat["created_at"]
    long = await asked(reader, "Why do boats float " * 20)
    title = (await got(reader, f"/v1/chats/{long['chat_id']}"))["title"]
    assert len(title) <= 80
    assert title.endswith("float\u2026")


async def test_messages_are_read_again_as_they_were_answered(reader: Caller) -> None:
    first = await asked(reader)
    refused = await asked(reader, "Who won the chess world cup of 1886?", chat_id=first["chat_id"])
    one, other = (await got(reader, f"/v1/chats/{first['chat_id']}/messages"))["items"]
    for kept, answer in ((one, first), (other, refused)):
        assert kept["id"] == answer["message_id"]
        for name in ("chat_id", "status", "answer", "guidance", "problem", "grounding", "unsupported", "usage"):
            assert kept[name] == answer[name], name
    assert (one["question"], one["feedback"]) == (QUESTION, None)
    seen = [citation.pop("seen") for citation in one["citations"]]
    assert one["citations"] == first["citations"] != []
    assert seen == [{"version": 1, "of": 1, "replaced_at": None}] * len(seen)
    assert other["guidance"]


async def test_messages_come_oldest_first_in_pages(reader: Caller) -> None:
    chat = (await asked(reader))["chat_id"]
    for number in range(4):
        await asked(reader, f"Boat number {number}?", chat_id=chat)
    found = await walked(reader, f"/v1/chats/{chat}/messages")
    assert [item["question"] for item in found] == [QUESTION, *(f"Boat number {number}?" for number in range(4))]
    cursor = (await got(reader, f"/v1/chats/{chat}/messages?limit=1"))["next_cursor"]
    other = (await asked(reader))["chat_id"]
    foreign = await reader("GET", f"/v1/chats/{other}/messages?cursor={cursor}")
    assert (foreign.status_code, foreign.json()["code"]) == (422, "invalid_cursor")


async def test_what_a_citation_names_is_shown_as_far_as_it_is_there(owner: Caller) -> None:
    source = await owner.source()
    document = await owner.put(source, "boats.md", BOATS)
    first = await asked(owner)
    await owner.put(source, "boats.md", "# Boats\n\nAll boats were sold.")
    (message,) = (await got(owner, f"/v1/chats/{first['chat_id']}/messages"))["items"]
    assert message["answer"] == first["answer"]
    assert {(one["title"], one["excerpt"]) for one in message["citations"]} == {("Boats", "[removed]")}

    await owner("DELETE", f"/v1/documents/{document['id']}")
    (message,) = (await got(owner, f"/v1/chats/{first['chat_id']}/messages"))["items"]
    assert (message["status"], message["answer"]) == ("removed", "[removed]")
    assert {(one["title"], one["key"], one["source_id"]) for one in message["citations"]} == {
        ("[removed]", "[removed]", None)
    }


async def test_a_refusal_forgets_the_titles_of_documents_that_were_deleted(owner: Caller) -> None:
    document = await owner.put(await owner.source(), "boats.md", "# Gondolas of Zanzibar\n\nGondolas float on water.")
    refused = await asked(owner, "Who won the chess world cup of 1886?")
    path = f"/v1/chats/{refused['chat_id']}/messages"
    assert "Zanzibar" in str(refused["guidance"])
    assert (await got(owner, path))["items"][0]["citations"] == []
    await owner("DELETE", f"/v1/documents/{document['id']}")
    (message,) = (await got(owner, path))["items"]
    assert (message["status"], message["answer"]) == ("refused", refused["answer"])
    assert "Zanzibar" not in str(message)


async def test_a_limited_key_reads_no_answer_that_quotes_another_source(carrel: Stand, owner: Caller) -> None:
    assert owner.tenant
    person = await a_person(carrel, owner=owner.tenant.id)
    hers = Caller(owner.client, person.token(owner.tenant.id), owner.tenant)
    await hers.put(await hers.source("open"), "boats.md", BOATS)
    other = await hers.source("other")
    first = await asked(hers)
    made = await hers.made("/v1/keys", {"name": "k", "scopes": ["ask"], "source_ids": [other]})
    limited = Caller(owner.client, made["key"])
    assert first["answer"] in (await hers("GET", f"/v1/chats/{first['chat_id']}/messages")).text
    (message,) = (await got(limited, f"/v1/chats/{first['chat_id']}/messages"))["items"]
    assert (message["status"], message["answer"]) == ("removed", "[removed]")
    for path in (f"/v1/chats/{first['chat_id']}/export", "/v1/chats/export", "/v1/chats/export?format=csv"):
        assert "lighter" not in (await limited("GET", path)).text
        assert "lighter" in (await hers("GET", path)).text


# Changing


async def test_a_chat_gets_another_title_and_keeps_its_place(reader: Caller) -> None:
    first, second = (await asked(reader))["chat_id"], (await asked(reader))["chat_id"]
    renamed = await reader("PATCH", f"/v1/chats/{first}", json={"title": " About boats "})
    assert (renamed.status_code, renamed.json()["title"]) == (200, "About boats")
    assert [item["id"] for item in (await got(reader, "/v1/chats"))["items"]] == [second, first]
    await asked(reader, "More?", chat_id=first)
    assert (await got(reader, f"/v1/chats/{first}"))["title"] == "About boats"
    for body in ({"title": ""}, {"title": None}, {"title": "a\x00b"}, {}):
        refused = await reader("PATCH", f"/v1/chats/{first}", json=body)
        assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "title")


async def test_a_deleted_chat_is_gone_with_all_that_was_in_it(carrel: Stand, reader: Caller) -> None:
    once = {"Idempotency-Key": str(uuid.uuid4())}
    body = {"message": QUESTION}
    first = (await reader("POST", "/v1/chat", json=body, headers=once)).json()
    await reader("PUT", f"/v1/messages/{first['message_id']}/feedback", json={"rating": "up"})
    path = f"/v1/chats/{first['chat_id']}"
    assert (await reader("DELETE", path)).status_code == 204
    for method, gone in (("GET", path), ("DELETE", path), ("GET", f"{path}/messages"), ("GET", f"{path}/export")):
        assert (await reader(method, gone)).status_code == 404
    again = await reader("POST", "/v1/chat", json={**body, "chat_id": first["chat_id"]})
    assert again.status_code == 404
    async with connected(carrel.endpoint.superuser_url) as superuser:
        for table in ("messages", "feedback", "citations", "idempotency_keys"):
            sql = f"select count(*) from {table} where tenant_id = $1"
            assert reader.tenant
            assert await superuser.fetchval(sql, reader.tenant.id) == 0, table


# Whose


def every_call(chat: str, message: str, query: str = "") -> list[tuple[str, str, dict[str, Any]]]:
    mark = "&" if query else ""
    return [
        ("GET", f"/v1/chats/{chat}?{query}", {}),
        ("PATCH", f"/v1/chats/{chat}?{query}", {"json": {"title": "Mine"}}),
        ("GET", f"/v1/chats/{chat}/messages?{query}", {}),
        ("GET", f"/v1/chats/{chat}/export?{query}", {}),
        ("GET", f"/v1/chats/{chat}/export?format=csv{mark}{query}", {}),
        ("PUT", f"/v1/messages/{message}/feedback?{query}", {"json": {"rating": "up"}}),
        ("POST", f"/v1/messages/{message}/feedback?{query}", {"json": {"rating": "up"}}),
        ("DELETE", f"/v1/messages/{message}/feedback?{query}", {}),
        ("DELETE", f"/v1/chats/{chat}?{query}", {}),
    ]


def surface(answer: httpx2.Response) -> tuple[Any, ...]:
    return answer.status_code, answer.content, {**answer.headers, "x-request-id": ""}


async def assert_absent(caller: Caller, chat: str, message: str, query: str = "") -> None:
    nothing = str(uuid.uuid4())
    for (method, path, options), (_, absent, _) in zip(
        every_call(chat, message, query), every_call(nothing, nothing, query), strict=True
    ):
        there, away = await caller(method, path, **options), await caller(method, absent, **options)
        assert there.status_code == 404, (method, path)
        assert surface(there) == surface(away), (method, path)


async def test_nobody_else_finds_a_chat(carrel: Stand, reader: Caller, a_caller: CallerMaker) -> None:
    assert reader.tenant
    hers = Caller(reader.client, (await a_person(carrel, viewer=reader.tenant.id)).token(reader.tenant.id))
    first = await asked(hers)
    rated = f"/v1/messages/{first['message_id']}/feedback"
    assert (await hers("PUT", rated, json={"rating": "down", "reason": "Zanzibar"})).status_code == 200
    boss = Caller(reader.client, (await a_person(carrel, owner=reader.tenant.id)).token(reader.tenant.id))
    colleague, stranger = await a_caller(of=reader), await a_caller()
    for somebody in (reader, boss, colleague, stranger):
        await assert_absent(somebody, first["chat_id"], first["message_id"])
        assert first["chat_id"] not in (await somebody("GET", "/v1/chats")).text
        assert "float" not in (await somebody("GET", "/v1/chats/export")).text
    assert (await got(hers, f"/v1/chats/{first['chat_id']}/messages"))["items"][0]["feedback"]["reason"] == "Zanzibar"


async def test_an_end_user_sees_that_ones_chats_only(reader: Caller, a_caller: CallerMaker) -> None:
    chats = {name: await asked(reader, end_user=name) for name in ("Ann", "ann", "*", "%", "ünïcode", "QW5u")}
    chats[""] = await asked(reader)
    other = await a_caller(of=reader)
    for name, chat in chats.items():
        query = httpx2.QueryParams({"end_user": name} if name else {})
        assert [item["id"] for item in (await got(reader, f"/v1/chats?{query}"))["items"]] == [chat["chat_id"]]
        assert [one["id"] for one in (await got(reader, f"/v1/chats/export?{query}"))["chats"]] == [chat["chat_id"]]
        assert (await got(reader, f"/v1/chats/{chat['chat_id']}?{query}"))["end_user"] == (name or None)
        for foreign, theirs in chats.items():
            if foreign != name:
                await assert_absent(reader, theirs["chat_id"], theirs["message_id"], str(query))
                body = {"message": "x", "chat_id": theirs["chat_id"], **({"end_user": name} if name else {})}
                assert (await reader("POST", "/v1/chat", json=body)).status_code == 404
        await assert_absent(other, chat["chat_id"], chat["message_id"], str(query))


async def test_an_empty_name_is_refused_and_null_is_nobody(reader: Caller) -> None:
    first = await asked(reader, end_user=None, chat_id=None)
    for empty in ("", "%20", "%09"):
        calls = [*every_call(first["chat_id"], first["message_id"], f"end_user={empty}")]
        calls += [("GET", f"/v1/chats?end_user={empty}", {}), ("GET", f"/v1/chats/export?end_user={empty}", {})]
        for method, path, options in calls:
            answer = await reader(method, path, **options)
            assert answer.status_code == 422, (method, path, answer.text)
            assert [problem["field"] for problem in answer.json()["errors"]] == ["end_user"]
    for body, field in (({"end_user": ""}, "end_user"), ({"end_user": " "}, "end_user"), ({"chat_id": ""}, "chat_id")):
        answer = await reader("POST", "/v1/chat", json={"message": "x", **body})
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field)
    for bad in ("null", "", "None", "%00", "0"):
        assert (await reader("GET", f"/v1/chats/{bad}")).status_code == 404
    assert [item["id"] for item in (await got(reader, "/v1/chats"))["items"]] == [first["chat_id"]]


# Taking along


async def test_chats_are_taken_along_as_json(reader: Caller) -> None:
    assert await got(reader, "/v1/chats/export") == {"chats": []}
    first = await asked(reader)
    await asked(reader, "And ships?", chat_id=first["chat_id"])
    second = await asked(reader, "Boats?")
    answer = await reader("GET", "/v1/chats/export")
    assert answer.headers["Content-Disposition"] == 'attachment; filename="chats.json"'
    chats = answer.json()["chats"]
    assert [chat["id"] for chat in chats] == [first["chat_id"], second["chat_id"]]
    for chat in chats:
        messages = (await got(reader, f"/v1/chats/{chat['id']}/messages"))["items"]
        assert chat["messages"] == messages
        assert await got(reader, f"/v1/chats/{chat['id']}/export") == chat


async def test_no_cell_of_the_table_is_a_formula(reader: Caller) -> None:
    evil = ['=HYPERLINK("https://evil.example";"x")', "+1", "-1", "@SUM(A1)", '"=1"', "a,b\r\nc;d", "\uff1d1", "plain"]
    chat = (await asked(reader, end_user="=cmd()"))["chat_id"]
    for question in evil:
        await asked(reader, question, chat_id=chat, end_user="=cmd()")
    answer = await reader("GET", f"/v1/chats/{chat}/export?format=csv&end_user=%3Dcmd()")
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    heads, *lines = list(csv.reader(io.StringIO(answer.text, newline="")))
    assert len(lines) == len(evil) + 1
    assert [line[heads.index("question")].removeprefix("'") for line in lines] == [QUESTION, *evil]
    cells = [cell for line in lines for cell in line]
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t", "\r", "\uff1d"))]
    assert "'=cmd()" in cells


async def test_a_long_chat_is_taken_along_whole(carrel: Stand, reader: Caller) -> None:
    first = await asked(reader)
    async with connected(carrel.endpoint.superuser_url) as superuser:
        await superuser.execute(
            "insert into messages (tenant_id, id, chat_id, owner_id, question, status, answer, model, input_tokens,"
            " output_tokens) select tenant_id, gen_random_uuid(), chat_id, owner_id, 'q' || n, 'refused', '', '', 0, 0"
            " from messages, generate_series(1, 250) n where id = $1::uuid",
            first["message_id"],
        )
    whole = await got(reader, f"/v1/chats/{first['chat_id']}/export")
    assert {message["question"] for message in whole["messages"]} == {QUESTION, *(f"q{n}" for n in range(1, 251))}
    assert len(whole["messages"]) == 251


# What is said of answers


async def test_feedback_is_set_changed_and_withdrawn(reader: Caller) -> None:
    first = await asked(reader)
    path, seen = f"/v1/messages/{first['message_id']}/feedback", f"/v1/chats/{first['chat_id']}/messages"
    made = await reader("POST", path, json={"rating": "down", "reason": "Too short."})
    assert (made.status_code, made.json().keys()) == (201, {"rating", "reason", "updated_at"})
    assert (await got(reader, seen))["items"][0]["feedback"] == made.json()
    changed = await reader("PUT", path, json={"rating": "up"})
    assert (changed.status_code, changed.json()["rating"], changed.json()["reason"]) == (200, "up", "")
    assert (await reader("DELETE", path)).status_code == 204
    assert (await reader("DELETE", path)).status_code == 404
    assert (await got(reader, seen))["items"][0]["feedback"] is None
    for body, field in (
        ({"rating": "fine"}, "rating"),
        ({}, "rating"),
        ({"rating": "up", "reason": "x" * 2001}, "reason"),
        ({"rating": "up", "reason": "\x00"}, "reason"),
    ):
        refused = await reader("PUT", path, json=body)
        assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, field)


async def test_an_owner_sees_how_many_and_no_word(carrel: Stand, reader: Caller, a_caller: CallerMaker) -> None:
    assert reader.tenant
    (source,) = (await got(reader, "/v1/sources"))["items"]
    bot = (await reader.made("/v1/bots", {"name": "b", "source_ids": [source["id"]]}))["id"]
    hers = Caller(reader.client, (await a_person(carrel, viewer=reader.tenant.id)).token(reader.tenant.id))
    for caller, rating, more in (
        (hers, "up", {"bot_id": bot}),
        (hers, "down", {"bot_id": bot, "end_user": "Ann"}),
        (reader, "up", {}),
        (await a_caller(), "up", {}),
    ):
        first = await asked(caller, **({} if caller.tenant and caller.tenant != reader.tenant else more))
        query = f"?end_user={more['end_user']}" if "end_user" in more else ""
        body = {"rating": rating, "reason": "Zanzibar"}
        path = f"/v1/messages/{first['message_id']}/feedback{query}"
        assert (await caller("PUT", path, json=body)).status_code == 200
    found = await reader("GET", "/v1/feedback")
    assert found.json()["items"] == [{"bot_id": None, "up": 1, "down": 0}, {"bot_id": bot, "up": 1, "down": 1}]
    assert "Zanzibar" not in found.text
    assert (await hers("GET", "/v1/feedback")).status_code == 403
    assert (await reader("GET", "/v1/feedback?from=2020-01-01&to=2020-01-31")).json()["items"] == []
    assert (await reader("GET", "/v1/feedback?from=2020-01-01")).status_code == 422
    assert (await reader("GET", "/v1/feedback?from=9999-12-31&to=9999-12-31")).json()["items"] == []


async def test_many_who_rate_at_once_leave_one_word(reader: Caller) -> None:
    first = await asked(reader)
    path = f"/v1/messages/{first['message_id']}/feedback"
    answers = await asyncio.gather(
        *(reader("PUT", path, json={"rating": ("up", "down")[number % 2]}) for number in range(20))
    )
    assert {answer.status_code for answer in answers} == {200}
    (line,) = (await got(reader, "/v1/feedback"))["items"]
    assert line["up"] + line["down"] == 1


# How long


async def test_an_owner_keeps_chats_for_a_shorter_time(carrel: Stand, owner: Caller) -> None:
    assert owner.tenant
    hers = Caller(owner.client, (await a_person(carrel, owner=owner.tenant.id)).token(owner.tenant.id))
    path = f"/v1/tenants/{owner.tenant.id}/retention"
    assert await got(hers, path) == {"chat_days": None, "deployment_chat_days": None, "effective_chat_days": None}
    put = await hers("PUT", path, json={"chat_days": 30})
    assert put.json() == {"chat_days": 30, "deployment_chat_days": None, "effective_chat_days": 30}
    for bad in (0, -1, 10**6, "30", True, 1.5):
        refused = await hers("PUT", path, json={"chat_days": bad})
        assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "chat_days")
    assert (await hers("PUT", path, json={})).status_code == 422
    assert (await owner("GET", path)).status_code == 403
    assert (await hers("PUT", path, json={"chat_days": None})).json()["effective_chat_days"] is None


# What it cost


async def test_usage_is_told_by_member_and_model(carrel: Stand, reader: Caller) -> None:
    assert reader.tenant
    person = await a_person(carrel, viewer=reader.tenant.id)
    hers = Caller(reader.client, person.token(reader.tenant.id))
    first = await asked(hers)
    await asked(hers)
    await asked(reader)
    items = (await got(reader, "/v1/usage?group=member&group=model"))["items"]
    questions = {item["member_id"]: item for item in items if item["kind"] == "question"}
    mine = questions[str(person.id)]
    assert (mine["events"], mine["model"], mine["day"], mine["bot_id"]) == (2, first["usage"]["model"], None, None)
    assert (mine["cost"], mine["unpriced"]) == (None, 2)
    assert len(questions) == 2
    (total,) = [item for item in (await got(reader, "/v1/usage?group=day"))["items"] if item["kind"] == "question"]
    assert (total["events"], total["member_id"], total["model"]) == (3, None, None)
