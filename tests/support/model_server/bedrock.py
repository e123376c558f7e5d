"""Bedrock's wire: Converse, streamed in AWS's binary events, and the Titan and Cohere embedders by InvokeModel."""

import json
import struct
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import unquote
from zlib import crc32

from support.model_server.http import Request
from support.model_server.record import Told
from support.model_server.scripts import Fault
from support.model_server.wire import Count, Reason, Refused, text_of

DIMENSIONS: Final = 1024
_STRING: Final = 7  # the type of a header's value in an event
_REASONS: Final = {"stop": "end_turn", "length": "max_tokens"}

_FAULTS: Final = {
    Fault.KEY: (403, "UnrecognizedClientException", "The security token included in the request is invalid."),
    Fault.FORBIDDEN: (403, "AccessDeniedException", "You don't have access to the model with the specified model ID."),
    Fault.MODEL: (404, "ResourceNotFoundException", "Could not resolve the foundation model from the identifier."),
    Fault.QUOTA: (400, "ServiceQuotaExceededException", "Your request exceeds the service quota for your account."),
    Fault.PAYMENT: (403, "AccessDeniedException", "INVALID_PAYMENT_INSTRUMENT: a valid payment instrument is needed."),
    Fault.THROTTLE: (429, "ThrottlingException", "Too many requests, please wait before trying again."),
    Fault.TOO_LONG: (400, "ValidationException", "Input is too long for requested model."),
    Fault.INPUT: (400, "ValidationException", "The text field in the ContentBlock object is blank."),
    Fault.BROKEN: (500, "InternalServerException", "The system encountered an unexpected error during processing."),
    Fault.OVERLOADED: (503, "ServiceUnavailableException", "Bedrock is unable to process your request."),
}


class BedrockWire:
    name = "bedrock"
    media_type = "application/vnd.amazon.eventstream"

    def __init__(self, told: Told) -> None:
        self._told = told

    def begin(self, _: Count) -> bytes:
        return _event("messageStart", {"role": "assistant"})

    def piece(self, text: str, count: Count) -> bytes:
        said = _event("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": text}})
        return said + (_bill(count) if self._told.wants_usage_each else b"")

    def end(self, reason: Reason, count: Count) -> bytes:
        return (
            _event("contentBlockStop", {"contentBlockIndex": 0})
            + _event("messageStop", {"stopReason": _REASONS[reason]})
            + _bill(count)
        )

    def fault(self, fault: Fault) -> bytes:
        """An exception of the stream, in the few kinds that a stream may have."""
        kinds = {Fault.THROTTLE: "throttlingException", Fault.OVERLOADED: "serviceUnavailableException"}
        kind = kinds.get(fault, "modelStreamErrorException")
        headers = {":message-type": "exception", ":exception-type": kind, ":content-type": "application/json"}
        return framed(headers, json.dumps({"message": _FAULTS[fault][2]}).encode())

    def garbled(self) -> bytes:
        """The checksum at its end is another one's."""
        good = _event("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": " broken"}})
        return good[:-4] + bytes(4)

    def whole(self, text: str, reason: Reason, count: Count) -> Any:
        message = {"role": "assistant", "content": [{"text": text}]}
        stopped = {"stopReason": _REASONS[reason], "metrics": {"latencyMs": 1}}
        return {"output": {"message": message}, **stopped, "usage": _usage(count)}


def framed(headers: dict[str, str], payload: bytes) -> bytes:
    """One event: lengths and their checksum, headers, payload, and the checksum of it all.

    Source: the Amazon event stream encoding of the Smithy specification.
    """
    named = b"".join(
        struct.pack(">B", len(name)) + name.encode() + struct.pack(">BH", _STRING, len(value)) + value.encode()
        for name, value in headers.items()
    )
    prelude = struct.pack(">II", 16 + len(named) + len(payload), len(named))
    whole = prelude + struct.pack(">I", crc32(prelude)) + named + payload
    return whole + struct.pack(">I", crc32(whole))


def chat(request: Request) -> Told:
    body, action = request.body, request.path.rpartition("/")[2]
    system = [("system", text_of(body["system"]))] if body.get("system") else []
    return Told(
        model=_model(request),
        messages=[*system, *((message["role"], text_of(message["content"])) for message in body["messages"])],
        stream=action == "converse-stream",
        most_tokens=(body.get("inferenceConfig") or {}).get("maxTokens"),
        key=_key(request),
    )


def texts(request: Request) -> Told:
    """Titan's one text, or Cohere's several."""
    body = request.body
    dimensions = body.get("dimensions") or body.get("output_dimension") or DIMENSIONS
    given = body["texts"] if "texts" in body else [body["inputText"]]
    return Told(model=_model(request), texts=given, dimensions=dimensions, key=_key(request))


def embedded(told: Told, vectors: Sequence[Sequence[float]], count: Count) -> Any:
    if "cohere" in told.model:
        return {"embeddings": {"float": vectors}, "response_type": "embeddings_by_type"}
    return {"embedding": vectors[0], "inputTextTokenCount": count.input}


def refused(fault: Fault) -> Refused:
    status, kind, message = _FAULTS[fault]
    return Refused(status, {"message": message}, {"x-amzn-ErrorType": kind})


def _model(request: Request) -> str:
    return unquote(request.path.split("/")[2])


def _key(request: Request) -> str:
    """The bearer's token, or the id (not the secret) of the key that signed."""
    said = request.headers.get("authorization", "")
    if said.startswith("Bearer "):
        return said.removeprefix("Bearer ")
    return said.partition("Credential=")[2].partition("/")[0]


def _event(kind: str, data: Any) -> bytes:
    headers = {":event-type": kind, ":content-type": "application/json", ":message-type": "event"}
    return framed(headers, json.dumps(data, ensure_ascii=False).encode())


def _bill(count: Count) -> bytes:
    return _event("metadata", {"usage": _usage(count), "metrics": {"latencyMs": 1}})


def _usage(count: Count) -> dict[str, int]:
    return {"inputTokens": count.input, "outputTokens": count.output, "totalTokens": count.input + count.output}
