"""A world: something of everything that calls can name, in one tenant."""

from api.callers import Caller
from api.calls import OF_A_WORLD, Call, World
from carrel.domain.access import console
from carrel.domain.rights import RIGHTS, Role
from support.people import a_person
from support.stand import Stand

_NO_PDF = b"%PDF-1.7\nThis is no PDF after all."


async def admitted_to(call: Call, carrel: Stand, owner: Caller, operator: Caller) -> Caller:
    """Somebody who may make a call: the owner's key if keys may, else an owner in person, else an operator."""
    right = RIGHTS[call.needs]
    if right.scopes:
        return owner
    if Role.OWNER not in right.roles or owner.tenant is None:
        return operator
    person = await a_person(carrel, owner=owner.tenant.id)
    return Caller(owner.client, person.token(owner.tenant.id), owner.tenant)


async def a_world(carrel: Stand, owner: Caller) -> World:
    assert owner.tenant is not None
    source = await owner.source()
    document = await owner.put(source, "boats.md", "# Boats\n\nBoats float on water.")
    failed = await owner.put(source, "bad.pdf", _NO_PDF)
    assert failed["status"] == "failed"
    bot = await owner.made("/v1/bots", {"name": "Helper", "source_ids": [source]})
    credential = await owner.made("/v1/credentials", {"name": "main", "provider": "openai", "secret": "sk-0123456789"})
    site = {"urls": ["https://pages.example/"]}
    fetched = await owner.source("Fetched", kind="url", place=site)
    key = await owner.made("/v1/keys", {"name": "k", "scopes": ["search"]})
    chat = await owner("POST", "/v1/chat", json={"message": "Do boats float?"})
    more = {"message": "On what?", "chat_id": chat.json()["chat_id"]}
    second = await owner("POST", "/v1/chat", json=more)
    rated = f"/v1/messages/{chat.json()['message_id']}/feedback"
    assert (await owner("PUT", rated, json={"rating": "down", "reason": "Too short."})).status_code == 200
    file, batch = await _attached(owner, source)
    member = await a_person(carrel, viewer=owner.tenant.id)
    invited = await owner.made("/v1/invitations", {"email": f"{member.id}@invited.example", "role": "viewer"})
    granted = await carrel.app.groups.create(
        console(None), owner.tenant.id, group=str(member.id), role=Role.VIEWER, issuer="https://issuer.example"
    )
    gone = await carrel.app.tenants.create(console(None), "Gone", slug=f"gone-{member.id.hex}")
    await carrel.app.life.delete(console(None), gone.id)
    hook = await owner.made("/v1/webhooks", {"url": "http://127.0.0.1:1/hook", "events": ["document.ready"]})
    delivery = await owner("POST", f"/v1/webhooks/{hook['id']}/test")  # nobody listens there
    world = {
        "tenant": str(owner.tenant.id),
        "source": source,
        "bot": bot["id"],
        "document": document["id"],
        "failed": failed["id"],
        "key": key["id"],
        "file": file,
        "batch": batch,
        "chat": chat.json()["chat_id"],
        "message": chat.json()["message_id"],
        "unrated": second.json()["message_id"],
        "member": str(member.id),
        "session": str(member.session),
        "invitation": invited["id"],
        "group_grant": str(granted.id),
        "credential": credential["id"],
        "fetched": fetched,
        "gone": str(gone.id),
        "webhook": hook["id"],
        "delivery": delivery.json()["id"],
    }
    assert world.keys() == set(OF_A_WORLD)
    return world


async def _attached(owner: Caller, source: str) -> tuple[str, str]:
    """A file that is a document of the source, and the batch in which it was attached."""
    form = [("purpose", (None, b"assistants")), ("file", ("ships.md", b"Ships float, too."))]
    file = (await owner("POST", "/openai/v1/files", files=form)).json()["id"]
    store = f"/openai/v1/vector_stores/{source}"
    batch = await owner("POST", f"{store}/file_batches", json={"file_ids": [file]})
    assert batch.status_code == 200, batch.text
    return str(file), str(batch.json()["id"])
