"""People who come in as people do: by registering, by a code from their mail, by a password."""

import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import httpx2

from carrel.tenancy.mailroom import Mailroom
from carrel.wiring.mail import writers
from support.brakes import RenewableLimiter
from support.post import Mailbox
from support.stand import Stand

PASSWORD = "a long enough word"


@dataclass
class Newcomer:
    """Somebody before the door, with an address and a mailbox. `tokens` is the last answer that held tokens."""

    carrel: Stand
    client: httpx2.AsyncClient
    mailbox: Mailbox
    email: str
    password: str = PASSWORD
    tokens: dict[str, Any] | None = None

    async def post(self, path: str, body: dict[str, Any], **options: Any) -> httpx2.Response:
        return await self.client.post(f"/v1/auth/{path}", json=body, **options)

    async def registers(self, organisation: str = "Acme", **more: Any) -> httpx2.Response:
        return await self.post(
            "register",
            {"email": self.email, "password": self.password, "name": "Ada", "organisation": organisation, **more},
        )

    async def reads(self) -> str:
        """The newest code in the mailbox, after the mailroom has worked."""
        await Mailroom(self.carrel.database, self.mailbox, writers(self.carrel.parts.base)).work()
        return self.mailbox.code_for(self.email)

    def waits(self) -> None:
        """Until whatever limits there are allow everything again."""
        limiter = self.carrel.parts.base.limiter
        assert isinstance(limiter, RenewableLimiter)
        limiter.renew()

    async def verifies(self, code: str) -> httpx2.Response:
        return await self.post("verify", {"email": self.email, "code": code})

    async def signs_in(self, **more: str) -> httpx2.Response:
        form = {"grant_type": "password", "username": self.email, "password": self.password, **more}
        answer = await self.client.post("/v1/auth/token", data=form)
        if answer.status_code == 200:
            self.tokens = answer.json()
        return answer

    async def refreshes(self, token: str | None = None, **more: str) -> httpx2.Response:
        assert self.tokens is not None
        return await self.post("refresh", {"refresh_token": token or self.tokens["refresh_token"], **more})

    async def calls(self, method: str, path: str, **options: Any) -> httpx2.Response:
        assert self.tokens is not None
        headers = {"Authorization": f"Bearer {self.tokens['access_token']}"}
        return await self.client.request(method, path, headers=headers, **options)

    async def me(self) -> dict[str, Any]:
        answer = await self.calls("GET", "/v1/me")
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    async def is_in(self) -> "Newcomer":
        """Registered, verified and signed in."""
        assert (await self.registers()).status_code == 202
        assert (await self.verifies(await self.reads())).status_code == 200
        assert (await self.signs_in()).status_code == 200
        return self


NewcomerMaker = Callable[[], Newcomer]
Ready = Callable[[], Awaitable[Newcomer]]


def an_address() -> str:
    return f"{uuid.uuid4().hex[:16]}@people.example"
