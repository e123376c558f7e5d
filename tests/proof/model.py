"""Who may find what, in plain Python: the rules a second time, without a database, to compare the real answers with."""

import re
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Final

SCOPES: Final = ("search", "ask", "ingest", "manage")
SCOPE_FOR: Final = {"search": "search", "ask": "ask", "ingest": "ingest", "curate": "manage", "manage": "manage"}
ROLES: Final = ("owner", "admin", "editor", "viewer")
WRITERS: Final = ROLES[:3]
MAY: Final = {
    "read": ROLES, "search": ROLES, "ask": ROLES,
    "ingest": WRITERS, "curate": WRITERS, "manage": ROLES[:2], "own": ROLES[:1],
}  # fmt: skip
GIVES: Final = {"owner": SCOPES, "admin": SCOPES, "editor": ("search", "ask", "ingest"), "viewer": ("search", "ask")}

_LETTERS: Final = str.maketrans("0123456789", "ghijklmnop")
_MARKER: Final = re.compile(r"zq[a-p]{12}")
_ID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def marker() -> str:
    """A word that occurs nowhere else in the world: whoever shows it shows the thing that bears it."""
    return "zq" + uuid.uuid4().hex[:12].translate(_LETTERS)


def markers(text: str) -> set[str]:
    return set(_MARKER.findall(text.lower()))


def ids(text: str) -> set[str]:
    return set(_ID.findall(text.lower()))


@dataclass
class Person:
    """Somebody with a role in some tenants; `left` are those that suspended them, `barred` is from everything."""

    id: str
    name: str
    roles: dict[int, str]
    left: set[int] = field(default_factory=set)
    barred: bool = False

    def role(self, tenant: int | None) -> str | None:
        """What the person is there now."""
        return None if tenant is None or tenant in self.left else self.roles.get(tenant)

    @property
    def tenants(self) -> set[int]:
        return set() if self.barred else set(self.roles) - self.left


@dataclass
class Key:
    """A credential; the operator's has no tenant. `bots` and `sources` are the limits of a limited one.

    With a `person` it is a key that this person made, or (`session`) what the person shows after signing in; without a
    tenant it is a session that has not chosen one. `reach` are the tenants that a request names: then it is the person
    who counts, not the tenant of the session.
    """

    id: str
    clear: str
    name: str
    tenant: int | None
    scopes: frozenset[str]
    bots: frozenset[str] | None = None
    sources: frozenset[str] | None = None
    revoked: bool = False
    expired: bool = False
    person: Person | None = None
    session: bool = False
    reach: frozenset[int] | None = None

    @property
    def dead(self) -> bool:
        if self.revoked or self.expired:
            return True
        if self.person is None:
            return False
        return self.person.barred or (self.tenant is not None and self.person.role(self.tenant) is None)

    @property
    def operates(self) -> bool:
        return self.tenant is None and self.person is None

    @property
    def own(self) -> set[int]:
        """The tenants of which an answer may show anything."""
        if self.reach is not None:
            return set(self.reach)
        return set() if self.tenant is None else {self.tenant}

    @property
    def user(self) -> str:
        """Whose private things it sees."""
        return self.id if self.person is None else self.person.id

    @property
    def can(self) -> frozenset[str]:
        """The scopes that it has now: a person's key does no more than the person may."""
        if self.person is None:
            return self.scopes
        role = self.person.role(self.tenant)
        given = frozenset(GIVES[role]) if role else frozenset()
        return given if self.session else self.scopes & given

    @property
    def limited(self) -> bool:
        return self.bots is not None or self.sources is not None


@dataclass
class Source:
    id: str
    name: str
    tenant: int
    owner: str | None
    gone: bool = False


@dataclass
class Bot:
    id: str
    name: str
    tenant: int
    sources: set[str]
    gone: bool = False


@dataclass
class Document:
    """`words` are those that may be shown now: one when it is settled, more while a new version is on its way."""

    id: str
    name: str
    tenant: int
    source: str
    words: list[str]
    gone: bool = False


@dataclass(frozen=True)
class Said:
    """One question and its answer: the words of each, and the documents without which the answer is not shown."""

    asked: frozenset[str]
    answered: frozenset[str]
    documents: frozenset[str]


@dataclass
class Chat:
    """`end_user` is None for nobody in particular."""

    id: str
    tenant: int
    owner: str
    end_user: str | None = None
    said: list[Said] = field(default_factory=list)
    gone: bool = False


@dataclass
class Model:
    """Everything that was ever made, what is gone included: it must stay gone."""

    tenants: list[str]
    keys: list[Key]
    sources: list[Source] = field(default_factory=list)
    bots: list[Bot] = field(default_factory=list)
    documents: list[Document] = field(default_factory=list)
    chats: list[Chat] = field(default_factory=list)

    def refused(self, key: Key, needs: str) -> int | None:
        """The status that a key gets whatever it names. A limited key manages nothing: it sees a part."""
        if key.dead:
            return 401
        if needs == "own" and key.operates:
            return None
        if key.reach is not None and key.tenant is None and key.person is not None:
            return None if key.person.tenants else 403
        if key.person is not None and key.session:
            return _refused_person(key.person, key.tenant, needs)
        if key.tenant is None or not key.can or (needs != "read" and SCOPE_FOR.get(needs) not in key.can):
            return 403
        return 403 if needs in {"curate", "manage"} and key.limited else None

    def readable(self, key: Key) -> list[Source]:
        """Its tenant's, not another's private ones, and within its limits: a bot limits to what it was given."""
        found = [s for s in self.sources if s.tenant == key.tenant and not s.gone and s.owner in {None, key.user}]
        if key.sources is not None:
            found = [source for source in found if source.id in key.sources]
        if key.bots is not None:
            given = {source for bot in self.bots if bot.id in key.bots and not bot.gone for source in bot.sources}
            found = [source for source in found if source.id in given]
        return found

    def readable_ids(self, key: Key) -> set[str]:
        return {source.id for source in self.readable(key)}

    def seen_bots(self, key: Key) -> list[Bot]:
        return [
            bot
            for bot in self.bots
            if bot.tenant == key.tenant and not bot.gone and (key.bots is None or bot.id in key.bots)
        ]

    def seen_documents(self, key: Key) -> list[Document]:
        return self.documents_in(self.readable_ids(key))

    def documents_in(self, sources: Iterable[str]) -> list[Document]:
        within = set(sources)
        return [document for document in self.documents if document.source in within and not document.gone]

    def seen_chats(self, key: Key, end_user: str | None) -> list[Chat]:
        """One's own, in this tenant, of this end user."""
        whose = (key.tenant, key.user, end_user)
        return [chat for chat in self.chats if not chat.gone and (chat.tenant, chat.owner, chat.end_user) == whose]

    def readable_words(self, key: Key, chats: Iterable[Chat]) -> set[str]:
        """What may be read in them: every question, and the answers that quote nothing but what the key may read."""
        documents = {document.id for document in self.seen_documents(key)}
        said = [one for chat in chats for one in chat.said]
        answered = [one.answered for one in said if one.documents <= documents]
        return {word for words in (*answered, *(one.asked for one in said)) for word in words}

    def scope(self, key: Key, *, bot: str | None = None, sources: set[str] | None = None) -> set[str] | None:
        """The sources that a wish comes to; None is 404."""
        mine = self.readable_ids(key)
        if bot is not None:
            named = next((known for known in self.seen_bots(key) if known.id == bot), None)
            return None if named is None else mine & named.sources
        if sources is not None:
            return sources if sources <= mine else None
        return mine

    def names_for(self, key: Key) -> set[str]:
        """Every word that an answer to this key may hold."""
        if key.dead:
            return set()
        if key.reach is not None and key.person is not None:
            reached = key.reach & key.person.tenants
            return {name for tenant in reached for name in self.names_for(replace(key, tenant=tenant, reach=None))}
        documents = self.seen_documents(key)
        managed = [] if self.refused(key, "manage") else self.keys_of(key.tenant)
        named: list[Source | Bot | Document | Key] = [
            *self.readable(key), *self.seen_bots(key), *documents, *managed,
        ]  # fmt: skip
        return {thing.name for thing in named} | {word for document in documents for word in document.words}

    def keys_of(self, tenant: int | None) -> list[Key]:
        return [key for key in self.keys if key.tenant == tenant and not key.session]

    def foreign_ids(self, own: set[int]) -> set[str]:
        """Of everything that other tenants ever had."""
        things: list[Key | Source | Bot | Document | Chat] = [
            *self.keys, *self.sources, *self.bots, *self.documents, *self.chats,
        ]  # fmt: skip
        others = {name for number, name in enumerate(self.tenants) if number not in own}
        strangers = {key.person.id for key in self.keys if key.person and own.isdisjoint(key.person.roles)}
        return others | strangers | {thing.id for thing in things if thing.tenant not in own | {None}}

    def forget_source(self, source: Source) -> None:
        source.gone = True
        for document in self.documents:
            document.gone = document.gone or document.source == source.id
        for bot in self.bots:
            bot.sources.discard(source.id)


def _refused_person(person: Person, tenant: int | None, needs: str) -> int | None:
    if tenant is None:
        return 409 if person.tenants else 403
    return None if person.role(tenant) in MAY[needs] else 403
