"""One bucket over HTTP: a page of its list, and an object as a stream.

Written here and not left to a library: what the libraries know, they also take from the environment (a session token of
the machine would be shown to a tenant's endpoint), and one odd name of an object ends their whole list.
"""

import asyncio
import random
import re
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from urllib.parse import unquote_plus
from xml.etree.ElementTree import Element, ParseError

import httpx2
from defusedxml.ElementTree import fromstring

from carrel.adapters.origins.signature import path_of, query_of, signed
from carrel.domain.buckets import S3Key, Service
from carrel.domain.errors import Conflict, Refusal, Unavailable

_PAGE: Final = 1_000
_LONGEST_LIST: Final = 16 << 20
_LONGEST_COMPLAINT: Final = 1 << 16
_TRIES: Final = 3
_PAUSE: Final = 0.2
_CONNECT, _READ = 10.0, 30.0
_SIZE: Final = re.compile(r"[0-9]{1,18}")
_TAG: Final = re.compile(r"[!#-~]{1,200}")
OK, SAME, ABSENT = 200, 304, 404
_ELSEWHERE: Final = frozenset({301, 307})
_UNPROVEN, _REFUSED, _THROTTLED, _BROKEN = 401, 403, 429, 500


@dataclass(frozen=True, slots=True)
class Listed:
    """An object as the list shows it."""

    key: str
    size: int
    tag: str | None


@dataclass(frozen=True, slots=True)
class _Page:
    objects: Sequence[Listed]
    following: str | None


@dataclass(frozen=True, slots=True)
class Answer:
    """What a bucket says to the wish for an object. `complaint` is S3's own word for why there is none."""

    status: int
    complaint: str
    size: int
    tag: str | None
    media_type: str | None
    content: AsyncIterator[bytes]


class BucketClient:
    """Of one bucket. Without a key nothing is signed: the bucket is public."""

    def __init__(self, service: Service, bucket: str, key: S3Key | None) -> None:
        self._service = service
        self._bucket = bucket
        self._key = key
        self._http = httpx2.AsyncClient(
            timeout=httpx2.Timeout(_READ, connect=_CONNECT), follow_redirects=False, trust_env=False
        )

    async def close(self) -> None:
        await self._http.aclose()

    async def pages(self, prefix: str) -> AsyncGenerator[Sequence[Listed]]:
        """Raises Conflict `bucket_missing`, `bucket_refused`, `bucket_elsewhere`, Unavailable `bucket_unavailable`."""
        wish = {"list-type": "2", "max-keys": str(_PAGE), "prefix": prefix}
        while True:
            page = await self._page(wish)
            yield page.objects
            if page.following is None:
                return
            if page.following == wish.get("continuation-token"):
                raise _unavailable("The bucket's list leads round in a circle.")
            wish = {**wish, "continuation-token": page.following}

    async def _page(self, wish: Mapping[str, str]) -> _Page:
        """A name may hold what XML cannot: then names are asked for in an encoded form."""
        try:
            return await asyncio.to_thread(_page, await self._listed(wish))
        except ParseError:
            encoded = await self._listed({**wish, "encoding-type": "url"})
        try:
            return await asyncio.to_thread(_page, encoded)
        except ParseError as error:
            raise _unavailable("The bucket's list cannot be read.") from error

    @asynccontextmanager
    async def object(self, key: str, *, unless: str | None = None) -> AsyncIterator[Answer]:
        """The object, whose content is there as long as the context is; SAME where it is still the one with that tag.

        Raises as `pages`, but of an object that is refused or absent the answer tells.
        """
        headers = {} if unless is None else {"if-none-match": f'"{unless}"'}
        async with self._sent(path_of(self._bucket, key), "", headers) as response:
            complaint = "" if response.status_code in {OK, SAME} else await _complaint(response)
            if complaint == "NoSuchBucket" or response.status_code not in {OK, SAME, _REFUSED, ABSENT}:
                raise self._refusal(response, complaint)
            yield Answer(
                response.status_code,
                complaint,
                int(response.headers.get("content-length") or 0),
                _plain(response.headers.get("etag")),
                response.headers.get("content-type"),
                _content(response),
            )

    async def _listed(self, wish: Mapping[str, str]) -> bytes:
        async with self._sent(path_of(self._bucket), query_of(wish), {}) as response:
            if response.status_code != OK:
                raise self._refusal(response, await _complaint(response))
            return await _bounded(response, _LONGEST_LIST)

    @asynccontextmanager
    async def _sent(self, path: str, query: str, headers: Mapping[str, str]) -> AsyncIterator[httpx2.Response]:
        response = await self._answered(f"{self._service.url}{path}{f'?{query}' if query else ''}", headers)
        try:
            yield response
        finally:
            await response.aclose()

    async def _answered(self, url: str, headers: Mapping[str, str]) -> httpx2.Response:
        """Asked again a few times where waiting helps."""
        for rest in reversed(range(_TRIES)):
            try:
                with _translated():
                    response = await self._http.send(self._request(url, headers), stream=True)
            except Unavailable:
                if not rest:
                    raise
            else:
                if not rest or (response.status_code < _BROKEN and response.status_code != _THROTTLED):
                    return response
                await response.aclose()
            await asyncio.sleep(_PAUSE * 2 ** (_TRIES - rest) * random.uniform(0.5, 1.0))  # noqa: S311 - a pause
        raise AssertionError

    def _request(self, url: str, headers: Mapping[str, str]) -> httpx2.Request:
        sent = {**headers, "accept-encoding": "identity"}
        if self._key is not None:
            sent = signed(url, sent, key=self._key, region=self._service.region, now=datetime.now(UTC))
        return self._http.build_request("GET", url, headers=sent)

    def _refusal(self, response: httpx2.Response, complaint: str) -> Refusal:
        """By the status, and by S3's own word where that says more."""
        status, name = response.status_code, self._bucket
        if complaint == "NoSuchBucket":
            return Conflict(f"There is no bucket {name!r} there.", code="bucket_missing")
        if status in _ELSEWHERE or complaint in {"AuthorizationHeaderMalformed", "PermanentRedirect"}:
            where = response.headers.get("x-amz-bucket-region", "")
            region = f" It is in {where}." if where.replace("-", "").isalnum() else ""
            return Conflict(f"The bucket {name!r} is not in this region.{region}", code="bucket_elsewhere")
        if status in {_UNPROVEN, _REFUSED}:
            return Conflict(f"The bucket {name!r} refuses the credential, or needs one.", code="bucket_refused")
        return _unavailable(f"The bucket {name!r} answered {status}.")


def _page(answer: bytes) -> _Page:
    """Raises ParseError, Unavailable for XML that is no list."""
    try:
        root = fromstring(answer, forbid_dtd=True)
    except (ValueError, LookupError) as error:  # also what is forbidden, and encodings that nobody reads
        raise _unavailable("The bucket's list is not to be trusted.") from error
    if root.tag.rpartition("}")[2] != "ListBucketResult":
        raise _unavailable("The endpoint does not answer as S3 does.")
    encoded = _text(root, "EncodingType") == "url"
    following = _text(root, "NextContinuationToken") if _text(root, "IsTruncated") == "true" else None
    return _Page([_listed(one, encoded=encoded) for one in root.iterfind("{*}Contents")], following)


def _listed(one: Element, *, encoded: bool) -> Listed:
    key, size = _text(one, "Key"), _text(one, "Size")
    if not key or not _SIZE.fullmatch(size):
        raise _unavailable("The endpoint does not answer as S3 does.")
    return Listed(unquote_plus(key) if encoded else key, int(size), _plain(_text(one, "ETag")))


def _text(element: Element, name: str) -> str:
    return element.findtext(f"{{*}}{name}") or ""


def _plain(tag: str | None) -> str | None:
    """Without the quotes, which some services leave out; None for what could not be said in a header again."""
    plain = (tag or "").removeprefix("W/").strip('"')
    return plain if _TAG.fullmatch(plain) else None


async def _complaint(response: httpx2.Response) -> str:
    """S3's own word for what is wrong; empty where there is none."""
    try:
        found = fromstring(await _bounded(response, _LONGEST_COMPLAINT), forbid_dtd=True)
    except (ParseError, ValueError, LookupError):
        return ""
    return _text(found, "Code")


async def _bounded(response: httpx2.Response, most: int) -> bytes:
    content = bytearray()
    async for piece in _content(response):
        content += piece
        if len(content) > most:
            raise _unavailable("The endpoint answers at too great a length.")
    return bytes(content)


async def _content(response: httpx2.Response) -> AsyncIterator[bytes]:
    """As it is stored, whatever it says of its encoding."""
    with _translated():
        async for piece in response.aiter_raw():
            yield piece


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except httpx2.HTTPError as error:
        raise _unavailable("The bucket's endpoint does not answer, or breaks off.") from error


def _unavailable(sentence: str) -> Unavailable:
    return Unavailable(sentence, code="bucket_unavailable")
