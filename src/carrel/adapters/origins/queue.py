"""A bucket's queue, listened to by long polls (SQS): a message goes when all that it names is settled, and not before.

What is in hand stays hidden from others as long as somebody works on it. A message that nobody understands is left to
the queue's own redrive.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final

import structlog

from carrel.adapters.origins.events import keys_of
from carrel.domain.buckets import S3Key, Service
from carrel.domain.errors import Conflict, Invalid, Refusal, Unavailable
from carrel.domain.origins import Bucket
from carrel.ports.origins import Notice

log = structlog.get_logger(__name__)

_MOST: Final = 10
_WAIT: Final = 20  # seconds of a long poll
_HIDDEN: Final = 60  # seconds for which a message is nobody else's
_BEAT: Final = 20.0
_REFUSED: Final = frozenset({"InvalidClientTokenId", "SignatureDoesNotMatch", "UnrecognizedClientException"})
_UNPROVEN: Final = frozenset({401, 403})
_THROTTLED: Final = "Throttl"  # of some kinds the status is 403 too
_MISSING: Final = frozenset({"AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist"})


async def heard(place: Bucket, service: Service, key: S3Key | None) -> AsyncGenerator[Notice]:
    """Until it is closed. Raises Conflict `queue_missing`, `queue_refused`, `aws_missing`, Unavailable."""
    with _translated():
        async with _client(service, key) as client:
            queue = _Queue(client, place)
            while True:
                for notice in await queue.next():
                    yield notice


@dataclass(slots=True, eq=False)
class _Message:
    """`open` is how many of its objects are not settled yet."""

    handle: str
    open: int


class _Queue:
    def __init__(self, client: Any, place: Bucket) -> None:
        self._client = client
        self._place = place
        self._held: list[_Message] = []

    async def next(self) -> Sequence[Notice]:
        """What one poll brought. Messages of the former one that nobody took up come again."""
        answer = await self._client.receive_message(
            QueueUrl=self._place.queue,
            MaxNumberOfMessages=_MOST,
            WaitTimeSeconds=_WAIT,
            VisibilityTimeout=_HIDDEN,
        )
        self._held = []
        notices: list[Notice] = []
        for message in answer.get("Messages", []):
            notices += await self._notices(message)
        return notices

    async def _notices(self, message: dict[str, Any]) -> list[Notice]:
        """None for what says nothing of this place: that is settled at once."""
        try:
            keys = keys_of(message["Body"], self._place)
        except Invalid as problem:
            log.warning("bucket.event_malformed", code=problem.code, message=message.get("MessageId"))
            return []
        taken = _Message(message["ReceiptHandle"], len(keys))
        if not keys:
            await self._delete(taken)
            return []
        self._held.append(taken)
        return [Notice(key, self._settled(taken)) for key in keys]

    @asynccontextmanager
    async def _settled(self, message: _Message) -> AsyncIterator[None]:
        beating = asyncio.create_task(self._beat())
        try:
            yield
        finally:
            beating.cancel()
            await asyncio.wait({beating})
        message.open -= 1
        if not message.open:
            with suppress(ValueError):
                self._held.remove(message)
            await self._delete(message)

    async def _beat(self) -> None:
        """All that is in hand stays so, also what waits for its turn."""
        while True:
            await asyncio.sleep(_BEAT)
            entries = [
                {"Id": str(number), "ReceiptHandle": one.handle, "VisibilityTimeout": _HIDDEN}
                for number, one in enumerate(self._held)
            ]
            try:
                with _translated():
                    await self._client.change_message_visibility_batch(QueueUrl=self._place.queue, Entries=entries)
            except Refusal as problem:
                log.warning("bucket.event_unheld", code=problem.code)

    async def _delete(self, message: _Message) -> None:
        """What could not be deleted is told again, which does no harm."""
        try:
            with _translated():
                await self._client.delete_message(QueueUrl=self._place.queue, ReceiptHandle=message.handle)
        except Refusal as problem:
            log.warning("bucket.event_undeleted", code=problem.code)


@asynccontextmanager
async def _client(service: Service, key: S3Key | None) -> AsyncIterator[Any]:
    """With the tenant's key alone: some key is given in any case, or the machine's own would be looked for."""
    from aiobotocore.config import AioConfig
    from aiobotocore.session import get_session
    from botocore import UNSIGNED

    rules = AioConfig(
        connect_timeout=10,
        read_timeout=_WAIT + 15,
        retries={"total_max_attempts": 3},
        proxies={},
        **({"signature_version": UNSIGNED} if key is None else {}),
    )
    async with get_session().create_client(
        "sqs",
        region_name=service.region,
        endpoint_url=service.url,
        aws_access_key_id="nobody" if key is None else key.id,
        aws_secret_access_key="nothing" if key is None else key.secret.reveal(),
        config=rules,
    ) as client:
        yield client


@contextmanager
def _translated() -> Iterator[None]:
    try:
        from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
    except ImportError as error:
        sentence = "Listening to a queue needs an extra that is not installed: pip install 'carrel[aws]'."
        raise Conflict(sentence, code="aws_missing") from error
    try:
        yield
    except ClientError as error:
        status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        raise _refusal(str(error.response.get("Error", {}).get("Code", "")), status) from error
    except (BotoCoreError, HTTPClientError, OSError) as error:
        raise Unavailable("The bucket's queue does not answer.", code="queue_unavailable") from error


def _refusal(code: str, status: int) -> Refusal:
    if code in _MISSING:
        return Conflict("There is no such queue.", code="queue_missing")
    if _THROTTLED not in code and (code in _REFUSED or status in _UNPROVEN):
        return Conflict("The queue refuses the credential, or needs one.", code="queue_refused")
    return Unavailable("The bucket's queue does not answer as it should.", code="queue_unavailable")
