"""Writers over HTTP who do not give up, and what their tenant was promised: each version has a word of its own."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final

import httpx2

from carrel.domain.ids import SourceId
from support import pdfs
from support.tenants import SomeTenant

ENDINGS: Final = ("md", "txt", "html", "pdf")


@dataclass(frozen=True)
class Act:
    """What a writer does with a key: put it, with a word that no other version has, or delete it."""

    key: str
    word: str | None


@dataclass
class Ledger:
    """What one tenant was promised: for each key the word of its last acknowledged version."""

    tenant: SomeTenant
    source: SourceId
    bearer: str
    words: dict[str, str] = field(default_factory=dict)
    documents: dict[str, str] = field(default_factory=dict)

    def client(self, url: str) -> httpx2.AsyncClient:
        return httpx2.AsyncClient(base_url=url, headers={"Authorization": f"Bearer {self.bearer}"}, timeout=30)


def acts_of(writer: str, count: int, chance: random.Random) -> list[Act]:
    """Every key is put; many are put again, some deleted, and some of those put once more."""
    plan: list[tuple[float, Act]] = []
    for number in range(count):
        key = f"{writer}/{number}.{ENDINGS[number % len(ENDINGS)]}"
        fate = chance.random()
        course = "p" if fate < 0.4 else "pp" if fate < 0.7 else "ppp" if fate < 0.8 else "pd" if fate < 0.92 else "pdp"
        place = float(number)
        for turn, letter in enumerate(course):
            word = a_word(f"{key} {turn}") if letter == "p" else None
            place += chance.uniform(0.1, 20)
            plan.append((place, Act(key, word)))
    return [act for _, act in sorted(plan, key=lambda planned: planned[0])]


def a_word(seed: str) -> str:
    """Twelve letters that no other version has."""
    number = int.from_bytes(sha256(seed.encode()).digest())
    return "q" + "".join(chr(ord("a") + number // 26**place % 26) for place in range(11))


def a_file(key: str, word: str) -> bytes:
    """Every sentence has the word, so that every chunk does; every eighth file has several chunks."""
    long = int.from_bytes(sha256(word.encode()).digest()[:1]) < 32
    sentences = [f"Step {number} of the {word} procedure drains one gateway." for number in range(60 if long else 4)]
    match key.rpartition(".")[2]:
        case "md":
            return f"# The {word} procedure\n\n{' '.join(sentences)}\n".encode()
        case "html":
            return f"<h1>The {word} procedure</h1><p>{'<p>'.join(sentences)}".encode()
        case "pdf":
            return pdfs.a_pdf(
                [[pdfs.Line(sentence, 720 - 40 * place) for place, sentence in enumerate(sentences[:15])]]
            )
        case _:
            return "\n\n".join(sentences).encode()


async def write(ledger: Ledger, acts: list[Act], url: str, *, may: Callable[[], Awaitable[None]]) -> None:
    """One act after the other, each when it `may`; it is repeated until it is acknowledged."""
    async with ledger.client(url) as client:
        for act in acts:
            await may()
            await (put if act.word else delete)(client, ledger, act)


async def put(client: httpx2.AsyncClient, ledger: Ledger, act: Act) -> None:
    assert act.word is not None
    content = a_file(act.key, act.word)
    answer = await acknowledged(
        client, "PUT", f"/v1/sources/{ledger.source}/documents/{act.key}", content=content, expected={202}
    )
    ledger.words[act.key] = act.word
    ledger.documents[act.key] = answer.json()["document_id"]


async def delete(client: httpx2.AsyncClient, ledger: Ledger, act: Act) -> None:
    """Repeated after a lost answer it finds nothing more to delete."""
    await acknowledged(client, "DELETE", f"/v1/documents/{ledger.documents[act.key]}", expected={204, 404})
    del ledger.words[act.key]


async def acknowledged(
    client: httpx2.AsyncClient, method: str, path: str, *, expected: set[int], content: bytes | None = None
) -> httpx2.Response:
    """Asked again when the connection breaks or the API cannot; any other answer is a fault."""
    while True:
        with suppress(httpx2.TransportError):
            answer = await client.request(method, path, content=content)
            if answer.status_code in expected:
                return answer
            assert answer.status_code == 503, f"{method} {path}: {answer.status_code} {answer.text}"
        await asyncio.sleep(0.1)
