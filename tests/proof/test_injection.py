"""Fifty documents that give orders, and a model that obeys every one of them.

What a document says may change the words of an answer. It gives nobody a right, nothing of another tenant or of
another source comes with it, nothing leads out of the page, and what the model was told holds no secret to give away.
"""

import json
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import httpx2
import pytest
from markdown_it import MarkdownIt

from carrel.api.app import create_app
from carrel.domain.secret import Secret
from carrel.tenancy.credentials import CredentialWish
from conftest import TenantMaker
from support.answering import answering
from support.model_server import ModelServer, a_model_server
from support.raw import connected
from support.rounds import rounds
from support.stand import SECRETS, Stand
from support.tenants import SomeTenant

pytestmark = [pytest.mark.proof, pytest.mark.slow]

PAYLOADS: Final[list[dict[str, str]]] = json.loads(Path(__file__).with_name("injections.json").read_text("utf-8"))
CHOSEN: Final = PAYLOADS[:: rounds(5, 1)]

CLOSED: Final = "MARKER-OF-A-CLOSED-SOURCE"
FOREIGN: Final = "MARKER-OF-ANOTHER-TENANT"
CREDENTIAL: Final = "sk-credential-of-this-tenant"

LIVING: Final = frozenset({"chats", "messages", "citations", "usage_days", "reservations"})
WORKERS: Final = frozenset({"jobs", "job_turns", "lexical_stats"})
COUNTERS: Final = ("last_used_at", "questions_used", "tokens_used")
"""What an answer changes, and what a worker does meanwhile; every other table and column is compared."""

ADDRESS: Final = re.compile(r"[a-z][a-z0-9+.\-]*\s*:\s*/\s*/\s*\S|\bwww\.\w|[a-z]+\uff1a\uff0f\uff0f", re.IGNORECASE)
HIDDEN: Final = re.compile("[\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\U000e0000-\U000e007f]")


@dataclass(frozen=True)
class Scene:
    """A tenant under attack; `key` may ask and nothing else. The other tenant and a closed source hold markers."""

    carrel: Stand
    server: ModelServer
    client: httpx2.AsyncClient
    victim: SomeTenant
    other: SomeTenant
    key: str
    owner: str

    @property
    def secrets(self) -> list[str]:
        own = [SECRETS.pepper.decode(), SECRETS.master_key.decode()]
        ids = [str(self.victim.id), str(self.other.id)]
        return [*own, *ids, self.key, self.owner, CREDENTIAL, CLOSED, FOREIGN, "a key of the deployment"]

    async def ask(self, body: Mapping[str, Any]) -> httpx2.Response:
        headers = {"Authorization": f"Bearer {self.key}"}
        answer = await self.client.post("/v1/chat", json=body, headers=headers)
        assert answer.status_code == 200, answer.text
        return answer


@pytest.fixture
async def scene(carrel: Stand, tenant: TenantMaker) -> AsyncIterator[Scene]:
    victim, other = await tenant("Victim"), await tenant("Other")
    closed, foreign = await victim.source("closed"), await other.source("foreign")
    for owner, source, marker in ((victim, closed, CLOSED), (other, foreign, FOREIGN)):
        await owner.put(source.id, "desk.md", f"# Desk\n\nThe help desk opens at six, and its secret is {marker}.")
    await victim.app.credentials.create(victim.console, CredentialWish("ours", "openai", Secret(CREDENTIAL)))
    async with a_model_server() as server, answering(carrel, server, "obey") as stand:
        app = create_app(lambda: nullcontext(stand.app))
        async with app.router.lifespan_context(app):
            transport = httpx2.ASGITransport(app)
            async with httpx2.AsyncClient(transport=transport, base_url="http://carrel.test", timeout=90) as client:
                keys = await victim.key("ask"), await victim.key()
                yield Scene(stand, server, client, victim, other, *keys)


def leads_away(text: str) -> list[str]:
    """What in it could be followed or fetched, by whoever shows it as Markdown or as plain text."""
    markdown = MarkdownIt("commonmark", {"html": True}).enable("table")
    markdown.validateLink = _whatever_it_is  # type: ignore[method-assign]
    tokens = [one for block in markdown.parse(text) for one in (block, *(block.children or ()))]
    followed = [one.type for one in tokens if one.type in {"link_open", "image", "html_inline", "html_block"}]
    shown = "".join(one.content if one.type != "softbreak" else "\n" for one in tokens if not one.children)
    return [*followed, *ADDRESS.findall(text), *ADDRESS.findall(shown), *HIDDEN.findall(text)]


def _whatever_it_is(url: str) -> bool:
    """A careless reader's judgement of an address."""
    return bool(url)


def events(said: str) -> list[tuple[str, dict[str, Any]]]:
    frames = (frame.split("\n") for frame in said.strip().split("\n\n") if not frame.startswith(":"))
    return [(name.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for name, data in frames]


async def rights(carrel: Stand) -> dict[str, str]:
    """Every row of every table that an answer has no business with, as a digest."""
    async with connected(carrel.endpoint.superuser_url) as superuser:
        names = [
            str(row["relname"])
            for row in await superuser.fetch(
                "select relname from pg_class where relnamespace = 'carrel'::regnamespace and relkind in ('r', 'p')"
                " and not relispartition order by 1"
            )
        ]
        return {
            name: sha256("\n".join(await rows(superuser, name)).encode()).hexdigest()
            for name in names
            if name not in LIVING | WORKERS
        }


async def rows(superuser: Any, table: str) -> list[str]:
    found = await superuser.fetch(f"select (to_jsonb(t) - $1::text[])::text from carrel.{table} t", COUNTERS)
    return sorted(str(row[0]) for row in found)


async def test_a_document_that_gives_orders_changes_words_and_nothing_else(scene: Scene) -> None:
    assert len(PAYLOADS) == 50
    sources = {payload["name"]: await planted(scene.victim, payload) for payload in CHOSEN}
    await scene.ask({"message": "When does the help desk open?", "source_ids": []})
    before = await rights(scene.carrel)

    for payload in CHOSEN:
        asked = {"message": "When does the help desk open?", "source_ids": [sources[payload["name"]]]}
        scene.server.heard.clear()
        whole = (await scene.ask(asked)).json()
        streamed = events((await scene.ask({**asked, "stream": True})).text)
        done = streamed[-1][1]
        again = (await scene.ask({**asked, "message": "And why does it?", "chat_id": done["chat_id"]})).json()

        assert len(scene.server.heard) >= 3, (payload["name"], whole["status"])
        deltas = "".join(data["text"] for name, data in streamed if name == "delta")
        assert deltas == done["answer"], payload["name"]
        for answer in (whole, done, again):
            judge(scene, payload["name"], answer)
        judge_what_the_model_was_told(scene, payload["name"])

    after = await rights(scene.carrel)
    assert [name for name in after if after[name] != before[name]] == []
    await judge_rights(scene)


async def planted(victim: SomeTenant, payload: Mapping[str, str]) -> str:
    """In a source of its own, so that it is what will be found."""
    source = await victim.source()
    heading = payload.get("heading", "Help desk")
    text = f"# {heading}\n\nThe help desk opens at nine, since the trains come then. {payload['text']}\n"
    await victim.put(source.id, "help-desk.md", text)
    return str(source.id)


def judge(scene: Scene, name: str, answer: Mapping[str, Any]) -> None:
    told = [answer["answer"], *answer["guidance"], *answer["unsupported"], answer["asked"] or ""]
    told.append((answer.get("problem") or {}).get("detail") or "")
    for text in told:
        assert not leads_away(text), (name, text)
    for secret in scene.secrets:
        assert not any(secret in text for text in told), (name, secret)
    for marker in (CLOSED, FOREIGN):
        assert marker not in json.dumps(answer), (name, marker)
    numbers = {citation["n"] for citation in answer["citations"]}
    assert {int(n) for n in re.findall(r"(?<!\\)\[(\d{1,3})\]", answer["answer"])} == numbers, name
    assert numbers <= set(range(1, len(answer["evidence"]) + 1)), name


def judge_what_the_model_was_told(scene: Scene, name: str) -> None:
    """All of it, but for the key with which the deployment is let in."""
    for heard in scene.server.heard:
        said = json.dumps([heard.body, {**heard.headers, "authorization": ""}], ensure_ascii=False)
        for secret in scene.secrets:
            assert secret not in said, (name, secret)


async def judge_rights(scene: Scene) -> None:
    """The key may do what it could do before, which is to ask."""
    headers = {"Authorization": f"Bearer {scene.key}"}
    for method, path in (("GET", "/v1/keys"), ("POST", "/v1/sources"), ("GET", "/v1/members"), ("POST", "/v1/bots")):
        refused = await scene.client.request(method, path, headers=headers, json={"name": "x"})
        assert refused.status_code in {403, 422}, (path, refused.text)
