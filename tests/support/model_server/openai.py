"""OpenAI's wire, which half of the world speaks: chat completions and embeddings."""

import struct
from base64 import b64encode
from collections.abc import Sequence
from typing import Any, Final

from support.model_server.http import Request
from support.model_server.record import Told
from support.model_server.scripts import Fault
from support.model_server.wire import Count, Reason, Refused, sse, text_of

DIMENSIONS: Final = 1536
_WHEN: Final = 1_700_000_000
_ID: Final = "chatcmpl-fake"

_FAULTS: Final = {
    Fault.KEY: (401, "invalid_request_error", "invalid_api_key", "Incorrect API key provided: sk-wr***ng."),
    Fault.FORBIDDEN: (403, "invalid_request_error", "unsupported_country_region_territory", "Not in your country."),
    Fault.MODEL: (404, "invalid_request_error", "model_not_found", "The model does not exist or you have no access."),
    Fault.QUOTA: (429, "insufficient_quota", "insufficient_quota", "You exceeded your current quota."),
    Fault.PAYMENT: (402, "unknown_error", "invalid_request_error", "Insufficient Balance"),
    Fault.THROTTLE: (429, "requests", "rate_limit_exceeded", "Rate limit reached for requests per minute."),
    Fault.TOO_LONG: (
        400, "invalid_request_error", "context_length_exceeded",
        "This model's maximum context length is 8192 tokens. However, your messages resulted in 9001 tokens.",
    ),
    Fault.INPUT: (400, "invalid_request_error", "invalid_value", "Invalid value for 'messages[0].content'."),
    Fault.BROKEN: (500, "server_error", None, "The server had an error while processing your request."),
    Fault.OVERLOADED: (503, "server_error", "service_unavailable", "The engine is currently overloaded."),
}  # fmt: skip


class OpenAiWire:
    name = "openai"
    media_type = "text/event-stream"

    def __init__(self, told: Told) -> None:
        self._told = told

    def begin(self, count: Count) -> bytes:
        return self._said({"role": "assistant", "content": ""}, count)

    def piece(self, text: str, count: Count) -> bytes:
        return self._said({"content": text}, count)

    def _said(self, delta: dict[str, Any], count: Count) -> bytes:
        return sse({**self._chunk(delta), **({"usage": _usage(count)} if self._told.wants_usage_each else {})})

    def end(self, reason: Reason, count: Count) -> bytes:
        bill = sse({**self._chunk(None), "usage": _usage(count)}) if self._told.wants_usage else b""
        return sse(self._chunk({}, reason)) + bill + b"data: [DONE]\n\n"

    def fault(self, fault: Fault) -> bytes:
        return sse(refused(fault).body)

    def garbled(self) -> bytes:
        return b'data: {"id": "chatcmpl-fake", "choices": [{"delta": {"conte\n\n'

    def whole(self, text: str, reason: Reason, count: Count) -> Any:
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": reason}
        return {**self._named("chat.completion"), "choices": [choice], "usage": _usage(count)}

    def _chunk(self, delta: dict[str, Any] | None, reason: Reason | None = None) -> dict[str, Any]:
        choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": reason}]
        return {**self._named("chat.completion.chunk"), "choices": choices}

    def _named(self, kind: str) -> dict[str, Any]:
        return {"id": _ID, "object": kind, "created": _WHEN, "model": self._told.model}


def chat(request: Request) -> Told:
    body = request.body
    options = body.get("stream_options") or {}
    return Told(
        model=body["model"],
        messages=[(message["role"], text_of(message.get("content"))) for message in body["messages"]],
        stream=bool(body.get("stream")),
        most_tokens=body.get("max_completion_tokens") or body.get("max_tokens"),
        wants_usage=bool(options.get("include_usage")),
        wants_usage_each=bool(options.get("continuous_usage_stats")),
        key=key(request),
    )


def texts(request: Request) -> Told:
    body = request.body
    given = body["input"]
    return Told(
        model=body["model"],
        texts=[given] if isinstance(given, str) else given,
        dimensions=body.get("dimensions") or DIMENSIONS,
        base64=body.get("encoding_format") == "base64",
        key=key(request),
    )


def key(request: Request) -> str:
    return request.headers.get("authorization", "").removeprefix("Bearer ")


def embedded(told: Told, vectors: Sequence[Sequence[float]], count: Count) -> Any:
    """In floats, or in the base64 of little-endian float32."""
    encoded = [_base64(vector) if told.base64 else vector for vector in vectors]
    data = [{"object": "embedding", "index": n, "embedding": vector} for n, vector in enumerate(encoded)]
    usage = {"prompt_tokens": count.input, "total_tokens": count.input}
    return {"object": "list", "model": told.model, "data": data, "usage": usage}


def models(names: Sequence[str]) -> Any:
    data = [{"id": name, "object": "model", "created": _WHEN, "owned_by": "tests"} for name in names]
    return {"object": "list", "data": data}


def refused(fault: Fault) -> Refused:
    status, kind, code, message = _FAULTS[fault]
    return Refused(status, {"error": {"message": message, "type": kind, "param": None, "code": code}})


def _usage(count: Count) -> dict[str, int]:
    return {
        "prompt_tokens": count.input,
        "completion_tokens": count.output,
        "total_tokens": count.input + count.output,
    }


def _base64(vector: Sequence[float]) -> str:
    return b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
