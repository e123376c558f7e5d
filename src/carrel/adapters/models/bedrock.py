"""Amazon Bedrock's Converse, by aiobotocore: what any-llm has for it blocks the event loop while a model speaks.

A tenant's key is a Bedrock API key, and nothing of the machine's own AWS account is used with it.
"""

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, closing
from typing import Any, Final

from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession, get_session
from botocore.exceptions import BotoCoreError, ClientError, EventStreamError, NoCredentialsError, NoRegionError
from botocore.tokens import FrozenAuthToken

from carrel.adapters.models.calls import Account, Failed, Piece, Told, Wire, broke_off
from carrel.adapters.models.failures import refused_input, translated
from carrel.adapters.models.remote import Patience
from carrel.domain.errors import ModelFailed
from carrel.ports.model import Message, Speaker

_FILTERED: Final = frozenset({"guardrail_intervened", "content_filtered"})
_UNUSED: Final = "none"
_TOO_LONG: Final = ("too long", "context", "maximum")
_KEY: Final = "The provider refuses the key."
_KNOWN: Final = {
    "AccessDeniedException": ("model_key_refused", _KEY),
    "UnrecognizedClientException": ("model_key_refused", _KEY),
    "InvalidSignatureException": ("model_key_refused", _KEY),
    "ExpiredTokenException": ("model_key_refused", _KEY),
    "ResourceNotFoundException": ("model_unknown", "The provider has no such model in this region."),
    "ServiceQuotaExceededException": ("model_quota_exhausted", "The account at the provider is used up."),
    "ThrottlingException": ("model_throttled", "The provider is asked too often."),
    "ModelTimeoutException": ("model_timeout", "The provider itself waited in vain."),
}
_AGAIN: Final = frozenset({"model_throttled", "model_failed"})


async def open_bedrock(account: Account, *, region: str | None, patience: Patience) -> Wire:
    """Raises ModelFailed `model_credential_missing` where setting and machine together are not enough for a call."""
    session = get_session()
    bearer = {}
    if account.secret is not None:
        session.register_component("token_provider", _OneToken(account.secret.reveal()))
        bearer = {"signature_version": "bearer"}
    config = AioConfig(
        connect_timeout=patience.connect,
        read_timeout=patience.whole,
        max_pool_connections=256,
        retries={"total_max_attempts": 1},
        proxies={},
        ignore_configured_endpoint_urls=True,
        warm_up_loader_caches=True,
        **bearer,
    )
    stack = AsyncExitStack()
    try:
        client = await stack.enter_async_context(_client(session, account, account.region or region, config))
    except NoRegionError:
        raise ModelFailed("No region of Bedrock is set.", code="model_credential_missing") from None
    except BotoCoreError:
        raise ModelFailed("This machine's AWS configuration cannot be used.", code="model_credential_missing") from None
    return BedrockWire(client, stack)


def _client(session: AioSession, account: Account, region: str | None, config: AioConfig) -> Any:
    """With a token the machine's own credentials are not even looked for."""
    instead = {"aws_access_key_id": _UNUSED, "aws_secret_access_key": _UNUSED} if account.secret else {}
    return session.create_client(
        "bedrock-runtime", region_name=region, endpoint_url=account.base_url, config=config, **instead
    )


class _OneToken:
    def __init__(self, token: str) -> None:
        self._token = token

    def load_token(self, **_: object) -> FrozenAuthToken:
        return FrozenAuthToken(self._token)


class BedrockWire:
    def __init__(self, client: Any, stack: AsyncExitStack) -> None:
        self._client = client
        self._stack = stack

    async def stream(self, told: Told) -> AsyncGenerator[Piece]:
        with translated("bedrock", told.model):
            try:
                answer = await self._client.converse_stream(**_request(told))
                with closing(answer["stream"]) as found:
                    async for event in found:
                        yield _piece(event)
            except EventStreamError as error:
                raise _in_stream(error) from None
            except ClientError as error:
                raise _refused(error) from None
            except NoCredentialsError:
                raise Failed("This machine has no AWS credentials.", code="model_credential_missing") from None

    async def close(self) -> None:
        await self._stack.aclose()


def _request(told: Told) -> dict[str, Any]:
    system = [{"text": message.text} for message in told.messages if message.speaker is Speaker.SYSTEM]
    return {
        "modelId": told.model,
        "messages": [_said(message) for message in told.messages if message.speaker is not Speaker.SYSTEM],
        "inferenceConfig": {"maxTokens": told.most_tokens, "temperature": told.temperature},
        **({"system": system} if system else {}),
    }


def _said(message: Message) -> dict[str, Any]:
    return {"role": message.speaker.value, "content": [{"text": message.text}]}


def _piece(event: dict[str, Any]) -> Piece:
    """Its last event but one says why it stopped; the last one counts the tokens."""
    if "contentBlockDelta" in event:
        return Piece(event["contentBlockDelta"]["delta"].get("text", ""))
    if "messageStop" in event:
        if event["messageStop"]["stopReason"] in _FILTERED:
            raise refused_input()
        return Piece(is_last=True)
    usage = event.get("metadata", {}).get("usage", {})
    read = [usage[name] for name in ("inputTokens", "cacheReadInputTokens", "cacheWriteInputTokens") if name in usage]
    return Piece("", sum(read) if read else None, usage.get("outputTokens"))


def _in_stream(error: EventStreamError) -> Failed:
    kind = error.response.get("Error", {}).get("Code", "")
    if kind == "throttlingException":
        return Failed("The provider is asked too often.", code="model_throttled", again=True)
    return broke_off()


def _refused(error: ClientError) -> Failed:
    kind, said = error.response["Error"].get("Code", ""), error.response["Error"].get("Message", "").lower()
    status = error.response["ResponseMetadata"].get("HTTPStatusCode", 0)
    if "payment" in said:
        return Failed("The account at the provider is used up.", code="model_quota_exhausted")
    if kind in _KNOWN:
        code, detail = _KNOWN[kind]
    elif kind == "ValidationException":
        code, detail = _invalid(said)
    elif status in {401, 403}:
        code, detail = "model_key_refused", _KEY
    else:
        code, detail = "model_failed", f"The provider answered {status}."
    return Failed(detail, code=code, again=code in _AGAIN)


def _invalid(said: str) -> tuple[str, str]:
    if any(word in said for word in _TOO_LONG):
        return "context_too_long", "Question and evidence are longer than the model takes."
    if "model identifier" in said or "model id" in said:
        return "model_unknown", "The provider has no such model in this region."
    return "model_refused_input", "The provider refuses this request."
