"""Places that sources follow and that keep changing: a folder, pages that link to each other, a sitemap, a bucket."""

import asyncio
import random
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx2

from carrel.domain.ids import CredentialId, SourceId
from carrel.domain.library import SourceKind
from carrel.domain.origins import Bucket, Folder, Place, Site
from carrel.domain.secret import Secret
from carrel.store.sources import NewSource
from carrel.tenancy.credentials import CredentialWish
from support.s3_server import KEY, REGION, SECRET, S3Server
from support.sites import LoopbackSite
from support.tenants import SomeTenant
from support.writers import Ledger, a_file, a_word, acknowledged

KINDS: Final = (SourceKind.FOLDER, SourceKind.URL, SourceKind.SITEMAP, SourceKind.S3)


@dataclass
class Changing(ABC):
    """`words` are what is there now, by the keys of the documents that it becomes; `ever` what has been there."""

    words: dict[str, str] = field(default_factory=dict)
    ever: set[str] = field(default_factory=set)
    turns: int = 0

    @abstractmethod
    def place(self) -> Place: ...

    @abstractmethod
    def key(self, number: int) -> str: ...

    @abstractmethod
    def set(self, key: str, content: bytes | None) -> None: ...

    def contents(self) -> Mapping[str, tuple[str, bytes]]:
        """The word and the bytes of each document."""
        return {key: (word, a_file(key, word)) for key, word in self.words.items()}

    def change(self, chance: random.Random, *, most: int) -> None:
        """Something comes, something goes, something is another; at first all comes, and never is nothing there."""
        for number in chance.sample(range(most), max(1, most // 8) if self.turns else most):
            key = self.key(number)
            if key in self.words and len(self.words) > most // 2 and chance.random() < 0.5:
                del self.words[key]
                self.set(key, None)
                continue
            self.turns += 1
            self.words[key] = a_word(f"{key} {self.turns}")
            self.ever.add(key)
            self.set(key, a_file(key, self.words[key]))


@dataclass
class AFolder(Changing):
    root: Path = Path()

    def place(self) -> Folder:
        return Folder(str(self.root))

    def key(self, number: int) -> str:
        return f"shelf-{number % 3}/page-{number}.{'md' if number % 2 else 'html'}"

    def set(self, key: str, content: bytes | None) -> None:
        path = self.root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        if content is None:
            path.unlink()
        else:
            path.write_bytes(content)


@dataclass
class ASite(Changing):
    """Pages, and one that leads to all of them."""

    site: LoopbackSite = field(default_factory=LoopbackSite)

    @abstractmethod
    def lead(self) -> None:
        """To what is there by now."""

    def set(self, key: str, content: bytes | None) -> None:
        path = key.removeprefix(self.site.at("", "127.0.0.1"))
        if content is None:
            self.site.pages.pop(path)
        else:
            self.site.put(path, content)
        self.lead()


@dataclass
class Pages(ASite):
    """A page that links to all the others."""

    _INDEX: Final = "/index.html"

    def place(self) -> Site:
        return Site((self.site.at(self._INDEX, "127.0.0.1"),), depth=1)

    def key(self, number: int) -> str:
        return self.site.at(f"/page-{number}.html", "127.0.0.1")

    def lead(self) -> None:
        self.site.put(self._INDEX, self._index()[1])

    def contents(self) -> Mapping[str, tuple[str, bytes]]:
        return {**super().contents(), self.site.at(self._INDEX, "127.0.0.1"): self._index()}

    def _index(self) -> tuple[str, bytes]:
        word = a_word(self.site.at(self._INDEX))
        links = "".join(f'<a href="{key}">{word}</a> ' for key in sorted(self.words))
        return word, f"<h1>The {word} list</h1><p>All of {word}: {links}".encode()


@dataclass
class Mapped(ASite):
    """A sitemap and the pages that it names."""

    def place(self) -> Site:
        return Site((self.site.at("/sitemap.xml", "127.0.0.1"),), sitemap=True)

    def key(self, number: int) -> str:
        return self.site.at(f"/mapped-{number}.html", "127.0.0.1")

    def lead(self) -> None:
        named = "".join(f"<url><loc>{one}</loc></url>" for one in sorted(self.words))
        self.site.put("/sitemap.xml", f'<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">{named}</urlset>')


@dataclass
class ABucket(Changing):
    server: S3Server = field(default_factory=lambda: S3Server(0))
    name: str = ""
    credential: CredentialId | None = None

    def place(self) -> Bucket:
        return Bucket(self.name, "kept/", REGION, self.server.url, self.credential)

    def key(self, number: int) -> str:
        return f"kept/object {number}.md"

    def set(self, key: str, content: bytes | None) -> None:
        client: Any = self.server.client("s3")
        if content is None:
            client.delete_object(Bucket=self.name, Key=key)
        else:
            client.put_object(Bucket=self.name, Key=key, Body=content)


@dataclass(frozen=True)
class Followed:
    """A changing place, and the source of the tenant that follows it."""

    ledger: Ledger
    source: SourceId
    place: Changing

    async def ask(self, client: httpx2.AsyncClient) -> None:
        """For a walk."""
        await acknowledged(client, "POST", f"/v1/sources/{self.source}/refresh", expected={202})

    async def change(self, chance: random.Random, *, most: int) -> None:
        await asyncio.to_thread(self.place.change, chance, most=most)


async def followed(ledger: Ledger, kind: SourceKind, *, folder: Path, site: LoopbackSite, s3: S3Server) -> Followed:
    place = await _a_place(ledger.tenant, kind, folder=folder, site=site, s3=s3)
    wish = NewSource(f"follows a {kind}", kind, place=place.place())
    source = await ledger.tenant.app.sources.create(ledger.tenant.console, wish)
    return Followed(ledger, source.id, place)


async def _a_place(tenant: SomeTenant, kind: SourceKind, *, folder: Path, site: LoopbackSite, s3: S3Server) -> Changing:
    match kind:
        case SourceKind.FOLDER:
            await asyncio.to_thread(folder.mkdir)
            return AFolder(root=folder)
        case SourceKind.URL:
            return Pages(site=site)
        case SourceKind.SITEMAP:
            return Mapped(site=site)
        case _:
            wish = CredentialWish("bucket", "s3", Secret(f"{KEY}:{SECRET}"), s3.url)
            credential = await tenant.app.credentials.create(tenant.console, wish)
            bucket = await asyncio.to_thread(s3.bucket)
            return ABucket(server=s3, name=bucket, credential=credential.id)
