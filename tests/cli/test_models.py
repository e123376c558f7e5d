"""Models at the terminal: what the doctor says of the deployment's, what is listed, and what a bot may name."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import pytest

from cli.shell import Shell
from support.model_server import ModelServer, a_model_server

KEY = "sk-a-secret-that-nobody-may-see"


@pytest.fixture
async def server() -> AsyncIterator[ModelServer]:
    async with a_model_server(keys=frozenset({KEY})) as standing:
        yield standing


def settings(server: ModelServer, model: str = "cite", key: str = KEY) -> dict[str, Any]:
    return {
        "CARREL_MODEL__KIND": "openai",
        "CARREL_MODEL__MODEL": model,
        "CARREL_MODEL__ALLOWED": "echo",
        "CARREL_MODEL__API_KEY": key,
        "CARREL_MODEL__BASE_URL": server.openai,
    }


async def test_the_doctor_asks_the_model(shell: Shell, server: ModelServer) -> None:
    well = await asyncio.to_thread(partial(shell, "doctor", "--json", **settings(server)))
    ill = await asyncio.to_thread(partial(shell, "doctor", "--json", **settings(server, key="sk-wrong")))

    remarks = [one for said in (well, ill) for one in said.value["remarks"] if one["about"] == "model"]
    assert [one["mark"] for one in remarks] == ["ok", "wrong"]
    assert remarks[0]["sentence"] == "openai:cite answers."
    assert "The provider refuses the key. (model_key_refused" in remarks[1]["sentence"]
    assert KEY not in well.out + well.err + ill.out + ill.err


async def test_the_models_that_bots_may_name_are_listed(shell: Shell, server: ModelServer) -> None:
    said = await asyncio.to_thread(partial(shell, "models", "list", "--json", **settings(server)))

    names = [one["name"] for one in said.value["items"] if one["use"] == "answers"]
    assert names == ["openai:cite", "openai:echo", "extractive"]
    assert server.heard == []


async def test_a_bot_is_made_with_a_model_that_is_offered(shell: Shell, server: ModelServer) -> None:
    slug = shell("tenants", "create", f"Acme {uuid.uuid4().hex[:8]}", "--json").value["slug"]
    shell("sources", "create", "s", "--tenant", slug)
    words = ("--tenant", slug, "--source", "s", "--json", "--model")

    made = await asyncio.to_thread(partial(shell, "bots", "create", "a", *words, "echo", **settings(server)))
    refused = await asyncio.to_thread(partial(shell, "bots", "create", "b", *words, "obey", **settings(server)))

    assert made.value["model"] == "echo"
    assert refused.value["error"]["code"] == "unknown_model"
