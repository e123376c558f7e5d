"""Whoever was told that a replaced document is ready finds what it says now, and nobody finds what it said before.

Two API processes share the port, and every request makes a connection of its own, so it is seldom the one that
answered the writer that answers a reader.
"""

import asyncio
from pathlib import Path
from typing import Any, Final

import httpx2
import pytest

from support.rounds import rounds
from support.served import Served, served

pytestmark = [pytest.mark.proof, pytest.mark.slow]

ROUNDS: Final = rounds(6, 100)
READERS: Final = 8
LONG: Final = " The gate of the harbour is painted in the colours of the year." * 20


def a_page(word: str) -> bytes:
    """Two chunks, of which one never changes."""
    return f"# Harbour\n\n## Word\n\nThe word of the harbour is {word}.{LONG}\n\n## Gate\n\n{LONG}\n".encode()


@pytest.mark.timeout(rounds(180, 1_200))
async def test_after_the_answer_the_new_text_is_found_and_the_old_is_not(tmp_path: Path, models: Path) -> None:
    async with served(tmp_path / "home", models, processes=2) as carrel:
        key = await carrel.tenant("Harbour")
        made = await send(carrel, key, "POST", "/v1/sources", json={"name": "harbour"})
        path = f"/v1/sources/{made['id']}/documents/harbour.md?wait=true"
        for number in range(ROUNDS):
            word = f"anchor{number}x"
            put = await send(carrel, key, "PUT", path, content=a_page(word))
            assert put["document"]["status"] == "ready"
            query = {"query": "What is the word of the harbour?", "limit": 20}
            found = await asyncio.gather(*(send(carrel, key, "POST", "/v1/search", json=query) for _ in range(READERS)))
            for answer in found:
                assert {hit["version_id"] for hit in answer["hits"]} == {put["document"]["live_version"]}
                texts = [hit["text"] for hit in answer["hits"] if "anchor" in hit["text"]]
                assert texts
                assert all(word in text for text in texts), f"round {number}"


async def send(carrel: Served, key: str, method: str, path: str, **options: Any) -> Any:
    async with carrel.client(key, connections=1) as client:
        answer: httpx2.Response = await client.request(method, path, **options)
    assert answer.status_code in {200, 201}, answer.text
    return answer.json()
