"""One visitor's operations through the HTTP door, each answer compared with the model."""

import json
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar

import httpx2

from proof.model import ROLES, SCOPES, Bot, Chat, Document, Key, Model, Person, Said, Source, ids, marker, markers

TEXT: Final = "The harbour office of {word} opens at nine."
END_USERS: Final = (None, None, "Ann", "*")
QUESTION: Final = "When does the harbour office of {word} open?"

_MOST: Final = 100
_SCOPES: Final = (
    SCOPES, SCOPES, ("search", "ask"), ("search",), ("search", "ingest"), ("ask", "manage"), ("ingest",),
)  # fmt: skip
_NOTHING: Final = 11  # the target that is nothing at all
_CHOOSE: Final = 409

Thing = TypeVar("Thing", Key, Source, Bot, Document, Chat)


@dataclass(frozen=True)
class Operation:
    """What is done, by whom and to what: numbers that pick from what there is when it is done.

    `own` picks from the actor's own tenant, else from all. `way` is which variant of the operation it is.
    """

    kind: str
    actor: int
    own: bool
    target: int
    other: int
    way: int


@dataclass
class World:
    """`settle` waits until every version of the world is ready; the others do what happens to keys and people."""

    client: httpx2.AsyncClient
    model: Model
    absent: bytes
    roots: Sequence[Key]
    settle: Callable[[], Awaitable[None]]
    expire: Callable[[Key], Awaitable[None]]
    member: Callable[..., Awaitable[None]]
    bar: Callable[[Person], Awaitable[None]]
    sign_out: Callable[[str], Awaitable[None]]


def surface(response: httpx2.Response) -> bytes:
    """All that a caller can tell one refusal from another by, but the request's own id."""
    headers = sorted((name, value) for name, value in response.headers.items() if name != "x-request-id")
    return json.dumps([response.status_code, headers]).encode() + response.content


class Visitor:
    def __init__(self, world: World) -> None:
        self._world = world
        self._model = world.model

    async def do(self, wanted: Operation) -> None:
        operation: Callable[[Key, Operation], Awaitable[None]] = getattr(self, wanted.kind)
        await operation(self._model.keys[wanted.actor % len(self._model.keys)], wanted)

    # Looking

    async def list_sources(self, key: Key, wanted: Operation) -> None:
        bot = self._pick(self._model.bots, key, wanted) if wanted.way % 2 else None
        scope = self._model.scope(key, bot=bot)
        query = f"&bot_id={bot}" if bot else ""
        found = await self._call(key, "read", "GET", f"/v1/sources?limit=200{query}", there=scope is not None)
        if found is not None:
            assert _ids(found["items"]) == scope

    async def list_bots(self, key: Key, _: Operation) -> None:
        found = await self._call(key, "read", "GET", "/v1/bots?limit=200")
        if found is not None:
            readable = self._model.readable_ids(key)
            seen = {bot.id: bot.sources & readable for bot in self._model.seen_bots(key)}
            assert {item["id"]: set(item["source_ids"]) for item in found["items"]} == seen

    async def list_documents(self, key: Key, wanted: Operation) -> None:
        source = self._pick(self._model.sources, key, wanted) if wanted.way % 3 == 1 else None
        bot = self._pick(self._model.bots, key, wanted) if wanted.way % 3 == 2 else None
        scope = self._model.scope(key, bot=bot, sources={source} if source else None)
        query = f"source_id={source}" if source else f"bot_id={bot}" if bot else ""
        path, there = f"/v1/documents?limit={(200, 2)[wanted.other % 2]}&{query}", scope is not None
        items: list[Any] = []
        cursor: str | None = ""
        while cursor is not None:
            more = f"&cursor={cursor}" if cursor else ""
            found = await self._call(key, "read", "GET", path + more, there=there)
            items += found["items"] if found else []
            cursor = found["next_cursor"] if found else None
        if there and not self._model.refused(key, "read"):
            assert sorted(item["id"] for item in items) == sorted(d.id for d in self._model.documents_in(scope or ()))

    async def list_keys(self, key: Key, _: Operation) -> None:
        found = await self._call(key, "manage", "GET", "/v1/keys?limit=200")
        if found is not None:
            assert _ids(found["items"]) == {known.id for known in self._model.keys_of(key.tenant)}

    async def read_source(self, key: Key, wanted: Operation) -> None:
        source = self._pick(self._model.sources, key, wanted)
        await self._call(key, "read", "GET", f"/v1/sources/{source}", there=source in self._model.readable_ids(key))

    async def read_bot(self, key: Key, wanted: Operation) -> None:
        bot = self._pick(self._model.bots, key, wanted)
        there = bot in {seen.id for seen in self._model.seen_bots(key)}
        await self._call(key, "read", "GET", f"/v1/bots/{bot}", there=there)

    async def read_key(self, key: Key, wanted: Operation) -> None:
        other = self._pick(self._model.keys, key, wanted)
        there = other in {known.id for known in self._model.keys_of(key.tenant)}
        await self._call(key, "manage", "GET", f"/v1/keys/{other}", there=there)

    async def read_document(self, key: Key, wanted: Operation) -> None:
        document, there = self._document(key, wanted)
        await self._call(key, "read", "GET", f"/v1/documents/{document}", there=there)

    async def read_content(self, key: Key, wanted: Operation) -> None:
        document, there = self._document(key, wanted)
        response = await self._sent(key, "search", "GET", f"/v1/documents/{document}/content", there=there)
        if response.status_code == 200:
            (word,) = markers(response.text)
            (shown,) = (known for known in self._model.documents if known.id == document)
            assert word in shown.words

    async def operate(self, key: Key, wanted: Operation) -> None:
        """An operator sees that a tenant is there, and so does its owner."""
        number = wanted.target % len(self._model.tenants)
        path, there = f"/v1/tenants/{self._model.tenants[number]}", key.operates or number == key.tenant
        response = await self._sent(key, "own", "GET", path, there=there)
        assert response.status_code == 200 or not ids(response.text)

    # Asking

    async def search(self, key: Key, wanted: Operation) -> None:
        settled = await self._settled(wanted)
        word, place, scope = self._asked(key, wanted)
        body = {"query": QUESTION.format(word=word), "limit": _MOST, **place}
        found = await self._call(key, "search", "POST", "/v1/search", there=scope is not None, json=body)
        if found is not None and scope is not None:
            shown = self._shown({key.tenant or 0}, scope, found["hits"])
            assert not settled or shown == self._words(scope), "What may be found was not found."

    async def chat(self, key: Key, wanted: Operation) -> None:
        settled = await self._settled(wanted)
        word, place, scope = self._asked(key, wanted)
        chat, end_user = self._chat(key, wanted) if wanted.other % 3 == 0 else (None, _end_user(wanted))
        known = next((one for one in self._model.seen_chats(key, end_user) if one.id == chat), None)
        mine = chat is None or known is not None
        body = {"message": QUESTION.format(word=word), "chat_id": chat, "end_user": end_user, **place}
        there = scope is not None and mine and "tenants" not in place
        found = await self._call(key, "ask", "POST", "/v1/chat", there=there, asked=word, json=body)
        if found is None or scope is None or key.tenant is None:
            return
        shown = self._shown({key.tenant}, scope, found["evidence"])
        assert not settled or word not in self._words(scope) or word in shown, "What may be found was not found."
        documents = self._model.documents_in(scope)
        assert {one["document_id"] for one in found["citations"]} <= {document.id for document in documents}
        quoted = [one["excerpt"] for one in found["citations"]] + [found["answer"]] * (found["status"] == "answered")
        assert markers(" ".join(quoted)) <= {shown for document in documents for shown in document.words}
        if known is None:
            known = Chat(found["chat_id"], key.tenant, key.user, end_user)
            self._model.chats.append(known)
        known.said.append(_said(word, found))

    async def list_chats(self, key: Key, wanted: Operation) -> None:
        _, end_user = self._chat(key, wanted)
        mine = self._model.seen_chats(key, end_user)
        words = " ".join(self._model.readable_words(key, mine))
        found = await self._call(key, "ask", "GET", _of("/v1/chats?limit=200", end_user), asked=words)
        if found is not None:
            assert _ids(found["items"]) == {chat.id for chat in mine}

    async def read_chat(self, key: Key, wanted: Operation) -> None:
        """Its messages, or all of it to take along."""
        chat, end_user = self._chat(key, wanted)
        mine = [known for known in self._model.seen_chats(key, end_user) if known.id == chat]
        words = " ".join(self._model.readable_words(key, mine))
        path = ("/messages?limit=200", "/export?format=csv", "/export?format=json", "?")[wanted.way % 4]
        path = _of(f"/v1/chats/{chat}{path}", end_user)
        response = await self._sent(key, "ask", "GET", path, there=bool(mine), asked=words)
        if response.is_success and wanted.way % 4 == 0:
            assert len(response.json()["items"]) == len(mine[0].said)

    async def delete_chat(self, key: Key, wanted: Operation) -> None:
        chat, end_user = self._chat(key, wanted)
        mine = {known.id: known for known in self._model.seen_chats(key, end_user)}
        path = _of(f"/v1/chats/{chat}?", end_user)
        response = await self._sent(key, "ask", "DELETE", path, good=204, there=chat in mine)
        if response.status_code == 204:
            mine[chat].gone = True

    async def mcp_search(self, key: Key, wanted: Operation) -> None:
        settled = await self._settled(wanted)
        word, place, scope = self._asked(key, wanted)
        arguments = {"query": QUESTION.format(word=word), "limit": _MOST, **place}
        sent = {"name": "search", "arguments": arguments}
        found = await self._spoken(key, "tools/call", there=scope is not None, asked=word, **sent)
        if found is not None and scope is not None:
            shown = self._shown({key.tenant or 0}, scope, found["structuredContent"]["hits"])
            assert not settled or shown == self._words(scope), "What may be found was not found."

    async def mcp_read(self, key: Key, wanted: Operation) -> None:
        """A document as a resource, once something of it can be read."""
        await self._settled(replace(wanted, other=0))
        document, there = self._document(key, wanted)
        found = await self._spoken(key, "resources/read", there=there, uri=f"carrel://documents/{document}")
        if found is not None:
            (word,) = markers(found["contents"][0]["text"])
            (shown,) = (known for known in self._model.documents if known.id == document)
            assert word in shown.words

    # Bringing and taking away

    async def upload(self, key: Key, wanted: Operation) -> None:
        source = self._pick(self._model.sources, key, wanted)
        there = source in self._model.readable_ids(key)
        held = [known for known in self._model.documents if known.source == source]
        name = held[wanted.other % len(held)].name if held and wanted.way % 2 else marker()
        word = self._twin_word(wanted) if wanted.way % 3 == 0 else marker()
        path, content = f"/v1/sources/{source}/documents/{name}.txt", TEXT.format(word=word).encode()
        found = await self._call(
            key, "ingest", "PUT", path, good=202, there=there, asked=f"{word} {name}", content=content
        )
        if found is not None and key.tenant is not None:
            outcome = self._taken(Document(found["document_id"], name, key.tenant, source, [word]))
            assert found["outcome"] == outcome

    async def delete_document(self, key: Key, wanted: Operation) -> None:
        document, there = self._document(key, wanted)
        response = await self._sent(key, "ingest", "DELETE", f"/v1/documents/{document}", good=204, there=there)
        if response.status_code == 204:
            (gone,) = (known for known in self._model.documents if known.id == document)
            gone.gone = True

    async def create_source(self, key: Key, wanted: Operation) -> None:
        name, private = marker(), bool(wanted.way % 2)
        body = {"name": name, "visibility": "private" if private else "tenant"}
        found = await self._call(key, "curate", "POST", "/v1/sources", good=201, asked=name, json=body)
        if found is not None and key.tenant is not None:
            self._model.sources.append(Source(found["id"], name, key.tenant, key.user if private else None))

    async def delete_source(self, key: Key, wanted: Operation) -> None:
        source = self._pick(self._model.sources, key, wanted)
        there = source in self._model.readable_ids(key)
        response = await self._sent(key, "curate", "DELETE", f"/v1/sources/{source}", good=204, there=there)
        if response.status_code == 204:
            self._model.forget_source(next(known for known in self._model.sources if known.id == source))

    # Managing

    async def create_bot(self, key: Key, wanted: Operation) -> None:
        name, given = marker(), self._some_sources(key, wanted)
        there = given <= self._model.readable_ids(key)
        body = {"name": name, "source_ids": sorted(given)}
        found = await self._call(key, "curate", "POST", "/v1/bots", good=201, there=there, asked=name, json=body)
        if found is not None and key.tenant is not None:
            self._model.bots.append(Bot(found["id"], name, key.tenant, given))

    async def change_bot(self, key: Key, wanted: Operation) -> None:
        """What a member cannot see it neither gives to a bot nor takes from it."""
        bot, given = self._pick(self._model.bots, key, wanted), self._some_sources(key, wanted)
        readable = self._model.readable_ids(key)
        seen = {known.id: known for known in self._model.seen_bots(key)}
        there = bot in seen and given <= readable
        body = {"source_ids": sorted(given)}
        found = await self._call(key, "curate", "PATCH", f"/v1/bots/{bot}", there=there, json=body)
        if found is not None:
            seen[bot].sources = given | (seen[bot].sources - readable)
            assert set(found["source_ids"]) == given

    async def delete_bot(self, key: Key, wanted: Operation) -> None:
        bot = self._pick(self._model.bots, key, wanted)
        seen = {known.id: known for known in self._model.seen_bots(key)}
        response = await self._sent(key, "curate", "DELETE", f"/v1/bots/{bot}", good=204, there=bot in seen)
        if response.status_code == 204:
            seen[bot].gone = True

    async def create_key(self, key: Key, wanted: Operation) -> None:
        name = marker()
        scopes = _SCOPES[wanted.way % len(_SCOPES)]
        bots = {self._pick(self._model.bots, key, wanted)} if wanted.other & 1 else None
        sources = {self._pick(self._model.sources, key, wanted)} if wanted.other & 2 else None
        there = bots is None or bots <= {bot.id for bot in self._model.seen_bots(key)}
        there = there and (sources is None or sources <= self._model.readable_ids(key))
        limits = {"bot_ids": bots and sorted(bots), "source_ids": sources and sorted(sources)}
        exceeds = not set(scopes) <= key.can
        found = await self._call(
            key,
            "manage",
            "POST",
            "/v1/keys",
            good=403 if exceeds else 201,
            there=there or exceeds,
            asked=name,
            json={"name": name, "scopes": list(scopes), **limits},
        )
        if found is not None and not exceeds and key.tenant is not None:
            made = Key(found["id"], found["key"], name, key.tenant, frozenset(scopes), person=key.person)
            made.bots = None if bots is None else frozenset(bots)
            made.sources = None if sources is None else frozenset(sources)
            self._model.keys.append(made)

    async def revoke_key(self, key: Key, wanted: Operation) -> None:
        spared = [known for known in self._mortal() if not known.revoked]
        other = self._pick(spared if wanted.way % 3 else self._mortal(), key, wanted)
        there = {known.id: known for known in self._mortal() if known.tenant == key.tenant and not known.revoked}
        path = f"/v1/keys/{other}"
        response = await self._sent(key, "manage", "DELETE", path, good=204, there=other in there)
        if response.status_code == 204:
            there[other].revoked = True

    # People come and go

    async def search_across(self, key: Key, wanted: Operation) -> None:
        """By the names of tenants: a person's own ones, or with one among them that is not."""
        if key.person is None or not key.session:
            return
        settled = await self._settled(wanted)
        numbers = {wanted.target % len(self._model.tenants), wanted.other % len(self._model.tenants)}
        seats = [replace(key, tenant=number) for number in sorted(numbers)]
        documents = [d for seat in seats for d in self._model.seen_documents(seat)]
        word = documents[wanted.way % len(documents)].words[-1] if documents else marker()
        body = {
            "query": QUESTION.format(word=word),
            "limit": _MOST,
            "tenants": [self._model.tenants[number] for number in sorted(numbers)],
        }
        there = numbers <= (key.person.tenants if key.tenant is None else {key.tenant})
        asker = replace(key, reach=frozenset(numbers))
        found = await self._call(asker, "search", "POST", "/v1/search", there=there, asked=word, json=body)
        if found is not None and there:
            assert not found.get("partial")
            scope = {source for seat in seats for source in self._model.readable_ids(seat)}
            shown = self._shown(numbers, scope, found["hits"])
            assert not settled or shown == self._words(scope), "What may be found was not found."

    async def change_role(self, _: Key, wanted: Operation) -> None:
        """Somebody who may has done it; roles and suspension by themselves are tested elsewhere."""
        person, tenant = self._membership(wanted)
        if person is not None:
            role = ROLES[wanted.way % len(ROLES)]
            await self._world.member(person, tenant, role, suspended=tenant in person.left)
            person.roles[tenant] = role

    async def suspend_member(self, _: Key, wanted: Operation) -> None:
        """And the next time the membership is given back. What they brought is ready then: else it would fail."""
        person, tenant = self._membership(wanted)
        if person is not None:
            await self._settled(replace(wanted, other=0))
            person.left ^= {tenant}
            await self._world.member(person, tenant, person.roles[tenant], suspended=tenant in person.left)

    async def bar(self, _: Key, wanted: Operation) -> None:
        """Everywhere, or no more."""
        person, _tenant = self._membership(wanted)
        if person is not None:
            await self._settled(replace(wanted, other=0))
            person.barred = not person.barred
            await self._world.bar(person)

    async def sign_out(self, _: Key, wanted: Operation) -> None:
        """The session ends, and whatever tokens were made for it."""
        sessions = [key for key in self._model.keys if key.session and not key.revoked]
        if sessions:
            one = sessions[wanted.target % len(sessions)].id
            await self._world.sign_out(one)
            for key in sessions:
                key.revoked = key.revoked or key.id == one

    def _membership(self, wanted: Operation) -> tuple[Person | None, int]:
        people = {key.person.id: key.person for key in self._model.keys if key.person is not None and key.session}
        if not people:
            return None, 0
        person = sorted(people.values(), key=lambda one: one.id)[wanted.target % len(people)]
        return person, sorted(person.roles)[wanted.other % len(person.roles)]

    async def expire_key(self, _: Key, wanted: Operation) -> None:
        """Time passes; the key itself does nothing."""
        mortal = self._mortal()
        if mortal:
            one = mortal[wanted.target % len(mortal)]
            await self._world.expire(one)
            one.expired = True

    # Sending and comparing

    async def _call(self, key: Key, needs: str, method: str, path: str, **rest: Any) -> Any:
        """The answer's body, or None where a refusal was right."""
        response = await self._sent(key, needs, method, path, **rest)
        return response.json() if response.is_success else None

    async def _sent(
        self,
        key: Key,
        needs: str,
        method: str,
        path: str,
        *,
        there: bool = True,
        good: int = 200,
        asked: str = "",
        **sent: Any,
    ) -> httpx2.Response:
        allowed = self._model.names_for(key) | markers(asked)
        right = self._model.refused(key, needs) or (good if there else 404)
        headers = {"Authorization": f"Bearer {key.clear}"}
        response = await self._world.client.request(method, path, headers=headers, **sent)
        assert response.status_code == right, f"{response.status_code} instead of {right}: {response.text}"
        assert right != 404 or surface(response) == self._world.absent, "One 404 differs from another."
        self._demand_own(key, response, allowed)
        return response

    async def _spoken(self, key: Key, method: str, *, there: bool, asked: str = "", **params: Any) -> Any:
        """What a message of MCP comes to, or None where a refusal was right: of the request, or inside the answer."""
        outer, inner = self._model.refused(key, "read"), self._model.refused(key, "search") or (200 if there else 404)
        if outer == _CHOOSE:  # whoever has not chosen a tenant may speak, and is told when it matters
            outer = None
        response = await self._world.client.post(
            "/mcp",
            headers={"Authorization": f"Bearer {key.clear}"},
            json={"jsonrpc": "2.0", "id": 1, "method": method, "params": params},
        )
        assert response.status_code == (outer or 200), response.text
        self._demand_own(key, response, self._model.names_for(key) | markers(asked) | markers(json.dumps(params)))
        if outer is not None:
            return None
        answer = response.json()
        problem = answer["error"]["data"] if "error" in answer else answer["result"].get("_meta", {}).get("problem")
        assert (problem["status"] if problem else 200) == inner, response.text
        assert inner != 404 or problem["detail"] == "There is nothing here that you may see."
        return None if problem else answer["result"]

    def _demand_own(self, key: Key, response: httpx2.Response, allowed: set[str]) -> None:
        assert markers(response.text) <= allowed, f"What {key.name} must not see: {response.text}"
        foreign = set() if key.operates else self._model.foreign_ids(key.own)
        assert not ids(response.text) & foreign, f"An id of another tenant: {response.text}"

    def _shown(self, tenants: set[int], scope: set[str], hits: Sequence[dict[str, Any]]) -> set[str]:
        """The words of the hits, each of them a word of the document that it says it is from, within the scope."""
        documents = {document.id: document for document in self._model.documents_in(scope)}
        shown = set()
        for hit in hits:
            assert hit["document_id"] in documents, f"A hit from outside of the scope: {hit}"
            document = documents[hit["document_id"]]
            (word,) = markers(hit["text"])
            assert word in document.words, f"Text that is not there (any more): {hit}"
            expected = (document.source, f"{document.name}.txt", self._model.tenants[document.tenant])
            assert (hit["source_id"], hit["key"], hit["tenant_id"]) == expected
            assert document.tenant in tenants
            shown.add(word)
        return shown

    def _words(self, scope: set[str]) -> set[str]:
        return {document.words[-1] for document in self._model.documents_in(scope)}

    async def _settled(self, wanted: Operation) -> bool:
        """Mostly waited for; else the old version or the new one may be shown, and nothing need be."""
        if wanted.other % 4 == 3:
            return False
        await self._world.settle()
        for document in self._model.documents:
            document.words = document.words[-1:]
        return True

    # Picking

    def _pick(self, things: Sequence[Thing], key: Key, wanted: Operation) -> str:
        """The id of one of these, dead or alive, or of nothing."""
        pool = [thing for thing in things if thing.tenant == key.tenant or not wanted.own]
        return str(uuid.uuid4()) if wanted.target == _NOTHING or not pool else pool[wanted.target % len(pool)].id

    def _document(self, key: Key, wanted: Operation) -> tuple[str, bool]:
        document = self._pick(self._model.documents, key, wanted)
        return document, document in {seen.id for seen in self._model.seen_documents(key)}

    def _chat(self, key: Key, wanted: Operation) -> tuple[str, str | None]:
        """The id of a chat, and for whom it is asked for: mostly the one that had it."""
        chat = self._pick(self._model.chats, key, wanted)
        had = [known.end_user for known in self._model.chats if known.id == chat and wanted.way % 3]
        return chat, had[0] if had else _end_user(wanted)

    def _some_sources(self, key: Key, wanted: Operation) -> set[str]:
        mine = sorted(self._model.readable_ids(key))
        second = {mine[wanted.other % len(mine)]} if mine and wanted.way % 2 else set()
        return {self._pick(self._model.sources, key, wanted)} | second

    def _asked(self, key: Key, wanted: Operation) -> tuple[str, dict[str, Any], set[str] | None]:
        """Which word is asked for, where, and the sources that this comes to."""
        pool = [d for d in self._model.documents if d.tenant == key.tenant or not wanted.own]
        word = pool[wanted.other % len(pool)].words[-1] if pool else marker()
        match wanted.way % 5:
            case 1 | 2:
                bot = self._pick(self._model.bots, key, wanted)
                return word, {"bot_id": bot}, self._model.scope(key, bot=bot)
            case 3:
                sources = self._some_sources(key, wanted)
                return word, {"source_ids": sorted(sources)}, self._model.scope(key, sources=sources)
            case 4 if wanted.kind == "search" and not (key.session and key.tenant is None):
                number = wanted.target % len(self._model.tenants)
                scope = self._model.scope(key) if number == key.tenant else None
                return word, {"tenants": [self._model.tenants[number]]}, scope
            case _:
                return word, {}, self._model.scope(key)

    def _twin_word(self, wanted: Operation) -> str:
        """Equal bytes are there already, of this tenant or another."""
        known = self._model.documents
        return known[wanted.other % len(known)].words[-1] if known else marker()

    def _taken(self, new: Document) -> str:
        old = next((known for known in self._model.documents if known.id == new.id), None)
        if old is None:
            self._model.documents.append(new)
            return "created"
        if old.gone:
            old.gone, old.words = False, new.words
            return "created"
        if old.words[-1:] == new.words:
            return "unchanged"
        old.words = [*old.words, *new.words]
        return "replaced"

    def _mortal(self) -> list[Key]:
        """Each tenant's first key stays, so that something can still be done there."""
        return [
            key
            for key in self._model.keys
            if key.tenant is not None and not key.session and key not in self._world.roots
        ]


def _end_user(wanted: Operation) -> str | None:
    return END_USERS[(wanted.way + wanted.target) % len(END_USERS)]


def _of(path: str, end_user: str | None) -> str:
    return path if end_user is None else f"{path}&{httpx2.QueryParams({'end_user': end_user})}"


def _said(word: str, found: dict[str, Any]) -> Said:
    """A refusal's guidance names the documents that lay nearest."""
    named = found["evidence"] if found["status"] == "refused" else found["citations"]
    answered = markers(" ".join([found["answer"], *found["guidance"], *(str(one) for one in found["citations"])]))
    return Said(frozenset({word}), frozenset(answered), frozenset(one["document_id"] for one in named))


def _ids(items: Sequence[dict[str, Any]]) -> set[str]:
    return {item["id"] for item in items}
