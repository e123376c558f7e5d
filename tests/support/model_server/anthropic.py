"""Anthropic's wire: messages, in named events."""

from typing import Any, Final

from support.model_server.http import Request
from support.model_server.record import Told
from support.model_server.scripts import Fault
from support.model_server.wire import Count, Reason, Refused, sse, text_of

_REASONS: Final = {"stop": "end_turn", "length": "max_tokens"}

_FAULTS: Final = {
    Fault.KEY: (401, "authentication_error", "invalid x-api-key"),
    Fault.FORBIDDEN: (403, "permission_error", "Your API key does not have permission to use the specified resource."),
    Fault.MODEL: (404, "not_found_error", "model: missing"),
    Fault.QUOTA: (400, "invalid_request_error", "Your credit balance is too low to access the Anthropic API."),
    Fault.PAYMENT: (402, "billing_error", "There is an issue with your billing or payment information."),
    Fault.THROTTLE: (429, "rate_limit_error", "This request would exceed your organization's rate limit."),
    Fault.TOO_LONG: (400, "invalid_request_error", "prompt is too long: 210000 tokens > 200000 maximum"),
    Fault.INPUT: (400, "invalid_request_error", "messages.0: all messages must have non-empty content"),
    Fault.BROKEN: (500, "api_error", "Internal server error"),
    Fault.OVERLOADED: (529, "overloaded_error", "Overloaded"),
}


class AnthropicWire:
    name = "anthropic"
    media_type = "text/event-stream; charset=utf-8"

    def __init__(self, told: Told) -> None:
        self._told = told

    def begin(self, count: Count) -> bytes:
        block = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
        message = {**self._message([], None), "usage": _usage(Count(count.input, 0))}
        return (
            sse({"type": "message_start", "message": message}, "message_start")
            + sse(block, "content_block_start")
            + sse({"type": "ping"}, "ping")
        )

    def piece(self, text: str, count: Count) -> bytes:
        delta = {"type": "text_delta", "text": text}
        told = self._so_far(count, None) if self._told.wants_usage_each else b""
        return sse({"type": "content_block_delta", "index": 0, "delta": delta}, "content_block_delta") + told

    def end(self, reason: Reason, count: Count) -> bytes:
        return (
            sse({"type": "content_block_stop", "index": 0}, "content_block_stop")
            + self._so_far(count, _REASONS[reason])
            + sse({"type": "message_stop"}, "message_stop")
        )

    def fault(self, fault: Fault) -> bytes:
        return sse(refused(fault).body, "error")

    def garbled(self) -> bytes:
        return b'event: content_block_delta\ndata: {"type": "content_block_delta", "ind\n\n'

    def whole(self, text: str, reason: Reason, count: Count) -> Any:
        return {**self._message([{"type": "text", "text": text}], _REASONS[reason]), "usage": _usage(count)}

    def _so_far(self, count: Count, reason: str | None) -> bytes:
        delta = {"stop_reason": reason, "stop_sequence": None}
        told = {"type": "message_delta", "delta": delta, "usage": {"output_tokens": count.output}}
        return sse(told, "message_delta")

    def _message(self, content: list[Any], reason: str | None) -> dict[str, Any]:
        return {
            "id": "msg_fake", "type": "message", "role": "assistant", "model": self._told.model, "content": content,
            "stop_reason": reason, "stop_sequence": None,
        }  # fmt: skip


def chat(request: Request) -> Told:
    body = request.body
    system = [("system", text_of(body["system"]))] if body.get("system") else []
    return Told(
        model=body["model"],
        messages=[*system, *((message["role"], text_of(message["content"])) for message in body["messages"])],
        stream=bool(body.get("stream")),
        most_tokens=body["max_tokens"],
        key=request.headers.get("x-api-key", ""),
    )


def refused(fault: Fault) -> Refused:
    status, kind, message = _FAULTS[fault]
    return Refused(status, {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_fake"})


def _usage(count: Count) -> dict[str, int]:
    return {"input_tokens": count.input, "output_tokens": count.output}
