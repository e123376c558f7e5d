"""The Model Context Protocol over real HTTP, with the official client, in the protocol's new form and its old one."""

import asyncio
import json
import logging
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, Final

import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError

from api.callers import Caller
from carrel.api.app import create_app
from carrel.domain.access import console
from carrel.domain.hosts import KnownHosts
from carrel.domain.ids import SourceId
from carrel.domain.limits import Limit, Rates, RouteClass
from carrel.domain.rights import Scope
from carrel.tenancy.keys import KeyWish
from support.doors import serving
from support.people import a_person
from support.stand import Stand
from support.tenants import SomeTenant, a_tenant

MODES: Final = ("auto", "legacy")
EACH_MODE: Final = pytest.mark.parametrize("mode", MODES)
FACT: Final = "The harbour office of Kelpwick opens at nine in the morning and closes at five."
QUESTION: Final = "When does the harbour office of Kelpwick open?"
ACCEPT: Final = {"Accept": "application/json, text/event-stream"}
NOTHING: Final = "There is nothing here that you may see."


@dataclass(frozen=True)
class Far:
    """The door on a real socket."""

    url: str

    @asynccontextmanager
    async def client(self, key: str | None, mode: str = "auto", **headers: str) -> AsyncIterator[Client]:
        credential = {"Authorization": f"Bearer {key}"} if key else {}
        async with (
            httpx2.AsyncClient(headers={**credential, **headers}, timeout=60) as http,
            Client(streamable_http_client(f"{self.url}/mcp", http_client=http), mode=mode, cache=None) as client,
        ):
            yield client

    async def post(self, key: str | None, message: Any = None, **options: Any) -> httpx2.Response:
        """One message as it is, by no client that would mend it."""
        credential = {"Authorization": f"Bearer {key}"} if key else {}
        headers = {**ACCEPT, **credential, **options.pop("headers", {})}
        content = options or {"json": message}
        async with httpx2.AsyncClient(timeout=60) as http:
            return await http.post(f"{self.url}/mcp", headers=headers, **content)


@pytest.fixture(scope="module")
async def far(carrel: Stand) -> AsyncIterator[Far]:
    async with serving(create_app(lambda: nullcontext(carrel.app))) as (host, port):
        yield Far(f"http://{host}:{port}")


@dataclass(frozen=True)
class Library:
    """A tenant with one source, one bot that reads it, and one document in it."""

    tenant: SomeTenant
    source: str
    bot: str
    document: str
    key: str

    @property
    def source_id(self) -> SourceId:
        return SourceId(uuid.UUID(self.source))


async def a_library(carrel: Stand, far: Far, *, fact: str = FACT) -> Library:
    tenant = await a_tenant(carrel.app, "Harbour")
    key = await tenant.key()
    async with httpx2.AsyncClient(base_url=far.url, timeout=90) as http:
        owner = Caller(http, key, tenant)
        source = await owner.source()
        document = await owner.put(source, "harbour.md", f"# Harbour\n\n{fact}\n")
        bot = await owner.made("/v1/bots", {"name": "Harbour", "source_ids": [source]})
    return Library(tenant, source, bot["id"], document["id"], key)


@pytest.fixture(scope="module")
async def shelf(carrel: Stand, far: Far) -> Library:
    """One for all tests that change nothing in it."""
    return await a_library(carrel, far)


@pytest.fixture
async def library(carrel: Stand, far: Far) -> Library:
    return await a_library(carrel, far)


def rpc(method: str, **params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}


def tool(name: str, **arguments: Any) -> dict[str, Any]:
    return rpc("tools/call", name=name, arguments=arguments)


async def called(client: Client, name: str, **arguments: Any) -> Any:
    """What the tool gives, as its own schema describes it (the client compares)."""
    result = await client.call_tool(name, arguments)
    assert not result.is_error, result.content
    assert json.loads(result.content[0].text) == result.structured_content  # type: ignore[union-attr]
    return result.structured_content


async def refusal(client: Client, name: str, **arguments: Any) -> tuple[str, str]:
    """The code and all the words by which a tool refuses."""
    result = await client.call_tool(name, arguments)
    assert result.is_error
    text = result.content[0].text  # type: ignore[union-attr]
    return text.partition(":")[0], text


# Tools


@EACH_MODE
async def test_the_tools_are_listed_with_their_schemas_and_change_nothing(far: Far, shelf: Library, mode: str) -> None:
    async with far.client(shelf.key, mode) as client:
        tools = {one.name: one for one in (await client.list_tools()).tools}
        assert client.server_info is not None
        assert client.server_info.name == "carrel"
    assert set(tools) == {"search", "ask", "list_sources", "list_bots"}
    for one in tools.values():
        assert one.annotations
        assert one.annotations.read_only_hint
        assert one.output_schema
        assert one.input_schema["additionalProperties"] is False


@EACH_MODE
async def test_search_finds_what_the_http_surface_finds(far: Far, shelf: Library, mode: str) -> None:
    async with far.client(shelf.key, mode) as client:
        found = await called(client, "search", query=QUESTION, limit=3)
    async with httpx2.AsyncClient(base_url=far.url) as http:
        answer = await Caller(http, shelf.key)("POST", "/v1/search", json={"query": QUESTION, "limit": 3})
    hits = answer.json()["hits"]
    assert [(hit["text"], hit["version_id"], hit["confidence"]) for hit in found["hits"]] == [
        (hit["text"], hit["version_id"], hit["confidence"]) for hit in hits
    ]
    assert FACT in found["hits"][0]["text"]
    assert found["hits"][0]["uri"] == f"carrel://documents/{shelf.document}"


@EACH_MODE
async def test_ask_answers_with_citations_and_goes_on_in_its_chat(far: Far, shelf: Library, mode: str) -> None:
    async with far.client(shelf.key, mode) as client:
        hits = (await called(client, "search", query=QUESTION))["hits"]
        first = await called(client, "ask", message=QUESTION)
        second = await called(client, "ask", message="When does it close?", chat_id=first["chat_id"])
    assert first["status"] == "answered"
    assert "nine" in first["answer"]
    assert first["citations"][0]["document_id"] == shelf.document
    assert first["citations"][0]["version_id"] in {hit["version_id"] for hit in hits}
    assert second["chat_id"] == first["chat_id"]


@EACH_MODE
async def test_a_question_without_evidence_is_refused_with_guidance(far: Far, shelf: Library, mode: str) -> None:
    async with far.client(shelf.key, mode) as client:
        told = await called(client, "ask", message="Which colour has the moon of Jupiter called Io?")
    assert told["status"] == "refused"
    assert told["guidance"]


async def test_sources_and_bots_are_listed_page_by_page(far: Far, library: Library) -> None:
    async with far.client(library.key) as client:
        assert await called(client, "list_sources") == {
            "items": [{"id": library.source, "name": "Docs", "documents": 1}],
            "next_cursor": None,
        }
        bots = await called(client, "list_bots")
        assert bots["items"] == [{"id": library.bot, "name": "Harbour", "source_ids": [library.source]}]
        more = await library.tenant.source("Second")
        page = await called(client, "list_sources", limit=1)
        rest = await called(client, "list_sources", limit=1, cursor=page["next_cursor"])
    assert [page["items"][0]["id"], rest["items"][0]["id"]] == [str(more.id), library.source]
    assert rest["next_cursor"] is None


async def test_a_bot_and_sources_narrow_what_is_read(far: Far, library: Library) -> None:
    empty = await library.tenant.source("Empty")
    async with far.client(library.key) as client:
        for narrowed in ({"bot_id": library.bot}, {"source_ids": [library.source]}):
            assert (await called(client, "search", query=QUESTION, **narrowed))["hits"]
        assert not (await called(client, "search", query=QUESTION, source_ids=[str(empty.id)]))["hits"]
        assert not (await called(client, "search", query=QUESTION, source_ids=[]))["hits"]
        both = await refusal(client, "search", query=QUESTION, bot_id=library.bot, source_ids=[library.source])
    assert both[0] == "bot_and_sources"


@EACH_MODE
async def test_wrong_arguments_are_named_for_the_model_to_mend(far: Far, shelf: Library, mode: str) -> None:
    async with far.client(shelf.key, mode) as client:
        code, text = await refusal(client, "search", limit=1000, quest="x")
        assert code == "invalid"
        assert "query: This is required." in text
        assert "limit: At most 100." in text
        assert "quest: There is no such field." in text
        assert (await refusal(client, "search", query="  "))[0] == "too_short"
        assert (await refusal(client, "ask", message="x", chat_id=""))[0] == "invalid"
        with pytest.raises(MCPError) as unknown:
            await client.call_tool("delete_everything", {})
    assert "unknown_tool" in unknown.value.error.message


# Resources


@EACH_MODE
async def test_documents_are_resources(far: Far, shelf: Library, mode: str) -> None:
    async with far.client(shelf.key, mode) as client:
        (resource,) = (await client.list_resources()).resources
        (template,) = (await client.list_resource_templates()).resource_templates
        (content,) = (await client.read_resource(str(resource.uri))).contents
    assert (resource.name, resource.title) == ("harbour.md", "Harbour")
    assert template.uri_template == "carrel://documents/{document_id}"
    assert content.text == f"# Harbour\n\n{FACT}\n"  # type: ignore[union-attr]
    assert content.mime_type == "text/markdown"


async def test_resources_come_in_pages(far: Far, library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("carrel.api.mcp.resources._PAGE", 2)
    for number in range(4):
        await library.tenant.put(library.source_id, f"{number}.txt", f"Document {number}.")
    seen, cursor = [], None
    async with far.client(library.key) as client:
        while True:
            page = await client.list_resources(cursor=cursor)
            assert len(page.resources) <= 2
            seen += [one.name for one in page.resources]
            if (cursor := page.next_cursor) is None:
                break
        with pytest.raises(MCPError) as broken:
            await client.list_resources(cursor="no cursor of ours")
    assert sorted(seen) == ["0.txt", "1.txt", "2.txt", "3.txt", "harbour.md"]
    assert "invalid_cursor" in broken.value.error.message


async def test_of_what_was_not_written_as_text_what_was_read_out_of_it_is_given_once(
    far: Far, library: Library
) -> None:
    sentences = [f"Sentence {number} tells of the harbour in some more words than it needs." for number in range(400)]
    page = f"<html><head><script>alert(1)</script></head><body><p>{' '.join(sentences)}</p></body></html>"
    document = await library.tenant.put(library.source_id, "long.html", page)
    assert document.chunks > 3
    async with far.client(library.key) as client:
        (content,) = (await client.read_resource(f"carrel://documents/{document.id}")).contents
    text = content.text  # type: ignore[union-attr]
    assert "script" not in text
    assert text.split() == " ".join(sentences).split()


async def test_what_is_too_long_is_not_read_in_one_piece(far: Far, library: Library) -> None:
    long = await library.tenant.put(library.source_id, "long.txt", "harbour " * 300_000)
    async with far.client(library.key) as client:
        with pytest.raises(MCPError) as told:
            await client.read_resource(f"carrel://documents/{long.id}")
    assert told.value.error.message.startswith("too_large:")


async def test_a_text_that_is_not_in_utf_8_is_given_as_it_was_read(far: Far, library: Library) -> None:
    document = await library.tenant.put(library.source_id, "old.txt", "Größe des Hafens".encode("latin-1"))
    async with far.client(library.key) as client:
        (content,) = (await client.read_resource(f"carrel://documents/{document.id}")).contents
    assert content.text == "Größe des Hafens"  # type: ignore[union-attr]


async def test_a_document_without_text_says_so(far: Far, library: Library) -> None:
    failed = await library.tenant.put(library.source_id, "broken.pdf", b"%PDF-1.7\nnothing")
    async with far.client(library.key) as client:
        assert len((await client.list_resources()).resources) == 1
        with pytest.raises(MCPError) as told:
            await client.read_resource(f"carrel://documents/{failed.id}")
    assert told.value.error.message.startswith("no_text:")


# Foreign and absent


@EACH_MODE
async def test_what_is_foreign_is_as_absent_and_in_the_same_words(carrel: Stand, far: Far, mode: str) -> None:
    mine, theirs = await a_library(carrel, far), await a_library(carrel, far, fact="The vault of Brinemoor is open.")
    async with far.client(theirs.key) as client:
        chat = (await called(client, "ask", message="Is the vault of Brinemoor open?"))["chat_id"]
    nothing = str(uuid.uuid4())
    async with far.client(mine.key, mode) as client:
        for foreign, absent in (
            ({"query": "vault", "bot_id": theirs.bot}, {"query": "vault", "bot_id": nothing}),
            ({"query": "vault", "source_ids": [theirs.source]}, {"query": "vault", "source_ids": [nothing]}),
            ({"query": "vault", "tenants": [str(theirs.tenant.id)]}, {"query": "vault", "tenants": [nothing]}),
        ):
            assert await refusal(client, "search", **foreign) == await refusal(client, "search", **absent)
            assert (await refusal(client, "search", **foreign))[1] == f"not_found: {NOTHING}"
        for named in ({"chat_id": chat}, {"bot_id": theirs.bot}, {"source_ids": [theirs.source]}):
            unnamed = {name: [nothing] if isinstance(value, list) else nothing for name, value in named.items()}
            there = await refusal(client, "ask", message="x", **named)
            assert there == await refusal(client, "ask", message="x", **unnamed)
            assert there[0] == "not_found"
        assert (await refusal(client, "list_sources", bot_id=theirs.bot))[0] == "not_found"
        for uri in (theirs.document, nothing, "", "x", f"{mine.document}/", f"../{mine.document}"):
            with pytest.raises(MCPError) as told:
                await client.read_resource(f"carrel://documents/{uri}")
            assert told.value.error.message == f"not_found: {NOTHING}"
        hits = (await called(client, "search", query="Is the vault of Brinemoor open?", limit=100))["hits"]
        assert "Brinemoor" not in json.dumps([hits, (await client.list_resources()).model_dump(mode="json")])


async def test_chats_belong_to_one_end_user_and_one_member(carrel: Stand, far: Far, library: Library) -> None:
    tenant = library.tenant
    other_key = await tenant.key()
    member = await a_person(carrel, editor=tenant.id)
    async with far.client(library.key) as client:
        ours = (await called(client, "ask", message=QUESTION, end_user="ada"))["chat_id"]
        assert (await called(client, "ask", message=QUESTION, end_user="ada", chat_id=ours))["chat_id"] == ours
        for other in ({"end_user": "bob"}, {}, {"end_user": "Ada"}, {"end_user": "*"}):
            assert (await refusal(client, "ask", message="x", chat_id=ours, **other))[0] == "not_found"
        assert (await refusal(client, "ask", message="x", chat_id=ours, end_user=""))[0] == "invalid"
    for stranger in (other_key, member.token(tenant.id)):
        async with far.client(stranger) as client:
            assert (await refusal(client, "ask", message="x", chat_id=ours, end_user="ada"))[0] == "not_found"


# Credentials and rights


@EACH_MODE
async def test_nobody_comes_in_and_is_told_why(far: Far, shelf: Library, mode: str) -> None:
    for key in (None, "ck_0_0_0", f"{shelf.key}x"):
        answer = await far.post(key, rpc("tools/list"))
        assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
        assert answer.json()["error"]["data"]["status"] == 401
        with pytest.raises((MCPError, ExceptionGroup)) as refused:
            async with far.client(key, mode) as client:
                await client.list_tools()
        assert "unauthenticated" in repr(refused.value) or "key" in repr(refused.value)


async def test_a_key_does_what_its_scopes_give_and_sees_no_other_tool(far: Far, shelf: Library) -> None:
    async with far.client(await shelf.tenant.key("ask")) as client:
        assert {one.name for one in (await client.list_tools()).tools} == {"ask", "list_sources", "list_bots"}
        code, text = await refusal(client, "search", query="x")
        assert (code, text) == ("scope_missing", "scope_missing: This key lacks the scope 'search'.")
        with pytest.raises(MCPError) as told:
            await client.read_resource(f"carrel://documents/{shelf.document}")
        assert told.value.error.message == text
    async with far.client(await shelf.tenant.key("search")) as client:
        assert (await refusal(client, "ask", message="x"))[0] == "scope_missing"


async def test_what_is_refused_stands_in_the_tenants_log(carrel: Stand, far: Far, library: Library) -> None:
    async with far.client(await library.tenant.key("ask")) as client:
        await refusal(client, "search", query="x")
    await carrel.app.refusals.flush()
    async with httpx2.AsyncClient(base_url=far.url) as http:
        answer = await Caller(http, library.key)("GET", "/v1/audit?result=refused")
    assert any(event["action"] == "access.refused" for event in answer.json()["items"]), answer.text


async def test_a_limited_key_reads_its_sources_and_no_other(carrel: Stand, far: Far, library: Library) -> None:
    tenant = library.tenant
    other = await tenant.source("Secret")
    hidden = await tenant.put(other.id, "secret.md", "The harbour office of Kelpwick hides a treasure of amber.")
    wish = KeyWish("limited", frozenset({Scope.SEARCH, Scope.ASK}), sources=frozenset({library.source_id}))
    limited = (await carrel.app.keys.create(tenant.console, wish)).clear
    async with far.client(limited) as client:
        assert [one["id"] for one in (await called(client, "list_sources"))["items"]] == [library.source]
        assert "amber" not in json.dumps(await called(client, "search", query="treasure of amber", limit=100))
        assert (await refusal(client, "search", query="x", source_ids=[str(other.id)]))[0] == "not_found"
        assert "secret.md" not in {one.name for one in (await client.list_resources()).resources}
        with pytest.raises(MCPError) as told:
            await client.read_resource(f"carrel://documents/{hidden.id}")
    assert told.value.error.message == f"not_found: {NOTHING}"


async def test_an_operator_reads_nobodys_documents(far: Far, operator: str) -> None:
    answer = await far.post(operator, tool("list_sources"))
    assert answer.status_code == 403
    assert answer.json()["error"]["data"]["code"] == "operator_has_no_content"


async def test_a_person_of_several_organisations_searches_them_and_chooses_for_the_rest(
    carrel: Stand, far: Far
) -> None:
    one, two = await a_library(carrel, far), await a_library(carrel, far)
    person = await a_person(carrel, viewer=one.tenant.id, editor=two.tenant.id)
    async with far.client(person.token()) as client:
        assert {tool.name for tool in (await client.list_tools()).tools} == {"search"}
        for tenants in ([one.tenant], [one.tenant, two.tenant]):
            found = await called(client, "search", query=QUESTION, tenants=[str(tenant.id) for tenant in tenants])
            assert {hit["tenant_id"] for hit in found["hits"]} == {str(tenant.id) for tenant in tenants}
        assert (await refusal(client, "list_sources"))[0] == "tenant_ambiguous"
        stranger = await a_tenant(carrel.app)
        refused = await refusal(client, "search", query="x", tenants=[str(stranger.id)])
        assert refused[0] == "not_found"


@EACH_MODE
async def test_what_is_taken_away_is_gone_at_the_next_call_of_the_same_client(
    carrel: Stand, far: Far, library: Library, mode: str
) -> None:
    key = await carrel.app.keys.create(library.tenant.console, KeyWish("gone", frozenset({Scope.SEARCH})))
    async with far.client(key.clear, mode) as client:
        assert (await called(client, "search", query=QUESTION))["hits"]
        await carrel.app.keys.revoke(library.tenant.console, key.row.id)
        with pytest.raises(MCPError) as told:
            await client.call_tool("search", {"query": QUESTION})
    assert "unauthenticated" in told.value.error.message or "key" in told.value.error.message


async def test_a_suspended_tenant_is_closed_here_too(carrel: Stand, far: Far, library: Library) -> None:
    await carrel.app.life.suspend(console(None), library.tenant.id)
    answer = await far.post(library.key, tool("search", query=QUESTION))
    assert answer.status_code in {401, 403}
    await carrel.app.life.resume(console(None), library.tenant.id)
    assert (await far.post(library.key, tool("search", query=QUESTION))).status_code == 200


# Limits


async def test_tools_are_counted_as_what_they_do(carrel: Stand, shelf: Library) -> None:
    two = Limit(2, 3600)
    gate = replace(carrel.app.gate, rates=Rates({RouteClass.SEARCH: two}), _known={})
    async with (
        serving(create_app(lambda: nullcontext(replace(carrel.app, gate=gate)))) as (host, port),
        Far(f"http://{host}:{port}").client(shelf.key) as client,
    ):
        await called(client, "search", query=QUESTION)
        await client.read_resource(f"carrel://documents/{shelf.document}")
        assert (await refusal(client, "search", query=QUESTION))[0] == "rate_limited"
        answer = await Far(f"http://{host}:{port}").post(shelf.key, tool("search", query=QUESTION))
        assert int(answer.headers["Retry-After"]) > 0
        assert answer.headers["RateLimit-Limit"] == "2"
        assert (await called(client, "ask", message=QUESTION))["status"] == "answered"
        await called(client, "list_sources")


async def test_calls_beyond_the_limit_of_all_else_are_429(carrel: Stand, shelf: Library) -> None:
    gate = replace(carrel.app.gate, rates=Rates({RouteClass.OTHER: Limit(1, 3600)}), _known={})
    async with serving(create_app(lambda: nullcontext(replace(carrel.app, gate=gate)))) as (host, port):
        far = Far(f"http://{host}:{port}")
        assert (await far.post(shelf.key, tool("list_sources"))).status_code == 200
        answer = await far.post(shelf.key, tool("list_sources"))
    assert answer.status_code == 429
    assert int(answer.headers["Retry-After"]) > 0
    assert answer.json()["error"]["data"]["code"] == "rate_limited"


# The place


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:1234", 200), ("127.0.0.1", 200), ("[::1]:80", 200), ("LOCALHOST", 200),
        ("evil.example", 421), ("localhost.evil.example", 421), ("127.0.0.1.evil.example:80", 421),
        ("localhost@evil.example", 421), ("localhost:", 200), ("localhost:x", 421), ("10.1.2.3", 421),
    ],
)  # fmt: skip
async def test_only_a_host_that_is_known_is_answered(far: Far, shelf: Library, host: str, status: int) -> None:
    answer = await far.post(shelf.key, tool("list_sources"), headers={"Host": host})
    assert answer.status_code == status, answer.text
    if status == 421:
        assert answer.json()["error"]["data"]["code"] == "unknown_host"


async def test_hosts_and_origins_of_the_settings_are_known(carrel: Stand, shelf: Library) -> None:
    hosts = KnownHosts(frozenset({"carrel.example", "other.example:8443"}), frozenset({"https://chat.example"}))
    async with serving(create_app(lambda: nullcontext(replace(carrel.app, hosts=hosts)))) as (address, port):
        far = Far(f"http://{address}:{port}")
        for headers, status in (
            ({"Host": "carrel.example"}, 200),
            ({"Host": "Carrel.Example:443"}, 200),
            ({"Host": "other.example:8443"}, 200),
            ({"Host": "other.example"}, 421),
            ({"Host": "carrel.example", "Origin": "https://carrel.example"}, 200),
            ({"Host": "carrel.example", "Origin": "https://chat.example"}, 200),
            ({"Host": "carrel.example", "Origin": "http://chat.example"}, 403),
            ({"Host": "carrel.example", "Origin": "https://chat.example:444"}, 403),
        ):
            answer = await far.post(shelf.key, tool("list_sources"), headers=headers)
            assert answer.status_code == status, headers


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://localhost:6274", 200), ("http://127.0.0.1", 200),
        ("https://evil.example", 403), ("null", 403), ("", 403), ("http://localhost.evil.example", 403),
        ("file://localhost", 403), ("https://localhost@evil.example", 403),
    ],
)  # fmt: skip
async def test_a_page_from_elsewhere_may_not_call(far: Far, shelf: Library, origin: str, status: int) -> None:
    answer = await far.post(shelf.key, tool("list_sources"), headers={"Origin": origin})
    assert answer.status_code == status, answer.text
    assert "access-control-allow-origin" not in answer.headers


# What is sent


GARBAGE: Final[list[tuple[bytes, str]]] = [
    (b"", "invalid_message"), (b"null", "invalid_message"), (b"[]", "invalid_message"), (b'"x"', "invalid_message"),
    (b"{}", "invalid_message"), (b'{"jsonrpc": "2.0"}', "invalid_message"), (b"{", "malformed_json"),
    (b"\xff\xfe", "malformed_json"), (b'{"jsonrpc": "2.0", "id": true, "method": "ping"}', "invalid_message"),
    (b'{"jsonrpc": "2.0", "id": 1.5, "method": "ping"}', "invalid_message"),
    (b'{"jsonrpc": "2.0", "id": null, "method": "ping"}', "invalid_message"),
    (b'{"jsonrpc": "2.0", "id": 1, "method": "ping", "params": [1]}', "invalid_message"),
    (b'{"jsonrpc": "1.0", "id": 1, "method": "ping"}', "invalid_message"),
    (b'{"jsonrpc": "2.0", "id": 1, "result": {}}', "invalid_message"),
    (b'[{"jsonrpc": "2.0", "id": 1, "method": "tools/list"}]', "invalid_message"),
    (b'{"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": ' + b'{"a":' * 60 + b"1" + b"}" * 61,
     "malformed_json"),
    (b'{"jsonrpc": "2.0", "id": 1, "method": "\\ud800"}', "malformed_json"),
    (b'{"jsonrpc": "2.0", "id": 1, "method": "ping", "params": {"a": NaN}}', "malformed_json"),
]  # fmt: skip


@pytest.mark.parametrize(("content", "code"), GARBAGE)
@pytest.mark.parametrize("version", ["2025-11-25", "2026-07-28"])
async def test_garbage_is_400_with_an_error_of_json_rpc(
    far: Far, shelf: Library, *, content: bytes, code: str, version: str
) -> None:
    headers = {"Content-Type": "application/json", "MCP-Protocol-Version": version}
    answer = await far.post(shelf.key, content=content, headers=headers)
    assert answer.status_code == 400, answer.text
    body = answer.json()
    assert (body["jsonrpc"], body["id"], body["error"]["data"]["code"]) == ("2.0", None, code)


async def test_a_message_is_bounded_and_is_json(far: Far, shelf: Library) -> None:
    large = await far.post(shelf.key, tool("search", query="x" * 1024 * 1024))
    assert (large.status_code, large.json()["error"]["data"]["code"]) == (413, "too_large")
    plain = await far.post(shelf.key, content=b"{}", headers={"Content-Type": "text/plain"})
    assert plain.status_code == 415
    long = await far.post(shelf.key, tool("search", query="x" * 9000))
    assert long.json()["result"]["isError"]


@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT", "PATCH", "HEAD", "OPTIONS"])
async def test_there_is_nothing_but_post(far: Far, shelf: Library, method: str) -> None:
    async with httpx2.AsyncClient(timeout=20) as http:
        headers = {"Authorization": f"Bearer {shelf.key}", **ACCEPT}
        answer = await http.request(method, f"{far.url}/mcp", headers=headers)
        slash = await http.post(f"{far.url}/mcp/", headers=headers, json=tool("list_sources"))
    assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")
    assert slash.status_code == 404


@pytest.mark.parametrize("version", [None, "2024-11-05", "2025-11-25", "2026-07-28", "1999-01-01", "x" * 300])
async def test_no_version_and_no_method_makes_a_mistake_of_ours(far: Far, shelf: Library, version: str | None) -> None:
    headers = {"MCP-Protocol-Version": version} if version else {}
    for message in (
        rpc("no/such"), rpc("subscriptions/listen"), rpc("logging/setLevel", level="debug"), rpc("prompts/list"),
        rpc("tools/call", name=7), rpc("tools/call", name="search", arguments=[]), rpc("resources/read"),
        rpc("resources/read", uri=7), rpc("resources/subscribe", uri="carrel://documents/x"),
        rpc("completion/complete"),
        rpc("tools/call", name="search", arguments={"query": {"a": 1}}), rpc("initialize"), rpc("__class__"),
        rpc("tools/list", cursor=5), rpc("resources/list", cursor="x" * 5000),
    ):  # fmt: skip
        answer = await far.post(shelf.key, message, headers=headers)
        assert answer.status_code < 500, (message, answer.text)
        told = answer.json()
        assert "error" in told or told["result"].get("isError"), told
        assert "Traceback" not in answer.text
        assert "pydantic" not in answer.text


async def test_notifications_are_taken_and_cancel_nobody(far: Far, shelf: Library) -> None:
    message = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}}
    answer = await far.post(shelf.key, message)
    assert (answer.status_code, answer.content) == (202, b"")


async def test_each_answer_has_the_headers_of_every_other(far: Far, shelf: Library) -> None:
    answer = await far.post(shelf.key, tool("list_sources"))
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert len(answer.headers["X-Request-Id"]) == 32
    assert "Mcp-Session-Id" not in answer.headers


async def test_a_mistake_of_ours_is_told_without_its_reason(
    far: Far, shelf: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object, **__: object) -> None:
        raise RuntimeError("the secret reason")

    monkeypatch.setattr("carrel.library.sources.Sources.listed", broken)
    for version in ("2025-11-25", "2026-07-28"):
        async with far.client(shelf.key, "legacy" if version == "2025-11-25" else "auto") as client:
            with pytest.raises(MCPError) as told:
                await client.call_tool("list_sources", {})
        assert told.value.error.message.startswith("internal_error:")
        assert "secret" not in json.dumps(told.value.error.model_dump())


async def test_what_breaks_the_engine_does_not_end_the_server(carrel: Stand, shelf: Library) -> None:
    app = create_app(lambda: nullcontext(carrel.app))
    async with serving(app) as (host, port):
        far = Far(f"http://{host}:{port}")
        assert (await far.post(shelf.key, rpc("tools/list"))).status_code == 200

        async def broken() -> None:
            raise RuntimeError("nobody foresaw it")

        engine = app.state.mcp._engine
        engine._task_group.start_soon(broken)
        async with asyncio.timeout(20):
            while app.state.mcp._engine is engine:  # noqa: ASYNC110 - it has no event for it
                await asyncio.sleep(0.01)
        assert (await far.post(shelf.key, rpc("tools/list"))).status_code == 200


# Together


async def test_many_clients_of_two_tenants_at_once_never_see_each_other(carrel: Stand, far: Far) -> None:
    mine = await a_library(carrel, far, fact="The password of the week in Kelpwick is samphire.")
    theirs = await a_library(carrel, far, fact="The password of the week in Brinemoor is dulse.")
    words = {mine.key: ("samphire", "dulse"), theirs.key: ("dulse", "samphire")}

    async def visit(key: str, mode: str) -> None:
        own, foreign = words[key]
        async with far.client(key, mode) as client:
            for name, arguments in (
                ("search", {"query": "What is the password of the week?"}),
                ("ask", {"message": "What is the password of the week?"}),
            ):
                told = json.dumps(await called(client, name, **arguments))
                assert own in told
                assert foreign not in told

    async with asyncio.TaskGroup() as group:
        for number in range(16):
            group.create_task(visit((mine.key, theirs.key)[number % 2], MODES[number // 2 % 2]))


def test_the_sdk_is_not_imported_before_anybody_comes_and_leaves_logging_alone() -> None:
    script = (
        "import sys, logging, carrel.api.app; assert 'mcp' not in sys.modules; root = logging.getLogger();"
        "before = (root.level, list(root.handlers)); from carrel.api.mcp.server import engine; engine();"
        "assert (root.level, list(root.handlers)) == before"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


async def test_the_sdk_logs_no_content(far: Far, shelf: Library, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        async with far.client(shelf.key, "legacy") as client:
            await called(client, "search", query="a very private question")
    assert "a very private question" not in caplog.text
